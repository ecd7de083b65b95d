// The view as one small record, and its spelling in the URL: a link shows the same view.

/**
 * @typedef {object} View
 * @property {string | null} layer id of the layer shown
 * @property {[number, number] | null} center longitude and latitude in degrees
 * @property {number | null} zoom of MapLibre: tiles of 512 pixels
 * @property {number} opacity 0 to 1
 * @property {[number, number] | null} point the place that is asked about, in degrees
 * @property {"plain" | "osm"} base what lies beneath
 * @property {string | null} compare id of the layer right of the boundary
 * @property {number} swipe 0 to 1, where the boundary stands
 * @property {boolean} hatch whether cells outside the area of applicability are hatched
 * @property {string | null} area an outlined polygon as text
 * @property {string | null} sheet id of the layer whose fact sheet is open
 * @property {"left" | "right"} side which of two layers the lists and the card are about; not in the URL
 */

const listeners = new Set();
/** @type {View} */
let current = {
  layer: null, center: null, zoom: null, opacity: 1, point: null, base: "plain", compare: null, swipe: 0.5, hatch: false, area: null, sheet: null, side: "left",
};

const pair = (text) => {
  const numbers = (text ?? "").split(",").map(Number);
  return text && numbers.length === 2 && numbers.every(Number.isFinite) ? numbers : null;
};

/** A share written as per cent, or undefined. */
function share(text) {
  const percent = Number(text || NaN);
  return percent >= 0 && percent <= 100 ? percent / 100 : undefined;
}

/**
 * Read a hash; what it does not say, or says badly, is left out.
 * @param {string} hash
 * @returns {Partial<View>}
 */
export function parse(hash) {
  const fields = new URLSearchParams(hash.replace(/^#/, ""));
  const view = {};
  if (fields.get("layer")) view.layer = fields.get("layer");
  const [zoom, lat, lon] = (fields.get("map") ?? "").split("/").map(Number);
  if (Number.isFinite(lon) && Math.abs(lat) <= 85 && Math.abs(lon) <= 180) {
    view.center = [lon, lat];
    view.zoom = zoom;
  }
  const opacity = share(fields.get("opacity"));
  if (opacity !== undefined) view.opacity = opacity;
  view.point = pair(fields.get("point"));
  view.base = fields.get("base") === "osm" ? "osm" : "plain";
  view.swipe = share(fields.get("swipe")) ?? 0.5;
  view.hatch = fields.get("hatch") === "1";
  for (const name of ["compare", "area", "sheet"]) view[name] = fields.get(name) || null;
  if (!view.compare) view.side = "left";
  return view;
}

/**
 * Write a view as a hash. Five decimals of a degree are a metre, a fiftieth of a cell.
 * @param {View} view
 * @returns {string}
 */
export function format(view) {
  const fields = [];
  if (view.layer) fields.push(`layer=${view.layer}`);
  if (view.center) {
    fields.push(`map=${view.zoom.toFixed(2)}/${view.center[1].toFixed(5)}/${view.center[0].toFixed(5)}`);
  }
  fields.push(`opacity=${Math.round(view.opacity * 100)}`);
  if (view.point) fields.push(`point=${view.point.map((x) => x.toFixed(5)).join(",")}`);
  if (view.base !== "plain") fields.push(`base=${view.base}`);
  if (view.compare) fields.push(`compare=${view.compare}`, `swipe=${Math.round(view.swipe * 100)}`);
  if (view.hatch) fields.push("hatch=1");
  for (const name of ["area", "sheet"]) if (view[name]) fields.push(`${name}=${encodeURIComponent(view[name])}`);
  return `#${fields.join("&")}`;
}

/** @returns {View} the view as it is now */
export const get = () => current;

/** Id of the layer that the lists, the card and the readings are about: the right one of two, or the only one. */
export function active() {
  return current.compare && current.side === "right" ? current.compare : current.layer;
}

/**
 * Show a layer where the reader is choosing: right of the boundary, or left of it.
 * @param {string} id
 */
export function choose(id) {
  set(current.compare && current.side === "right" ? { compare: id } : { layer: id });
}

/**
 * Change some fields; listeners hear (view, names of the fields that changed).
 * @param {Partial<View>} patch
 */
export function set(patch) {
  const changed = Object.keys(patch).filter((k) => JSON.stringify(patch[k]) !== JSON.stringify(current[k]));
  if (!changed.length) return;
  current = { ...current, ...patch };
  history.replaceState(null, "", format(current));
  for (const listener of listeners) listener(current, new Set(changed));
}

/**
 * Hear of every change.
 * @param {(view: View, changed: Set<string>) => void} listener
 */
export function listen(listener) {
  listeners.add(listener);
}

// A pasted link or an edited address changes the view in place.
addEventListener("hashchange", () => set(parse(location.hash)));
