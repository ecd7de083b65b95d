// MapLibre GL: from our own server where it is installed, else from a public network at the same version, compared with its hashes.

const VERSION = "6.17.0"; // as in package.json
const LOCAL = new URL("../node_modules/maplibre-gl/dist/", import.meta.url).href;
const PUBLIC = `https://cdn.jsdelivr.net/npm/maplibre-gl@${VERSION}/dist/`;
const HASHES = {
  "maplibre-gl.mjs": "sha384-pghUwrZY2q/5xc+bZCYbeUP4JsNuZEmG8j+ZvzJMC1DOy3Rdj5AhRNThLRAiEjSb",
  "maplibre-gl-worker.mjs": "sha384-3TQUOa/0LGT7Cx/33YaLIs5RPzqGBCUAlmA8ht2ofWIP6UugFoidHfikpRijBozF",
  "maplibre-gl.css": "sha384-S+OnE5M4U3Qc2nR0RgljGrVs06xqfRg8L7uFk/pOF5+sRuSDG4oKkqKZmFrx7w09",
};

function stylesheet(href, more = {}) {
  return new Promise((resolve, reject) => {
    const link = document.createElement("link");
    Object.assign(link, { rel: "stylesheet", ...more, href, onload: resolve, onerror: reject });
    document.head.prepend(link); // before our own, which then may differ from it
  });
}

async function own() {
  const [library] = await Promise.all([import(`${LOCAL}maplibre-gl.mjs`), stylesheet(`${LOCAL}maplibre-gl.css`)]);
  return library;
}

/** A script of the public network as an address of its verified bytes: import() itself takes no hash. */
async function verified(name) {
  const answer = await fetch(PUBLIC + name, { integrity: HASHES[name] });
  if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
  return URL.createObjectURL(new Blob([await answer.arrayBuffer()], { type: "text/javascript" }));
}

async function fromNetwork() {
  const css = "maplibre-gl.css";
  const [main, worker] = await Promise.all([
    verified("maplibre-gl.mjs"), verified("maplibre-gl-worker.mjs"),
    stylesheet(PUBLIC + css, { integrity: HASHES[css], crossOrigin: "anonymous" }),
  ]);
  const library = await import(main);
  library.setWorkerUrl(worker);
  return library;
}

/** The library's module; throws one sentence if neither place has it. */
export async function loadLibrary() {
  try {
    return await own();
  } catch {
    try {
      return await fromNetwork();
    } catch {
      throw new Error("The map library is missing: run `npm ci` in server/page, or connect to the internet.");
    }
  }
}
