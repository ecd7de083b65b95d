"""The dry run: objects as a real build leaves them, Europe without a file or a connection, wrong names refused."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
import rasterio
import yaml
import zarr
from typer.testing import CliRunner

import floracube
from cube.config import Config, load_config
from cube.engine.build import build
from cube.engine.plan import plan, problems, scenes_of_a_place
from cube.errors import ConfigError
from cube.grid import Region
from cube.storage.ledger import Ledger
from cube.storage.store import open_cube
from tests.support.rasters import write_layer

REGION = Region(4700, 2850, 4725, 2860, 10)
EUROPE = Path(__file__).parents[3] / "examples/europe.yaml"


def config_of(folder: Path, sources: list[dict[str, Any]]) -> Config:
    path = folder / "config.yaml"
    region = {"west_km": 4700, "south_km": 2850, "east_km": 4725, "north_km": 2860}
    path.write_text(yaml.safe_dump({"title": "t", "cube": "cube.zarr", "region": region, "unit_km": 10, "sources": sources}))
    return load_config(path)


def raster(path: Path, bands: int) -> None:
    write_layer(path, {1: "elevation", 13: "landcover", 19: "bioclim"}[bands], 1000, REGION)


def test_the_objects_of_a_plan_are_those_that_a_build_leaves(tmp_path: Path) -> None:
    """Three units, so two levels of overviews; continuous and class layers at three resolutions; what is derived as well."""
    raster(tmp_path / "bio.tif", 19)
    raster(tmp_path / "dem.tif", 1)
    raster(tmp_path / "cover.tif", 13)
    config = config_of(
        tmp_path,
        [
            {"layer": "bioclim", "raster": "bio.tif"},
            {"layer": "elevation", "raster": "dem.tif", "derive": ["slope", "northness"]},
            {"layer": "landcover", "raster": "cover.tif"},
        ],
    )
    told = plan(config)
    assert build(config) == []
    root = tmp_path / "cube.zarr"
    memos = "memo"  # of receipts, which may be lost and are no part of the cube
    files = [Path(folder, name) for folder, _, names in os.walk(root) for name in names if Path(folder).name != memos]
    assert told.total.objects == len(files)
    for row in told.rows:
        if row.layer.startswith("("):
            continue
        own = [f for f in files if row.layer in f.parts and "ledger" not in f.parts]
        receipts = [f for f in files if f.is_relative_to(root / f"ledger/inputs/{row.layer}")]
        assert row.objects == len(own) + len(receipts), row.layer


@pytest.mark.slow
def test_europe_is_planned_without_a_file_or_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a plan opens nothing")

    config = load_config(EUROPE)
    zarr.create_group({})  # its event loop, which begins with the first use, has a socket of its own
    with monkeypatch.context() as patch:  # pytest itself needs them afterwards
        patch.setattr(socket, "socket", refuse)
        patch.setattr(socket, "create_connection", refuse)
        patch.setattr(rasterio, "open", refuse)
        patch.setattr(os, "stat", refuse)
        told = plan(config, land=0.45)
    assert told.units == 164 * 116
    assert told.units - told.sea_units == round(0.45 * told.units)
    named = {row.layer for row in told.rows}
    assert {
        "sentinel2",
        "sentinel2_count",
        "landsat",
        "surface",
        "elevation",
        "slope",
        "wetness",
        "climate",
        "bioclim",
        "soil",
        "landcover",
        "corine",
        "corine_class",
        "footprint",
        "footprint_detail",
    } <= named
    assert told.total.objects < 700_000  # near half a million, as designed
    assert 10e12 < told.total.bytes_in < 1e15
    assert told.total.bytes_out < 10e12


def test_the_command_prints_a_table_or_json_and_builds_nothing(tmp_path: Path) -> None:
    config = config_of(tmp_path, [{"layer": "corine", "published": "corine-2018", "raster": "corine/"}])
    table = CliRunner().invoke(floracube.app, ["build", str(config.path), "--plan"])
    assert table.exit_code == 0, table.output
    assert "corine" in table.output
    assert "3 units" in table.output
    printed = CliRunner().invoke(floracube.app, ["build", str(config.path), "--plan", "--json"])
    document = json.loads(printed.stdout)
    row = next(row for row in document["rows"] if row["layer"] == "corine")
    # 30 x 10 km of whole units in pixels of 100 m, a fifth of a byte each.
    assert row["bytes_in"] == pytest.approx(300 * 100 * 0.2)
    assert document["total"]["objects"] == plan(config).total.objects
    assert not (tmp_path / "cube.zarr").exists()


def test_a_plan_says_which_files_are_missing_and_what_the_cube_has(tmp_path: Path) -> None:
    raster(tmp_path / "dem.tif", 1)
    config = config_of(
        tmp_path,
        [
            {"layer": "elevation", "raster": "dem.tif"},
            {"layer": "bioclim", "raster": "bio.tif"},
            {"layer": "corine", "published": "corine-2018", "raster": "corine/"},
        ],
    )
    assert problems(config) == (
        [],
        [
            f"sources[{i}].raster: 1 of 1 files are not there yet, the first is {tmp_path / name}."
            for i, name in ((1, "bio.tif"), (2, "corine/U2018_CLC2018_V2020_20u1.tif"))
        ]
        + [
            f"All units are counted as to be built: {tmp_path / 'cube.zarr'}: there is no cube here; run `floracube build`"
            " first or check the path."
        ],
    )
    alone = config_of(tmp_path, [{"layer": "elevation", "raster": "dem.tif"}])
    assert build(alone) == []
    cube = open_cube(alone.cube_url, writable=True)
    Ledger(cube, "inputs/elevation", None).withdraw(next(REGION.units()).name)
    printed = CliRunner().invoke(floracube.app, ["build", str(alone.path), "--plan", "--json"])
    assert printed.exit_code == 0
    (note,) = json.loads(printed.stdout)["notes"]
    assert note.startswith("inputs/elevation: 2 of 3 units are in the cube, 1 would be built")


def test_scenes_are_counted_over_the_days_of_the_months_that_are_asked_for() -> None:
    by_layer = {source.layer: source for source in load_config(EUROPE).sources}
    assert scenes_of_a_place(by_layer["sentinel2"]) == pytest.approx(153 / 5 * 1.5 * 0.6)  # May to September
    landsat = scenes_of_a_place(by_layer["landsat"])
    assert landsat == pytest.approx(21 * 365.25 / 8 * 1.5 * 0.6, rel=0.001)


def test_a_plan_refuses_what_a_build_would_refuse_by_name_alone(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml: sources\[0\]: .*soilgrids-2\.0"):
        plan(config_of(tmp_path, [{"layer": "soil", "published": "soilgrid", "raster": "x/"}]))
    with pytest.raises(ConfigError, match=r"names \{yeer\}"):
        plan(config_of(tmp_path, [{"layer": "climate", "raster": "{variable}_{yeer}.tif"}]))
    with pytest.raises(ConfigError, match="share of land is 0"):
        plan(config_of(tmp_path, [{"layer": "soil", "raster": "x.tif"}]), land=0)
