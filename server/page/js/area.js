// The panel of an area: drawn on the map, read from a file or chosen by name; its report, printed or taken away as a file.

import { ask, askJson } from "./api.js";
import * as draw from "./draw.js";
import { announce, byId, h } from "./dom.js";
import { print, save } from "./download.js";
import * as outline from "./outline.js";
import { reportOf } from "./report.js";
import * as state from "./state.js";

const panel = byId("area");
const placed = /[#&]map=/.test(location.hash); // a link that says where the map stands is not moved to its area
const FILES = ".geojson,.json,application/geo+json,application/json";
let asked = null; // { body, geometry | null, name } that the panel is about
let pending = null;
let choose = () => {};

const button = (label, press, attributes = {}) => h("button", { type: "button", onclick: press, ...attributes }, label);

function show(stage, title, ...body) {
  panel.hidden = false;
  document.body.classList.add("asking");
  panel.dataset.state = stage;
  panel.removeAttribute("aria-busy");
  panel.replaceChildren(
    h("header", {}, h("h2", { tabindex: -1 }, title), button("×", close, { class: "close", "aria-label": "Close the area" })),
    h("div", { class: "body", tabindex: 0, role: "region", "aria-label": title }, ...body));
}

/** Put the keyboard where the panel now has something to say. */
const enter = () => panel.querySelector("h2").focus({ preventScroll: true });

function close() {
  pending?.abort();
  draw.stop();
  draw.showOutline(null);
  asked = null;
  const had = panel.contains(document.activeElement);
  panel.hidden = true;
  document.body.classList.remove("asking");
  state.set({ area: null });
  if (had) byId("report")?.focus();
}

/** Ways to say which area is meant. */
async function begin(problem = null) {
  pending?.abort();
  draw.stop();
  draw.showOutline(null);
  asked = null;
  state.set({ area: null, point: null });
  const file = h("input", { type: "file", id: "area-file", accept: FILES, onchange: (event) => upload(event.target.files[0]) });
  const names = h("div", { id: "area-names" });
  show("choose", "Report of an area",
    problem ? h("p", { class: "problem", role: "alert" }, problem) : null,
    h("p", { class: "state" }, "Which species, indicators and habitats an area has, with the interval of each indicator."),
    button("Draw it on the map", drawing, { class: "wide primary", id: "area-draw", disabled: !draw.canDraw(), title: draw.canDraw() ? null : "There is no map to draw on" }),
    h("label", { class: "wide file", for: "area-file" }, "Choose a GeoJSON file", h("small", {}, "or drop it here"), file),
    names);
  enter();
  names.replaceChildren(...await byName());
}

/** The choice of named regions, where the server has any. */
async function byName() {
  const { regions } = await askJson("regions").catch(() => ({ regions: [] }));
  if (!regions.length) return [];
  const kinds = [...new Set(regions.map((region) => region.kind))];
  const select = h("select", { id: "area-name" }, h("option", { value: "" }, "Choose a region"), kinds.map((kind) => h("optgroup", { label: kind },
    regions.map((region, i) => [region, i]).filter(([region]) => region.kind === kind).map(([region, i]) => h("option", { value: i }, region.name)))));
  select.addEventListener("change", () => { if (select.value) state.set({ area: nameText(regions[select.value]) }); });
  return [h("label", { for: "area-name" }, "A region by name"), select];
}

const nameText = ({ name, kind }) => `r${JSON.stringify([kind, name])}`;

function drawing() {
  const told = h("p", { class: "state", role: "status" });
  const [done, back] = [button("Done", draw.finish, { class: "primary", disabled: true }), button("Take back", draw.undo, { disabled: true })];
  const changed = (corners) => {
    const words = ["Click or tap the corners of the area.", "One corner. Go on to the next.", "Two corners. One more at least."];
    told.textContent = words[corners] ?? `${corners} corners. Click the last one again, or Done, to end.`;
    done.disabled = corners < 3;
    back.disabled = corners < 1;
  };
  show("drawing", "Draw the area", told, h("div", { class: "row" }, done, back, button("Cancel", () => begin())),
    h("p", { class: "quiet keys" }, "By keyboard: arrow keys move the map, ", h("kbd", {}, "Enter"), " sets a corner at the crosshair and ends the outline where one stands already, ",
      h("kbd", {}, "Backspace"), " takes the last one back, ", h("kbd", {}, "Esc"), " cancels."));
  draw.start({ done: (geometry) => state.set({ area: outline.toText(geometry) }), cancelled: () => begin(), changed });
}

async function upload(file) {
  if (!file) return;
  try {
    if (file.size > outline.MOST_BYTES) throw new outline.OutlineError(`This file has ${(file.size / 1e6).toFixed(1)} MB; simplify the outline to less than ${outline.MOST_BYTES / 1e6} MB (ogr2ogr -simplify).`);
    const geometry = outline.read(await file.text());
    const text = outline.toText(geometry);
    draw.showOutline(geometry);
    draw.fit(outline.boundsOf(geometry));
    const name = file.name.replace(/\.(geo)?json$/i, "");
    if (text.length <= outline.MOST_TEXT) {
      named.set(text, name);
      state.set({ area: text });
    } else report({ body: geometry, geometry, name, unlinked: true });
  } catch (error) {
    begin(error instanceof outline.OutlineError ? error.message : `This file cannot be read: ${error.message}`);
  }
}

const named = new Map(); // names of files, by the text of their outline

/** What the text in the address asks for, or null. */
function parse(text) {
  const geometry = outline.fromText(text);
  if (geometry) return { body: geometry, geometry, name: named.get(text) ?? "Area" };
  try {
    const [kind, name] = JSON.parse(text.replace(/^r/, ""));
    if (text[0] === "r" && typeof kind === "string" && typeof name === "string") return { body: { region: name, kind }, geometry: null, name };
  } catch { /* told below */ }
  return null;
}

/** The outline of a named region, for the map and for taking away; without one the report still stands. */
async function drawNamed(wanted) {
  const { kind, region } = wanted.body;
  const feature = await askJson(`regions/${encodeURIComponent(region)}?${new URLSearchParams({ kind })}`).catch(() => null);
  if (asked !== wanted || !feature) return;
  wanted.geometry = feature.geometry;
  draw.showOutline(feature.geometry);
  draw.fit(outline.boundsOf(feature.geometry));
}

function actions(wanted) {
  const file = wanted.name.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "") || "area";
  const told = h("p", { class: "problem", role: "alert", hidden: true });
  const asking = (work) => async () => {
    told.hidden = true;
    try { await work(); } catch (error) { told.textContent = error.message; told.hidden = false; }
  };
  const feature = () => JSON.stringify({ type: "Feature", properties: { name: wanted.name }, geometry: wanted.geometry });
  return h("div", { class: "actions" },
    button("Print", asking(async () => print(await ask("area", { body: wanted.body, accept: "text/html" }))), { id: "area-print" }),
    button("CSV", asking(async () => save(`${file}.csv`, await ask("area", { body: wanted.body, accept: "text/csv" }), "text/csv")), { title: "Download the report as a table" }),
    button("GeoJSON", asking(async () => {
      if (!wanted.geometry) throw new Error("The outline has not arrived yet; try again in a moment.");
      save(`${file}.geojson`, feature(), "application/geo+json");
    }), { title: "Download the outline" }),
    button("New area", () => begin()), told);
}

async function report(wanted) {
  pending?.abort();
  const mine = pending = new AbortController();
  asked = wanted;
  draw.stop();
  draw.showOutline(wanted.geometry);
  show("loading", wanted.name, h("p", { class: "state loading" }, "Counting over the area …"), h("div", { class: "ghost" }), h("div", { class: "ghost" }), h("div", { class: "ghost" }));
  panel.setAttribute("aria-busy", "true");
  enter();
  if (!wanted.geometry) drawNamed(wanted);
  try {
    const answer = await askJson("area", { body: wanted.body, signal: mine.signal });
    const title = wanted.geometry ? wanted.name : answer.name;
    const unlinked = wanted.unlinked ? h("p", { class: "problem" }, "This outline is too long for a link: the address of this page does not carry it.") : null;
    show("ready", title, actions(wanted), unlinked, ...reportOf(answer, { choose, sheet: (sheet) => state.set({ sheet }) }));
    enter();
    announce(`${title}: ${answer.counts.listed.species} species in ${answer.mapped_cells} mapped cells`);
  } catch (error) {
    if (error.name === "AbortError") return;
    show("error", wanted.name, h("p", { class: "problem", role: "alert" }, error.message),
      h("div", { class: "row" }, error.status === 0 || error.status >= 500 ? button("Try again", () => report(wanted), { class: "primary" }) : null, button("New area", () => begin())));
    enter();
  }
}

/** Follow the address: an area in it is asked about. */
function follow(text) {
  if (!text) { if (asked && !asked.unlinked) close(); return; }
  const wanted = parse(text);
  if (wanted) report(wanted);
  else begin("The area in this address is not one that can be read; draw it anew.");
}

/** A GeoJSON file may be dropped on the panel. */
function dropping() {
  for (const name of ["dragenter", "dragover"]) panel.addEventListener(name, (event) => { event.preventDefault(); panel.classList.add("dropping"); });
  for (const name of ["dragleave", "drop"]) panel.addEventListener(name, () => panel.classList.remove("dropping"));
  panel.addEventListener("drop", (event) => { event.preventDefault(); upload(event.dataTransfer.files[0]); });
}

/**
 * Start the panel of areas.
 * @param {(id: string) => void} onChoose shows a layer on the map
 */
export function startArea(onChoose) {
  choose = onChoose;
  dropping();
  draw.mapButton({ name: "report", title: "Report of an area", press: () => (panel.hidden ? begin() : close()) });
  panel.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || panel.dataset.state === "drawing") return;
    event.stopPropagation();
    close();
  });
  state.listen((view, changed) => { if (changed.has("area")) follow(view.area); });
  follow(state.get().area);
  if (asked?.geometry && !placed) draw.fit(outline.boundsOf(asked.geometry));
}
