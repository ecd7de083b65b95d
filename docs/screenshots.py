"""Pictures of the map page: opens a served cube in Chromium and saves each asked view as a PNG.

    python docs/screenshots.py http://127.0.0.1:8000 docs/img \\
        richness="#layer=indicators.richness" phone:beech="#layer=species.fagus_sylvatica" \\
        dark:habitats="#layer=habitats.level3&point=16.9,49.1" \\
        compare="#layer=indicators.richness&compare=indicators.richness.width&hatch=1"

A view is `[phone:][dark:]name=#hash`, the hash copied from the page's address; without views the
page's own first view is taken. The picture of the README is of `make try`:

    python docs/screenshots.py http://127.0.0.1:8000 docs demo-richness="#layer=indicators.richness"
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

COLOURS = 64  # of a picture

LAUNCH = [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # WebGL without a graphics card
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
]


@dataclass(frozen=True)
class View:
    """One picture: its file name, the page's hash, and on what screen."""

    name: str
    hash: str
    phone: bool = False
    dark: bool = False

    @classmethod
    def parse(cls, text: str) -> View:
        """Read `[phone:][dark:]name=#hash`; raises ValueError when there is no `=`."""
        head, found, tail = text.partition("=")
        if not found:
            raise ValueError(f"view {text!r} needs the form name=#hash")
        *marks, name = head.split(":")
        return cls(name, tail, "phone" in marks, "dark" in marks)


def chromium() -> str | None:
    """The browser to drive: $CHROMIUM, else the first on the path; None if there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


def take(browser: Browser, url: str, view: View, folder: Path) -> Path:
    """Open the view, wait until its tiles stand, and save it as `folder/name.png`."""
    page = browser.new_page(
        viewport={"width": 360, "height": 740} if view.phone else {"width": 1280, "height": 800},
        device_scale_factor=2 if view.phone else 1,
        color_scheme="dark" if view.dark else "light",
    )
    page.goto(url + view.hash)
    page.wait_for_selector("html[data-ready]", timeout=60_000)
    page.wait_for_selector("#stage[data-tiles=loaded]", timeout=60_000)
    page.wait_for_timeout(4000)  # coastlines come after the tiles, and the last fade
    path = folder / f"{view.name}.png"
    page.screenshot(path=path)
    page.close()
    image = Image.open(path).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    image.save(path, optimize=True)  # a quarter of the bytes
    return path


def main() -> int:
    """Take the pictures that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("url", help="where the map is served")
    parser.add_argument("folder", type=Path, help="where the PNG files go")
    parser.add_argument("views", nargs="*", type=View.parse, metavar="[phone:][dark:]name=#hash")
    arguments = parser.parse_args()
    executable = chromium()
    if executable is None:
        print("no Chromium found: install it or set CHROMIUM to its path", file=sys.stderr)
        return 2
    arguments.folder.mkdir(parents=True, exist_ok=True)
    url = arguments.url.rstrip("/") + "/"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--headless=new", *LAUNCH])
        for view in arguments.views or [View("map", "")]:
            print(take(browser, url, view, arguments.folder))
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
