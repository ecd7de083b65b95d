// Questions that send something, or want something else than JSON: reports of areas and their other forms.

import { ApiError, urlOf } from "./api.js";

/**
 * The answer to a question, as text.
 * @param {string} path
 * @param {{body?: object, accept?: string, signal?: AbortSignal}} how `body` makes it a POST of JSON
 * @returns {Promise<string>}
 * @throws {ApiError} with one sentence for the reader
 */
export async function ask(path, { body, accept = "application/json", signal } = {}) {
  let response;
  try {
    const sent = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
    const headers = { accept, ...(body === undefined ? {} : { "content-type": "application/json" }) };
    response = await fetch(urlOf(path), { ...sent, headers, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The server does not answer. Is it still running?");
  }
  const text = await response.text();
  if (response.ok) return text;
  let detail = null;
  try { detail = JSON.parse(text).detail; } catch { /* told by its status */ }
  throw new ApiError(response.status, typeof detail === "string" ? detail : `The server answered ${response.status}.`);
}

/** The same as JSON. */
export const askJson = async (path, how) => JSON.parse(await ask(path, how));

/**
 * Give the reader a file.
 * @param {string} name
 * @param {string} text
 * @param {string} type MIME type
 */
export function save(name, text, type) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = Object.assign(document.createElement("a"), { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(URL.revokeObjectURL, 10_000, url);
}

/**
 * Print a page that the server wrote, without leaving this one.
 * @param {string} html
 */
export function print(html) {
  document.getElementById("printed")?.remove();
  // no display: none, or some browsers print an empty sheet
  const frame = Object.assign(document.createElement("iframe"), { id: "printed", title: "Report to print", tabIndex: -1, srcdoc: html });
  frame.addEventListener("load", () => frame.contentWindow.print());
  document.body.append(frame);
}
