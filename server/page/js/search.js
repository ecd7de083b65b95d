// The species search: a combobox with a list (WAI-ARIA 1.2), by scientific and common name.

import * as api from "./api.js";
import { announce, byId, h, nameOf, statusChips } from "./dom.js";

const WAIT_MS = 140; // long enough not to ask at every key, short enough not to be felt
const input = byId("search");
const list = byId("search-results");
const note = byId("search-note");
let found = [];
let active = -1;
let pending = null;
let timer = 0;
let choose = () => {};

function marked(text, needle) {
  const at = text.toLowerCase().indexOf(needle.toLowerCase());
  if (!needle || at < 0) return [text];
  const end = at + needle.length;
  return [text.slice(0, at), h("mark", {}, text.slice(at, end)), text.slice(end)];
}

function option(layer, index, needle) {
  const name = nameOf(layer);
  name.replaceChildren(...marked(layer.title, needle));
  return h("li", {
    id: `found-${index}`, role: "option", "aria-selected": "false", "data-id": layer.id,
    // mousedown, not click: the input must not lose the focus before the choice is made
    onmousedown: (event) => { event.preventDefault(); take(index); },
    onmousemove: () => point(index),
  }, h("span", { class: "names" }, name, layer.subtitle ? h("small", {}, ...marked(layer.subtitle, needle)) : null),
  h("span", { class: "chips" }, ...statusChips(layer.status)));
}

function open(show) {
  list.hidden = !(show && found.length);
  input.setAttribute("aria-expanded", String(!list.hidden));
  if (!show) { note.hidden = true; point(-1); }
}

function point(index) {
  active = index;
  [...list.children].forEach((item, i) => item.setAttribute("aria-selected", String(i === index)));
  if (index < 0) input.removeAttribute("aria-activedescendant");
  else {
    input.setAttribute("aria-activedescendant", `found-${index}`);
    list.children[index].scrollIntoView({ block: "nearest" });
  }
}

function take(index) {
  const layer = found[index];
  if (!layer) return;
  input.value = "";
  found = [];
  open(false);
  choose(layer);
  announce(`${layer.title} is shown`);
}

function say(text) {
  note.textContent = text;
  note.hidden = !text;
  announce(text);
}

async function ask() {
  const needle = input.value.trim();
  pending?.abort();
  if (!needle) { found = []; open(false); return; }
  pending = new AbortController();
  try {
    const page = await api.layers({ search: needle, product: "species", limit: 20, signal: pending.signal });
    found = page.layers;
    list.replaceChildren(...found.map((layer, i) => option(layer, i, needle)));
    open(true);
    point(found.length ? 0 : -1);
    say(found.length ? "" : `No species is called “${needle}”.`);
    if (found.length) announce(`${page.total} species found`);
  } catch (error) {
    if (error.name === "AbortError") return;
    found = [];
    open(false);
    say(error.message);
  }
}

function keys(event) {
  const last = found.length - 1;
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    if (list.hidden) { open(true); return; }
    const step = event.key === "ArrowDown" ? 1 : -1;
    point(active + step > last ? 0 : active + step < 0 ? last : active + step);
  } else if (event.key === "Enter") {
    event.preventDefault();
    if (!list.hidden) take(Math.max(active, 0));
  } else if (event.key === "Escape") {
    if (list.hidden) input.value = "";
    open(false);
    event.stopPropagation();
  }
}

/** Start the search; `onChoose(layer)` is called with what the reader picks. */
export function startSearch(onChoose) {
  choose = onChoose;
  input.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(ask, WAIT_MS); });
  input.addEventListener("keydown", keys);
  input.addEventListener("focus", () => open(true));
  input.addEventListener("blur", () => open(false));
  addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, textarea, select");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) { event.preventDefault(); input.focus(); }
  });
}
