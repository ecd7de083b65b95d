"""Fact sheets in the map page: opened by keyboard and by link, figures as the cube has them, curves with a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import xarray as xr

from cube.storage.store import CubeStore
from tests.server.conftest import SPECIES
from tests.server.page_visit import NEEDED, Visit, live, values
from tests.support import model_documents

pytestmark = [pytest.mark.slow, *NEEDED]
AREA = "pgxlmDwu8qJg3LAv7Fw4J"  # a triangle on the map, as the page spells it


@pytest.fixture(scope="module")
def told(cube: CubeStore, tmp_path_factory: pytest.TempPathFactory) -> CubeStore:
    """A copy of the cube that says what model made its species."""
    return model_documents.copy_with_model(cube, tmp_path_factory.mktemp("told"), SPECIES)


@pytest.fixture(scope="module")
def address(told: CubeStore) -> Iterator[str]:
    """A live server on it."""
    with live(told) as url:
        yield url


def figure(page: Any, name: str) -> float:
    (value,) = values(page, f"#sheet data[data-figure={name}]")
    return value


def test_a_species_sheet_opens_by_keyboard_closes_by_escape_and_gives_the_keyboard_back(visit: Visit, told: CubeStore) -> None:
    page = visit.open("#layer=species.carex_alba")
    page.focus("#to-sheet")
    page.keyboard.press("Enter")
    page.wait_for_selector("#sheet[data-state=ready]")
    assert "sheet=species.carex_alba" in page.url
    assert page.evaluate("document.activeElement.id") == "sheet-title"
    data = xr.open_zarr(f"{told.url}/products/species/v1/0")
    index = SPECIES.index("Carex alba")
    p = data["occurrence"].values[index] * float(data["scale"][index])
    assert figure(page, "mean_probability") == pytest.approx(np.nanmean(p), rel=1e-4)
    assert figure(page, "highest_probability") == pytest.approx(np.nanmax(p), rel=1e-4)
    entry = model_documents.entries(SPECIES)[index]
    assert figure(page, "auc") == entry["held_out"]["auc"]
    assert (figure(page, "present"), figure(page, "expected")) == (entry["held_out"]["present"], entry["held_out"]["expected"])
    assert (figure(page, "surveys"), figure(page, "records")) == (entry["surveys"], entry["records"])
    page.keyboard.press("Escape")
    page.wait_for_selector("#sheet", state="hidden")
    page.wait_for_function("!location.hash.includes('sheet=')")  # a dialogue tells that it was closed a moment later
    assert page.evaluate("document.activeElement.id") == "to-sheet"


def test_a_curve_is_drawn_where_its_table_says(visit: Visit) -> None:
    page = visit.open("#sheet=species.fagus_sylvatica")
    page.wait_for_selector("#sheet[data-state=ready]")
    points = page.eval_on_selector("#sheet .curve .mean", "e => e.getAttribute('points')")
    drawn = np.array([[float(v) for v in pair.split(",")] for pair in points.split()])
    mean = np.array(model_documents.bell(0)[0])
    # a straight line maps what is drawn to what is meant, along both axes
    assert np.corrcoef(drawn[:, 0], model_documents.GRID)[0, 1] == pytest.approx(1, abs=1e-5)
    assert np.corrcoef(drawn[:, 1], mean)[0, 1] == pytest.approx(-1, abs=1e-4)
    assert len(page.query_selector_all("#sheet .curve .rug")) == 4
    label = page.get_attribute("#sheet .curve", "aria-label")
    assert label.startswith("Probability of Fagus sylvatica along Annual mean temperature (°C)")
    page.click("#sheet .response summary")
    rows = page.locator("#sheet .response tbody tr").all_inner_texts()
    assert len(rows) == len(model_documents.GRID)
    assert rows[int(np.argmax(mean))].split("\t")[1] == "50 %"


def test_what_was_not_measured_is_told_and_no_number_stands_for_it(visit: Visit) -> None:
    page = visit.open(f"#sheet=species.{SPECIES[-1].lower().replace(' ', '_')}")
    page.wait_for_selector("#sheet[data-state=ready]")
    assert "not measured: fewer than 5 surveys" in page.inner_text("#sheet")
    assert values(page, "#sheet data[data-figure=auc]") == []


def test_a_habitat_sheet_leads_to_its_parent_and_to_its_species(visit: Visit, told: CubeStore) -> None:
    page = visit.open("#layer=habitats.level3&sheet=habitat.T31")
    page.wait_for_selector("#sheet[data-state=ready]")
    classes = xr.open_zarr(f"{told.url}/products/habitats/v1/0")["level3"].values
    assert figure(page, "share") == pytest.approx((classes == 1).sum() / np.isfinite(classes).sum(), rel=1e-4)
    page.click("#sheet .classes button:has-text('Forests')")
    page.wait_for_selector("#sheet h2:has-text('Forests')")
    page.locator("#sheet .classes button", has_text="Beech forest").click()
    page.wait_for_selector("#sheet h2:has-text('Beech forest')")
    first = page.locator("#sheet tbody .latin").first
    name = first.inner_text()
    first.click()
    page.wait_for_selector(f"#sheet h2:has-text('{name}')")
    page.click("#sheet button:text-is('Show its map')")
    visit.settle()
    assert page.inner_text("#shown h2") == name


def test_a_sheet_that_is_not_there_is_told(browser: Any, address: str) -> None:
    visit = Visit(browser, address)
    page = visit.open("#sheet=species.nusquam")
    page.wait_for_selector("#sheet .problem")
    assert page.inner_text("#sheet .problem").startswith("There is no species 'species.nusquam' in release r1")
    page.close()
    assert all("Failed to load resource" in text for text in visit.complaints)


def test_a_sheet_fits_a_phone(visit: Visit) -> None:
    visit.page.set_viewport_size({"width": 360, "height": 640})
    page = visit.open("#sheet=species.fagus_sylvatica")
    page.wait_for_selector("#sheet[data-state=ready]")
    wide = page.eval_on_selector_all("#sheet, #sheet *", "all => all.filter(e => e.getBoundingClientRect().right > 361).length")
    assert wide == 0


@pytest.mark.parametrize(("scheme", "width"), [("light", 1000), ("dark", 360)])
def test_axe_finds_nothing_serious_in_sheets_and_areas(browser: Any, address: str, scheme: str, width: int) -> None:
    from tests.server.test_page_compare import found

    visit = Visit(browser, address, width, 740)
    visit.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page = visit.open("#sheet=species.fagus_sylvatica")
    page.wait_for_selector("#sheet[data-state=ready]")
    page.click("#sheet .response summary")
    problems = {"species": found(page)}
    page.evaluate("location.hash = '#sheet=habitat.T31'")
    page.wait_for_selector("#sheet h2:has-text('Spruce forest')")
    problems["habitat"] = found(page)
    page.click("#sheet .close")
    page.click("#report")
    page.wait_for_selector("#area-draw")
    problems["ways to say an area"] = found(page)
    page.click("#area-draw")
    problems["drawing"] = found(page)
    page.evaluate(f"location.hash = '#area={AREA}'")
    page.wait_for_selector("#area[data-state=ready]")
    problems["report"] = found(page)
    page.close()
    assert problems == {state: [] for state in problems}
    assert visit.complaints == []
