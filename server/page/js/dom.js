// Building elements. Text always goes in as text, never as HTML, so nothing a cube holds can run.

/** Make an element: h("p", { class: "quiet" }, "text", child, null). */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") Object.entries(value).forEach(([k, v]) => element.style.setProperty(k, v));
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A part of a report or a sheet, with its heading. */
export const section = (title, ...body) => h("section", {}, h("h3", {}, title), ...body);

/** Pairs of a name and what is said of it; those of which nothing is said are left out. */
export const facts = (pairs) => h("dl", { class: "facts" }, pairs.filter(([, value]) => value !== null && value !== undefined && value !== "").flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));

export const byId = (id) => document.getElementById(id);

/** Tell screen readers, and nobody else. */
export function announce(text) {
  byId("live").textContent = text;
}

/** A name in the type of a flora: italics for a Latin name, upright for the rest. */
export function nameOf(layer) {
  return layer.product === "species" ? h("i", { class: "latin", lang: "la" }, layer.title) : h("span", {}, layer.title);
}

/** A layer's second line, unless it only repeats the title or the id. */
export function subtitleOf(layer) {
  const tail = layer.id.slice(layer.product.length + 1).replace(/[._]/g, " ");
  const words = layer.subtitle?.replace(/[._]/g, " ") ?? "";
  return [layer.title, tail, tail.replace(/ (lower|upper|width)$/, ""), ""].includes(words) ? null : layer.subtitle;
}

const IUCN = {
  LC: "Least concern", NT: "Near threatened", VU: "Vulnerable", EN: "Endangered",
  CR: "Critically endangered", RE: "Regionally extinct", EX: "Extinct", DD: "Data deficient",
};

/** Small chips for a species' statuses; none for what is merely common. */
export function statusChips(status) {
  if (!status) return [];
  const chips = [];
  const code = (status.iucn || "").toUpperCase();
  if (code && code !== "LC" && code !== "NE" && code !== "NA") {
    chips.push(h("abbr", { class: `chip iucn ${code.toLowerCase()}`, title: IUCN[code] ?? code }, code));
  }
  if (status.protected) chips.push(h("span", { class: "chip protected" }, "protected"));
  if (status.endemic) chips.push(h("span", { class: "chip endemic" }, "endemic"));
  if (status.invasive) chips.push(h("span", { class: "chip invasive" }, "invasive"));
  return chips;
}
