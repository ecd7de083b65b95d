// Outlines of areas: GeoJSON in, GeoJSON out, and the short text that stands for one in the address of the page.

const PRECISION = 1e5; // five decimals of a degree are a metre, a fiftieth of a cell
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const HALF = 32; // of the letters: the lower half ends a number, the upper half goes on
export const MOST_TEXT = 4000; // letters that an address can carry through mail and chat
export const MOST_BYTES = 4_000_000; // of an uploaded file: far more than the positions that the server takes
const MOST_POSITIONS = 100_000; // as the server takes

/** What is no outline, as one sentence for the reader. */
export class OutlineError extends Error {}

/** A whole number as letters: five bits each, the sign in the lowest one. */
function spell(value) {
  let rest = value < 0 ? -value * 2 - 1 : value * 2;
  let out = "";
  for (; rest >= HALF; rest = Math.floor(rest / HALF)) out += LETTERS[HALF + (rest % HALF)];
  return out + LETTERS[rest];
}

/** The whole numbers of a text, or null where it is none. */
function spelled(text) {
  const out = [];
  let [value, scale] = [0, 1];
  for (const letter of text) {
    const digit = LETTERS.indexOf(letter);
    if (digit < 0 || scale > 2 ** 40) return null;
    value += (digit % HALF) * scale;
    scale *= HALF;
    if (digit < HALF) {
      out.push(value % 2 ? -(value + 1) / 2 : value / 2);
      [value, scale] = [0, 1];
    }
  }
  return scale === 1 ? out : null;
}

/** Polygons of a Polygon or MultiPolygon. */
const polygonsOf = (geometry) => (geometry.type === "Polygon" ? [geometry.coordinates] : geometry.coordinates);

function spellRing(ring) {
  let before = [0, 0];
  return ring.slice(0, -1).map((position) => {
    const now = [0, 1].map((axis) => Math.round(position[axis] * PRECISION));
    const text = spell(now[0] - before[0]) + spell(now[1] - before[1]);
    before = now;
    return text;
  }).join("");
}

/**
 * A Polygon or MultiPolygon as letters that an address carries as they are: `p`, rings after each other with `.`, polygons with `~`.
 * @param {{type: string, coordinates: number[][][]}} geometry
 * @returns {string}
 */
export function toText(geometry) {
  return `p${polygonsOf(geometry).map((rings) => rings.map(spellRing).join(".")).join("~")}`;
}

/**
 * The geometry that `toText` wrote, or null for what it did not.
 * @param {string} text
 * @returns {{type: string, coordinates: number[][][]} | null}
 */
export function fromText(text) {
  if (!/^p[A-Za-z0-9_.~-]+$/.test(text)) return null;
  const polygons = text.slice(1).split("~").map((polygon) => polygon.split(".").map((letters) => {
    const numbers = spelled(letters);
    if (!numbers || numbers.length < 6 || numbers.length % 2) return null;
    let [x, y] = [0, 0];
    const ring = [];
    for (let i = 0; i < numbers.length; i += 2) {
      x += numbers[i];
      y += numbers[i + 1];
      ring.push([x / PRECISION, y / PRECISION]);
    }
    return [...ring, ring[0]];
  }));
  const inside = ([lon, lat]) => Math.abs(lon) <= 180 && Math.abs(lat) <= 90;
  if (!polygons.every((rings) => rings.every((ring) => ring && ring.every(inside)))) return null;
  return polygons.length === 1 ? { type: "Polygon", coordinates: polygons[0] } : { type: "MultiPolygon", coordinates: polygons };
}

/** Every polygon of whatever GeoJSON holds. */
function found(document) {
  if (document?.type === "FeatureCollection") return (document.features ?? []).flatMap(found);
  if (document?.type === "Feature") return found(document.geometry);
  if (document?.type === "GeometryCollection") return (document.geometries ?? []).flatMap(found);
  if (document?.type === "Polygon") return [document.coordinates];
  return document?.type === "MultiPolygon" ? document.coordinates : [];
}

/** The name of another reference system than degrees, WGS 84, that a file of the older GeoJSON declares, or null. */
function otherSystem(document) {
  const name = String(document?.crs?.properties?.name ?? "");
  return !name || /CRS84$|EPSG:+4326$/i.test(name) ? null : name.replace(/^urn:ogc:def:crs:/, "").replace("::", ":");
}

function check(polygons) {
  const positions = polygons.flat(2);
  if (positions.length > MOST_POSITIONS) throw new OutlineError(`This outline has ${positions.length.toLocaleString("en")} positions; simplify it to ${MOST_POSITIONS.toLocaleString("en")} at most.`);
  if (!positions.every((p) => Array.isArray(p) && Number.isFinite(p[0]) && Number.isFinite(p[1]))) throw new OutlineError("A position of this outline is not two numbers, longitude and latitude.");
  const closed = (ring) => ring.length > 3 && ring[0][0] === ring.at(-1)[0] && ring[0][1] === ring.at(-1)[1];
  if (!polygons.flat(1).every(closed)) throw new OutlineError("A ring of this outline is not closed: it needs four positions or more, and the last must repeat the first.");
  if (positions.some(([lon, lat]) => Math.abs(lon) > 180 || Math.abs(lat) > 90)) {
    throw new OutlineError("This file is not in degrees: write it as GeoJSON in longitude and latitude (ogr2ogr -t_srs EPSG:4326 out.geojson FILE).");
  }
}

/**
 * The outline in the text of a GeoJSON file: all its polygons as one geometry; what it has beside them is left aside.
 * @param {string} text
 * @returns {{type: string, coordinates: number[][][]}}
 * @throws {OutlineError} for what is not GeoJSON, holds no polygon, or is not in degrees
 */
export function read(text) {
  let document;
  try {
    document = JSON.parse(text);
  } catch {
    throw new OutlineError("This file is not GeoJSON: it is no JSON at all. A shapefile or a KML becomes GeoJSON with ogr2ogr or QGIS.");
  }
  const other = otherSystem(document);
  if (other) throw new OutlineError(`This file is in ${other}; write it in longitude and latitude, WGS 84 (ogr2ogr -t_srs EPSG:4326 out.geojson FILE).`);
  const polygons = found(document);
  if (!polygons.length) {
    throw new OutlineError(typeof document?.type === "string" ? "This file holds no polygon; points and lines enclose no area." : "This file is JSON, but no GeoJSON: it has no “type”.");
  }
  check(polygons);
  return polygons.length === 1 ? { type: "Polygon", coordinates: polygons[0] } : { type: "MultiPolygon", coordinates: polygons };
}

/** [west, south, east, north] of a geometry, degrees. */
export function boundsOf(geometry) {
  const positions = polygonsOf(geometry).flat(2);
  const axis = (i) => positions.map((position) => position[i]);
  const least = (values) => values.reduce((a, b) => Math.min(a, b));
  const most = (values) => values.reduce((a, b) => Math.max(a, b));
  return [least(axis(0)), least(axis(1)), most(axis(0)), most(axis(1))];
}
