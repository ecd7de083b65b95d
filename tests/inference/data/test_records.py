"""A record of a square is somewhere in it: several places on land stand for it, and together they weigh as it is certain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from cube.config import Config, load_config
from cube.errors import TableError
from cube.grid import CELL, EUROPE, Region
from cube.layers.inputs import INPUTS
from cube.storage.store import CubeStore, create_cube, resolution_of
from inference.data.records import DRAWS, DryCells, NamedRecords, place_records, read_named_records
from inference.data.samples import Predictors
from inference.training.joint import RecordRows
from tests.support.geoplant import write_table

REGION = Region(4700, 2850, 4710, 2860, 10)


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> CubeStore:
    """A region whose eastern 2.5 km are a lake."""
    cube = create_cube(str(tmp_path_factory.mktemp("records") / "c.zarr"), REGION, "t")
    layer = INPUTS["surface"]
    cube.ensure_group(layer.group, [layer], resolution_of(layer))
    surface = np.zeros(cube.array(layer.path).shape, layer.dtype)
    surface[:, 150:] = 1
    cube.array(layer.path)[:] = surface
    return cube


def config_of(folder: Path, table: dict[str, list[object]], columns: dict[str, str]) -> Config:
    write_table(folder / "po.csv", table)
    document = {
        "title": "t",
        "cube": "c.zarr",
        "unit_km": 10,
        "sources": [],
        "region": {"west_km": 4700, "south_km": 2850, "east_km": 4710, "north_km": 2860},
        "records": {"table": "po.csv", "columns": columns},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(document))
    return load_config(folder / "config.yaml")


def in_cells(folder: Path, cube: CubeStore, cells: list[str]) -> NamedRecords:
    names = ["Fagus sylvatica"] * (len(cells) - 1) + ["Abies alba"]
    return read_named_records(config_of(folder, {"c": list(cells), "s": list(names)}, {"cells": "c", "species": "s"}), cube)


def test_places_of_a_square_lie_on_land_within_it_and_share_its_weight(tmp_path: Path, cube: CubeStore) -> None:
    # a square of 1 km, one of 10 km with a lake, one that is all lake, one elsewhere
    named = in_cells(tmp_path, cube, ["1kmE4703N2855", "10kmE470N285", "1kmE4709N2855", "1kmE4803N2855", "250mE470300N285500"])
    assert named.share is not None
    assert named.weight is not None
    assert named.counts() == {"Fagus sylvatica": 2, "Abies alba": 1}
    first = slice(0, DRAWS)
    assert ((named.x[first] >= 4_703_000) & (named.x[first] < 4_704_000)).all()
    assert ((named.y[first] >= 2_855_000) & (named.y[first] < 2_856_000)).all()
    assert (named.x < 4_707_500).all()
    row, col = REGION.index(named.x, named.y)
    np.testing.assert_array_equal(named.cell, row * 200 + col)
    np.testing.assert_allclose(named.weight[first].sum(), 1)
    np.testing.assert_allclose(named.share.sum(), 3)
    np.testing.assert_allclose(named.weight.sum(), 2.1)  # 10 km weigh a tenth
    tally = named.report.tallies["records"]
    assert (tally.read, tally.used) == (5, 3)
    assert tally.left_out == {"records outside the region": 1, "records whose cell has no land in the region": 1}
    named.report.check()


def test_draws_cover_the_square_evenly(tmp_path: Path, cube: CubeStore) -> None:
    named = in_cells(tmp_path, cube, ["1kmE4703N2855"] * 500)
    assert abs(named.x.mean() - 4_703_500) < 3 * 289 / np.sqrt(len(named.x))
    counts = np.bincount(((named.x - 4_703_000) // 250).astype(int), minlength=4)
    assert counts.min() > 0.85 * len(named.x) / 4


def test_a_record_of_a_square_counts_once_in_training(tmp_path: Path, cube: CubeStore) -> None:
    named = in_cells(tmp_path, cube, ["1kmE4703N2855", "1kmE4704N2855", "10kmE470N285", "1kmE4705N2855"])
    records, cells, _ = place_records(named, ["Fagus sylvatica"], np.zeros(0, np.int64), REGION)
    named.report.check()
    assert named.report.tallies["records"].left_out == {"records of species with too few of them": 1}
    assert named.report.totals == {"records": 3, "species": 1}
    assert records.weight is not None
    assert len(records.subset(np.arange(3)).weight) == 3  # type: ignore[arg-type]
    places = Predictors({"table_50m": np.zeros((len(cells), 1), np.float32)}, table_50m_names=("a",))
    rows = RecordRows(records, places, 1)
    np.testing.assert_allclose(rows.counts, [2.1], rtol=1e-6)
    np.testing.assert_allclose(rows.total, 2.1, rtol=1e-6)
    assert rows.weight is not None
    np.testing.assert_allclose(rows.weight.mean(), 1, rtol=1e-6)  # so that a mean over rows is one over records


def test_records_at_points_are_as_they_were(tmp_path: Path, cube: CubeStore) -> None:
    lon, lat = EUROPE.unproject(np.array([4_701_000.0, 4_709_000.0]), np.array([2_855_000.0, 2_855_000.0]))
    table: dict[str, list[object]] = {"x": list(lon), "y": list(lat), "s": ["Fagus sylvatica"] * 2}
    named = read_named_records(config_of(tmp_path, table, {"longitude": "x", "latitude": "y", "species": "s"}), cube)
    assert named.weight is None
    np.testing.assert_allclose(named.x, [4_701_000], atol=CELL / 100)
    assert named.report.tallies["records"].left_out == {"records on permanent water": 1}
    named.report.check()


def test_squares_without_land_are_an_error_that_says_so(tmp_path: Path, cube: CubeStore) -> None:
    with pytest.raises(TableError, match=r"no record is left: .*whose cell has no land in the region"):
        in_cells(tmp_path, cube, ["1kmE4709N2855"] * 2)


def test_the_surface_is_read_once_a_unit_however_records_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cube, layer = create_cube(str(tmp_path / "c.zarr"), Region(4703, 2854, 4725, 2868, 10), "t"), INPUTS["surface"]
    cube.ensure_group(layer.group, [layer], resolution_of(layer))
    rng = np.random.default_rng(4)
    truth = rng.integers(0, 3, cube.array(layer.path).shape).astype(layer.dtype)
    cube.array(layer.path)[:] = truth
    west, south, east, north = cube.region.bounds
    dry, reads = DryCells(cube), list[object]()
    real = CubeStore.read_window
    monkeypatch.setattr(CubeStore, "read_window", lambda self, *a: reads.append(a) or real(self, *a))
    for count in (0, 1, 500, 500):
        x, y = rng.uniform(west, east, count), rng.uniform(south, north, count)
        row, col = cube.region.index(x, y)
        np.testing.assert_array_equal(dry.at(x, y), truth[row, col] != 1)
    assert len(reads) == len(set(map(str, reads))) <= len(list(cube.region.units()))
