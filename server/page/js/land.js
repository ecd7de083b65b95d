// Coastlines and borders that need no network: Natural Earth at 1:50 million (world-atlas), drawn over the data in a quiet line.
// Loaded after the first tiles; where the package is not installed the map simply has none.

import feature from "../node_modules/topojson-client/src/feature.js";
import mesh from "../node_modules/topojson-client/src/mesh.js";

const ATLAS = new URL("../node_modules/world-atlas/countries-50m.json", import.meta.url).href;
const LAYERS = ["land", "borders", "coast"];
// A line of 1:50 million is right to a kilometre or two: beyond this zoom it would contradict the cells.
const FADE = (least, most, value) => ["interpolate", ["linear"], ["zoom"], least, value, most, 0];
let atlas = null; // the promise of {land, borders, coast}: GeoJSON

async function load() {
  const response = await fetch(ATLAS);
  if (!response.ok) throw new Error(`world-atlas: ${response.status}`);
  const topology = await response.json();
  const { countries, land } = topology.objects;
  return {
    land: feature(topology, land),
    borders: mesh(topology, countries, (a, b) => a !== b),
    coast: mesh(topology, countries, (a, b) => a === b),
  };
}

const STYLES = {
  land: { type: "fill", paint: (ink) => ({ "fill-color": ink.land, "fill-antialias": false }) },
  borders: { type: "line", paint: (ink) => ({ "line-color": ink.border, "line-width": 0.8, "line-dasharray": [4, 2], "line-opacity": FADE(9, 11, 0.8) }) },
  coast: { type: "line", paint: (ink) => ({ "line-color": ink.border, "line-width": 0.9, "line-opacity": FADE(9, 11, 0.9) }) },
};

/**
 * Put land, coast and borders on a map whose ground is laid; resolves without them where they are not installed.
 * @param {object} map MapLibre map with the layers `paper` and `graticule`
 * @param {{land: string, border: string}} ink colours
 */
export async function drawLand(map, ink) {
  const data = await (atlas ??= load());
  for (const name of LAYERS) {
    const { type, paint } = STYLES[name];
    map.addSource(name, { type: "geojson", data: data[name], ...(name === "land" ? { attribution: "Natural Earth" } : {}) });
    map.addLayer({ id: name, type, source: name, paint: paint(ink) }, name === "land" ? "paper" : "graticule");
  }
}

/** Give the land the colours of the hour, and hide it where another map lies beneath. */
export function tintLand(map, ink, visible) {
  for (const name of LAYERS) {
    if (!map.getLayer(name)) continue;
    for (const [key, value] of Object.entries(STYLES[name].paint(ink))) if (key.endsWith("color")) map.setPaintProperty(name, key, value);
    map.setLayoutProperty(name, "visibility", visible ? "visible" : "none");
  }
}
