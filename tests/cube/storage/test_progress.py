"""What is complete is known from the cube alone: by layer, by what it is to be made from now, unit by unit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from cube.config import Config, load_config
from cube.engine.build import build
from cube.errors import SourceError
from cube.grid import Region
from cube.layers.inputs import INPUTS
from cube.storage.leaves import set_attributes
from cube.storage.progress import MADE_FROM, input_stages, progress, require_complete, stages, version_stage
from cube.storage.store import CubeStore, open_cube
from tests.support.good_cube import copy_of
from tests.support.rasters import write_layer

REGION = Region(4700, 2850, 4715, 2860, 10)
UNITS = list(REGION.units())
BIOCLIM: dict[str, Any] = {"layer": "bioclim", "raster": "bio.tif"}
SRTM: dict[str, Any] = {"layer": "srtm", "raster": "srtm.tif"}


def configured(folder: Path, *sources: dict[str, Any]) -> Config:
    document = {
        "title": "t",
        "cube": "cube.zarr",
        "region": {"west_km": 4700, "south_km": 2850, "east_km": 4715, "north_km": 2860},
        "unit_km": 10,
        "sources": list(sources),
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(document))
    return load_config(folder / "config.yaml")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_layer(tmp_path / "bio.tif", "bioclim", 1000, REGION, 0)
    write_layer(tmp_path / "srtm.tif", "srtm", 1000, REGION, 0)
    return tmp_path


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-300])


def test_a_source_that_failed_everywhere_lacks_all_of_its_units(folder: Path) -> None:
    damage(folder / "srtm.tif")
    config = configured(folder, BIOCLIM, SRTM)
    assert len(build(config)) == 3  # two units, and the squares above them
    cube = open_cube(config.cube_url)
    require_complete(cube, ["bioclim", "surface"], UNITS)
    with pytest.raises(SourceError, match=r"the input srtm lacks 2 of 2 units \(10km.*; run `floracube build`"):
        require_complete(cube, ["bioclim", "srtm"], UNITS)


def test_receipts_of_another_configuration_are_none(folder: Path) -> None:
    config = configured(folder, SRTM)
    assert build(config) == []
    before = require_complete(open_cube(config.cube_url), ["srtm"], UNITS)
    damage(folder / "srtm.tif")
    assert len(build(configured(folder, SRTM))) == 3
    with pytest.raises(SourceError, match="the input srtm lacks 2 of 2 units"):
        require_complete(open_cube(config.cube_url), ["srtm"], UNITS)
    write_layer(folder / "srtm.tif", "srtm", 1000, REGION, 1)
    assert build(config) == []
    assert require_complete(open_cube(config.cube_url), ["srtm"], UNITS) != before


def test_a_layer_that_its_stage_no_longer_writes_is_not_complete(good_cube: CubeStore, tmp_path: Path) -> None:
    cube = copy_of(good_cube, tmp_path)
    units = list(cube.region.units())
    require_complete(cube, ["slope"], units)
    set_attributes(cube.array(INPUTS["elevation"].path), {"floracube_layers": "elevation"})
    require_complete(cube, ["elevation"], units)
    with pytest.raises(SourceError, match="no source of the last build makes the input slope"):
        require_complete(cube, ["slope"], units)


def test_every_stage_of_a_good_cube_is_complete(good_cube: CubeStore) -> None:
    found = {stage.path: progress(good_cube, stage) for stage in stages(good_cube)}
    assert set(found) == {f"inputs/{n}" for n in ("surface", "elevation", "footprint", "bioclim", "sentinel2")} | {"predict/v1"}
    for now in found.values():
        assert now.missing == []
        assert set(now.squares.values()) == {"valid"}
    assert found["inputs/elevation"].stage.layers == ("elevation", "slope")


def test_what_stands_above_a_missing_unit_waits(good_cube: CubeStore, tmp_path: Path) -> None:
    cube = copy_of(good_cube, tmp_path)
    unit = next(cube.region.units()).name
    cube.remove_json(f"ledger/predict/v1/{unit}.json")
    now = progress(cube, version_stage(cube, "v1"))
    assert (now.missing, now.units_done, now.squares_done) == ([unit], 1, 0)
    assert set(now.squares.values()) == {"waits"}


def test_a_cube_that_does_not_say_what_it_is_made_from_is_not_complete(good_cube: CubeStore, tmp_path: Path) -> None:
    cube = copy_of(good_cube, tmp_path)
    array = cube.array(INPUTS["bioclim"].path)
    array.attrs.put({key: value for key, value in array.attrs.asdict().items() if key not in (MADE_FROM, "floracube_layers")})
    stage = next(stage for stage in input_stages(cube) if stage.path == "inputs/bioclim")
    assert progress(cube, stage).units_done == 0
