// The map by keyboard: a crosshair at its centre, and the value of the layer under it, shown and announced.

import * as api from "./api.js";
import { announce, byId, h } from "./dom.js";
import { place, quantity } from "./format.js";
import * as state from "./state.js";

const WAIT_MS = 350; // while the reader still moves, nothing is asked and nothing announced
const CELL_M = 50;
const PIXEL_M = 78_271.517; // a screen pixel of MapLibre at zoom 0 on the equator
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** One layer's value as words: "Expected richness: 23.4". */
function words(layer, reading) {
  if (!reading.inside) return "outside the mapped region";
  if (reading.value === null) return `${layer.title}: no data`;
  return `${layer.title}: ${reading.label ?? quantity(reading.value, layer)}`;
}

/**
 * Read the shown layer, or both, under the centre of the map while it has the keyboard's focus.
 * @param {object} map MapLibre map
 * @param {(event: {lngLat: object, point: object}) => void} press what Enter does at the crosshair, as a click does at the pointer
 */
export function startCrosshair(map, press) {
  const cross = h("div", { id: "crosshair", "aria-hidden": "true", hidden: true });
  const output = h("p", { id: "readout", hidden: true });
  byId("stage").append(cross, output);
  const canvas = map.getCanvas();
  canvas.setAttribute("aria-label", "Map. Arrow keys move it, with Shift by one cell of 50 metres; the value under its centre is read out. Plus and minus zoom, Enter tells everything known of the place.");
  let timer = 0;
  let pending = null;

  const read = async () => {
    const { lng, lat } = map.getCenter();
    const { layer, compare } = state.get();
    pending?.abort();
    const asked = pending = new AbortController();
    try {
      const ids = [layer, compare].filter(Boolean);
      const told = await Promise.all(ids.map(async (id) => words(await api.layer(id), await api.value(id, [lng, lat], asked.signal))));
      const text = [...new Set(told)].join("; ");
      output.textContent = text;
      announce(`${text}. ${place([lng, lat])}`);
    } catch (error) {
      if (error.name !== "AbortError") { output.textContent = error.message; announce(error.message); }
    }
  };
  const soon = () => { clearTimeout(timer); timer = setTimeout(read, WAIT_MS); };
  const show = (on) => {
    if (on === !cross.hidden) return;
    cross.hidden = output.hidden = !on;
    output.textContent = "";
    if (on) soon();
    else { clearTimeout(timer); pending?.abort(); }
  };

  canvas.addEventListener("focus", () => show(canvas.matches(":focus-visible")));
  canvas.addEventListener("blur", () => show(false));
  canvas.addEventListener("pointerdown", () => show(false));
  canvas.addEventListener("keydown", (event) => {
    if (event.key in ARROWS || ["+", "-", "="].includes(event.key)) show(true);
    if (event.key === "Enter") {
      const lngLat = map.getCenter();
      press({ lngLat, point: map.project(lngLat) });
    } else if (event.key in ARROWS && event.shiftKey) {
      event.preventDefault();
      event.stopPropagation(); // MapLibre would turn the map
      const pixel = PIXEL_M * Math.cos(map.getCenter().lat * Math.PI / 180) / 2 ** map.getZoom();
      map.panBy(ARROWS[event.key].map((way) => way * Math.max(1, CELL_M / pixel)), { animate: false });
    }
  });
  map.on("moveend", () => { if (!cross.hidden) soon(); });
  state.listen((view, changed) => { if (!cross.hidden && (changed.has("layer") || changed.has("compare"))) soon(); });
}
