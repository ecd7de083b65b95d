// The fact sheet of a species or of a habitat, in a dialog of its own over the map; it prints.

import * as api from "./api.js";
import { announce, byId, h } from "./dom.js";
import { habitatSheet } from "./sheet-habitat.js";
import { speciesSheet } from "./sheet-species.js";
import * as state from "./state.js";

const HABITAT = "habitat.";
const dialog = byId("sheet");
let pending = null;
let choose = () => {};

/**
 * A button that opens a fact sheet.
 * @param {string} id a species' layer, or `habitat.` and a code
 * @param {string | Array} label
 * @param {object} attributes of the button
 */
export function sheetButton(id, label, attributes = {}) {
  return h("button", { type: "button", "data-sheet": id, onclick: () => state.set({ sheet: id }), ...attributes }, label);
}

/**
 * What leads from the card of a layer to fact sheets: that of the species, or those of the habitats that the map shows.
 * @param {object} layer as the catalogue describes it
 * @returns {HTMLElement | null}
 */
export function sheetEntry(layer) {
  if (layer.product === "species") return sheetButton(layer.id, "Fact sheet", { class: "plain wide", id: "to-sheet" });
  if (layer.product !== "habitats" || layer.kind !== "class") return null;
  const list = h("ul", { class: "classes" });
  const fill = async () => {
    if (list.children.length) return;
    const { classes } = await api.legend(layer).catch(() => ({ classes: [] }));
    list.replaceChildren(...classes.map((entry) => h("li", {}, h("span", { class: "swatch", style: { background: entry.colour } }), sheetButton(HABITAT + (entry.code || entry.label), entry.label))));
  };
  return h("details", { class: "as-table", id: "to-sheets", ontoggle: fill }, h("summary", {}, "Fact sheets of the habitats"), list);
}

function close() {
  state.set({ sheet: null });
}

/** The pieces that every sheet has around it. */
function fill(title, body, tools = []) {
  dialog.replaceChildren(
    h("header", {}, h("h2", { id: "sheet-title", tabindex: -1 }, title),
      h("div", { class: "tools" }, tools, h("button", { type: "button", class: "close", "aria-label": "Close the fact sheet", onclick: close }, "×"))),
    h("div", { class: "body", tabindex: 0, role: "region", "aria-labelledby": "sheet-title" }, body));
  dialog.querySelector("h2").focus({ preventScroll: true });
}

async function open(id) {
  pending?.abort();
  const mine = pending = new AbortController();
  if (!dialog.open) dialog.showModal();
  dialog.dataset.state = "loading";
  fill("Fact sheet", h("p", { class: "state loading" }, "Reading the cube …"));
  const habitat = id.startsWith(HABITAT);
  const name = habitat ? id.slice(HABITAT.length) : id;
  try {
    const answer = await api.askJson(`${habitat ? "habitats" : "species"}/${encodeURIComponent(name)}`, { signal: mine.signal });
    const print = h("button", { type: "button", class: "plain", onclick: () => window.print() }, "Print");
    const map = h("button", { type: "button", class: "plain", onclick: () => { close(); choose(answer.id); } }, "Show its map");
    const made = habitat ? habitatSheet(answer, (code) => state.set({ sheet: code })) : speciesSheet(answer);
    fill(made.title, made.body, [map, print]);
    dialog.dataset.state = "ready";
    announce(`Fact sheet of ${made.name}`);
  } catch (error) {
    if (error.name === "AbortError") return;
    const again = error.status === 404 ? null : h("button", { type: "button", class: "primary", onclick: () => open(id) }, "Try again");
    fill("Fact sheet", [h("p", { class: "problem", role: "alert" }, error.message), again].filter(Boolean));
    dialog.dataset.state = "error";
  }
}

function follow(id) {
  if (id) open(id);
  else if (dialog.open) {
    pending?.abort();
    dialog.close();
    dialog.replaceChildren();
  }
}

/**
 * Start the fact sheets; the address opens and closes them.
 * @param {(id: string) => void} onChoose shows a layer on the map
 */
export function startSheet(onChoose) {
  choose = onChoose;
  dialog.addEventListener("close", close); // by Escape
  dialog.addEventListener("click", (event) => { if (event.target === dialog) close(); }); // on what is around it
  dialog.addEventListener("keydown", (event) => { if (event.key === "Escape") event.stopPropagation(); });
  state.listen((view, changed) => { if (changed.has("sheet")) follow(view.sheet); });
  follow(state.get().sheet);
}
