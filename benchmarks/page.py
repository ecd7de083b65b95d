"""The map page: how soon the first tiles are seen, and what the page weighs on the way.

    python -m benchmarks.page demo-out/cube.zarr
    python -m benchmarks.page demo-out/cube.zarr --visits 9 --json page.json

Chromium draws without a graphics card, each visit with an empty cache, from a server of its own on loopback. The page is
there when the last of its scripts and styles, the map library among them, has arrived; the first tile is seen in the frame
after it, all of the view when the map says so. Weights are bytes as sent (gzip), of every file that a visit asks for, coastlines
among them, which come after the tiles.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.command import parser_of, write_rows
from benchmarks.ports import free_port, serving

ROOT = Path(__file__).resolve().parents[1]
BAR_MS, BAR_KB = 1000, 500
LIBRARY = "/maplibre-gl/"
LAUNCH = [
    "--headless=new",
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
]
# When the map first says that its tiles are drawn, having asked for some.
WATCH = """
new MutationObserver((changes, watcher) => {
  const stage = document.getElementById("stage");
  const asked = performance.getEntriesByType("resource").some((entry) => entry.name.includes("/tiles/"));
  if (stage?.dataset.tiles !== "loaded" || !asked) return;
  window.seen = performance.now();
  watcher.disconnect();
}).observe(document, { subtree: true, attributes: true, attributeFilter: ["data-tiles"] });
"""
ENTRIES = """performance.getEntriesByType("resource").map(({ name, responseEnd, encodedBodySize, initiatorType }) =>
  ({ name, responseEnd, size: encodedBodySize, kind: initiatorType }))"""


@contextmanager
def serve(cube: str) -> Iterator[str]:
    """The address of a server of `cube`, while it runs."""
    port = free_port()
    with serving("server.main:app_from_environment", port, "healthz", {"FLORACUBE_CUBES": cube}):
        yield f"http://127.0.0.1:{port}/"


def visit(browser: Any, url: str) -> tuple[dict[str, float], dict[str, int]]:
    """Milliseconds since the visit began (`page`, `first`, `seen`) and bytes as sent by path, with an empty cache."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.add_init_script(WATCH)
    page.goto(url)
    page.wait_for_function("window.seen", timeout=120_000)
    view_ms = page.evaluate("window.seen")
    entries = page.evaluate(ENTRIES)
    page.wait_for_selector("html[data-ready]", timeout=120_000)
    page.wait_for_timeout(3000)  # what comes after the tiles
    document = page.evaluate("performance.getEntriesByType('navigation')[0].encodedBodySize")
    weights = {"/": int(document)}
    for entry in page.evaluate(ENTRIES):
        weights[urlsplit(entry["name"]).path] = int(entry["size"])
    first = page.evaluate("performance.getEntriesByName('first-tile')[0].startTime")
    context.close()
    page_ends = [e["responseEnd"] for e in entries if "/page/" in e["name"] and not e["name"].endswith(".json")]
    return {"page": max(t for t in page_ends if t < first), "first": first, "seen": view_ms}, weights


def main() -> int:
    """Print both tables; the exit status is 1 where a bar is missed."""
    parser = parser_of(__doc__)
    parser.add_argument("cube", help="path or URL of a cube")
    parser.add_argument("--visits", type=int, default=5)
    arguments = parser.parse_args()
    from playwright.sync_api import sync_playwright

    executable = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    with serve(arguments.cube) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=LAUNCH)
        visit(browser, url)  # the first one warms the server, as any before it would have
        visits = [visit(browser, url) for _ in range(arguments.visits)]
        browser.close()
    times = [milliseconds for milliseconds, _ in visits]
    records: list[dict[str, Any]] = []
    print(f"first tiles, median (least to most) of {len(times)} visits, load of the machine {os.getloadavg()[0]:.1f}")
    for name, paths_of in (
        ("page's own files have arrived", [t["page"] for t in times]),
        ("first tile is drawn", [t["first"] for t in times]),
        ("tiles of the view are drawn", [t["seen"] for t in times]),
        ("first drawn after them", [t["first"] - t["page"] for t in times]),
    ):
        middle = statistics.median(paths_of)
        records.append({"what": name, "ms": round(middle), "least": round(min(paths_of)), "most": round(max(paths_of))})
        print(f"  {name:36}{middle:7.0f} ms  ({min(paths_of):.0f} to {max(paths_of):.0f})")
    is_fast = records[-1]["ms"] <= BAR_MS
    weights = visits[-1][1]
    own_bytes = [n for path, n in weights.items() if path == "/" or ("/page/" in path and "node_modules" not in path)]
    kinds = {
        "page (HTML, styles, scripts)": own_bytes,
        "coastlines and what reads them": [n for p, n in weights.items() if "/world-atlas/" in p or "/topojson-client/" in p],
    }
    print("\nweight as sent")
    for name, sizes in kinds.items():
        records.append({"what": name, "kilobytes": round(sum(sizes) / 1000, 1), "files": len(sizes)})
        print(f"  {name:36}{sum(sizes) / 1000:7.1f} kB  in {len(sizes)} files")
    total = sum(sum(sizes) for sizes in kinds.values()) / 1000
    library = sum(n for p, n in weights.items() if LIBRARY in p) / 1000
    records.append({"what": "together, without the map library", "kilobytes": round(total, 1)})
    print(f"  {'together, without the map library':36}{total:7.1f} kB\n  {'map library':36}{library:7.1f} kB")
    light = total <= BAR_KB
    words = {True: "yes", False: "NO"}
    print(f"\nunder {BAR_MS} ms after the page's own files: {words[is_fast]}; under {BAR_KB} kB: {words[light]}")
    write_rows(arguments.json, records)
    return 0 if is_fast and light else 1


if __name__ == "__main__":
    sys.exit(main())
