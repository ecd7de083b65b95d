// One script and one stylesheet for the page, named by their content, so that browsers may keep them for ever: `npm run build`.
//
// The page works without: the server gives its modules one by one where dist/ is not there or older than they are.

import { build } from "esbuild";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";

const SHEET = /^ *<link rel="stylesheet" href="page\/(css\/[a-z]+\.css)"(?: media="([^"]+)")?>\n/gm;
const html = await readFile("index.html", "utf8");
const sheets = [...html.matchAll(SHEET)].map(([, file, media]) => `@import "./${file}"${media ? ` ${media}` : ""};`);
const common = { bundle: true, minify: true, metafile: true, outdir: "dist", entryNames: "[name]-[hash]", legalComments: "linked" };

await rm("dist", { recursive: true, force: true });
await mkdir("dist");
const script = await build({ ...common, entryPoints: ["js/app.js"], format: "esm", target: "es2022" });
const style = await build({ ...common, entryNames: "app-[hash]", stdin: { contents: sheets.join("\n"), loader: "css", resolveDir: ".", sourcefile: "app.css" } });
const entry = (result) => Object.entries(result.metafile.outputs).find(([, made]) => made.entryPoint)[0];

const page = html
  .replace(SHEET, "")
  .replace(/^ *<link rel="modulepreload".*\n/m, "")
  .replace(/^( *)<script type="module" src="page\/js\/app\.js"><\/script>$/m,
    `$1<link rel="stylesheet" href="page/${entry(style)}">\n$1<script type="module" src="page/${entry(script)}"></script>`);
await writeFile("dist/index.html", page); // last: what is cut off is no bundle
