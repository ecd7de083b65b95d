// The tiles of one layer on one map, and the hatch over cells outside the area of applicability.

import * as api from "./api.js";

const SWAP_MS = 4000; // the old layer leaves at the latest after this
const APPLICABILITY = "indicators.applicability";
let serial = 0;

/** A tile address for this screen: twice the pixels where the screen has them. */
function tilesOf(layer, query = "") {
  const url = api.urlOf(layer.tiles) + query;
  return devicePixelRatio >= 1.5 ? url.replace("{y}.png", "{y}@2x.png") : url;
}

/**
 * Draw layers on a map, one in place of the other.
 * @param {object} map MapLibre map with a layer `graticule`, below which the data lies
 * @returns {{show: (layer: object) => void, fade: (opacity: number) => void, hatch: (on: boolean) => void}}
 */
export function drawer(map) {
  let drawn = null; // id of the data source on the map
  let opacity = 1;
  const above = () => (map.getLayer("borders") ? "borders" : "graticule");

  const add = (layer, id, before, share, query) => {
    map.addSource(id, { type: "raster", tiles: [tilesOf(layer, query)], tileSize: 256, bounds: layer.bounds, minzoom: layer.minzoom, maxzoom: layer.maxzoom });
    map.addLayer({ id, type: "raster", source: id, paint: { "raster-opacity": share, "raster-resampling": "nearest", "raster-fade-duration": 120 } }, before);
  };
  const drop = (id) => {
    if (!map.getLayer(id)) return;
    map.removeLayer(id);
    map.removeSource(id);
  };

  return {
    /** Show a layer in place of the one before, which leaves when the new tiles are there. */
    show(layer) {
      const before = drawn;
      drawn = `data-${++serial}`;
      add(layer, drawn, map.getLayer("beyond") ? "beyond" : above(), opacity);
      if (!before) return;
      const leave = () => { clearTimeout(timer); map.off("idle", leave); drop(before); };
      const timer = setTimeout(leave, SWAP_MS);
      map.on("idle", leave);
    },
    fade(share) {
      opacity = share;
      if (drawn) map.setPaintProperty(drawn, "raster-opacity", share);
    },
    /** Hatch, or stop hatching, the cells whose dissimilarity from the training data is above its threshold of 1. */
    hatch(on) {
      const layer = on && api.seen(APPLICABILITY); // indicators come first in the catalogue: it has been seen if it is there
      if (!layer) drop("beyond");
      else if (!map.getLayer("beyond")) add(layer, "beyond", above(), 1, "&above=1");
    },
  };
}
