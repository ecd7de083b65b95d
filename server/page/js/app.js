// The page: it starts the parts and passes the view between them.

import * as api from "./api.js";
import { startArea } from "./area.js";
import { markShown, openProduct, startBrowse } from "./browse.js";
import { byId } from "./dom.js";
import { goHome, showLayer, startMap, uncover } from "./map.js";
import { mark, showPoint } from "./point.js";
import { startSearch } from "./search.js";
import { startSheet } from "./sheet.js";
import { readHere, showCard } from "./layer-card.js";
import * as state from "./state.js";

const FIRST_CHOICE = "indicators.richness";
const NOTICE_MS = 8000;
const notice = byId("notice");
let missing = null; // what to say once another layer stands in for one that is not there
let timer = 0;

function say(text, passing = false) {
  clearTimeout(timer);
  notice.textContent = text ?? "";
  notice.hidden = !text;
  if (passing) timer = setTimeout(say, NOTICE_MS, null);
}

/** The panel of layers covers a phone: it opens by its button and closes with a choice. */
function browsePanel() {
  const button = byId("open-browse");
  const open = (yes) => {
    document.body.classList.toggle("browsing", yes);
    button.setAttribute("aria-expanded", String(yes));
    button.textContent = yes ? "Map" : "Layers";
  };
  button.addEventListener("click", () => open(button.getAttribute("aria-expanded") !== "true"));
  return () => open(false);
}

/** Put a layer on the map; one that the cube has not gives way to `fallback`. */
async function showById(id, fallback) {
  try {
    const layer = await api.layer(id);
    if (state.get().layer !== id) return;
    say(missing);
    missing = null;
    showLayer(layer);
  } catch (error) {
    if (error.status !== 404) { say(error.message); return; }
    missing = `This cube holds no layer “${id}”; another is shown in its place.`;
    if (fallback && fallback !== id) state.set({ layer: fallback });
  }
}

/** Card, list and title tell of the layer that is being read about: the right one of two, or the only one. */
async function tellOf(id) {
  const layer = await api.layer(id).catch(() => null); // who shows it says what is wrong with it
  if (!layer || state.active() !== id) return;
  document.title = `${layer.title} · ${byId("title").textContent}`;
  mark(id);
  await Promise.all([showCard(layer), markShown(layer)]);
}

async function start() {
  const close = browsePanel();
  const choose = (id) => { close(); state.choose(id); };
  const [about, first] = await Promise.all([api.about(), api.layers({ product: "", limit: 60 })]);
  byId("title").textContent = about.title;
  byId("release").textContent = about.note || [about.attribution, about.release && `release ${about.release}`].filter(Boolean).join(" · ");
  document.title = about.title;
  startBrowse(first.products, (layer) => choose(layer.id));
  startSearch((layer) => choose(layer.id));

  const wish = state.parse(location.hash);
  const fallback = first.layers.find((layer) => layer.id === FIRST_CHOICE)?.id ?? first.layers[0]?.id;
  if (!fallback) {
    say("This cube holds no layers yet: run `floracube build`, then load this page again.");
    return;
  }
  state.set({ ...wish, layer: wish.layer ?? fallback });
  const listed = openProduct(state.get().layer.split(".")[0]);
  // without a map (no WebGL, no library) the lists, the search and the legend still serve
  const map = startMap(about, { failed: () => say("Some tiles did not arrive. Move the map to ask again.", true), say }).catch((error) => {
    byId("map").textContent = /WebGL/i.test(error.message) ? "This browser shows no WebGL maps." : error.message;
    byId("map").classList.add("broken");
  });
  await map;

  const home = () => { goHome(about); state.set({ point: null }); };
  const showPlace = async (point, move) => {
    const shown = showPoint(point, { choose, read: readHere, goHome: home });
    if (point && move) uncover(point);
    await shown;
  };
  state.listen((view, changed) => {
    if (changed.has("layer")) showById(view.layer, fallback);
    if (["layer", "compare", "side"].some((field) => changed.has(field))) tellOf(state.active());
    if (changed.has("point")) showPlace(view.point, !changed.has("center"));
  });
  addEventListener("keydown", (event) => { if (event.key === "Escape") state.set({ point: null }); });
  await showById(state.get().layer, fallback);
  await Promise.all([tellOf(state.active()), listed]);
  await showPlace(state.get().point, false);
  startArea(choose);
  startSheet(choose);
  document.documentElement.dataset.ready = "true";
}

start().catch((error) => say(error.message));
