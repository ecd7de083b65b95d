"""The same names, units, shapes, order and values, whether predictors are cut from a cube or read from GeoPlant's files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cube.grid import CELL, EUROPE, Region
from cube.layers.inputs import INPUTS, QUARTERS
from cube.records.geoplant.dataset import GeoPlant
from cube.records.geoplant.metadata import stream_metadata
from cube.records.geoplant.published_inputs import CLIMATE_SCALE, PUBLISHED_INPUTS, bioclim
from cube.records.geoplant.source import FileSource
from cube.records.places import CubeSource, Places, SampleSource, places_of
from cube.storage.store import CubeStore, create_cube, resolution_of
from tests.support.geoplant import encode_jpeg, file_of, write_cube, write_jpeg, write_table, write_tiff

REGION = Region(4700, 2850, 4710, 2860, 10)
LAYERS = ("sentinel2", "landsat", "elevation", "soil", "landcover", "footprint", "footprint_detail", "climate", "bioclim")
SIDE = 128
CELLS = 25  # 1.25 km, what a published patch holds


def smooth(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """A field without sharp edges, 0..1: JPEG costs little of it, as of most land."""
    y, x = np.mgrid[: shape[-2], : shape[-1]]
    out = np.zeros(shape, np.float32)
    for _ in range(4):
        lead = rng.uniform(0, 2 * np.pi, shape[:-2])[..., None, None]
        out += np.sin(x / rng.uniform(8, 25) + y / rng.uniform(8, 25) + lead)
    return (out - out.min()) / np.ptp(out)


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> CubeStore:
    """A cube of one unit with every layer that GeoPlant publishes."""
    cube = create_cube(str(tmp_path_factory.mktemp("source") / "c.zarr"), REGION, "t")
    rng = np.random.default_rng(0)
    for name in (*LAYERS, "surface"):
        layer = INPUTS[name]
        cube.ensure_group(layer.group, [layer], resolution_of(layer))
        array = cube.array(layer.path)
        if name == "sentinel2":
            # Bands of land rise and fall together, which is what 4:2:0 counts on.
            bright, tint = smooth(rng, array.shape[1:]), smooth(rng, array.shape)
            values = np.array([0.10, 0.09, 0.06, 0.35], np.float32)[:, None, None] * (0.4 + bright) + 0.02 * tint
        elif name == "bioclim":
            values = rng.uniform(1, 20, array.shape)
        elif name == "climate":
            values = rng.uniform(250, 300, array.shape)
        elif name == "landcover":
            values = rng.integers(0, 18, array.shape)
        else:
            low, high = layer.valid_range or (0, 250)
            values = rng.uniform(max(low, 0), min(high, 250), array.shape)
        stored = layer.encode(np.asarray(values, np.float32))
        stored[..., -20:] = layer.fill if layer.resolution == "50m" else stored[..., -20:]
        array[:] = stored
    return cube


@pytest.fixture(scope="module")
def places() -> Places:
    """Twelve records, some near the edge of the cube, ids of one to seven digits."""
    rng = np.random.default_rng(1)
    ids = np.array([7, 42, 123, 4567, 3018575, 10, 99999, 60987, 200, 5000108, 31, 1322301])
    x = 4_700_000 + rng.uniform(700, 9_300, len(ids))
    y = 2_850_000 + rng.uniform(700, 9_300, len(ids))
    x[0], y[1] = 4_700_020.0, 2_859_990.0
    # At the rounding of published tables, so that both sources know one position.
    lon, lat = (v.round(6) for v in EUROPE.unproject(x, y))
    rows = pd.DataFrame({"longitude": lon, "latitude": lat, "survey": ids, "patch_id": ids, "series_id": ids})
    return places_of(rows, "PA")


def raw_bioclim(values: np.ndarray) -> np.ndarray:
    """Degrees Celsius and mm to CHELSA's integers."""
    kelvin = np.zeros(19)
    kelvin[[0, 4, 5, 7, 8, 9, 10]] = 273.15
    return np.rint((values + kelvin) * 10)


def write_geoplant(root: Path, cube: CubeStore, places: Places, year: int) -> FileSource:
    """Cut what GeoPlant publishes out of `cube` at `places`, by plain indexing, and write it as that year did."""
    stored = {name: cube.array(INPUTS[name].path)[:] for name in LAYERS}
    decoded = {name: INPUTS[name].decode(values) for name, values in stored.items()}
    image = np.pad(decoded["sentinel2"], ((0, 0), (SIDE, SIDE), (SIDE, SIDE)), constant_values=0)
    row = np.floor((REGION.bounds[3] - places.y) / 10).astype(int)
    col = np.floor((places.x - REGION.bounds[0]) / 10).astype(int)
    columns: dict[str, dict[str, object]] = {p.table: {"surveyId": places.survey} for p in PUBLISHED_INPUTS.values()}
    for i, number in enumerate(places.survey):
        top, left = row[i] + SIDE - SIDE // 2, col[i] + SIDE - SIDE // 2
        patch = image[:, top : top + SIDE, left : left + SIDE]
        if year == 2025:
            west, north = REGION.bounds[0] + (col[i] - 64) * 10, REGION.bounds[3] - (row[i] - 64) * 10
            write_tiff(root, year, int(number), patch, west, north)
        else:
            write_jpeg(root, year, int(number), patch)
        r, c = row[i] // 5, col[i] // 5
        series = stored["landsat"][:, :, r, c].astype(np.float32)
        series[series == 255] = np.nan
        write_cube(root, year, "landsat", int(number), series.reshape(6, 21, 4).swapaxes(1, 2))
        climate = decoded["climate"][:, :, r // 20, c // 20] / CLIMATE_SCALE[:, None]
        write_cube(root, year, "climate", int(number), np.rint(climate).reshape(4, 19, 12))
    for name, what in PUBLISHED_INPUTS.items():
        step = 20 if name == "bioclim" else 1
        values = decoded[name][..., row // 5 // step, col // 5 // step]
        values = raw_bioclim(values.T).T if name == "bioclim" else values
        for k, column in enumerate(what.columns):
            columns[what.table][column] = values[k] if INPUTS[name].dims else values
    for table, content in columns.items():
        write_table(root / "EnvironmentalValues" / table / f"PA-train-{TABLE_NAMES[table]}.csv", content)
    return FileSource(GeoPlant(root))


TABLE_NAMES = {
    "bioclim": "bioclimatic",
    "soil": "soilgrids",
    "elevation": "elevation",
    "landcover": "landcover",
    "footprint": "human_footprint",
}
SHAPES = {
    "sentinel2": (4, 5 * CELLS, 5 * CELLS),
    "landsat": (6, 84),
    "elevation": (),
    "soil": (9,),
    "landcover": (13,),
    "footprint": (2,),
    "footprint_detail": (14,),
    "climate": (4, 228),
    "bioclim": (19,),
}
# What publishing costs: CHELSA's tenths of a degree and mm; float32 of printed decimals.
TOLERANCE = {"climate": 0.051, "bioclim": 0.051}
JPEG_STEPS = 8  # of 255, what JPEG of quality 90 may cost a pixel; on average it is less than one


@pytest.mark.slow
@pytest.mark.parametrize("year", [2024, 2025, 2026])
def test_files_and_cube_agree(cube: CubeStore, places: Places, tmp_path: Path, year: int) -> None:
    files = write_geoplant(tmp_path, cube, places, year)
    cells = CubeSource(cube)
    for source in (files, cells):
        held: SampleSource = source
        assert set(LAYERS) <= set(held.layers)
    assert files.layers == tuple(n for n in cells.layers if n in LAYERS)
    a, b = (s.sample(places, LAYERS, CELLS) for s in (files, cells))
    for name in LAYERS:
        assert a[name].shape == b[name].shape == (len(places), *SHAPES[name]), name
        assert a[name].dtype == b[name].dtype == np.float32
        if name != "sentinel2":
            np.testing.assert_allclose(a[name], b[name], rtol=1e-6, atol=TOLERANCE.get(name, 1e-5), err_msg=name)
    seen = np.isfinite(a["sentinel2"]) & np.isfinite(b["sentinel2"])
    assert seen[2:].mean() > 0.99  # a published patch of 128 pixels may miss one of 125 by its phase
    if year == 2025:
        np.testing.assert_allclose(a["sentinel2"][seen], b["sentinel2"][seen], atol=1e-4)
    else:
        steps = np.abs(encode_jpeg(a["sentinel2"][seen]).astype(int) - encode_jpeg(b["sentinel2"][seen]))
        assert steps.max() <= JPEG_STEPS
        assert steps.mean() < 1
        assert np.abs(a["sentinel2"] - b["sentinel2"])[seen].mean() < 0.003
    assert not files.report.remarks


def test_values_of_a_cube_are_those_of_the_cells_that_hold_the_places(cube: CubeStore, places: Places) -> None:
    got = CubeSource(cube).sample(places, ["elevation", "bioclim", "landsat"])
    row = np.floor((REGION.bounds[3] - places.y) / CELL).astype(int)
    col = np.floor((places.x - REGION.bounds[0]) / CELL).astype(int)
    for name, step in (("elevation", 1), ("bioclim", 20), ("landsat", 1)):
        layer = INPUTS[name]
        truth = layer.decode(cube.array(layer.path)[:])[..., row // step, col // step]
        np.testing.assert_array_equal(got[name], np.moveaxis(truth, -1, 0))
    away = Places.at(np.array([4_600_000.0, np.inf]), np.array([2_855_000.0, 2_855_000.0]))
    assert np.isnan(CubeSource(cube).sample(away, ["elevation"])["elevation"]).all()


def test_quarters_and_months_are_in_the_order_of_the_layer(tmp_path: Path, places: Places) -> None:
    cube = np.zeros((6, 4, 21))
    cube[2, 3, 20] = 200  # blue in the last quarter of 2020
    cube[:, 0, 1] = np.nan
    write_cube(tmp_path, 2024, "landsat", 42, cube)
    months = np.zeros((4, 19, 12))
    months[0, 18, 11] = 12_345  # rain of December 2018, hundredths of mm
    months[2, 0, 0] = 2_800  # the warmest of January 2000, tenths of K
    write_cube(tmp_path, 2024, "climate", 42, months)
    got = FileSource(GeoPlant(tmp_path)).sample(places, ["landsat", "climate"])
    at = QUARTERS.index("2020Q4")
    assert got["landsat"][1, 2, at] == pytest.approx(200 / 254)
    assert np.isnan(got["landsat"][1, :, QUARTERS.index("2001Q1")]).all()
    assert got["climate"][1, 0, -1] == pytest.approx(123.45)
    assert got["climate"][1, 2, 0] == pytest.approx(280)


def test_a_missing_or_damaged_file_is_no_data_and_is_named(cube: CubeStore, places: Places, tmp_path: Path) -> None:
    files = write_geoplant(tmp_path, cube, places, 2024)
    file_of(tmp_path, 2024, "rgb", 42).unlink()
    file_of(tmp_path, 2024, "landsat", 123).write_bytes(b"cut")
    truth = files.sample(places, ["soil"])["soil"]
    got = files.sample(places, ["sentinel2", "landsat"], 3)
    assert np.isnan(got["sentinel2"][1]).all()
    assert np.isnan(got["landsat"][2]).all()
    assert np.isfinite(got["sentinel2"][2:]).all()
    assert np.isfinite(truth[2:9]).any()
    remarks = files.report.remarks
    assert remarks["places without a satellite patch"] == (1, ["42"])
    assert remarks["places whose Landsat series cannot be read, taken as missing"][0] == 1
    assert "123_cube.pt" in remarks["places whose Landsat series cannot be read, taken as missing"][1][0]


def test_rasters_stand_in_where_no_table_gives_values(real_data: Path) -> None:
    geoplant = GeoPlant(real_data / "geoplant" / "glc23")
    files = FileSource(geoplant)
    rows = next(stream_metadata(geoplant.layout, "PO"))
    got = files.sample(places_of(rows, "PO"), files.layers, 3)
    assert files.layers == ("sentinel2", "landsat", "footprint_detail")
    assert np.isfinite(got["sentinel2"]).all()
    assert np.isfinite(got["landsat"]).any(axis=(1, 2)).all()
    detail = got["footprint_detail"]
    given = np.isfinite(detail).any(axis=0)
    names = np.array(INPUTS["footprint_detail"].labels["footprint_pressure"])[given]
    assert list(names) == ["built2009", "lights2009"]
    assert np.nanmax(detail) <= 10


def test_bioclim_is_understood_raw_in_kelvin_and_in_degrees() -> None:
    truth = np.tile(
        np.array(
            [9.5, 8.0, 30.0, 600.0, 25.0, -3.0, 28.0, 15.0, 2.0, 18.0, 0.5, 700, 90, 30, 20, 250, 100, 240, 120], np.float32
        ),
        (4, 1),
    )
    truth[3, 0] = np.nan
    given = truth.copy()
    given[0] = raw_bioclim(truth[0])
    given[3] = raw_bioclim(truth[3])
    given[1, [0, 4, 5, 7, 8, 9, 10]] += 273.15
    np.testing.assert_allclose(bioclim(given), truth, atol=0.051)
