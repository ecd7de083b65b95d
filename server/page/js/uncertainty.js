// How sure the map is, one press away: the ends and the width of an interval, a class's probability, where the model applies.

import * as api from "./api.js";
import { h } from "./dom.js";
import * as state from "./state.js";

const APPLICABILITY = "indicators.applicability";
const FACES = [["", "Estimate"], [".lower", "Low"], [".upper", "High"], [".width", "Width"]];
const BESIDE = { probability: "Probability", entropy: "Entropy" }; // what the cube keeps of the chances behind a habitat
let habitats = null; // the promise of all their layers
let level = null; // the habitat level that probability and entropy lead back to

/** The faces of a layer as [layer, label], the value itself first; fewer than two where the cube keeps nothing of its uncertainty. */
async function faces(layer) {
  if (layer.product === "indicators") {
    const base = layer.id.replace(/\.(lower|upper|width)$/, "");
    if (!(await api.layer(base)).interval) return [];
    const found = await Promise.all(FACES.map(async ([end, label]) => [await api.layer(base + end), label]));
    return (await api.legend(found.at(-1)[0])).empty ? [] : found; // no interval was calibrated for this one
  }
  if (layer.product === "habitats") {
    if (layer.kind === "class") level = layer;
    const all = await (habitats ??= api.layers({ product: "habitats", limit: 60 }).then((page) => page.layers));
    const main = level ?? all.find((entry) => entry.kind === "class");
    const others = all.filter((entry) => entry.id.split(".")[1] in BESIDE).map((entry) => [entry, BESIDE[entry.id.split(".")[1]]]);
    return [[main, "Class"], ...others].filter(([found]) => found);
  }
  return [];
}

/**
 * The switch between a layer and what is known of its uncertainty, or null.
 * @param {object} layer as the catalogue describes it
 * @returns {Promise<HTMLElement | null>}
 */
export async function surenessSwitch(layer) {
  const all = await faces(layer);
  if (all.length < 2) return null;
  return h("div", { class: "sureness" }, h("span", { class: "label", id: "sureness-label" }, "Uncertainty"),
    h("div", { class: "segments", role: "group", "aria-labelledby": "sureness-label" }, all.map(([face, label]) => h("button", {
      type: "button", "aria-pressed": String(face.id === layer.id), title: face.title, onclick: () => state.choose(face.id),
    }, label))));
}

/**
 * The switch that hatches cells unlike the training data, or null where the cube has no area of applicability.
 * @param {object} layer as the catalogue describes it
 * @returns {HTMLElement | null}
 */
export function hatchSwitch(layer) {
  if (layer.product === "inputs" || layer.id === APPLICABILITY || !api.seen(APPLICABILITY)) return null;
  return h("label", { class: "check", title: "Cells whose conditions are less like the training data than its parts are like each other (Meyer and Pebesma 2021): the model has no ground to be believed there" },
    h("input", { id: "hatch", type: "checkbox", checked: state.get().hatch, onchange: (event) => state.set({ hatch: event.target.checked }) }),
    "Hatch where the model is not applicable", h("span", { class: "swatch beyond", "aria-hidden": "true" }));
}

/**
 * The layer that a comparison begins with: what is known of the uncertainty of the one shown, else another that is there.
 * @param {object} layer as the catalogue describes it
 * @returns {Promise<string>} its id
 */
export async function partner(layer) {
  const all = await faces(layer);
  const own = all.find(([face, label]) => ["Width", "Probability"].includes(label) && face.id !== layer.id);
  if (own) return own[0].id;
  const { layers } = await api.layers({ limit: 60 });
  return (layers.find((other) => other.id !== layer.id) ?? layer).id;
}
