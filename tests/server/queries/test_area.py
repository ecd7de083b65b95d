"""Reports of areas: exact against xarray on the same cells, at every level, in every format, and honest about limits."""

from __future__ import annotations

import csv
import io
import itertools
import json
from typing import Any

import numpy as np
import pytest
import shapely
import xarray as xr
from numpy.typing import NDArray
from starlette.testclient import TestClient

from cube import grid
from cube.storage.store import CubeStore
from server.main import create_app
from server.operating.settings import Settings
from server.queries import tally
from server.queries.area_models import AreaReport
from server.queries.report import COLUMNS, as_csv, as_html

CONCAVE = [
    (4806.217, 2893.113),
    (4826.731, 2894.437),
    (4812.319, 2899.611),
    (4824.409, 2908.243),
    (4807.131, 2906.927),
    (4810.439, 2900.209),
]
HOLE = [(4808.011, 2894.017), (4809.503, 2894.221), (4808.719, 2895.547)]


def ring(corners: list[tuple[float, float]], points: int = 400) -> list[list[float]]:
    """Corners in km on the grid as a closed ring of degrees, edges cut so that they stay straight on the grid."""
    closed = np.array([*corners, corners[0]]) * 1000
    parts = [np.linspace(a, b, points, endpoint=False) for a, b in itertools.pairwise(closed)]
    lon, lat = grid.EUROPE.unproject(*np.concatenate([*parts, closed[:1]]).T)
    return [[float(a), float(b)] for a, b in zip(lon, lat, strict=True)]


def polygon() -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [ring(CONCAVE), ring(HOLE)]}


def within(data: xr.Dataset) -> NDArray[np.bool_]:
    """Which cells of a group have their centre in `polygon()`, by shapely on the grid."""
    shape = shapely.Polygon(np.array(CONCAVE) * 1000, [np.array(HOLE) * 1000])
    return np.asarray(shapely.contains_xy(shape, *np.meshgrid(data.x.values, data.y.values)))


def opened(cube: CubeStore, product: str, level: int) -> xr.Dataset:
    return xr.open_zarr(f"{cube.url}/products/{product}/v1/{level}", consolidated=True).load()


@pytest.mark.parametrize("level", [0, 1, 2])
def test_report_equals_xarray_on_the_same_cells(
    client: TestClient, cube: CubeStore, monkeypatch: pytest.MonkeyPatch, level: int
) -> None:
    monkeypatch.setattr(tally, "CHUNKS", 12_000 if level == 0 else 0)
    monkeypatch.setattr(tally, "SQUARES", 2 if level == 1 else 0)
    report = AreaReport(**client.post("/area", json=polygon(), params={"threshold": 0}).json())
    assert (report.level, report.cell_m) == (level, 50 * 2**level)
    assert any("pyramid level" in note for note in report.notes) == (level > 0)
    species = opened(cube, "species", level)
    inside = within(species)
    assert report.cells == inside.sum() * 4**level
    probability = (species["occurrence"].astype("float64") * species["scale"].astype("float64")).values[:, inside]
    assert report.mapped_cells == np.isfinite(probability[0]).sum() * 4**level
    names = [str(n) for n in species["species"].values]
    assert [s.name for s in report.species] == sorted(names, key=lambda n: -np.nanmean(probability[names.index(n)]))
    for own in report.species:
        values = probability[names.index(own.name)]
        found = (own.mean_probability, own.highest_probability, own.expected_cells)
        assert found == pytest.approx((np.nanmean(values), np.nanmax(values), np.nansum(values) * 4**level), rel=1e-5)
    richness = opened(cube, "indicators", level)["richness"].values[:, inside].astype("float64")
    (own_richness,) = report.indicators
    shown = (own_richness.mean, own_richness.lower, own_richness.upper, own_richness.lowest, own_richness.highest)
    truth = (*np.nanmean(richness, axis=1), np.nanmin(richness[0]), np.nanmax(richness[0]))
    assert shown == pytest.approx(truth, rel=1e-5)
    classes = opened(cube, "habitats", level)["level3"].values[inside]
    shares = {s.value: s.share for s in report.habitats[0].shares}
    for value, code in enumerate(("T17", "T31", "R22")):
        assert shares[code] == pytest.approx((classes == value).sum() / np.isfinite(classes).sum(), rel=1e-5)
    assert sum(s.km2 for s in report.habitats[0].shares) == pytest.approx(report.mapped_km2, rel=1e-4)


def test_coverage_is_the_share_of_cells_in_whose_list_a_species_is(client: TestClient, cube: CubeStore) -> None:
    report = AreaReport(**client.post("/area", json=polygon(), params={"threshold": 0}).json())
    composition = xr.open_zarr(f"{cube.url}/products/composition/v1", mask_and_scale=False).load()
    inside = within(composition)
    listed = composition["species_id"].values[:, inside]
    size = composition["set_size"].values[inside]
    size = np.where(size == 65535, 0, size)
    in_set = np.where(np.arange(64)[:, None] < size, listed, 65535)
    names = [str(n) for n in cube.array("products/species/v1/table/scientific_name")[:]]
    for own in report.species:
        share = (in_set == names.index(own.name)).any(axis=0).sum() / report.mapped_cells
        assert own.coverage == pytest.approx(share, rel=1e-5)
    assert sum(s.coverage or 0 for s in report.species) == pytest.approx(3)  # every list holds three


def test_counts_go_by_status_and_threshold(client: TestClient) -> None:
    whole = AreaReport(**client.post("/area", json=polygon(), params={"threshold": 0}).json())
    counts = whole.counts
    found = [c.species for c in (counts.listed, counts.threatened, counts.protected, counts.invasive, counts.endemic)]
    assert found == [6, 1, 1, 1, 0]
    assert counts.listed.expected_per_plot == pytest.approx(sum(s.mean_probability for s in whole.species), rel=1e-5)
    few = AreaReport(**client.post("/area", json=polygon(), params={"threshold": 0.3}).json())
    assert {s.name for s in few.species} == {s.name for s in whole.species if s.highest_probability >= 0.3}
    assert few.counts.protected.species == 0


def test_an_area_between_cell_centres_takes_the_cell_at_its_middle(client: TestClient) -> None:
    tiny = ring([(4810.001, 2900.001), (4810.011, 2900.001), (4810.011, 2900.011), (4810.001, 2900.011)], 1)
    report = AreaReport(**client.post("/area", json={"type": "Polygon", "coordinates": [tiny]}).json())
    assert report.cells == report.mapped_cells == 1
    assert "no cell" in report.notes[0]
    lon, lat = grid.EUROPE.unproject(4_810_006.0, 2_900_006.0)
    point = client.get(f"/point/{lon},{lat}").json()
    assert report.indicators[0].mean == pytest.approx(point["indicators"][0]["estimate"], abs=1e-3)


def test_water_is_reported_as_cells_without_predictions(client: TestClient) -> None:
    x, y = 4800.0 + 350 * 0.05, 2910.0 - 230 * 0.05
    lake = ring([(x - 0.3, y - 0.3), (x + 0.3, y - 0.3), (x + 0.3, y + 0.3), (x - 0.3, y + 0.3)])
    report = AreaReport(**client.post("/area", json={"type": "Polygon", "coordinates": [lake]}).json())
    assert report.cells == 144
    assert report.mapped_cells == 0
    assert report.species == report.indicators == []
    page = client.post("/area?format=html", json={"type": "Polygon", "coordinates": [lake]})
    assert page.status_code == 200


def test_csv_holds_the_same_numbers_and_no_formula(client: TestClient) -> None:
    report = AreaReport(**client.post("/area", json=polygon()).json())
    answer = client.post("/area", json=polygon(), headers={"Accept": "text/csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert tuple(rows[0]) == COLUMNS
    species = [row for row in rows if row["section"] == "species"]
    assert [(row["name"], float(row["mean"])) for row in species] == [(s.name, s.mean_probability) for s in report.species]
    habitats = [row for row in rows if row["section"] == "habitat"]
    assert len(habitats) == sum(len(h.shares) for h in report.habitats)
    assert client.post("/area?format=csv", json=polygon()).text == answer.text
    marked = report.model_copy(update={"name": "=HYPERLINK(1)"})
    assert "'=HYPERLINK" in as_csv(marked)


def test_page_prints_alone_and_escapes_what_it_shows(client: TestClient) -> None:
    answer = client.post("/area", json=polygon(), headers={"Accept": "text/html,application/xhtml+xml"})
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    page = answer.text
    assert "@media print" in page
    for outside in ("http:", "https:", "<script", "url(", "<link", "<img", "@import"):
        assert outside not in page
    assert page.count('class="swatch"') == page.count("background:#")
    report = AreaReport(**client.post("/area", json=polygon()).json())
    hostile = report.model_copy(update={"name": "<script>alert(1)</script>"})
    assert "<script" not in as_html(hostile)
    assert "&lt;script&gt;" in as_html(hostile)


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (b"", 422, "not JSON"),
        (b"{", 422, "not JSON"),
        (b"[" * 100_000, 422, "not JSON"),
        (b"\xff\xfe", 422, "not JSON"),
        (b'{"type": "Polygon", "coordinates": [[[NaN, 1], [1, 2], [2, 3], [NaN, 1]]]}', 422, "NaN"),
        (b'{"type": "Polygon", "coordinates": [[[1e999, 1], [1, 2], [2, 3], [1e999, 1]]]}', 422, "finite"),
        (b'{"region": 7}', 422, "names"),
        (b'{"region": "Atlantis"}', 404, "no region"),
        (b'{"type": "Polygon", "coordinates": [[[1, 1], [2, 1], [2, 2], [1, 1]]]}', 404, "outside"),
        (b'{"type": "Polygon", "coordinates": [' + b" " * 10_000_000 + b"]}", 413, "larger"),
    ],
)
def test_a_wrong_area_is_told_so_in_one_sentence(client: TestClient, body: bytes, status: int, told: str) -> None:
    answer = client.post("/area", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert told in answer.json()["detail"]
    assert "\n" not in answer.json()["detail"]


def test_a_collection_is_the_union_of_its_features(client: TestClient) -> None:
    def square(west: float) -> dict[str, Any]:
        ring = [[west, 49.0], [west + 0.02, 49.0], [west + 0.02, 49.02], [west, 49.02], [west, 49.0]]
        return {"type": "Feature", "properties": None, "geometry": {"type": "Polygon", "coordinates": [ring]}}

    features = [square(16.75), square(16.76), square(16.80)]
    collection = {"type": "FeatureCollection", "name": "saved by QGIS", "features": features}
    report = client.post("/area", json=collection).json()
    overlapping = {
        "type": "Polygon",
        "coordinates": [[[16.75, 49.0], [16.78, 49.0], [16.78, 49.02], [16.75, 49.02], [16.75, 49.0]]],
    }
    parts = [client.post("/area", json=document).json()["cells"] for document in (overlapping, square(16.80))]
    # An edge that is straight in degrees is followed to 5 m, and its pieces a little closer.
    assert abs(report["cells"] - sum(parts)) <= 2
    for wrong in ([], [square(16.75)["geometry"]], [{**square(16.75), "geometry": None}]):
        answer = client.post("/area", json={"type": "FeatureCollection", "features": wrong})
        assert answer.status_code == 422


def test_too_large_an_area_names_the_limit(client: TestClient, cube: CubeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = TestClient(create_app([cube.url], Settings(area_km2=50))).post("/area", json=polygon())
    assert answer.status_code == 413
    assert "50 km2" in answer.json()["detail"]
    monkeypatch.setattr(tally, "MASK", 100)
    answer = client.post("/area", json=polygon())
    assert answer.status_code == 413
    assert "coarsest" in answer.json()["detail"]


def test_the_world_is_the_region(client: TestClient, cube: CubeStore) -> None:
    world = [[-180, -90], [0, -90], [180, -90], [180, 90], [0, 90], [-180, 90], [-180, -90]]
    report = AreaReport(**client.post("/area", content=json.dumps({"type": "Polygon", "coordinates": [world]})).json())
    assert report.cells == 500 * 360
    assert report.inside_km2 == pytest.approx(25 * 18)


def test_an_indicator_without_an_interval_has_no_bounds(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tally.tally

    def without(*arguments: Any) -> tally.Tally:
        found = whole(*arguments)
        found.figures["indicators"]["cells"][1:] = 0
        return found

    monkeypatch.setattr(tally, "tally", without)
    (richness,) = client.post("/area", json=polygon()).json()["indicators"]
    assert richness["lower"] is richness["upper"] is None
    assert richness["mean"] > 0
