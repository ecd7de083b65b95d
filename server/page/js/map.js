// The map itself: the layer shown, the point asked for, the controls, and who may draw on it.

import { byId, h } from "./dom.js";
import { startCrosshair } from "./crosshair.js";
import { drawer } from "./layer-tiles.js";
import { graticule, labelFrame } from "./graticule.js";
import { layGround, style } from "./ground.js";
import { loadLibrary } from "./library.js";
import * as state from "./state.js";
import { startSwipe } from "./swipe.js";

const EDGE_PX = 28; // a place nearer to the edge than this is moved into view

const loading = loadLibrary(); // at once, while the catalogue is still being asked for
loading.catch(() => {}); // told where it is awaited
const stage = byId("stage");
const busy = new Set(); // maps that wait for tiles
let map = null;
let library = null;
let marker = null;
let ground = null;
let tiles = null;
let least = 0; // the map zoom below which the layer has no tiles
let clicks = null; // who takes the clicks on the map instead of the point panel
let ready; // resolves once the map can take layers
const standing = new Promise((resolve) => { ready = resolve; });

/**
 * Call `callback(map, library)` as soon as the map can take sources and layers; never where there is no map.
 * @param {(map: object, library: object) => void} callback the MapLibre map and the library's module
 */
export function withMap(callback) {
  standing.then(() => callback(map, library));
}

/**
 * Give the clicks on the map to `handler({ lngLat, point })` until `takeClicks(null)` gives them back to the point panel.
 * @param {((event: object) => void) | null} handler
 */
export function takeClicks(handler) {
  clicks = handler;
}

function press(event) {
  if (clicks) clicks(event);
  else state.set({ point: [event.lngLat.lng, event.lngLat.lat] });
}

/** A word where the map is empty only because it is seen from too far away. */
function hint() {
  byId("hint").hidden = map.getZoom() >= least - 0.5;
}

/**
 * Show a layer in place of the one before.
 * @param {object} layer as the catalogue describes it
 */
export function showLayer(layer) {
  if (!map) return;
  stage.dataset.tiles = "loading";
  tiles.show(layer);
  least = layer.minzoom - 1; // a tile of 256 pixels belongs to one map zoom less
  hint();
}

function showPoint(point) {
  marker?.remove();
  marker = point && new library.Marker({ element: h("div", { class: "here" }) }).setLngLat(point).addTo(map);
}

/**
 * Bring the asked place out from under the panel that tells about it.
 * @param {[number, number]} point longitude and latitude
 */
export function uncover(point) {
  if (!map || byId("point").hidden) return;
  map.resize(); // on a phone the open panel takes its place from the map
  const [panel, frame] = [byId("point").getBoundingClientRect(), stage.getBoundingClientRect()];
  const beside = panel.left > frame.left + EDGE_PX; // on a wide screen it lies over the map's right
  const right = beside ? panel.left - frame.left : frame.width;
  const { x, y } = map.project(point);
  if (x > EDGE_PX && x < right - EDGE_PX && y > EDGE_PX && y < frame.height - EDGE_PX) return;
  map.easeTo({ center: point, offset: [(right - frame.width) / 2, 0] });
}

function remember() {
  const { lng, lat } = map.getCenter();
  state.set({ center: [lng, lat], zoom: map.getZoom() });
  hint();
}

/** Back to the whole region. */
export function goHome(about, animate = true) {
  map?.fitBounds(about.bounds, { padding: 28, animate });
}

function home(about) {
  const button = h("button", { type: "button", class: "home", title: "Show the whole region", "aria-label": "Show the whole region", onclick: () => goHome(about) });
  return { onAdd: () => h("div", { class: "maplibregl-ctrl maplibregl-ctrl-group" }, button), onRemove: () => button.parentElement?.remove() };
}

function drawLines() {
  let lines = graticule(map);
  const redraw = () => { lines = graticule(map); map.getSource("graticule")?.setData(lines.data); labelFrame(map, byId("frame"), lines); };
  map.on("move", () => labelFrame(map, byId("frame"), lines));
  for (const event of ["moveend", "resize"]) map.on(event, redraw);
  redraw();
}

function follow(view, changed) {
  if (changed.has("opacity")) tiles.fade(view.opacity);
  if (changed.has("hatch")) tiles.hatch(view.hatch);
  if (changed.has("base")) ground.show(view.base);
  if (changed.has("point")) showPoint(view.point);
  if (changed.has("center") || changed.has("zoom")) {
    const { lng, lat } = map.getCenter();
    const away = Math.hypot(lng - view.center[0], lat - view.center[1]) > 1e-6 || Math.abs(map.getZoom() - view.zoom) > 1e-3;
    if (away && !map.isMoving()) map.jumpTo({ center: view.center, zoom: view.zoom });
  }
}

/** Tell the page whether a map still waits for tiles: `data-tiles` of the stage is `loading` or `loaded`. */
function watch(one) {
  const told = () => { stage.dataset.tiles = busy.size ? "loading" : "loaded"; };
  one.on("dataloading", ({ sourceId }) => { if (/^(data-|beyond|osm)/.test(sourceId ?? "")) { busy.add(one); told(); } }); // not the coastlines
  for (const event of ["idle", "remove"]) one.on(event, () => { busy.delete(one); told(); });
}

/** A mark on the browser's time line when the first tile of a layer is drawn: what `benchmarks/page.py` reads. */
function markFirst(event) {
  if (!event.tile || !event.sourceId?.startsWith("data-")) return;
  map.off("data", markFirst);
  map.once("render", () => requestAnimationFrame(() => performance.mark("first-tile")));
}

/**
 * Make the map over the region of `about`.
 * @param {object} about answer of /about.json
 * @param {{failed: () => void, say: (text: string) => void}} hear told when tiles fail, and what else goes wrong
 */
export async function startMap(about, { failed, say }) {
  library = await loading;
  const view = state.get();
  const placed = view.center ? { center: view.center, zoom: view.zoom } : { bounds: about.bounds, fitBoundsOptions: { padding: 28 } };
  map = new library.Map({
    container: "map", style: style(about), ...placed, attributionControl: false, renderWorldCopies: false,
    dragRotate: false, pitchWithRotate: false, touchPitch: false, maxPitch: 0, minZoom: 2, maxZoom: 17,
  });
  map.touchZoomRotate.disableRotation();
  map.keyboard.disableRotation();
  map.addControl(new library.NavigationControl({ showCompass: false }), "top-left");
  map.addControl(home(about), "top-left");
  map.addControl(new library.ScaleControl({ maxWidth: 110 }), "bottom-left");
  map.addControl(new library.AttributionControl({ compact: false }), "bottom-right");
  map.on("error", failed);
  map.on("data", markFirst);
  map.on("moveend", remember);
  map.on("click", press);
  watch(map);
  startCrosshair(map, press);
  await map.once("style.load");
  ground = layGround(map);
  tiles = drawer(map);
  tiles.fade(view.opacity);
  drawLines();
  ground.show(view.base);
  showPoint(state.get().point);
  remember();
  state.listen(follow);
  tiles.hatch(state.get().hatch);
  startSwipe(map, library, about, watch, say);
  ready();
}
