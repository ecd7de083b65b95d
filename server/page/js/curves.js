// Response curves as small drawings: mean and band, axes with units, a rug of the surveys; the same numbers in a table beside.

import { h } from "./dom.js";
import { number, percent, unit } from "./format.js";

const NAMESPACE = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [260, 170];
const FRAME = { left: 34, right: 8, top: 22, bottom: 34 };

function s(tag, attributes, ...children) {
  const element = document.createElementNS(NAMESPACE, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Round values from `low` to `high`, about `count` of them. */
function ticks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((value) => value >= rough * 0.999);
  const out = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) out.push(Number((i * step).toPrecision(10)));
  return out;
}

const fixed = (values) => {
  const step = Math.abs(values[1] - values[0]) || 1;
  const digits = Math.max(0, Math.min(6, Math.ceil(-Math.log10(step) - 1e-9) + (String(step).includes("25") ? 1 : 0)));
  return (value) => value.toFixed(digits).replace("-", "−");
};

const titled = (curve) => [curve.title, unit(curve.units) && `(${unit(curve.units)})`].filter(Boolean).join(" ");

function drawing(curve, name) {
  const { values, mean, lower, upper } = curve;
  const [low, high] = [values[0], values.at(-1)];
  const top = Math.max(...upper, 1e-6) * 1.05;
  const x = (value) => FRAME.left + ((value - low) / (high - low || 1)) * (WIDTH - FRAME.left - FRAME.right);
  const y = (value) => HEIGHT - FRAME.bottom - (value / top) * (HEIGHT - FRAME.top - FRAME.bottom);
  const line = (ys) => values.map((value, i) => `${x(value).toFixed(1)},${y(ys[i]).toFixed(1)}`);
  const [across, up] = [ticks(low, high, 4), ticks(0, top, 4)];
  const [sayX, sayY] = [fixed(across), fixed(up.map((p) => p * 100))];
  const floor = HEIGHT - FRAME.bottom;
  const peak = values[mean.indexOf(Math.max(...mean))];
  return s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", class: "curve", "aria-label": `Probability of ${name} along ${titled(curve)}: from ${percent(mean[0])} at ${number(low)} to ${percent(mean.at(-1))} at ${number(high)}, highest at ${number(peak)}.` },
    ...up.flatMap((p) => [s("line", { class: "rule", x1: FRAME.left, x2: WIDTH - FRAME.right, y1: y(p), y2: y(p) }), s("text", { x: FRAME.left - 5, y: y(p) + 3.5, "text-anchor": "end" }, sayY(p * 100))]),
    ...across.map((value) => s("text", { x: x(value), y: floor + 15, "text-anchor": "middle" }, sayX(value))),
    s("polygon", { class: "band", points: [...line(upper), ...line(lower).reverse()].join(" ") }),
    s("polyline", { class: "mean", points: line(mean).join(" ") }),
    s("line", { class: "axis", x1: FRAME.left, x2: WIDTH - FRAME.right, y1: floor, y2: floor }),
    ...curve.at_surveys.filter((value) => value >= low && value <= high).map((value) => s("line", { class: "rug", x1: x(value), x2: x(value), y1: floor, y2: floor - 5 })),
    s("text", { class: "name", x: 0, y: 10 }, "Probability, %"), s("text", { class: "name", x: WIDTH - FRAME.right, y: HEIGHT - 4, "text-anchor": "end" }, unit(curve.units) || ""));
}

function table(curve) {
  const row = (value, i) => h("tr", {}, h("th", { scope: "row" }, number(value)), [curve.mean, curve.lower, curve.upper].map((line) => h("td", {}, percentExactly(line[i]))));
  return h("details", { class: "as-table" }, h("summary", {}, "As a table"),
    h("table", { class: "figures" }, h("caption", { class: "unseen" }, `Probability along ${titled(curve)}`),
      h("thead", {}, h("tr", {}, [titled(curve), "Mean", "10 % of places below", "90 % below"].map((word) => h("th", { scope: "col" }, word)))),
      h("tbody", {}, curve.values.map(row))));
}

/** A probability as per cent with three digits: small ones matter in a curve. */
export const percentExactly = (value) => `${number(value * 100)} %`;

/**
 * A response curve with its table.
 * @param {object} curve of a species' sheet
 * @param {string} name of the species
 * @returns {HTMLElement}
 */
export function curveOf(curve, name) {
  return h("figure", { class: "response" }, h("figcaption", {}, curve.title), drawing(curve, name), table(curve));
}
