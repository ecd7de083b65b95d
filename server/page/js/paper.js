// What lies under the data: paper inside the region, hatched where nothing is mapped, plain outside.

const INK = {
  light: { around: "#e9e6dc", paper: "#fcfbf7", hatch: "#dedacc", line: "#8f8b7c", outline: "#6f7a72" },
  // In the dark the paper stays light, only dimmer: the palettes are read against it, and no-data must not look like zero.
  dark: { around: "#101412", paper: "#d3d1c7", hatch: "#bfbcb0", line: "#77807a", outline: "#a9b3ac" },
};

const dark = matchMedia("(prefers-color-scheme: dark)");
const ink = () => INK[dark.matches ? "dark" : "light"];

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

const empty = { type: "FeatureCollection", features: [] };

/** The style the map starts with: no glyphs, no sprites, no request to anywhere. */
export function style(about) {
  const { around, line, outline } = ink();
  return {
    version: 8,
    sources: {
      region: { type: "geojson", data: { type: "Feature", properties: {}, geometry: regionOf(about) } },
      graticule: { type: "geojson", data: empty },
    },
    layers: [
      { id: "around", type: "background", paint: { "background-color": around } },
      { id: "graticule", type: "line", source: "graticule", paint: { "line-color": line, "line-width": 0.6, "line-opacity": 0.55 } },
      { id: "outline", type: "line", source: "region", paint: { "line-color": outline, "line-width": 1 } },
    ],
  };
}

/** Put the hatch on the map and follow the system's change between light and dark. */
export function layPaper(map) {
  const drawHatch = () => {
    const { image, options } = hatch();
    if (map.hasImage("hatch")) map.removeImage("hatch");
    map.addImage("hatch", image, options);
  };
  drawHatch(); // before the layer that uses it: a tile cut without the picture would stay empty
  map.addLayer({ id: "paper", type: "fill", source: "region", paint: { "fill-pattern": "hatch", "fill-antialias": false } }, "graticule");
  dark.addEventListener("change", () => {
    drawHatch();
    map.setPaintProperty("around", "background-color", ink().around);
    map.setPaintProperty("graticule", "line-color", ink().line);
    map.setPaintProperty("outline", "line-color", ink().outline);
  });
}
