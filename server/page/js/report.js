// The report of an area as elements: species by status, indicators with intervals, habitats, and the list of species.

import { h, section, statusChips } from "./dom.js";
import { number, percent, unit } from "./format.js";

const FIRST = 15; // species shown before "all"
const ORDERS = {
  mean_probability: "by mean probability", coverage: "by share of cells", highest_probability: "by the best cell", name: "by name",
};
const COUNTS = { listed: "Listed", threatened: "Threatened", protected: "Protected", invasive: "Invasive alien", endemic: "Endemic" };

/** A share as per cent with one decimal below ten. */
function share(value) {
  if (value === null || value === undefined) return "–";
  const hundredths = value * 100;
  return hundredths > 0 && hundredths < 0.1 ? "< 0.1 %" : hundredths < 10 ? `${hundredths.toFixed(1)} %` : `${Math.round(hundredths)} %`;
}

function counts(report) {
  return section("Species by status",
    h("table", { class: "figures" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Status"), h("th", { scope: "col" }, "Species"), h("th", { scope: "col" }, "Expected in a plot"))),
      h("tbody", {}, Object.entries(COUNTS).map(([key, title]) => h("tr", {},
        h("th", { scope: "row" }, title), h("td", {}, h("data", { value: report.counts[key].species, "data-count": key }, number(report.counts[key].species))),
        h("td", {}, number(report.counts[key].expected_per_plot)))))),
    h("p", { class: "lead" }, `Species whose best cell reaches a probability of ${number(report.threshold)}.`));
}

/** A mean on the range of its cells, its interval as a band. */
function interval(entry) {
  const [low, high] = [Math.min(0, entry.lower ?? 0), Math.max(entry.highest, entry.upper ?? entry.mean) * 1.05 || 1];
  const at = (value) => `${(Math.max(0, Math.min(1, (value - low) / (high - low))) * 100).toFixed(1)}%`;
  return h("span", { class: "interval", "aria-hidden": "true", style: { "--low": at(entry.lower), "--high": at(entry.upper), "--at": at(entry.mean) } });
}

function indicators(report, choose) {
  if (!report.indicators.length) return null;
  return section("Indicators", h("p", { class: "lead" }, "Mean of the cells, and the mean of their bounds"),
    h("ul", { class: "indicators" }, report.indicators.map((entry) => h("li", { "data-id": entry.id },
      h("button", { type: "button", "data-id": entry.id, onclick: () => choose(entry.id), title: "Show its map" }, entry.title),
      h("span", {}, h("data", { value: entry.mean }, number(entry.mean)), unit(entry.units) ? h("small", {}, ` ${unit(entry.units)}`) : null),
      entry.lower === null || entry.upper === null ? null : [interval(entry), h("small", { title: "Interval: lower to upper bound" }, `${number(entry.lower)} – ${number(entry.upper)}`)]))));
}

function habitats(report, sheet) {
  return report.habitats.map((level) => section(level.title, h("ul", { class: "shares" }, level.shares.map((entry) => h("li", {},
    h("span", { class: "swatch", style: { background: entry.colour } }),
    h("button", { type: "button", title: "Fact sheet", onclick: () => sheet(`habitat.${entry.value}`) }, entry.label, String(entry.value) === entry.label ? null : h("small", {}, ` ${entry.value}`)),
    h("span", {}, h("data", { value: entry.share }, share(entry.share)), h("small", {}, ` ${number(entry.km2)} km²`)),
    h("span", { class: "bar", "aria-hidden": "true" }, h("span", { style: { width: `${(entry.share * 100).toFixed(1)}%`, background: entry.colour } })))))));
}

function speciesRow(entry, key, choose, sheet) {
  const value = key === "name" ? entry.mean_probability : entry[key];
  return h("li", { "data-id": entry.id },
    h("button", { type: "button", "data-id": entry.id, onclick: () => choose(entry.id), title: "Show its map" },
      h("span", { class: "names" }, h("i", { class: "latin", lang: "la" }, entry.name), entry.vernacular ? h("small", {}, entry.vernacular) : null),
      h("span", { class: "chips" }, ...statusChips(entry)), h("data", { value: value ?? "" }, key === "coverage" ? share(value) : percent(value)),
      h("span", { class: "bar", "aria-hidden": "true" }, h("span", { style: { width: `${((value ?? 0) * 100).toFixed(1)}%` } }))),
    h("button", { type: "button", class: "to-sheet", "aria-label": `Fact sheet of ${entry.name}`, title: "Fact sheet", onclick: () => sheet(entry.id) }, h("span", { "aria-hidden": "true" }, "i")));
}

function species(report, choose, sheet) {
  if (!report.species.length) return null;
  const list = h("ol", { class: "species" });
  const orders = Object.entries(ORDERS).filter(([key]) => key !== "coverage" || report.species.some((entry) => entry.coverage !== null));
  const select = h("select", { id: "area-order", onchange: () => fill() }, orders.map(([key, label]) => h("option", { value: key }, label)));
  let all = false;
  const more = h("button", { type: "button", class: "more plain", onclick: () => { all = true; fill(); } }, `Show all ${report.species.length}`);
  function fill() {
    const key = select.value;
    const sorted = [...report.species].sort(key === "name" ? (a, b) => a.name.localeCompare(b.name) : (a, b) => (b[key] ?? -1) - (a[key] ?? -1));
    list.replaceChildren(...sorted.slice(0, all ? undefined : FIRST).map((entry) => speciesRow(entry, key, choose, sheet)));
    more.hidden = all || report.species.length <= FIRST;
  }
  fill();
  return section("Species", h("div", { class: "order" }, h("label", { for: "area-order" }, `${report.species.length} species,`), select), list, more);
}

function size(report) {
  const parts = [`${number(report.km2)} km²`];
  if (report.inside_km2 < report.km2 * 0.999) parts.push(`${number(report.inside_km2)} km² inside the map`);
  parts.push(`${number(report.mapped_cells)} mapped cells of ${report.cell_m} m`);
  return parts.join(", ");
}

/**
 * The body of a report.
 * @param {object} report answer of POST /area
 * @param {{choose: (id: string) => void, sheet: (id: string) => void}} open shows a layer; opens a fact sheet
 * @returns {HTMLElement[]}
 */
export function reportOf(report, { choose, sheet }) {
  const notes = h("details", {}, h("summary", {}, "How these numbers were made"), report.notes.map((note) => h("p", { class: "quiet" }, note)),
    h("p", { class: "quiet" }, [report.attribution, report.license, `Release ${report.release}`].filter(Boolean).join(" · ")));
  const body = [h("p", { class: "lead size" }, size(report))];
  if (!report.mapped_cells) body.push(h("p", { class: "state" }, "Nothing is predicted in this area: open water, sealed ground, or land without enough data."));
  else body.push(counts(report), indicators(report, choose), ...habitats(report, sheet), species(report, choose, sheet));
  return [...body, notes].filter(Boolean);
}
