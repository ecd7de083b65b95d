"""Pictures of the map page: opens a served cube in Chromium and saves each asked view as a PNG.

    python docs/screenshots.py http://127.0.0.1:8000 docs/img \\
        richness="#layer=indicators.richness" phone:beech="#layer=species.fagus_sylvatica" \\
        dark:habitats="#layer=habitats.level3&point=16.9,49.1" \\
        compare="#layer=indicators.richness&compare=indicators.richness.width&hatch=1"

A view is `[phone:][dark:]name=#hash`, the hash copied from the page's address; without views the
page's own first view is taken. `--tour NAME` also records an animated WebP: richness, a species that is searched, the values of a
place, two layers with a boundary that moves. The pictures of the README are of `make try`:

    python docs/screenshots.py http://127.0.0.1:8000 docs demo-richness="#layer=indicators.richness" --tour demo-tour
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

TOUR_SIZE = (960, 600)  # pixels of the animated picture
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
        head, equals_sign, tail = text.partition("=")
        if not equals_sign:
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
    wait_for_tiles(page)
    path = folder / f"{view.name}.png"
    page.screenshot(path=path)
    page.close()
    image = Image.open(path).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    image.save(path, optimize=True)  # a quarter of the bytes
    return path


def wait_for_tiles(page: Page, milliseconds: int = 4000) -> None:
    """Until all tiles of the view are drawn; coastlines come after the tiles, and the last fade."""
    page.wait_for_selector("html[data-ready]", timeout=60_000)
    page.wait_for_selector("#stage[data-tiles=loaded]", timeout=60_000)
    page.wait_for_timeout(milliseconds)


def tour(browser: Browser, url: str, path: Path) -> Path:
    """Use the page as a visitor would, and save the frames as an animated WebP."""
    page = browser.new_page(viewport={"width": TOUR_SIZE[0], "height": TOUR_SIZE[1]})
    frames: list[tuple[Image.Image, int]] = []  # with the milliseconds that they are shown

    def frame(milliseconds: int) -> None:
        frames.append((Image.open(io.BytesIO(page.screenshot())).convert("RGB"), milliseconds))

    page.goto(url + "#layer=indicators.richness")
    wait_for_tiles(page)
    frame(1600)
    for letter in "fagu":
        page.locator("#search").press_sequentially(letter)
        page.wait_for_timeout(400)
        frame(250)
    page.locator("#search-results [role=option]").first.wait_for()
    frame(900)
    page.locator("#search").press("ArrowDown")
    page.locator("#search").press("Enter")
    wait_for_tiles(page)
    frame(1800)
    page.mouse.click(TOUR_SIZE[0] * 0.7, TOUR_SIZE[1] * 0.6)
    page.locator("#point").wait_for()
    page.wait_for_timeout(2000)
    frame(2200)
    page.goto("about:blank")  # the address keeps the place that the panel has moved the map to
    page.goto(url + "#layer=indicators.richness&compare=habitats.level3&swipe=90")
    wait_for_tiles(page)
    for swipe in (*range(90, 10, -5), *range(10, 55, 5)):
        page.evaluate("hash => { location.hash = hash; }", f"#layer=indicators.richness&compare=habitats.level3&swipe={swipe}")
        page.wait_for_timeout(200)
        frame(90)
    page.close()
    first, *others = [image for image, _ in frames]
    durations = [milliseconds for _, milliseconds in frames]
    first.save(path, save_all=True, append_images=others, duration=durations, loop=0, quality=70, method=6)
    return path


def main() -> int:
    """Take the pictures that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("url", help="where the map is served")
    parser.add_argument("folder", type=Path, help="where the PNG files go")
    parser.add_argument("views", nargs="*", type=View.parse, metavar="[phone:][dark:]name=#hash")
    parser.add_argument("--tour", metavar="NAME", help="also record the page in use as an animated NAME.webp")
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
        if arguments.tour:
            print(tour(browser, url, arguments.folder / f"{arguments.tour}.webp"))
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
