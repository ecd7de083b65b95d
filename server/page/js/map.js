// The map itself: the paper, the layer shown, the point asked for, and the controls.

import * as api from "./api.js";
import { byId, h } from "./dom.js";
import { graticule, labelFrame } from "./graticule.js";
import { loadLibrary } from "./library.js";
import { layPaper, style } from "./paper.js";
import * as state from "./state.js";

const EDGE_PX = 28; // a place nearer to the edge than this is moved into view
const SWAP_MS = 4000; // the old layer leaves at the latest after this
const OSM = {
  type: "raster", tiles: ["https://tile.openstreetmap.org/{z}/{x}/{y}.png"], tileSize: 256, maxzoom: 19,
  attribution: "© <a href=\"https://www.openstreetmap.org/copyright\" target=\"_blank\" rel=\"noopener\">OpenStreetMap</a> contributors",
};

const loading = loadLibrary(); // at once, while the catalogue is still being asked for
loading.catch(() => {}); // told where it is awaited
const stage = byId("stage");
let map = null;
let library = null;
let marker = null;
let drawn = null; // id of the data source on the map
let serial = 0;
let least = 0; // the map zoom below which the layer has no tiles

let clicks = null; // who takes the clicks on the map instead of the point panel
let ready; // resolves with the map, once it can take layers
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

/** A word where the map is empty only because it is seen from too far away. */
function hint() {
  byId("hint").hidden = map.getZoom() >= least - 0.5;
}

/** A tile address for this screen: twice the pixels where the screen has them. */
function tilesOf(layer) {
  const url = api.urlOf(layer.tiles);
  return devicePixelRatio >= 1.5 ? url.replace("{y}.png", "{y}@2x.png") : url;
}

function drop(id) {
  if (!map.getLayer(id)) return;
  map.removeLayer(id);
  map.removeSource(id);
}

/** Show a layer in place of the one before, which leaves when the new tiles are there. */
export function showLayer(layer) {
  if (!map) return;
  const before = drawn;
  const id = `data-${++serial}`;
  drawn = id;
  stage.dataset.tiles = "loading";
  map.addSource(id, { type: "raster", tiles: [tilesOf(layer)], tileSize: 256, bounds: layer.bounds, minzoom: layer.minzoom, maxzoom: layer.maxzoom });
  map.addLayer({
    id, type: "raster", source: id,
    paint: { "raster-opacity": state.get().opacity, "raster-resampling": "nearest", "raster-fade-duration": 120 },
  }, "graticule");
  least = layer.minzoom - 1; // a tile of 256 pixels belongs to one map zoom less
  hint();
  if (!before) return;
  const leave = () => { clearTimeout(timer); map.off("idle", leave); drop(before); };
  const timer = setTimeout(leave, SWAP_MS);
  map.on("idle", leave);
}

function showBase(base) {
  const there = Boolean(map.getLayer("osm"));
  if (base === "osm" && !there) {
    map.addSource("osm", OSM);
    map.addLayer({ id: "osm", type: "raster", source: "osm", paint: { "raster-saturation": -0.6, "raster-contrast": -0.1 } }, "paper");
  } else if (base !== "osm" && there) {
    map.removeLayer("osm");
    map.removeSource("osm");
  }
  map.setPaintProperty("paper", "fill-opacity", base === "osm" ? 0 : 1);
}

function showPoint(point) {
  marker?.remove();
  marker = point && new library.Marker({ element: h("div", { class: "here" }) }).setLngLat(point).addTo(map);
}

/** Bring the asked place out from under the panel that tells about it. */
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
  if (changed.has("opacity") && drawn) map.setPaintProperty(drawn, "raster-opacity", view.opacity);
  if (changed.has("base")) showBase(view.base);
  if (changed.has("point")) showPoint(view.point);
  if (changed.has("center") || changed.has("zoom")) {
    const { lng, lat } = map.getCenter();
    const away = Math.hypot(lng - view.center[0], lat - view.center[1]) > 1e-6 || Math.abs(map.getZoom() - view.zoom) > 1e-3;
    if (away && !map.isMoving()) map.jumpTo({ center: view.center, zoom: view.zoom });
  }
}

/** Make the map over the region of `about`; `onTileError(text)` hears of tiles that fail. */
export async function startMap(about, onTileError) {
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
  map.on("error", ({ error }) => onTileError(error?.message ?? "Something could not be drawn."));
  map.on("dataloading", () => { stage.dataset.tiles = "loading"; });
  map.on("idle", () => { stage.dataset.tiles = "loaded"; });
  map.on("moveend", remember);
  map.on("click", (event) => {
    if (clicks) clicks(event);
    else state.set({ point: [event.lngLat.lng, event.lngLat.lat] });
  });
  const canvas = map.getCanvas();
  canvas.setAttribute("aria-label", "Map. Arrow keys move it, plus and minus zoom, Enter reads the values at its centre.");
  canvas.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    const lngLat = map.getCenter();
    if (clicks) clicks({ lngLat, point: map.project(lngLat) });
    else state.set({ point: [lngLat.lng, lngLat.lat] });
  });
  await map.once("style.load");
  layPaper(map);
  drawLines();
  showBase(view.base);
  showPoint(state.get().point);
  remember();
  state.listen(follow);
  ready();
}
