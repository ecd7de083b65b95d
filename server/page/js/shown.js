// The card of the layer that the map shows: name, statuses, legend, bounds, opacity, note, source.

import * as api from "./api.js";
import { baseOf } from "./browse.js";
import { byId, h, nameOf, statusChips, subtitleOf } from "./dom.js";
import { legendOf, pointNeedle } from "./legend.js";
import * as state from "./state.js";

const card = byId("shown");
const BOUNDS = [["lower", "Lower"], ["", "Estimate"], ["upper", "Upper"]];
let legend = null;
let reading = null; // the answer of /point, for the needle

/** The three faces of an indicator, where the cube has them: its uncertainty is one press away. */
async function boundSwitch(layer) {
  if (layer.product !== "indicators") return null;
  const base = baseOf(layer.id);
  const there = await Promise.all(BOUNDS.map(([key]) => api.layer(key ? `${base}.${key}` : base).catch(() => null)));
  if (there.filter(Boolean).length < 2) return null;
  return h("div", { class: "bounds", role: "group", "aria-label": "Estimate or bound of its interval" },
    BOUNDS.map(([, label], i) => there[i] && h("button", {
      type: "button", "aria-pressed": String(there[i].id === layer.id), onclick: () => state.set({ layer: there[i].id }),
    }, label)));
}

function opacity() {
  const percent = Math.round(state.get().opacity * 100);
  const output = h("output", { for: "opacity" }, `${percent} %`);
  return h("div", { class: "opacity" }, h("label", { for: "opacity" }, "Opacity"),
    h("input", { id: "opacity", type: "range", min: 0, max: 100, step: 5, value: percent,
      oninput: (event) => { output.textContent = `${event.target.value} %`; state.set({ opacity: Number(event.target.value) / 100 }); } }),
    output);
}

function baseMap() {
  return h("label", { class: "basemap", title: "Off: nothing is asked of any other machine" },
    h("input", { id: "osm", type: "checkbox", checked: state.get().base === "osm",
      onchange: (event) => state.set({ base: event.target.checked ? "osm" : "plain" }) }),
    "OpenStreetMap beneath", h("small", {}, "online"));
}

function valueHere(layer) {
  if (!reading || !layer) return null;
  const bound = layer.id.match(/\.(lower|upper)$/)?.[1] ?? "estimate";
  const species = reading.species?.find((entry) => entry.id === layer.id);
  const indicator = reading.indicators?.find((entry) => entry.id === baseOf(layer.id));
  const name = layer.id.replace(/^inputs\./, "");
  return species?.probability ?? indicator?.[bound] ?? (layer.product === "inputs" ? reading.inputs?.[name] : null) ?? null;
}

/** Show on the legend where the value of the asked place lies; null takes it away. */
export function readHere(answer) {
  reading = answer;
  pointNeedle(legend, valueHere(api.seen(state.get().layer)));
}

/** Draw the card of a layer. */
export async function showCard(layer) {
  const [drawn, bounds] = await Promise.all([
    legendOf(layer).catch((error) => h("p", { class: "empty" }, `No legend: ${error.message}`)),
    boundSwitch(layer),
  ]);
  if (state.get().layer !== layer.id) return; // another layer was chosen meanwhile
  legend = drawn;
  const open = card.classList.contains("open");
  const toggle = h("button", { type: "button", class: "unfold phone-only", "aria-expanded": String(open), "aria-controls": "shown-more", "aria-label": "More about this layer",
    onclick: () => toggle.setAttribute("aria-expanded", String(card.classList.toggle("open"))) });
  const source = [layer.attribution, layer.license].filter(Boolean).join(" · ");
  card.replaceChildren(
    h("div", { class: "heading" }, h("h2", {}, nameOf(layer)), toggle,
      subtitleOf(layer) && h("p", { class: "subtitle" }, subtitleOf(layer)),
      h("div", { class: "chips" }, ...statusChips(layer.status))),
    h("div", { class: "legend" }, drawn),
    h("div", { class: "more-of-card", id: "shown-more" }, bounds, opacity(), baseMap(),
      layer.note ? h("p", { class: "note" }, layer.note) : null,
      source ? h("p", { class: "source" }, source) : null));
  card.hidden = false;
  pointNeedle(legend, valueHere(layer));
}

// The slider and the switch follow the address when a link is pasted.
state.listen((view, changed) => {
  const [slider, osm] = [byId("opacity"), byId("osm")];
  if (changed.has("opacity") && slider && slider !== document.activeElement) {
    slider.value = Math.round(view.opacity * 100);
    slider.nextElementSibling.textContent = `${slider.value} %`;
  }
  if (changed.has("base") && osm) osm.checked = view.base === "osm";
});
