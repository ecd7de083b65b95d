// Drawing an outline on the map, by mouse, by touch or by keyboard, and showing the one that is asked about.

import { byId, h } from "./dom.js";
import { takeClicks, withMap } from "./map.js";

const CLOSE_PX = 12; // a corner nearer than this to the first one, or to the last, ends the outline
const SOURCE = "area";
const empty = { type: "FeatureCollection", features: [] };
let map = null;
let shown = null; // the geometry that is asked about
let drawing = null; // { corners, pointer, done, changed }

function draw() {
  if (!map) return;
  const features = shown ? [{ type: "Feature", properties: {}, geometry: shown }] : [];
  if (drawing) {
    const { corners, pointer } = drawing;
    const line = pointer && corners.length ? [...corners, pointer] : corners;
    if (line.length > 2) features.push({ type: "Feature", properties: {}, geometry: { type: "Polygon", coordinates: [[...line, line[0]]] } });
    else if (line.length === 2) features.push({ type: "Feature", properties: {}, geometry: { type: "LineString", coordinates: line } });
    features.push(...corners.map((corner, i) => ({ type: "Feature", properties: { corner: i === 0 ? "first" : "later" }, geometry: { type: "Point", coordinates: corner } })));
  }
  map.getSource(SOURCE).setData(features.length ? { type: "FeatureCollection", features } : empty);
}

withMap((made) => {
  map = made;
  map.addSource(SOURCE, { type: "geojson", data: empty });
  map.addLayer({ id: "area-fill", type: "fill", source: SOURCE, filter: ["==", ["geometry-type"], "Polygon"], paint: { "fill-color": "#14201a", "fill-opacity": 0.08 } });
  map.addLayer({ id: "area-halo", type: "line", source: SOURCE, filter: ["!=", ["geometry-type"], "Point"], layout: { "line-join": "round" }, paint: { "line-color": "#ffffff", "line-width": 4.5, "line-opacity": 0.9 } });
  map.addLayer({ id: "area-line", type: "line", source: SOURCE, filter: ["!=", ["geometry-type"], "Point"], layout: { "line-join": "round" }, paint: { "line-color": "#14201a", "line-width": 2 } });
  map.addLayer({ id: "area-corner", type: "circle", source: SOURCE, filter: ["==", ["geometry-type"], "Point"], paint: { "circle-radius": ["case", ["==", ["get", "corner"], "first"], 6.5, 4.5], "circle-color": "#ffffff", "circle-stroke-color": "#14201a", "circle-stroke-width": 2 } });
  draw();
});

/** Whether there is a map to draw on. */
export const canDraw = () => map !== null;

/**
 * Show the outline that is asked about, or none (null).
 * @param {object | null} geometry GeoJSON in degrees
 */
export function showOutline(geometry) {
  shown = geometry;
  draw();
}

/** Move the map so that [west, south, east, north] in degrees is seen beside the panel. */
export function fit([west, south, east, north]) {
  if (!map) return;
  map.resize();
  const [panel, stage] = [byId("area").getBoundingClientRect(), byId("stage").getBoundingClientRect()];
  const beside = panel.left > stage.left + 40 ? Math.max(0, stage.right - panel.left) : 0;
  map.fitBounds([[west, south], [east, north]], { padding: { top: 48, bottom: 48, left: 48, right: 48 + beside }, maxZoom: 13 });
}

const far = (a, b) => { const [p, q] = [map.project(a), map.project(b)]; return Math.hypot(p.x - q.x, p.y - q.y) > CLOSE_PX; };

function tell() {
  draw();
  drawing?.changed(drawing.corners.length);
}

/** End the outline where it stands; fewer than three corners enclose nothing. */
export function finish() {
  const { corners, done } = drawing ?? {};
  if (!corners || corners.length < 3) return;
  stop();
  done({ type: "Polygon", coordinates: [[...corners, corners[0]]] });
}

/** Take the last corner back. */
export function undo() {
  if (!drawing) return;
  drawing.corners.pop();
  tell();
}

function add({ lngLat }) {
  const corner = [Number(lngLat.lng.toFixed(5)), Number(lngLat.lat.toFixed(5))];
  const { corners } = drawing;
  const again = corners.length && !far(corner, corners.at(-1));
  if (again || (corners.length > 2 && !far(corner, corners[0]))) { finish(); return; }
  corners.push(corner);
  tell();
}

const follow = ({ lngLat }) => { drawing.pointer = [lngLat.lng, lngLat.lat]; draw(); };
const left = () => { if (drawing) { drawing.pointer = null; draw(); } };

function keys(event) {
  if (event.key === "Escape") {
    const { cancelled } = drawing;
    stop();
    cancelled();
  } else if (event.key === "Backspace" && !event.target.closest?.("input, select, textarea")) undo();
  else return;
  event.preventDefault();
  event.stopImmediatePropagation();
}

/**
 * Let the reader set corners: a click, a tap, or Enter at the crosshair sets one, Backspace takes one back, Escape cancels; setting
 * one where the last or the first one stands ends the outline.
 * @param {{done: (geometry: object) => void, cancelled: () => void, changed: (corners: number) => void}} hear
 */
export function start(hear) {
  stop();
  drawing = { corners: [], pointer: null, ...hear };
  takeClicks(add);
  map.doubleClickZoom.disable(); // the second click of two ends the outline
  map.on("mousemove", follow);
  map.on("mouseout", left);
  map.getCanvas().style.cursor = "crosshair";
  document.addEventListener("keydown", keys, true);
  map.getCanvas().focus({ preventScroll: true });
  tell();
}

/** Leave drawing; what was drawn is forgotten. */
export function stop() {
  if (!drawing) return;
  drawing = null;
  takeClicks(null);
  map.doubleClickZoom.enable();
  map.off("mousemove", follow);
  map.off("mouseout", left);
  map.getCanvas().style.cursor = "";
  document.removeEventListener("keydown", keys, true);
  draw();
}

/**
 * A button beside the map's own.
 * @param {{name: string, title: string, press: () => void}} what
 */
export function mapButton({ name, title, press }) {
  withMap((made) => {
    const button = h("button", { type: "button", id: name, class: name, title, "aria-label": title, onclick: press });
    made.addControl({ onAdd: () => h("div", { class: "maplibregl-ctrl maplibregl-ctrl-group" }, button), onRemove: () => button.parentElement?.remove() }, "top-left");
  });
}
