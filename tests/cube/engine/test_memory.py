"""Memory is promised before a task runs, kept while it runs, and written down when it ends."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine

from cube.config.cluster import ClusterConfig
from cube.engine.build import build
from cube.engine.cluster import with_flags
from cube.engine.memory import GB, PROCESS, allowed_bytes, check_memory, machine_bytes, peak_bytes, projected_bytes, writing_bytes
from cube.engine.workers import Workers
from cube.errors import ConfigError
from cube.grid import Region, Unit
from cube.layers.inputs import INPUTS
from cube.sources import areas
from cube.sources.open import open_sources
from cube.sources.reader import Reader
from cube.storage.store import create_cube, open_cube
from tests.support import folder_s3
from tests.support.builds import REGION, write_config, write_raster
from tests.support.good_cube import Invented
from tests.support.rasters import write_bands, write_layer

SMALL_THINGS = 8 * 10**6  # bytes: what is not an array; the process itself is planned with more room than that
HERE = Region(4700, 2850, 4710, 2860, 10)


def read(reader: Reader, unit: Unit) -> tuple[Mapping[str, Any], int]:
    """A unit, and the bytes that reading it took in the end."""
    reader.read(HERE, unit)  # compiled code and libraries belong to the process
    areas.overlap.cache_clear()
    tracemalloc.start()
    try:
        return reader.read(HERE, unit), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_task_may_take_its_share_of_the_machine_or_what_the_configuration_says() -> None:
    whole = machine_bytes()
    assert GB / 2 < whole < 1e15
    assert allowed_bytes(ClusterConfig()) == whole
    assert allowed_bytes(ClusterConfig(workers=4)) == whole // 4
    assert allowed_bytes(ClusterConfig(workers=4, memory_gb=1.5)) == 1.5 * GB
    there = ClusterConfig(kind="address", address="tcp://host:8786")
    assert allowed_bytes(there) is None
    assert allowed_bytes(with_flags(ClusterConfig(memory_gb=2), None, "tcp://host:8786")) == 2 * GB
    assert allowed_bytes(with_flags(there.model_copy(update={"memory_gb": 2}), 2, None)) == 2 * GB


def test_a_unit_that_takes_more_than_a_task_may_is_refused_before_work_starts(tmp_path: Path) -> None:
    write_raster(tmp_path / "bio.tif", 19, 1000)
    write_raster(tmp_path / "srtm.tif", 1, 1000)
    config = write_config(tmp_path)
    needs = (
        r"unit_km is 10: a unit of bioclim takes about .* GB, and a task may take 0\.1 GB; choose another cluster\.memory_gb\.$"
    )
    with pytest.raises(ConfigError, match=needs):
        build(config, workers=Workers(ClusterConfig(memory_gb=0.1)))
    cube = open_cube(config.cube_url)
    assert not list(cube.read_folder("ledger/inputs/bioclim"))
    assert build(config, workers=Workers(ClusterConfig(memory_gb=2))) == []
    for _, receipt in cube.read_folder("ledger/inputs/bioclim"):
        assert 0 < receipt["memory"]["projected"] < GB
        assert 0 < receipt["memory"]["peak"] <= peak_bytes()
    # What is built already takes nothing.
    assert build(config, workers=Workers(ClusterConfig(memory_gb=0.1))) == []


@pytest.mark.parametrize(
    ("layer", "size", "extra"),
    [
        ("elevation", 10, {}),
        ("elevation", 25, {"derive": ["topographic_position_500m", "slope", "northness", "eastness"]}),
        ("elevation", 25, {"derive": ["slope", "wetness"]}),
        ("elevation", 25, {"derive": ["topographic_position_2000m"]}),
        ("elevation", 25, {"derive": ["heat_load", "plan_curvature"]}),
        ("landcover", 10, {}),
        ("bioclim", 100, {}),
        ("climate", 1000, {}),
        ("climate", 1000, {"derive": ["mean", "amplitude", "phase", "trend"]}),
    ],
)
def test_reading_a_unit_takes_what_its_reader_says(tmp_path: Path, layer: str, size: int, extra: dict[str, list[str]]) -> None:
    write_layer(tmp_path / "a.tif", layer, size, HERE)
    config = write_config(tmp_path, sources=[{"layer": layer, "raster": "a.tif", **extra}], region=HERE)
    reader, unit = open_sources(config, HERE)[0], next(HERE.units())
    _, peak = read(reader, unit)
    assert peak < reader.memory(unit) + SMALL_THINGS
    assert reader.memory(unit) < 5 * peak + SMALL_THINGS


@pytest.mark.parametrize("name", ["landsat", "surface"])
def test_writing_a_unit_to_a_bucket_takes_what_is_planned(tmp_path: Path, name: str) -> None:
    layer, unit = INPUTS[name], next(HERE.units())
    cube = create_cube(str(tmp_path / "bucket" / "cube.zarr"), HERE, "a unit")
    cube.ensure_group(layer.group, [layer], labels={dim: np.asarray(labels) for dim, labels in layer.labels.items()})
    shape = (*map(len, layer.labels.values()), unit.cells, unit.cells)
    values = np.random.default_rng(0).integers(0, 256, shape, np.uint8)  # which no codec makes smaller
    with folder_s3.served(cube, 0.0) as store, folder_s3.in_this_process(store) as url:
        remote = open_cube(url, writable=True)
        remote.write_unit(layer.path, unit, values)
        tracemalloc.start()
        try:
            remote.write_unit(layer.path, unit, values)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    planned = writing_bytes([layer], unit) - 2 * values.nbytes  # the values and their mask are there before
    assert 2 * values.nbytes < peak < planned + SMALL_THINGS / 8


def test_shards_of_a_unit_count_where_reading_takes_less() -> None:
    landsat, unit = INPUTS["landsat"], Unit(40, 0, 0)
    assert writing_bytes([landsat], unit) == 504 * 640_000 * (1 + 1 + 4)  # 6 bands of 84 quarters: value, mask, four copies
    assert writing_bytes([INPUTS["elevation"], landsat], unit) == writing_bytes([landsat], unit) + 640_000 * (2 + 1)
    reader = Invented((landsat,))
    assert projected_bytes(reader, unit) == PROCESS + max(reader.memory(unit), writing_bytes([landsat], unit))


def test_a_source_of_any_pixel_size_is_read_in_blocks_that_take_no_more(tmp_path: Path) -> None:
    """8,000 x 8,000 pixels of 1.25 m: 256 MB as numbers alone."""
    path = tmp_path / "fine.tif"
    write_bands(path, np.full((8000, 8000), 7, np.uint8), Affine(1.25, 0, 4_700_000, 0, -1.25, 2_860_000), tiled=True)
    config = write_config(tmp_path, sources=[{"layer": "elevation", "raster": "fine.tif"}], region=HERE)
    reader, unit = open_sources(config, HERE)[0], next(HERE.units())
    values, peak = read(reader, unit)
    assert (values["elevation"] == 28).all()
    assert peak <= reader.memory(unit) < 0.2 * GB


def test_memory_is_checked_of_every_reader(tmp_path: Path) -> None:
    write_raster(tmp_path / "srtm.tif", 1, 1000)
    readers = open_sources(write_config(tmp_path, sources=[{"layer": "srtm", "raster": "srtm.tif"}]), REGION)
    check_memory(readers, next(REGION.units()), ClusterConfig(memory_gb=1))
    with pytest.raises(ConfigError, match="a unit of srtm"):
        check_memory(readers, next(REGION.units()), ClusterConfig(memory_gb=0.2))
    with pytest.raises(ConfigError, match=r"unit_km is 40: .*; choose a smaller unit_km or another cluster\.memory_gb\.$"):
        check_memory(readers, Unit(40, 0, 0), ClusterConfig(memory_gb=0.2))
    with pytest.raises(ConfigError, match=r"choose fewer workers or a machine with more memory\.$"):
        check_memory(readers, next(REGION.units()), ClusterConfig(workers=10_000))
