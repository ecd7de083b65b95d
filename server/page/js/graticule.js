// The base map that needs no network: lines of longitude and latitude, and their labels on the frame.

const STEPS = [30, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001];
const WANTED_PX = 190; // about the distance between two lines
const CONTROLS_PX = 150; // no labels on the left edge where the buttons are

const marks = (from, to, step) => {
  const count = Math.min(40, Math.floor(to / step) - Math.ceil(from / step) + 1);
  return Array.from({ length: Math.max(0, count) }, (_, i) => (Math.ceil(from / step) + i) * step);
};

const line = (coordinates) => ({ type: "Feature", properties: {}, geometry: { type: "LineString", coordinates } });

/** Lines for the part of the world in view: {lons, lats, step, data: GeoJSON}. */
export function graticule(map) {
  const bounds = map.getBounds();
  const [west, east] = [bounds.getWest(), bounds.getEast()];
  const [south, north] = [Math.max(-85, bounds.getSouth()), Math.min(85, bounds.getNorth())];
  const wanted = ((east - west) / map.getContainer().clientWidth) * WANTED_PX;
  const step = STEPS.findLast((s) => s >= wanted) ?? STEPS[0];
  // half a view beyond each edge, so that panning does not run out of lines
  const [dx, dy] = [(east - west) / 2, (north - south) / 2];
  const lons = marks(west - dx, east + dx, step);
  const lats = marks(Math.max(-85, south - dy), Math.min(85, north + dy), step);
  const features = [
    ...lons.map((lon) => line([[lon, Math.max(-85, south - dy)], [lon, Math.min(85, north + dy)]])),
    ...lats.map((lat) => line([[west - dx, lat], [east + dx, lat]])),
  ];
  return { lons, lats, step, data: { type: "FeatureCollection", features } };
}

function label(degrees, step, letters) {
  const digits = step >= 1 ? 0 : Math.ceil(-Math.log10(step) - 1e-9);
  const letter = Math.abs(degrees) < step / 2 ? "" : letters[degrees < 0 ? 1 : 0];
  return `${Math.abs(degrees).toFixed(digits)}°${letter}`;
}

/** Put the labels of the lines on the top and left edge of the frame, as an atlas does. */
export function labelFrame(map, frame, { lons, lats, step }) {
  const [width, height] = [frame.clientWidth, frame.clientHeight];
  const centre = map.getCenter();
  const tags = [];
  const tag = (text, side, at) => {
    const element = document.createElement("span");
    element.className = side;
    element.textContent = text;
    element.style.setProperty("--at", `${at.toFixed(1)}px`);
    tags.push(element);
  };
  for (const lon of lons) {
    const { x } = map.project([lon, centre.lat]);
    if (x > 70 && x < width - 40) tag(label(lon, step, "EW"), "top", x);
  }
  for (const lat of lats) {
    const { y } = map.project([centre.lng, lat]);
    if (y > CONTROLS_PX && y < height - 40) tag(label(lat, step, "NS"), "left", y);
  }
  frame.replaceChildren(...tags);
}
