// What a habitat's fact sheet says: its place in the scheme, its share of the map, the species that tell it.

import { percentExactly } from "./curves.js";
import { facts, h, section } from "./dom.js";
import { number } from "./format.js";
import { foot } from "./sheet-species.js";

function classes(entries, open) {
  return h("ul", { class: "classes" }, entries.map((entry) => h("li", {}, h("span", { class: "swatch", style: { background: entry.colour } }),
    h("button", { type: "button", onclick: () => open(`habitat.${entry.code}`) }, entry.label, entry.code === entry.label ? null : h("small", {}, ` ${entry.code}`)))));
}

function scheme(sheet, open) {
  if (!sheet.parents.length && !sheet.children.length) return null;
  return section("In the scheme", sheet.parents.length ? [h("p", { class: "lead" }, "Belongs to"), classes(sheet.parents, open)] : null,
    sheet.children.length ? [h("p", { class: "lead" }, "Holds"), classes(sheet.children, open)] : null);
}

function area({ region }) {
  if (!region) return section("On this map", h("p", { class: "state" }, "No cell of this release is classified."));
  const pairs = [
    ["Share of the classified cells", h("data", { value: region.share, "data-figure": "share" }, percentExactly(region.share))],
    ["Area", `${number(region.habitat_km2)} km² of ${number(region.km2)} km²`],
    ["Mean probability where it is mapped", region.mean_probability === null ? null : h("data", { value: region.mean_probability, "data-figure": "mean_probability" }, percentExactly(region.mean_probability))],
    ["Among the three best in", region.among_three === null ? null : `${percentExactly(region.among_three)} of the cells`],
  ];
  return section("On this map", facts(pairs),
    h("p", { class: "quiet" }, `${number(region.cells)} classified cells of ${region.cell_m} m.`));
}

function species(sheet, open) {
  if (!sheet.species.length) return section("Species that tell it", h("p", { class: "state" }, sheet.region?.share ? "No species is more probable here than elsewhere." : "It is nowhere the most probable habitat of this map."));
  return section("Species that tell it", h("p", { class: "lead" }, "More probable in its cells than in others, by fidelity"),
    h("table", { class: "figures" }, h("thead", {}, h("tr", {}, ["Species", "Inside", "Elsewhere", "Fidelity φ"].map((word) => h("th", { scope: "col" }, word)))),
      h("tbody", {}, sheet.species.map((one) => h("tr", {},
        h("th", { scope: "row" }, h("button", { type: "button", onclick: () => open(one.id) }, h("i", { class: "latin", lang: "la" }, one.name), one.vernacular ? h("small", {}, ` ${one.vernacular}`) : null)),
        h("td", {}, percentExactly(one.inside)), h("td", {}, percentExactly(one.outside)), h("td", {}, one.fidelity.toFixed(3)))))));
}

const TOLD = { plots_labelled: "Plots learned from", accuracy: "Accuracy on held-out plots", top3: "Among the three best", macro_f1: "Macro F1", log_loss: "Log loss" };

function reader({ metrics }) {
  const known = Object.entries(TOLD).filter(([key]) => Number.isFinite(metrics?.[key]));
  const judged = known.some(([key]) => key !== "plots_labelled");
  return section("The model that reads habitats", known.length ? facts(known.map(([key, title]) => [title, number(metrics[key])])) : null,
    judged ? null : h("p", { class: "state" }, "Not evaluated: this version of the maps carries no measurement on held-out plots."));
}

/**
 * A habitat's sheet.
 * @param {object} sheet answer of GET /habitats/{code}
 * @param {(id: string) => void} open opens another sheet
 * @returns {{name: string, title: Array, body: Array}}
 */
export function habitatSheet(sheet, open) {
  const title = [h("span", { class: "swatch", style: { background: sheet.colour } }), h("span", {}, sheet.label), sheet.code === sheet.label ? null : h("small", {}, sheet.code)];
  const body = [h("p", { class: "subtitle" }, sheet.title), h("div", { class: "columns" }, [area(sheet), scheme(sheet, open)].filter(Boolean)), species(sheet, open), reader(sheet), foot(sheet)];
  return { name: sheet.label, title: title.filter(Boolean), body };
}
