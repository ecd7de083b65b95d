// MapLibre GL: from our own server where it is installed, else from a public network at the same version.

const VERSION = "6.17.0"; // as in package.json
const LOCAL = new URL("../node_modules/maplibre-gl/dist/", import.meta.url).href;
const PUBLIC = `https://cdn.jsdelivr.net/npm/maplibre-gl@${VERSION}/dist/`;

function stylesheet(url) {
  return new Promise((resolve, reject) => {
    const link = document.createElement("link");
    Object.assign(link, { rel: "stylesheet", href: url, onload: resolve, onerror: reject });
    document.head.prepend(link); // before our own, which then may differ from it
  });
}

async function from(folder) {
  const [library] = await Promise.all([import(`${folder}maplibre-gl.mjs`), stylesheet(`${folder}maplibre-gl.css`)]);
  return library;
}

/** The library's module; throws one sentence if neither place has it. */
export async function loadLibrary() {
  try {
    return await from(LOCAL);
  } catch {
    try {
      return await from(PUBLIC);
    } catch {
      throw new Error("The map library is missing: run `npm ci` in server/page, or connect to the internet.");
    }
  }
}
