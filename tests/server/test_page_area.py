"""Reports of areas in the map page: drawn by pointer and by keyboard, uploaded, linked; figures equal to xarray's."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import xarray as xr

from cube import grid
from cube.storage.store import CubeStore
from server.queries import outline
from tests.server.page_visit import NEEDED, Visit, live, values

pytestmark = [pytest.mark.slow, *NEEDED]
BOX = [[16.74, 48.97], [16.80, 48.97], [16.80, 49.02], [16.74, 49.02], [16.74, 48.97]]


@pytest.fixture(scope="module")
def address(cube: CubeStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A live server with one named region."""
    regions = tmp_path_factory.mktemp("regions") / "parks.geojson"
    square = {"type": "Polygon", "coordinates": [BOX]}
    regions.write_text(
        json.dumps(
            {
                "type": "FeatureCollection",
                "features": [{"type": "Feature", "properties": {"name": "Square park"}, "geometry": square}],
            }
        )
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLORACUBE_REGIONS", f"parks={regions}")
        with live(cube) as url:
            yield url


def outlined(page: Any) -> shapely.Geometry:
    """The outline that the page asked about, by the file that it gives away, on the grid in metres."""
    with page.expect_download() as download:
        page.click("#area button:text-is('GeoJSON')")
    feature = json.loads(Path(download.value.path()).read_text())
    shape = shapely.segmentize(shapely.from_geojson(json.dumps(feature["geometry"])), outline.STEP)
    return shapely.transform(shape, lambda xy: np.stack(grid.EUROPE.project(*xy.T), axis=1))


def probabilities(cube: CubeStore, shape: shapely.Geometry) -> dict[str, np.ndarray]:
    """Probability of every species in the mapped cells whose centre lies in a shape, by xarray and shapely."""
    data = xr.open_zarr(f"{cube.url}/products/species/v1/0")
    inside = shapely.contains_xy(shape, *np.meshgrid(data.x.values, data.y.values))
    p = (data["occurrence"].astype("float64") * data["scale"].astype("float64")).values[:, inside]
    return {str(name): own[np.isfinite(own)] for name, own in zip(data["species"].values, p, strict=True)}


def shown(page: Any) -> dict[str, float]:
    """Mean probability of every listed species, by the page."""
    page.wait_for_selector("#area[data-state=ready]")
    names = page.locator("#area .species .latin").all_inner_texts()
    return dict(zip(names, values(page, "#area .species data"), strict=True))


def assert_as_xarray(page: Any, cube: CubeStore) -> None:
    found, truth = shown(page), probabilities(cube, outlined(page))
    assert set(found) == {name for name, p in truth.items() if p.max() >= 0.05}
    for name, mean in found.items():
        assert mean == pytest.approx(truth[name].mean(), rel=1e-4), name
    assert f"{len(truth['Carex alba']):,} mapped cells of 50 m" in page.inner_text("#area .size")
    assert values(page, "#area [data-count=listed]") == [len(found)]


def test_an_area_drawn_by_clicks_is_reported_as_xarray_counts_it_and_a_link_shows_it_again(
    visit: Visit,
    browser: Any,
    address: str,
    cube: CubeStore,
) -> None:
    page = visit.open()
    page.click("#report")
    page.click("#area-draw")
    frame = page.locator("#map").bounding_box()
    places = ((0.15, 0.4), (0.38, 0.35), (0.36, 0.65), (0.17, 0.7))  # left of the panel
    for (x, y), told in zip(places, ("One corner", "Two corners", "3 corners", "4 corners"), strict=True):
        page.mouse.click(frame["x"] + frame["width"] * x, frame["y"] + frame["height"] * y)
        page.wait_for_selector(f"#area [role=status]:has-text('{told}')")
    page.click("#area button:text-is('Done')")
    assert_as_xarray(page, cube)
    assert page.locator("#point").is_hidden()  # no click of the drawing asked about a place
    again = Visit(browser, address)
    assert shown(again.open(page.url.removeprefix(address))) == shown(page)
    again.page.close()
    assert again.complaints == []


def test_an_area_is_drawn_by_keyboard_alone(visit: Visit, cube: CubeStore) -> None:
    page = visit.open("#map=11.50/49.00000/16.77000")
    page.focus("#report")
    page.keyboard.press("Enter")
    page.wait_for_selector("#area-draw")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.wait_for_function("document.activeElement.closest('#area')")
    page.focus("#area-draw")
    page.keyboard.press("Enter")
    page.wait_for_selector("#area[data-state=drawing]")
    assert page.evaluate("document.activeElement.tagName") == "CANVAS"
    for corners, key in enumerate(("ArrowRight", "ArrowDown", "ArrowLeft"), start=1):
        page.keyboard.press("Enter")
        page.wait_for_selector(f"#area [role=status]:has-text('{['One corner', 'Two corners', '3 corners'][corners - 1]}')")
        before = page.url
        page.keyboard.press(key)
        page.wait_for_function("before => location.href !== before", arg=before)  # told once the map stands
    page.keyboard.press("Enter")
    page.wait_for_selector("#area [role=status]:has-text('4 corners')")
    page.keyboard.press("Backspace")
    page.wait_for_selector("#area [role=status]:has-text('3 corners')")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")  # a second corner at the last one ends the outline
    page.wait_for_selector("#area[data-state=ready]")
    assert page.evaluate("document.activeElement.textContent") == "Area"
    assert_as_xarray(page, cube)


def test_escape_leaves_drawing_and_then_the_panel(visit: Visit) -> None:
    page = visit.open()
    page.click("#report")
    page.click("#area-draw")
    page.keyboard.press("Escape")
    page.wait_for_selector("#area[data-state=choose]")
    page.keyboard.press("Escape")
    assert page.locator("#area").is_hidden()


def test_an_uploaded_outline_and_a_named_region_are_reported_and_taken_away(
    visit: Visit, cube: CubeStore, tmp_path: Path
) -> None:
    visit.page.add_init_script("window.print = () => { window.asked = true; };")
    page = visit.open()
    file = tmp_path / "my field.geojson"
    file.write_text(
        json.dumps(
            {
                "type": "FeatureCollection",
                "features": [
                    {"type": "Feature", "properties": {}, "geometry": {"type": "Point", "coordinates": [16.7, 49.0]}},
                    {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [BOX]}},
                ],
            }
        )
    )
    page.click("#report")
    page.set_input_files("#area-file", file)
    assert_as_xarray(page, cube)
    assert page.inner_text("#area h2") == "my field"
    uploaded = shown(page)
    with page.expect_download() as download:
        page.click("#area button:text-is('CSV')")
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    assert download.value.suggested_filename == "my-field.csv"
    told = {row["name"]: float(row["mean"]) for row in rows if row["section"] == "species"}
    assert told == uploaded
    page.click("#area-print")
    page.wait_for_function("document.getElementById('printed')?.contentWindow.asked")
    assert page.frame_locator("#printed").locator("h1").text_content() == "Area"
    page.click("#area button:text-is('New area')")
    page.select_option("#area-name", label="Square park")
    page.wait_for_selector("#area[data-state=ready] h2:text-is('Square park')")
    assert shown(page) == uploaded
    assert "Square" in page.url


WRONG = [
    ("not json", "This file is not GeoJSON"),
    ('{"type": "Point", "coordinates": [16.7, 49]}', "holds no polygon"),
    (
        '{"type": "Polygon", "coordinates": [[[4806000, 2893000], [4807000, 2893000], [4807000, 2894000], [4806000, 2893000]]]}',
        "not in degrees",
    ),
    (
        '{"type": "FeatureCollection", "crs": {"properties": {"name": "urn:ogc:def:crs:EPSG::3035"}}, "features": []}',
        "This file is in EPSG:3035; write it in longitude and latitude",
    ),
    ('{"type": "Polygon", "coordinates": [[[16.7, 49], [16.8, 49.1], [16.8, 49]]]}', "is not closed"),
]


def test_a_file_that_is_no_outline_is_told_in_a_sentence(visit: Visit, tmp_path: Path) -> None:
    page = visit.open()
    page.click("#report")
    for content, told in WRONG:
        (tmp_path / "wrong.geojson").write_text(content)
        page.set_input_files("#area-file", tmp_path / "wrong.geojson")
        page.wait_for_selector(f"#area .problem:has-text('{told}')")
        assert page.locator("#area-draw").is_enabled()
        assert "area=" not in page.url


def test_an_area_outside_the_map_and_a_damaged_link_are_told(browser: Any, address: str) -> None:
    visit = Visit(browser, address)
    page = visit.open("#area=pCCeAAe")  # a triangle in the Gulf of Guinea
    page.wait_for_selector("#area .problem")
    assert page.inner_text("#area .problem") == "Area lies outside the mapped region; choose a place on the map."
    page.goto(f"{address}#area=broken")
    page.wait_for_selector("#area[data-state=choose] .problem")
    assert "is not one that can be read" in page.inner_text("#area .problem")
    page.close()
    # the browser itself tells of the answer 404; nothing else may go wrong
    assert all("Failed to load resource" in text for text in visit.complaints)
