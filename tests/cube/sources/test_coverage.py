"""Coverage: every pixel of the region is used, no data or refused, the same in receipts, report, terminal and check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

import floracube
from cube.grid import Region
from cube.layers.inputs import INPUTS
from cube.sources.coverage import Coverage, percent
from cube.storage.store import open_cube
from tests.support.rasters import layer_values, names_of, write_bands

REGION = Region(4700, 2850, 4707, 2860, 10)  # narrower than its unit


def configuration(folder: Path, *sources: dict[str, Any]) -> Path:
    path = folder / "config.yaml"
    window = {"west_km": 4700, "south_km": 2850, "east_km": 4707, "north_km": 2860}
    path.write_text(yaml.safe_dump({"title": "t", "cube": "c.zarr", "region": window, "unit_km": 10, "sources": list(sources)}))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An elevation of half of the region with one impossible pixel, and a climate of which one band is empty."""
    out = tmp_path_factory.mktemp("coverage")
    dem = layer_values("elevation", 200, 140)
    dem[:, 100:] = np.nan
    dem[0, 3, 4] = -9999
    write_bands(out / "dem.tif", dem, REGION.transform(50))
    bio = layer_values("bioclim", 10, 7)
    bio[4] = np.nan
    write_bands(out / "bio.tif", bio, REGION.transform(1000), names_of("bioclim"))
    return out


def test_counts_are_the_same_everywhere_and_too_few_values_end_with_1(folder: Path) -> None:
    config = configuration(
        folder,
        {"layer": "elevation", "raster": "dem.tif", "min_coverage": 0.6},
        {"layer": "bioclim", "raster": "bio.tif"},
    )
    run = CliRunner().invoke(floracube.app, ["build", str(config), "--json"])
    assert run.exit_code == 1, run.output
    printed = json.loads(run.stdout)
    assert [text.split(" of the region,")[0].split(" anywhere")[0] for text in printed["failures"]] == [
        "elevation has values in 50 %",
        "band bio5 of bioclim has no value",
    ]
    rows = {row["layer"]: row for row in printed["coverage"]}
    cube = open_cube(str(folder / "c.zarr"))
    stored = np.asarray(cube.array("inputs/50m/elevation")[:])[:, :140]
    used = int((stored != INPUTS["elevation"].fill).sum())
    assert used == 100 * 140 - 1
    wanted = {"pixels": 200 * 140, "used": used, "no_data": 100 * 140, "refused": 1, "clipped": 0}
    assert {key: rows["elevation"][key] for key in wanted} == wanted
    assert (rows["bioclim"]["pixels"], rows["bioclim"]["used"]) == (19 * 70, 18 * 70)
    assert (rows["bioclim"]["least_band"], rows["bioclim"]["least_share"]) == ("bio5", 0)
    assert rows["surface"]["share"] == 1
    for row in rows.values():
        assert row["pixels"] == row["used"] + row["no_data"] + row["refused"]
    assert "first value -9999" in printed["warnings"][0]["text"]
    report = json.loads((folder / "reports/build.json").read_text())
    assert report["coverage"] == printed["coverage"]
    # Once more: nothing is built, and all of it is said again.
    again = CliRunner().invoke(floracube.app, ["build", str(config)])
    assert again.exit_code == 1
    assert "28,000 pixels = 13,999 used + 14,000 no data + 1 refused" in again.output
    checked = CliRunner().invoke(floracube.app, ["check", str(folder / "c.zarr"), "--json"])
    assert checked.exit_code == 1
    document = json.loads(checked.stdout)
    assert [row["line"] for row in document["coverage"] if row["layer"] == "elevation"] == [rows["elevation"]["line"]]
    (promise,) = (row for row in document["promises"] if row["name"] == "coverage")
    assert len(promise["findings"]) == 2


def test_a_plan_reports_what_is_wrong_with_files_that_are_there_already(folder: Path) -> None:
    write_bands(folder / "bare.tif", np.ones((10, 10), np.float32), REGION.transform(1000), crs=None)
    config = configuration(folder, {"layer": "srtm", "raster": "bare.tif"}, {"layer": "terrain", "raster": "later.tif"})
    run = CliRunner().invoke(floracube.app, ["build", str(config), "--plan", "--json"])
    assert run.exit_code == 2
    (problem,) = json.loads(run.stdout)["problems"]
    assert "bare.tif: the raster has no CRS" in problem
    assert "gdal_edit.py -a_srs EPSG:3035" in problem


def test_shares_are_never_rounded_to_all_or_nothing() -> None:
    assert (percent(0.0), percent(1.0), percent(0.99999999), percent(1e-9), percent(0.5)) == (
        "0 %",
        "100 %",
        "99.99 %",
        "0.01 %",
        "50 %",
    )
    row = Coverage("bioclim", 100, 90, 10, 0, 0, {"bio1": 50, "bio2": 40})
    assert row.least_covered() == ("bio2", 0.8)
    assert row.shortfall(0.8) is None
    assert "its source asks for 85 %" in str(row.shortfall(0.85))
