"""Builds: every source checked before work, units that fail are named and the rest is built, a second run goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import yaml

from cube.config import Config, load_config
from cube.engine.build import build
from cube.errors import ConfigError, SourceError
from cube.grid import Region
from cube.storage.store import open_cube

REGION = Region(4700, 2850, 4715, 2860, 10)


def raster(path: Path, bands: int = 1, size: int = 1000) -> None:
    rows, cols = REGION.shape(size)
    values = np.arange(bands * rows * cols, dtype=np.float32).reshape(bands, rows, cols)
    with rasterio.open(path, "w", driver="GTiff", height=rows, width=cols, count=bands, dtype="float32", crs="EPSG:3035",
                       transform=REGION.transform(size), nodata=-1) as target:  # fmt: skip
        target.write(values)


def config_of(folder: Path, sources: list[dict[str, Any]]) -> Config:
    path = folder / "config.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "title": "t",
                "cube": "cube.zarr",
                "region": {"west_km": 4700, "south_km": 2850, "east_km": 4715, "north_km": 2860},
                "unit_km": 10,
                "sources": sources,
            }
        )
    )
    return load_config(path)


def test_values_of_a_matching_grid_come_through_unchanged(tmp_path: Path) -> None:
    raster(tmp_path / "bio.tif", 19)
    assert build(config_of(tmp_path, [{"layer": "bioclim", "raster": "bio.tif"}])) == []
    cube = open_cube(str(tmp_path / "cube.zarr"))
    with rasterio.open(tmp_path / "bio.tif") as source:
        np.testing.assert_array_equal(cube.array("inputs/1km/bioclim")[:], source.read())


def test_without_a_land_mask_the_region_and_nothing_else_is_land(tmp_path: Path) -> None:
    raster(tmp_path / "bio.tif", 19)
    build(config_of(tmp_path, [{"layer": "bioclim", "raster": "bio.tif"}]))
    surface = np.asarray(open_cube(str(tmp_path / "cube.zarr")).array("inputs/50m/surface")[:])
    assert (surface[:, :300] == 0).all()
    assert (surface[:, 300:] == 255).all()


def test_a_second_run_does_only_what_is_missing_and_a_changed_source_is_built_again(tmp_path: Path) -> None:
    raster(tmp_path / "bio.tif", 19)
    config = config_of(tmp_path, [{"layer": "bioclim", "raster": "bio.tif"}])
    build(config)
    seen: list[tuple[int, int]] = []
    build(config, lambda done, total, what: seen.append((done, total)))
    assert set(seen) == {(6, 6)} | {(done, 6) for done in (4, 5)}  # two layers of two units and one square
    receipt = tmp_path / "cube.zarr/ledger/inputs/bioclim/10kmE470N285.json"
    receipt.unlink()
    seen.clear()
    build(config, lambda done, total, what: seen.append((done, total)))
    assert seen[0] == (3, 6)
    raster(tmp_path / "bio.tif", 20)
    seen.clear()
    build(config, lambda done, total, what: seen.append((done, total)))
    assert seen[0] == (2, 6)


def test_every_source_is_checked_before_any_work(tmp_path: Path) -> None:
    raster(tmp_path / "bio.tif", 19)
    good = {"layer": "bioclim", "raster": "bio.tif"}
    with pytest.raises(SourceError, match=r"lost\.tif: there is no such file; check sources\[1\]\.raster"):
        build(config_of(tmp_path, [good, {"layer": "srtm", "raster": "lost.tif"}]))
    with pytest.raises(SourceError, match="has 19 bands"):
        build(config_of(tmp_path, [{"layer": "corine", "raster": "bio.tif"}]))
    with pytest.raises(ConfigError, match="given twice"):
        build(config_of(tmp_path, [good, good]))
    with pytest.raises(ConfigError, match="one file for each of hfp1993, hfp2009"):
        build(config_of(tmp_path, [{"layer": "footprint", "raster": {"hfp1993": "bio.tif"}}]))
    assert not (tmp_path / "cube.zarr").exists()


def test_a_damaged_file_is_named_and_everything_else_is_built(tmp_path: Path) -> None:
    raster(tmp_path / "bio.tif", 19)
    raster(tmp_path / "srtm.tif")
    data = (tmp_path / "srtm.tif").read_bytes()
    (tmp_path / "srtm.tif").write_bytes(data[: len(data) - 300])
    failures = build(config_of(tmp_path, [{"layer": "srtm", "raster": "srtm.tif"}, {"layer": "bioclim", "raster": "bio.tif"}]))
    assert failures
    assert all("srtm" in f for f in failures)
    cube = open_cube(str(tmp_path / "cube.zarr"))
    assert len(cube.list_json("ledger/inputs/bioclim")) == 2
    assert len(cube.list_json("ledger/inputs/srtm")) < 2
