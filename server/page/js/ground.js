// What lies under the data: paper inside the region, hatched where nothing is mapped, land and water around it, or OpenStreetMap.

// In the dark the paper stays light, only dimmer: the palettes are read against it, and no-data must not look like zero.
const INK = {
  light: { water: "#dde3e3", land: "#ece9df", paper: "#fcfbf7", hatch: "#dedacc", line: "#8f8b7c", outline: "#6f7a72", border: "#4d574f" },
  dark: { water: "#0d1214", land: "#1a201c", paper: "#d3d1c7", hatch: "#bfbcb0", line: "#77807a", outline: "#a9b3ac", border: "#8d9890" },
};
const OSM = {
  type: "raster", tiles: ["https://tile.openstreetmap.org/{z}/{x}/{y}.png"], tileSize: 256, maxzoom: 19,
  attribution: "© <a href=\"https://www.openstreetmap.org/copyright\" target=\"_blank\" rel=\"noopener\">OpenStreetMap</a> contributors",
};
const dark = matchMedia("(prefers-color-scheme: dark)");
const ink = () => INK[dark.matches ? "dark" : "light"];
// Seen from near, a coast of 1:50 million is in the wrong place: there the water's tint gives way to the land's.
const around = () => ["interpolate", ["linear"], ["zoom"], 9, ink().water, 11, ink().land];
const empty = { type: "FeatureCollection", features: [] };

/** A tile of thin diagonal lines, the mark of "no data" on the map and in the legend. */
function hatch() {
  const scale = 2;
  const size = 8 * scale;
  const canvas = Object.assign(document.createElement("canvas"), { width: size, height: size });
  const pen = canvas.getContext("2d");
  pen.fillStyle = ink().paper;
  pen.fillRect(0, 0, size, size);
  pen.strokeStyle = ink().hatch;
  pen.lineWidth = scale;
  for (const shift of [-size, 0, size]) {
    pen.beginPath();
    pen.moveTo(shift - scale, size + scale);
    pen.lineTo(shift + size + scale, -scale);
    pen.stroke();
  }
  return { image: pen.getImageData(0, 0, size, size), options: { pixelRatio: scale } };
}

/** The region as GeoJSON: its outline where the server gives one, else the box of its bounds. */
function regionOf({ outline, bounds: [west, south, east, north] }) {
  if (outline?.type) return outline;
  const ring = outline ?? [[west, south], [east, south], [east, north], [west, north], [west, south]];
  return { type: "Polygon", coordinates: [ring] };
}

/**
 * The style that a map starts with: no glyphs, no sprites, no request to anywhere.
 * @param {object} about answer of /about.json
 * @returns {object} a MapLibre style with the layers `around`, `graticule` and `outline`
 */
export function style(about) {
  const { line, outline } = ink();
  return {
    version: 8,
    sources: {
      region: { type: "geojson", data: { type: "Feature", properties: {}, geometry: regionOf(about) } },
      graticule: { type: "geojson", data: empty },
    },
    layers: [
      { id: "around", type: "background", paint: { "background-color": around() } },
      { id: "graticule", type: "line", source: "graticule", paint: { "line-color": line, "line-width": 0.6, "line-opacity": 0.55 } },
      { id: "outline", type: "line", source: "region", paint: { "line-color": outline, "line-width": 1 } },
    ],
  };
}

/**
 * The ground of one map: it follows the system's light and dark, and brings the land once the first tiles are there.
 * @param {object} map MapLibre map with the style above, loaded
 * @returns {{show: (base: "plain" | "osm") => void}}
 */
export function layGround(map) {
  let base = "plain";
  let land = null; // the module, once it is here
  const drawHatch = () => {
    const { image, options } = hatch();
    if (map.hasImage("hatch")) map.removeImage("hatch");
    map.addImage("hatch", image, options);
  };
  drawHatch(); // before the layer that uses it: a tile cut without the picture would stay empty
  map.addLayer({ id: "paper", type: "fill", source: "region", paint: { "fill-pattern": "hatch", "fill-antialias": false } }, "graticule");
  const tint = () => {
    map.setPaintProperty("around", "background-color", around());
    map.setPaintProperty("graticule", "line-color", ink().line);
    map.setPaintProperty("outline", "line-color", ink().outline);
    land?.tintLand(map, ink(), base === "plain");
  };
  dark.addEventListener("change", () => { drawHatch(); tint(); });
  map.once("idle", async () => {
    try {
      const module = await import("./land.js");
      await module.drawLand(map, ink());
      land = module;
      tint();
    } catch { /* not installed, or the map has gone: the graticule still says where one is */ }
  });
  return {
    show(wanted) {
      base = wanted;
      const there = Boolean(map.getLayer("osm"));
      if (base === "osm" && !there) {
        map.addSource("osm", OSM);
        map.addLayer({ id: "osm", type: "raster", source: "osm", paint: { "raster-saturation": -0.6, "raster-contrast": -0.1 } }, "paper");
      } else if (base !== "osm" && there) {
        map.removeLayer("osm");
        map.removeSource("osm");
      }
      map.setPaintProperty("paper", "fill-opacity", base === "osm" ? 0 : 1);
      tint();
    },
  };
}
