// The card of the layer that the map shows: name, statuses, legend, uncertainty, opacity, comparison, note, source.

import * as api from "./api.js";
import { baseOf } from "./browse.js";
import { byId, h, nameOf, statusChips, subtitleOf } from "./dom.js";
import { legendOf, pointNeedle, tableOf } from "./legend.js";
import { sheetEntry } from "./sheet.js";
import * as state from "./state.js";
import { hatchSwitch, partner, surenessSwitch } from "./uncertainty.js";

const card = byId("shown");
let legend = null;
let reading = null; // the answer of /point, for the needle
let tableOpen = false; // stays as the reader left it when another layer is shown

function opacity() {
  const percent = Math.round(state.get().opacity * 100);
  const output = h("output", { for: "opacity" }, `${percent} %`);
  return h("div", { class: "opacity" }, h("label", { for: "opacity" }, "Opacity"),
    h("input", { id: "opacity", type: "range", min: 0, max: 100, step: 5, value: percent,
      oninput: (event) => { output.textContent = `${event.target.value} %`; state.set({ opacity: Number(event.target.value) / 100 }); } }),
    output);
}

function baseMap() {
  return h("label", { class: "check", title: "Off: nothing is asked of any other machine" },
    h("input", { id: "osm", type: "checkbox", checked: state.get().base === "osm",
      onchange: (event) => state.set({ base: event.target.checked ? "osm" : "plain" }) }),
    "OpenStreetMap beneath", h("small", {}, "online"));
}

function table(layer) {
  const body = h("div", { tabindex: 0, role: "region", "aria-label": "Legend as a table" });
  const fill = async (event) => {
    tableOpen = event.target.open;
    if (tableOpen && !body.children.length) body.replaceChildren(await tableOf(layer).catch((error) => h("p", { class: "empty" }, error.message)));
  };
  return h("details", { class: "as-table", id: "legend-table", open: tableOpen, ontoggle: fill }, h("summary", {}, "Legend as a table"), body);
}

/** Start a comparison, or say which of the two layers the lists and this card are about, and end it. */
function comparison(layer) {
  const { compare, side } = state.get();
  if (!compare) {
    const begin = async () => state.set({ compare: await partner(layer), swipe: 0.5, side: "right" });
    return h("button", { type: "button", id: "compare", class: "plain wide", onclick: begin }, "Compare with another layer");
  }
  const of = (name, label) => h("button", { type: "button", "aria-pressed": String(side === name), onclick: () => state.set({ side: name }) }, label);
  const swap = () => state.set({ layer: compare, compare: state.get().layer });
  return h("div", { class: "comparing" },
    h("div", { class: "segments", role: "group", "aria-label": "Which layer to choose and read about" }, of("left", "Left layer"), of("right", "Right layer")),
    h("div", { class: "row" }, h("button", { type: "button", class: "plain", onclick: swap }, "Swap sides"),
      h("button", { type: "button", class: "plain", onclick: () => state.set({ compare: null, side: "left" }) }, "End comparison")));
}

function valueHere(layer) {
  if (!reading || !layer) return null;
  const bound = layer.id.match(/\.(lower|upper)$/)?.[1] ?? "estimate";
  const species = reading.species?.find((entry) => entry.id === layer.id);
  const indicator = reading.indicators?.find((entry) => entry.id === baseOf(layer.id));
  if (indicator && layer.id.endsWith(".width")) return [indicator.lower, indicator.upper].includes(null) ? null : indicator.upper - indicator.lower;
  const name = layer.id.replace(/^inputs\./, "");
  return species?.probability ?? indicator?.[bound] ?? (layer.product === "inputs" ? reading.inputs?.[name] : null) ?? null;
}

/** Show on the legend where the value of the asked place lies; null takes it away. */
export function readHere(answer) {
  reading = answer;
  pointNeedle(legend, valueHere(api.seen(state.active())));
}

/**
 * Draw the card of a layer.
 * @param {object} layer as the catalogue describes it
 */
export async function showCard(layer) {
  const [drawn, sureness] = await Promise.all([
    legendOf(layer).catch((error) => h("p", { class: "empty" }, `No legend: ${error.message}`)),
    surenessSwitch(layer).catch(() => null),
  ]);
  if (state.active() !== layer.id) return; // another layer was chosen meanwhile
  legend = drawn;
  const open = card.classList.contains("open");
  const toggle = h("button", { type: "button", class: "unfold phone-only", "aria-expanded": String(open), "aria-controls": "shown-more", "aria-label": "More about this layer",
    onclick: () => toggle.setAttribute("aria-expanded", String(card.classList.toggle("open"))) });
  const source = [layer.attribution, layer.license].filter(Boolean).join(" · ");
  const held = card.contains(document.activeElement) ? document.activeElement.textContent : null;
  card.replaceChildren(
    h("div", { class: "heading" }, h("h2", {}, nameOf(layer)), toggle,
      subtitleOf(layer) && h("p", { class: "subtitle" }, subtitleOf(layer)),
      h("div", { class: "chips" }, ...statusChips(layer.status))),
    h("div", { class: "legend" }, drawn),
    h("div", { class: "more-of-card", id: "shown-more" }, sureness, sheetEntry(layer), table(layer), comparison(layer), opacity(), hatchSwitch(layer), baseMap(),
      layer.note ? h("p", { class: "note" }, layer.note) : null,
      source ? h("p", { class: "source" }, source) : null));
  card.hidden = false;
  // whoever pressed a button of the card keeps the keyboard on it
  if (held) [...card.querySelectorAll("button")].find((button) => button.textContent === held)?.focus();
  pointNeedle(legend, valueHere(layer));
}

// The slider and the switches follow the address when a link is pasted.
state.listen((view, changed) => {
  const [slider, osm, hatch] = ["opacity", "osm", "hatch"].map(byId);
  if (changed.has("opacity") && slider && slider !== document.activeElement) {
    slider.value = Math.round(view.opacity * 100);
    slider.nextElementSibling.textContent = `${slider.value} %`;
  }
  if (changed.has("base") && osm) osm.checked = view.base === "osm";
  if (changed.has("hatch") && hatch) hatch.checked = view.hatch;
});
