// The view as one small record, and its spelling in the URL: a link shows the same view.
// {layer, center: [lon, lat], zoom, opacity: 0..1, point: [lon, lat] | null, base: "plain" | "osm",
//  area: a polygon as text | null, sheet: id of the layer whose fact sheet is open | null}

const listeners = new Set();
let current = { layer: null, center: null, zoom: null, opacity: 1, point: null, base: "plain", area: null, sheet: null };

const pair = (text) => {
  const numbers = (text ?? "").split(",").map(Number);
  return text && numbers.length === 2 && numbers.every(Number.isFinite) ? numbers : null;
};

/** Read a hash; what it does not say, or says badly, is left out. */
export function parse(hash) {
  const fields = new URLSearchParams(hash.replace(/^#/, ""));
  const view = {};
  if (fields.get("layer")) view.layer = fields.get("layer");
  const [zoom, lat, lon] = (fields.get("map") ?? "").split("/").map(Number);
  if (Number.isFinite(lon) && Math.abs(lat) <= 85 && Math.abs(lon) <= 180) {
    view.center = [lon, lat];
    view.zoom = zoom;
  }
  const opacity = Number(fields.get("opacity") ?? NaN);
  if (opacity >= 0 && opacity <= 100) view.opacity = opacity / 100;
  view.point = pair(fields.get("point"));
  view.base = fields.get("base") === "osm" ? "osm" : "plain";
  for (const name of ["area", "sheet"]) view[name] = fields.get(name) || null;
  return view;
}

/** Write a view as a hash. Five decimals of a degree are a metre, a fiftieth of a cell. */
export function format(view) {
  const fields = [];
  if (view.layer) fields.push(`layer=${view.layer}`);
  if (view.center) {
    fields.push(`map=${view.zoom.toFixed(2)}/${view.center[1].toFixed(5)}/${view.center[0].toFixed(5)}`);
  }
  fields.push(`opacity=${Math.round(view.opacity * 100)}`);
  if (view.point) fields.push(`point=${view.point.map((x) => x.toFixed(5)).join(",")}`);
  if (view.base !== "plain") fields.push(`base=${view.base}`);
  for (const name of ["area", "sheet"]) if (view[name]) fields.push(`${name}=${encodeURIComponent(view[name])}`);
  return `#${fields.join("&")}`;
}

export const get = () => current;

/** Change some fields; listeners hear (view, names of the fields that changed). */
export function set(patch) {
  const changed = Object.keys(patch).filter((k) => JSON.stringify(patch[k]) !== JSON.stringify(current[k]));
  if (!changed.length) return;
  current = { ...current, ...patch };
  history.replaceState(null, "", format(current));
  for (const listener of listeners) listener(current, new Set(changed));
}

export function listen(listener) {
  listeners.add(listener);
}

// A pasted link or an edited address changes the view in place.
addEventListener("hashchange", () => set(parse(location.hash)));
