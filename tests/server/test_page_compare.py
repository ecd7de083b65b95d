"""Two layers across a boundary, the faces of uncertainty, the map by keyboard, and what axe-core finds: in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import xarray as xr
from pyproj import Transformer

from cube import grid, layers
from cube.storage.store import CubeStore
from tests.server import conftest as synthetic
from tests.server.page_visit import NEEDED, Visit, live

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="accessibility is tested with axe-core")

pytestmark = [pytest.mark.slow, *NEEDED]
PLACE = (16.77, 49.01)
SERIOUS = ("serious", "critical")
WCAG = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]},
    "resultTypes": ["violations"],
}


@pytest.fixture(scope="module")
def applicable_cube(tmp_path_factory: pytest.TempPathFactory) -> CubeStore:
    """The synthetic cube with an area of applicability beside its richness; its bounds are empty, as `predict` leaves them."""

    def write_both(cube: CubeStore, inside: Any, version: str) -> None:
        richness = 40 * synthetic.smooth(50, inside.shape)
        dissimilarity = 1.6 * synthetic.smooth(51, inside.shape)
        nothing = np.full(inside.shape, np.nan)
        parts = []
        for name, scale, top, three in (
            ("richness", 0.01, 600.0, (richness, 0.8 * richness, 1.2 * richness)),
            ("applicability", 0.001, 60.0, (dissimilarity, nothing, nothing)),
        ):
            layer = layers.indicator(name, "", f"The {name}", "1", scale, top, "viridis")
            parts.append((layer, layer.encode(np.where(inside, np.stack(three), np.nan))))
        synthetic._pyramid(cube, "indicators", version, parts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "write_indicators", write_both)
        return synthetic.build_cube(tmp_path_factory.mktemp("page") / "applicable.zarr")


@pytest.fixture(scope="module")
def address(applicable_cube: CubeStore) -> Iterator[str]:
    with live(applicable_cube) as url:
        yield url


def test_two_layers_are_compared_by_keyboard_and_the_link_shows_both(visit: Visit, browser: Any) -> None:
    page = visit.open("#layer=indicators.richness")
    page.click("#compare")
    page.wait_for_selector("#swipe:not([hidden])")
    assert "compare=indicators.richness.width" in page.url  # what is known of its uncertainty stands beside it at first
    page.click("#tab-species")
    page.click("#layers button[data-id='species.picea_abies']")  # the right layer is the one that is being chosen
    page.wait_for_function(
        "location.hash.includes('layer=indicators.richness&') && location.hash.includes('compare=species.picea_abies')"
    )
    visit.settle()
    assert 200 in visit.tiles("species.picea_abies")
    bar = page.locator("#swipe")
    bar.focus()
    for key, share in (("Home", "0"), ("ArrowRight", "2"), ("Shift+ArrowRight", "12"), ("End", "100"), ("ArrowLeft", "98")):
        page.keyboard.press(key)
        assert bar.get_attribute("aria-valuenow") == share
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + 0.98 * box["width"], box["y"] + 300)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 300)
    page.mouse.up()
    assert bar.get_attribute("aria-valuenow") == "30"
    right = page.locator("#map-right")
    assert right.evaluate("e => getComputedStyle(e).clipPath") == "inset(0px 0px 0px 30%)"
    second = Visit(browser, visit.address)
    other = second.open(f"#{urlsplit(page.url).fragment}")
    other.wait_for_selector("#sides .side.right")
    assert other.url == page.url
    assert other.locator("#sides .side").all_inner_texts() == page.locator("#sides .side").all_inner_texts()
    other.close()
    assert second.complaints == []
    page.get_by_role("button", name="End comparison").click()
    page.wait_for_selector("#swipe", state="hidden")
    assert "compare" not in page.url
    assert page.locator("#map-right").count() == 0


def test_uncertainty_is_a_press_away_and_nothing_is_claimed_where_none_is_known(visit: Visit) -> None:
    page = visit.open("#layer=indicators.richness")
    group = page.get_by_role("group", name="Uncertainty")
    assert group.locator("button").all_inner_texts() == ["Estimate", "Low", "High", "Width"]
    group.get_by_role("button", name="Width").click()
    page.wait_for_function("document.querySelector('#shown h2').innerText.endsWith('width of the interval')")
    assert "layer=indicators.richness.width" in page.url
    page.check("#hatch")
    page.wait_for_function("location.hash.includes('hatch=1')")
    visit.settle()
    hatches = [url for url in visit.requested if "/layers/indicators.applicability/tiles/" in url]
    assert hatches
    assert all("above=1" in url for url in hatches)
    page.evaluate("location.hash = '#layer=indicators.applicability'")
    page.wait_for_function("document.querySelector('#shown h2').innerText === 'The applicability'")
    assert page.get_by_role("group", name="Uncertainty").count() == 0  # its bounds are empty
    page.evaluate("location.hash = '#layer=habitats.level3'")
    page.wait_for_function("document.querySelector('#shown h2').innerText.includes('level 3')")
    assert group.locator("button").all_inner_texts() == ["Class", "Probability", "Entropy"]


def test_the_map_reads_itself_out_by_keyboard(visit: Visit, applicable_cube: CubeStore) -> None:
    page = visit.open(f"#layer=indicators.richness&map=12.00/{PLACE[1]}/{PLACE[0]}")
    page.focus("#map canvas.maplibregl-canvas")
    richness = xr.open_zarr(applicable_cube.url, group="products/indicators/v1/0", consolidated=False)["richness"]
    heard = []
    for key in ("Shift+ArrowRight", "Shift+ArrowUp", "ArrowLeft"):
        page.keyboard.press(key)
        before = page.inner_text("#live")
        page.wait_for_function("before => document.querySelector('#live').innerText !== before", arg=before)
        page.wait_for_timeout(700)
        lat, lon = (float(v) for v in page.evaluate("location.hash.match(/map=[^/]+[/]([^/]+)[/]([^&]+)/).slice(1)"))
        x, y = Transformer.from_crs(4326, grid.EUROPE.epsg, always_xy=True).transform(lon, lat)
        truth = float(richness.sel(bound="estimate").sel(x=x, y=y, method="nearest"))
        said = page.inner_text("#readout")
        assert said.startswith("The richness: ")
        assert float(said.removeprefix("The richness: ")) == pytest.approx(truth, rel=0.006)  # three digits are read out
        assert said in page.inner_text("#live")
        heard.append((lon, lat))
    one, two, three = (Transformer.from_crs(4326, grid.EUROPE.epsg, always_xy=True).transform(*place) for place in heard)
    assert np.hypot(two[0] - one[0], two[1] - one[1]) == pytest.approx(grid.CELL, rel=0.1)  # one cell
    assert np.hypot(three[0] - two[0], three[1] - two[1]) > 5 * grid.CELL
    assert page.is_visible("#crosshair")
    page.keyboard.press("Enter")
    page.wait_for_selector("#point[data-state=ready]")


def found(page: Any) -> list[str]:
    """What axe-core calls serious or critical by WCAG 2.2 AA, as text."""
    response = axe.Axe().run(page, options=WCAG).response
    return [
        f"{violation['id']}: {[node['html'][:120] for node in violation['nodes'][:3]]}"
        for violation in response["violations"]
        if violation["impact"] in SERIOUS
    ]


@pytest.mark.parametrize(("scheme", "width"), [("light", 1000), ("dark", 360)])
def test_axe_finds_nothing_serious(browser: Any, address: str, scheme: str, width: int) -> None:
    visit = Visit(browser, address, width, 740)
    visit.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page = visit.open(f"#layer=indicators.richness&compare=species.picea_abies&hatch=1&point={PLACE[0]},{PLACE[1]}")
    page.wait_for_selector("#point[data-state=ready]")
    problems = {"point and comparison": found(page)}
    page.click("#point .close")
    if width < 720:
        page.click("#shown .unfold")
    page.click("#legend-table summary")
    page.wait_for_selector(".colours td")
    problems["legend as a table"] = found(page)
    if width < 720:
        page.click("#open-browse")
        problems["layers of a phone"] = found(page)
    page.click("#search")
    page.keyboard.type("a")
    page.wait_for_selector("#search-results [role=option]")
    problems["search"] = found(page)
    page.close()
    assert problems == {state: [] for state in problems}
    assert visit.complaints == []


def test_the_legend_as_a_table_says_every_stop(visit: Visit) -> None:
    page = visit.open("#layer=habitats.level3")
    page.click("#legend-table summary")
    page.wait_for_selector(".colours td")
    assert page.locator(".colours tbody td:last-child").all_inner_texts() == [
        "T17 Beech forest",
        "T31 Spruce forest",
        "R22 Hay meadow",
        "no data, which is not zero",
    ]


def test_without_the_atlas_the_map_still_works(browser: Any, address: str) -> None:
    visit = Visit(browser, address)
    visit.page.route("**/world-atlas/**", lambda route: route.fulfill(status=404))
    page = visit.open("")
    page.wait_for_timeout(1500)
    assert page.is_hidden("#notice")
    assert 200 in visit.tiles("indicators.richness")
    page.close()


def test_the_atlas_is_in_the_wheel() -> None:
    import tomllib

    root = Path(__file__).parents[2]
    artifacts = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["artifacts"]
    land = (root / "server/page/js/land.js").read_text()
    assert "server/page/node_modules/world-atlas/countries-50m.json" in artifacts
    assert "node_modules/world-atlas/countries-50m.json" in land
