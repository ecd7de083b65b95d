"""The map page in a real browser, over a live server on the synthetic cube, with nothing else to talk to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import xarray as xr
from pyproj import Transformer

from cube import grid
from cube.storage.store import CubeStore
from inference.cascade.indicators import INDICATORS
from tests.server.page_visit import NEEDED, PAGE, Visit, live, values

pytestmark = NEEDED
LAND = (16.77, 49.0)  # a place with values
LAKE = (16.795, 48.995)  # a place without
AWAY = (16.4, 49.0)  # a place outside the region


@pytest.fixture(scope="module")
def address(cube: CubeStore) -> Iterator[str]:
    with live(cube) as url:
        yield url


def test_first_view_is_richness_over_the_whole_region(visit: Visit) -> None:
    page = visit.open()
    assert page.inner_text("h1") == "Synthetic"
    assert page.inner_text("#shown h2") == "Expected richness of vascular plants"
    assert page.locator("#tabs [role=tab]").all_inner_texts() == ["Indicators", "Habitats", "Species", "Inputs"]
    statuses = visit.tiles("indicators.richness")
    assert 200 in statuses
    assert set(statuses) <= {200, 204}


def test_indicators_stand_in_the_order_of_the_registry_and_at_least_six_are_in_sight(browser: Any, large_cube: CubeStore) -> None:
    with live(large_cube) as url:
        visit = Visit(browser, url)
        page = visit.open()
        names = page.eval_on_selector_all("#layers [data-id]", "all => all.map(e => e.dataset.id.split('.')[1])")
        assert names == [entry.name for entry in INDICATORS]
        inside = (
            "(all) => { const box = document.querySelector('#layers').getBoundingClientRect();"
            " return all.filter(e => e.getBoundingClientRect().bottom <= box.bottom + 1).length; }"
        )
        assert 6 <= page.eval_on_selector_all("#layers [data-id]", inside) < len(INDICATORS)
        assert page.evaluate("document.querySelector('#shown').getBoundingClientRect().bottom") <= 640
        page.close()


@pytest.mark.skipif(not (PAGE / "node_modules/swagger-ui-dist").is_dir(), reason="run `npm ci` in server/page first")
def test_the_api_is_tried_out_without_another_machine_and_behind_a_prefix(browser: Any, address: str) -> None:
    visit = Visit(browser, address)
    page = visit.page
    # The same server one folder down, as a proxy may put it: the page must not ask for anything beside that folder.
    page.route("**/maps/**", lambda route: route.continue_(url=route.request.url.replace("/maps/", "/")))
    page.goto(f"{address}maps/docs")
    page.wait_for_selector("#api .opblock")
    assert page.locator("#api .opblock").count() > 10
    assert page.input_value("#api .servers select") == f"{address}maps/"
    assert all(url.startswith((f"{address}maps/", "data:")) for url in visit.requested)
    assert visit.complaints == []
    page.close()


@pytest.mark.slow
def test_typing_a_name_and_enter_shows_the_species_map(visit: Visit) -> None:
    page = visit.open()
    search = page.locator("#search")
    for typed, name, layer in [
        ("fag", "Fagus sylvatica", "species.fagus_sylvatica"),
        ("norway", "Picea abies", "species.picea_abies"),
    ]:
        page.keyboard.press("Escape")
        search.blur()
        page.keyboard.press("/")
        page.keyboard.type(typed)
        option = page.wait_for_selector("#search-results [role=option]")
        assert name in option.inner_text()
        assert search.get_attribute("aria-expanded") == "true"
        assert search.get_attribute("aria-activedescendant") == option.get_attribute("id")
        page.keyboard.press("Enter")
        page.wait_for_function("name => document.querySelector('#shown h2').innerText === name", arg=name)
        visit.settle()
        assert search.get_attribute("aria-expanded") == "false"
        assert f"layer={layer}" in page.url
        assert 200 in visit.tiles(layer)
        assert set(visit.tiles(layer)) <= {200, 204}
        assert page.locator("#layers [aria-current=true]").get_attribute("data-id") == layer


@pytest.mark.slow
def test_a_click_reads_what_the_point_query_answers(visit: Visit) -> None:
    page = visit.open("#layer=species.picea_abies")
    box = page.locator("#map canvas").bounding_box()
    page.mouse.click(box["x"] + 0.4 * box["width"], box["y"] + 0.45 * box["height"])
    page.wait_for_selector("#point[data-state=ready]")
    (asked,) = [url for url in visit.requested if "/point/" in url]
    answer = page.request.get(asked).json()
    assert values(page, "#point .species data") == [s["probability"] for s in answer["species"]]
    assert page.locator("#point .species .latin").all_inner_texts() == [s["name"] for s in answer["species"]]
    assert values(page, "#point .indicators data") == [i["estimate"] for i in answer["indicators"]]
    assert values(page, "#point .best data") == [h["probability"] for h in answer["habitat_top3"]]
    assert page.inner_text("#point .cell") == answer["cell"]
    other = next(s["id"] for s in answer["species"] if s["id"] != "species.picea_abies")
    page.click(f"#point .species button[data-id='{other}']")
    page.wait_for_function("id => location.hash.includes(id)", arg=other)
    visit.settle()
    assert 200 in visit.tiles(other)


def test_a_click_reads_the_values_that_xarray_reads_of_the_cell(visit: Visit, cube: CubeStore) -> None:
    page = visit.open("#layer=indicators.richness&map=12.00/49.01/16.75")
    page.mouse.click(700, 300)
    page.wait_for_selector("#point[data-state=ready]")
    (asked,) = [url for url in visit.requested if "/point/" in url]
    lon, lat = (float(part) for part in asked.rsplit("/", 1)[1].split(","))
    x, y = Transformer.from_crs(4326, grid.EUROPE.epsg, always_xy=True).transform(lon, lat)
    here = {"x": x, "y": y, "method": "nearest"}
    richness = xr.open_zarr(cube.url, group="products/indicators/v1/0", consolidated=False)["richness"].sel(**here)
    assert values(page, "#point .indicators data") == [pytest.approx(float(richness.sel(bound="estimate")), abs=1e-4)]
    ranked = xr.open_zarr(cube.url, group="products/composition/v1", consolidated=False)["probability"].sel(**here)
    likely = [float(p) for p in ranked if p >= 0.05]
    assert values(page, "#point .species data") == pytest.approx(likely, abs=1e-4)
    assert likely


def test_the_policy_of_the_page_allows_all_that_it_does(browser: Any, address: str) -> None:
    context = browser.browser.new_context()
    visit = Visit(context, address)
    page = visit.open("#layer=indicators.richness&map=12.00/49.01/16.75")
    page.mouse.click(700, 300)
    page.wait_for_selector("#point[data-state=ready]")
    page.goto(address + "#layer=species.carex_alba&sheet=species.carex_alba")
    page.wait_for_selector("#sheet[data-state=ready]")
    context.close()
    assert visit.complaints == []
    assert visit.strangers() == set()


@pytest.mark.slow
def test_the_link_opens_the_same_view_in_a_new_page(visit: Visit, browser: Any) -> None:
    page = visit.open("#layer=habitats.level3&map=12.50/49.01000/16.77000&opacity=65")
    page.mouse.click(500, 330)
    page.wait_for_selector("#point[data-state=ready]")
    visit.settle()
    second = Visit(browser, visit.address)
    other = second.open(urlsplit(page.url).fragment.join(("#", "")))
    other.wait_for_selector("#point[data-state=ready]")
    assert other.url == page.url
    for selector in ("#shown h2", "#shown output", "#point .coordinates", "#point .body", "#frame"):
        assert other.inner_text(selector) == page.inner_text(selector)
    assert re.search(r"layer=habitats\.level3&map=12\.50/.*&opacity=65&point=", other.url)
    other.close()
    assert second.complaints == []


@pytest.mark.slow
def test_water_and_places_outside_the_region_are_told_apart(visit: Visit) -> None:
    page = visit.open(f"#point={LAKE[0]},{LAKE[1]}")
    page.wait_for_selector("#point[data-state=ready]")
    assert "Nothing is predicted here" in page.inner_text("#point")
    page.evaluate("place => { location.hash = `#point=${place}` }", f"{AWAY[0]},{AWAY[1]}")
    page.wait_for_selector("#point[data-state=outside]")
    assert "outside the mapped region" in page.inner_text("#point")
    # the browser itself reports the 404 that says "outside"; nothing else may be amiss
    visit.complaints = [text for text in visit.complaints if "/point/" not in text]


@pytest.mark.slow
def test_a_phone_shows_map_search_and_layers_without_scrolling_sideways(browser: Any, address: str) -> None:
    visit = Visit(browser, address, 360, 740)
    page = visit.open(f"#point={LAND[0]},{LAND[1]}")
    page.wait_for_selector("#point[data-state=ready]")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.click("#point .close")
    page.click("#open-browse")
    page.click("#tab-species")
    page.click("#layers button[data-id='species.carex_alba']")
    page.wait_for_function("document.querySelector('#shown h2').innerText === 'Carex alba'")
    assert not page.is_visible("#layers")
    page.close()
    assert visit.complaints == []
    assert visit.strangers() == set()
