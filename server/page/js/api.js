// The server's answers, fetched; failures come back as one sentence a reader can act on.

const root = new URL(".", document.baseURI);

/** What went wrong, in a sentence, with the HTTP status (0: no answer at all). */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The absolute URL of a path of this server, wherever a proxy has put it; {z} stays {z}. */
export function urlOf(path) {
  return new URL(path.replace(/^\//, ""), root).href.replaceAll("%7B", "{").replaceAll("%7D", "}");
}

/**
 * The answer to a question, as text.
 * @param {string} path
 * @param {{body?: object, accept?: string, signal?: AbortSignal}} how `body` makes it a POST of JSON
 * @returns {Promise<string>}
 * @throws {ApiError} with one sentence for the reader
 */
export async function ask(path, { body, accept = "application/json", signal } = {}) {
  let response, text;
  try {
    const sent = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
    const headers = { accept, ...(body === undefined ? {} : { "content-type": "application/json" }) };
    response = await fetch(urlOf(path), { ...sent, headers, signal });
    text = await response.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The server does not answer. Is it still running?");
  }
  if (response.ok) return text;
  let detail = null;
  try { detail = JSON.parse(text).detail; } catch { /* told by its status */ }
  throw new ApiError(response.status, typeof detail === "string" ? detail : `The server answered ${response.status}.`);
}

/** The same as JSON. */
export async function askJson(path, how) {
  const text = await ask(path, how);
  try {
    return JSON.parse(text);
  } catch {
    throw new ApiError(0, "The answer is not the server's. Is something between it and this page?");
  }
}

const get = (path, signal) => askJson(path, { signal });

const known = new Map(); // every layer seen so far, by id

function remember(page) {
  for (const layer of page.layers) known.set(layer.id, layer);
  return page;
}

export const about = () => get("about.json");

/** One page of the catalogue: {total, products, layers}. */
export async function layers({ search = "", product = "", limit = 50, offset = 0, signal } = {}) {
  const query = new URLSearchParams({ search, product, limit, offset });
  for (const key of ["search", "product"]) if (!query.get(key)) query.delete(key);
  return remember(await get(`layers?${query}`, signal));
}

/** One layer; asked of the server only when no page of the catalogue has held it yet. */
export async function layer(id) {
  if (!known.has(id)) known.set(id, await get(`layers/${encodeURIComponent(id)}`));
  return known.get(id);
}

/** A layer if it has been seen, else undefined; never a request. */
export const seen = (id) => known.get(id);

export const legend = (layer) => get(layer.legend);

/**
 * One layer's value in the cell that holds a place, from its finest level.
 * @param {string} id
 * @param {[number, number]} place longitude and latitude in degrees
 * @returns {Promise<{inside: boolean, value: number | null, label: string | null}>} `label` is the name of a class
 */
export const value = (id, [lon, lat], signal) => get(`layers/${encodeURIComponent(id)}/cell/${lon.toFixed(6)},${lat.toFixed(6)}`, signal);

/** Everything at a place, longitude and latitude in degrees. */
export const point = ([lon, lat], signal) => get(`point/${lon.toFixed(6)},${lat.toFixed(6)}`, signal);
