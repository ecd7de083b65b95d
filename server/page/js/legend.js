// The legend: a gradient with its ends, or the list of classes; and the mark of "no data".

import * as api from "./api.js";
import { h } from "./dom.js";
import { number, percent, quantity, unit } from "./format.js";

const nodata = (word) => h("li", { class: "nodata" }, h("span", { class: "swatch hatch" }), word);

function gradient(legend, layer) {
  const [low, high] = legend.range;
  const at = (value) => `${(((value - low) / (high - low)) * 100).toFixed(1)}%`;
  const colours = legend.stops.map(([value, colour]) => `${colour} ${at(value)}`).join(", ");
  const species = layer.product === "species";
  const text = (value) => (species ? percent(value) : number(value));
  const relative = layer.note && layer.note.includes("Relative intensity");
  const caption = species ? (relative ? "Relative intensity" : "Probability of occurrence") : unit(layer.units);
  return h("div", { class: "gradient" },
    h("div", { class: "caption" }, h("span", {}, caption), h("ul", {}, nodata("no data"))),
    h("div", { class: "ramp", role: "img", "aria-label": `Colours from ${quantity(low, layer)} to ${quantity(high, layer)}`,
      style: { background: `linear-gradient(to right, ${colours})` } }, h("span", { class: "needle", hidden: true })),
    h("div", { class: "ticks", "aria-hidden": "true" }, h("span", {}, text(low)), h("span", {}, text((low + high) / 2)), h("span", {}, text(high))));
}

function classes(legend) {
  return h("ul", { class: "classes" }, legend.classes.map((entry) => h("li", {},
    h("span", { class: "swatch", style: { background: entry.colour } }),
    h("span", {}, entry.label, entry.code && entry.code !== entry.label ? h("small", {}, entry.code) : null))), nodata("no data"));
}

/**
 * The legend of a layer, as an element.
 * @param {object} layer as the catalogue describes it
 * @returns {Promise<HTMLElement>}
 */
export async function legendOf(layer) {
  const legend = await api.legend(layer);
  const element = legend.kind === "class" ? classes(legend) : gradient(legend, layer);
  if (legend.range) [element.dataset.low, element.dataset.high] = legend.range;
  return element;
}

/** The stops of a gradient as rows: from the value of one to the value of the next. */
function stopRows(legend, layer) {
  const last = legend.stops.length - 1;
  return legend.stops.map(([value, colour], i) => {
    const end = i === 0 ? " or less" : i === last ? " or more" : "";
    return [colour, colour, quantity(value, layer) + end];
  });
}

/**
 * The legend of a layer as a table, for those who read rather than see: colour and what it stands for.
 * @param {object} layer as the catalogue describes it
 * @returns {Promise<HTMLElement>}
 */
export async function tableOf(layer) {
  const legend = await api.legend(layer);
  const rows = legend.kind === "class" ? legend.classes.map(({ colour, code, label }) => [colour, colour, code && code !== label ? `${code} ${label}` : label]) : stopRows(legend, layer);
  return h("table", { class: "colours" }, h("caption", { class: "unseen" }, `Colours of ${layer.title}`),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Colour"), h("th", { scope: "col" }, legend.kind === "class" ? "Class" : unit(layer.units) || "Value"))),
    h("tbody", {}, rows.map(([colour, name, text]) => h("tr", {}, h("td", {}, h("span", { class: "swatch", style: { background: colour } }), h("code", {}, name)), h("td", {}, text))),
      h("tr", {}, h("td", {}, h("span", { class: "swatch hatch" }), "hatched"), h("td", {}, "no data, which is not zero"))));
}

/** Point the needle of a gradient at a value, or hide it (null). */
export function pointNeedle(element, value) {
  const needle = element?.querySelector?.(".needle");
  if (!needle) return;
  needle.hidden = value === null || value === undefined;
  if (needle.hidden) return;
  const [low, high] = [Number(element.dataset.low), Number(element.dataset.high)];
  const share = Math.min(1, Math.max(0, (value - low) / (high - low)));
  needle.style.setProperty("--at", `${(share * 100).toFixed(2)}%`);
}
