// The side panel: everything the cube knows of one place, and what to say when it knows nothing.

import * as api from "./api.js";
import { announce, byId, h, section, statusChips } from "./dom.js";
import { number, percent, place, unit } from "./format.js";
import { sheetButton } from "./sheet.js";
import * as state from "./state.js";

const panel = byId("point");
const FIRST = 12; // species shown before "all"
let pending = null;

function bar(share) {
  return h("span", { class: "bar", "aria-hidden": "true" },
    h("span", { style: { width: `${(Math.max(0, Math.min(1, share)) * 100).toFixed(1)}%` } }));
}

function head(point, cell) {
  return h("header", {},
    h("div", {}, h("h2", {}, "At this place"), h("p", { class: "coordinates" }, place(point)), cell ? h("p", { class: "cell" }, h("abbr", { title: "Cell of 50 m, named by its lower left corner on the grid" }, cell)) : null),
    h("button", { type: "button", class: "close", "aria-label": "Close", onclick: () => state.set({ point: null }) }, "×"));
}

function habitats(answer) {
  const levels = answer.habitats ?? [];
  if (!levels.length) return null;
  const [main, ...others] = levels;
  const best = answer.habitat_top3 ?? [];
  return section("Habitat",
    h("p", { class: "habitat" }, h("span", { class: "swatch", style: { background: main.colour } }),
      sheetButton(`habitat.${main.value}`, h("strong", {}, main.label), { title: "Fact sheet" }), main.value !== main.label ? h("small", {}, main.value) : null),
    others.length ? h("p", { class: "within" }, "within ", others.map((level) => level.label).join(", ")) : null,
    best.length ? h("ol", { class: "best" }, best.map((entry) => h("li", {},
      h("span", { class: "label" }, entry.label, entry.code !== entry.label ? h("small", {}, entry.code) : null),
      bar(entry.probability), h("data", { value: entry.probability }, percent(entry.probability))))) : null);
}

/** An estimate on the scale of its layer, its interval as a band around it. */
function interval(entry) {
  const [low, high] = api.seen(entry.id)?.range ?? [Math.min(0, entry.lower), entry.upper * 1.1];
  const share = (value) => `${(Math.max(0, Math.min(1, (value - low) / (high - low || 1))) * 100).toFixed(1)}%`;
  return h("span", { class: "interval", "aria-hidden": "true", style: { "--low": share(entry.lower), "--high": share(entry.upper), "--at": share(entry.estimate) } });
}

function indicators(entries, choose) {
  if (!entries?.length) return null;
  return section("Indicators", h("ul", { class: "indicators" }, entries.map((entry) => h("li", { "data-id": entry.id },
    h("button", { type: "button", "data-id": entry.id, onclick: () => choose(entry.id) }, entry.title),
    h("span", {}, h("data", { value: entry.estimate }, number(entry.estimate)), unit(entry.units) ? h("small", {}, ` ${unit(entry.units)}`) : null),
    entry.lower === null || entry.lower === undefined ? null : [interval(entry),
      h("small", { title: "Interval: lower to upper bound" }, `${number(entry.lower)} – ${number(entry.upper)}`)]))));
}

function speciesRow(entry, choose) {
  return h("li", { "data-id": entry.id }, h("button", { type: "button", "data-id": entry.id, onclick: () => choose(entry.id), title: "Show its map" },
    h("span", { class: "names" }, h("i", { class: "latin", lang: "la" }, entry.name), entry.vernacular ? h("small", {}, entry.vernacular) : null),
    h("span", { class: "chips" }, ...statusChips(entry)),
    h("data", { value: entry.probability }, percent(entry.probability)), bar(entry.probability)));
}

function species(answer, choose) {
  const all = answer.species ?? [];
  if (!all.length) return null;
  const size = answer.set_size ?? 0;
  const rows = all.map((entry) => speciesRow(entry, choose));
  if (size > 0 && size < rows.length) rows.splice(size, 0, h("li", { class: "divider" }, `${size} species make up the likely assemblage; those below are less likely`));
  const list = h("ol", { class: "species" }, rows);
  rows.slice(FIRST).forEach((row) => { row.hidden = true; });
  const more = rows.length > FIRST && h("button", { type: "button", class: "more plain", onclick: () => {
    rows.forEach((row) => { row.hidden = false; });
    more.remove();
  } }, `Show all ${all.length}`);
  return section("Species", h("p", { class: "lead" }, size ? `${size} in the likely assemblage, by probability of occurrence` : "By probability of occurrence"), list, more);
}

/** The inputs at the place, named and in units by the catalogue, which is asked only when they are looked at. */
function environment(inputs) {
  const entries = Object.entries(inputs ?? {}).filter(([, value]) => value !== null && typeof value !== "object");
  if (!entries.length) return null;
  const list = h("dl", {});
  const row = async ([name, value]) => {
    const layer = await api.layer(`inputs.${name}`).catch(() => null);
    const classes = layer?.kind === "class" ? (await api.legend(layer).catch(() => null))?.classes : null;
    const text = classes?.find((entry) => entry.value === value)?.label ?? `${number(value)} ${unit(layer?.units)}`;
    return [h("dt", {}, layer?.title ?? name.replaceAll("_", " ")), h("dd", {}, h("data", { value }, text))];
  };
  const open = async () => { if (!list.children.length) list.replaceChildren(...(await Promise.all(entries.map(row))).flat()); };
  return h("details", { ontoggle: open }, h("summary", {}, "Environment"), list);
}

function fill(point, answer, choose) {
  const body = [habitats(answer), indicators(answer.indicators, choose), species(answer, choose), environment(answer.inputs)].filter(Boolean);
  if (!(answer.species?.length || answer.indicators?.length || answer.habitats?.length)) {
    body.unshift(h("p", { class: "state" }, "Nothing is predicted here: open water, sealed ground, or land without enough data."));
  }
  const unlike = answer.indicators?.find((entry) => entry.id === "indicators.applicability");
  if (unlike?.estimate > 1) {
    body.unshift(h("p", { class: "beyond" }, "Outside the area of applicability: conditions here are unlike those that the model learned from, so believe what follows less."));
  }
  panel.replaceChildren(head(point, answer.cell), h("div", { class: "body" }, ...body));
  announce([answer.habitats?.[0]?.label, `${answer.species?.length ?? 0} species`].filter(Boolean).join(", "));
  mark(state.active());
}

function failed(point, error, retry, goHome) {
  const outside = error.status === 404;
  const text = outside ? "This place lies outside the mapped region." : error.message;
  const button = outside ? h("button", { type: "button", onclick: goHome }, "Show the region") : h("button", { type: "button", onclick: retry }, "Try again");
  panel.replaceChildren(head(point, null), h("div", { class: "body" }, h("p", { class: "state" }, text), button));
  announce(text);
}

/** Mark the row of the layer that the map shows. */
export function mark(id) {
  for (const button of panel.querySelectorAll("button[data-id]")) {
    if (button.dataset.id === id) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
}

/**
 * Ask about a place and show the answer; null closes the panel.
 * `choose(id)` switches the layer, `read(answer | null)` hears what came back, `goHome()` shows the region.
 */
export async function showPoint(point, { choose, read, goHome }) {
  pending?.abort();
  panel.hidden = !point;
  document.body.classList.toggle("reading", Boolean(point));
  read(null);
  if (!point) return;
  const asked = pending = new AbortController();
  panel.dataset.state = "loading";
  panel.setAttribute("aria-busy", "true");
  panel.replaceChildren(head(point, null), h("div", { class: "body" }, h("p", { class: "state loading" }, "Reading the cube …"), h("div", { class: "ghost" }), h("div", { class: "ghost" }), h("div", { class: "ghost" })));
  let outcome = "ready";
  try {
    const answer = await api.point(point, asked.signal);
    fill(point, answer, choose);
    read(answer);
  } catch (error) {
    if (error.name === "AbortError") return;
    outcome = error.status === 404 ? "outside" : "error";
    failed(point, error, () => showPoint(point, { choose, read, goHome }), goHome);
  }
  panel.dataset.state = outcome;
  panel.removeAttribute("aria-busy");
}
