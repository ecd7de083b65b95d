// Products as tabs, and the layers of the chosen product as a list.

import * as api from "./api.js";
import { byId, h, nameOf, statusChips, subtitleOf } from "./dom.js";

const PAGE = 60;
const SHORT = { indicators: "Indicators", habitats: "Habitats", species: "Species", inputs: "Inputs" };
const tabs = byId("tabs");
const panel = byId("layers");
let product = null;
let shown = null;
let choose = () => {};

/** The estimate of an indicator stands for its lower and upper bound too: one row for the three. */
export function baseOf(id) {
  return id.replace(/^(indicators\..+)\.(lower|upper|width)$/, "$1");
}

function mark(id) {
  shown = id;
  for (const button of panel.querySelectorAll("button[data-id]")) {
    const here = id !== null && button.dataset.id === baseOf(id);
    if (here) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
}

/** Bands of one input read "group: band"; the group is then a heading above its bands. */
function split(title) {
  const at = title.lastIndexOf(": ");
  return at < 0 ? [null, title] : [title.slice(0, at), title.slice(at + 2)];
}

/** One layer as a row; `all` are the rows around it. */
function row(layer, _, all) {
  let [group, name] = layer.product === "inputs" ? split(layer.title) : [null, layer.title];
  if (group && all.filter((other) => split(other.title)[0] === group).length < 2) [group, name] = [null, layer.title];
  const subtitle = group ? null : subtitleOf(layer);
  return h("li", { "data-group": group }, h("button", { type: "button", "data-id": layer.id, onclick: () => choose(layer) },
    h("span", { class: "names" }, nameOf({ ...layer, title: name }), subtitle && h("small", {}, subtitle)),
    h("span", { class: "chips" }, ...statusChips(layer.status))));
}

async function fill(list, offset) {
  const page = await api.layers({ product, limit: PAGE, offset });
  const rows = page.layers.filter((layer) => baseOf(layer.id) === layer.id || !api.seen(baseOf(layer.id)));
  for (const item of rows.map(row)) {
    const { group } = item.dataset;
    if (group && group !== list.lastElementChild?.dataset.group) list.append(h("li", { class: "group", "data-group": group }, group));
    list.append(item);
  }
  panel.querySelector(".more")?.remove();
  const left = page.total - offset - page.layers.length;
  if (left > 0 && page.layers.length) {
    const more = h("button", { type: "button", class: "more plain", onclick: () => fill(list, offset + page.layers.length) },
      `Show more (${left} left)`);
    panel.append(more);
  }
  if (!list.children.length) panel.replaceChildren(h("p", { class: "empty" }, "This cube holds no layer of this kind yet."));
  mark(shown);
}

/** Open the tab of a product and list its layers. */
export async function openProduct(id) {
  if (id === product) return;
  product = id;
  for (const tab of tabs.children) {
    const here = tab.dataset.product === id;
    tab.setAttribute("aria-selected", String(here));
    tab.tabIndex = here ? 0 : -1;
    if (here) panel.setAttribute("aria-labelledby", tab.id);
  }
  const list = h("ul", {});
  panel.replaceChildren(list);
  panel.scrollTop = 0;
  panel.setAttribute("aria-busy", "true");
  try {
    await fill(list, 0);
  } catch (error) {
    const again = () => { product = null; openProduct(id); };
    panel.replaceChildren(h("p", { class: "empty" }, error.message, " ", h("button", { type: "button", class: "plain", onclick: again }, "Try again")));
  } finally {
    panel.removeAttribute("aria-busy");
  }
}

/** Mark the layer that the map shows, in the tab it belongs to. */
export async function markShown(layer) {
  shown = layer.id;
  await openProduct(layer.product);
  mark(layer.id);
  panel.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
}

function keys(event) {
  const all = [...tabs.children];
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const next = all[(all.indexOf(event.target) + step + all.length) % all.length];
  next.focus();
  openProduct(next.dataset.product);
  event.preventDefault();
}

/** Draw the tabs; `onChoose(layer)` is called when a row is pressed. */
export function startBrowse(products, onChoose) {
  choose = onChoose;
  tabs.replaceChildren(...products.map(({ id, title }) => h("button", {
    type: "button", role: "tab", id: `tab-${id}`, "data-product": id, "aria-controls": "layers",
    "aria-selected": "false", tabindex: -1, title, onclick: () => openProduct(id),
  }, SHORT[id] ?? title)));
  tabs.addEventListener("keydown", keys);
}
