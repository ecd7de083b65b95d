// Two layers side by side: a second map above the first, cut at a boundary that can be dragged or moved by arrow keys.

import * as api from "./api.js";
import { byId, h, nameOf } from "./dom.js";
import { drawer } from "./layer-tiles.js";
import { graticule } from "./graticule.js";
import { layGround, style } from "./ground.js";
import { legendOf } from "./legend.js";
import * as state from "./state.js";

const STEP = 0.02; // an arrow key; five times as much with Shift or a page key
const ROOM_PX = 160; // a side narrower than this has no room for its name
const stage = byId("stage");

/** What stands on either side of the boundary: the name of the layer and its colours. */
async function tag(side, layer) {
  const ramp = layer.kind === "class" ? null : (await legendOf(layer).catch(() => null))?.querySelector(".ramp");
  const [low, high] = layer.range ?? [];
  ramp?.removeAttribute("role");
  return h("div", { class: `side ${side}`, "aria-hidden": "true" }, nameOf(layer),
    ramp && h("span", { class: "mini" }, h("small", {}, low), ramp, h("small", {}, high)));
}

/**
 * Follow `compare` and `swipe` of the view with a second map over the first.
 * @param {object} map the first MapLibre map
 * @param {object} library MapLibre's module
 * @param {object} about answer of /about.json
 * @param {(map: object) => void} watch hears of each map that loads tiles
 * @param {(text: string) => void} say told when the second layer cannot be shown
 */
export function startSwipe(map, library, about, watch, say) {
  let right = null; // {map, drawer, ground}, while two layers are compared
  const bar = h("div", { id: "swipe", role: "separator", tabindex: 0, "aria-orientation": "vertical", "aria-label": "Boundary between the two layers",
    "aria-valuemin": 0, "aria-valuemax": 100, hidden: true }, h("span", { "aria-hidden": "true" }));
  const tags = h("div", { id: "sides", hidden: true });
  stage.append(tags, bar);

  const place = (share) => {
    stage.style.setProperty("--swipe", `${(share * 100).toFixed(2)}%`);
    tags.classList.toggle("no-left", share * stage.clientWidth < ROOM_PX);
    tags.classList.toggle("no-right", (1 - share) * stage.clientWidth < ROOM_PX);
    bar.setAttribute("aria-valuenow", Math.round(share * 100));
    bar.setAttribute("aria-valuetext", `${Math.round(share * 100)} % of the map shows the left layer`);
  };
  const move = (share) => state.set({ swipe: Math.round(Math.min(1, Math.max(0, share)) * 100) / 100 });

  bar.addEventListener("keydown", (event) => {
    const big = event.shiftKey ? 5 * STEP : STEP;
    const { swipe } = state.get();
    const to = { ArrowLeft: swipe - big, ArrowRight: swipe + big, PageDown: swipe - 5 * STEP, PageUp: swipe + 5 * STEP, Home: 0, End: 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    move(to);
  });
  bar.addEventListener("pointerdown", (event) => {
    bar.setPointerCapture(event.pointerId);
    event.preventDefault();
    bar.focus({ focusVisible: false });
  });
  bar.addEventListener("pointermove", (event) => {
    if (!bar.hasPointerCapture(event.pointerId)) return;
    const { left, width } = stage.getBoundingClientRect();
    move((event.clientX - left) / width);
  });

  const follow = () => right.map.jumpTo({ center: map.getCenter(), zoom: map.getZoom() });
  const lines = () => right.map.getSource("graticule").setData(graticule(map).data);

  const open = async () => {
    const container = h("div", { id: "map-right", "aria-hidden": "true" });
    map.getCanvas().after(container); // above the first map's picture, below its markers and buttons
    const second = new library.Map({
      container, style: style(about), center: map.getCenter(), zoom: map.getZoom(), interactive: false, attributionControl: false, renderWorldCopies: false, maxPitch: 0, minZoom: 2, maxZoom: 17,
    });
    const opened = right = { map: second };
    watch(second);
    await second.once("style.load");
    if (right !== opened) return; // closed meanwhile
    opened.ground = layGround(second);
    opened.drawer = drawer(second);
    map.on("move", follow);
    map.on("moveend", lines);
    follow();
    lines();
    const view = state.get();
    opened.ground.show(view.base);
    opened.drawer.fade(view.opacity);
    opened.drawer.hatch(view.hatch);
  };
  const close = () => {
    map.off("move", follow);
    map.off("moveend", lines);
    right?.map.remove();
    byId("map-right")?.remove();
    right = null;
    bar.hidden = tags.hidden = true;
  };

  const show = async () => {
    const { compare, layer } = state.get();
    if (!compare) { close(); return; }
    try {
      const [one, two] = await Promise.all([api.layer(layer), api.layer(compare)]);
      const now = () => state.get().compare === compare && state.get().layer === layer;
      if (!now()) return;
      place(state.get().swipe);
      bar.hidden = tags.hidden = false;
      if (!right) await open();
      if (!now() || !right?.drawer) return;
      if (right.shown !== compare) { right.shown = compare; right.drawer.show(two); }
      const both = await Promise.all([tag("left", one), tag("right", two)]);
      if (now()) tags.replaceChildren(...both);
    } catch (error) {
      if (state.get().compare !== compare) return;
      state.set({ compare: null, side: "left" });
      say(error.status === 404 ? `This cube holds no layer “${compare}” to compare with.` : error.message);
    }
  };

  state.listen((view, changed) => {
    if (changed.has("compare") || changed.has("layer")) show();
    if (changed.has("swipe")) place(view.swipe);
    if (!right?.drawer) return;
    if (changed.has("opacity")) right.drawer.fade(view.opacity);
    if (changed.has("base")) right.ground.show(view.base);
    if (changed.has("hatch")) right.drawer.hatch(view.hatch);
  });
  show();
}
