"""What is held at once when scenes are stacked: bounded whatever their number, and whatever the region's size."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from affine import Affine
from rasterio.warp import transform

from cube.config import Source
from cube.grid import Region, Unit
from cube.sources import stack
from cube.sources.raster_grid import RasterGrid
from cube.sources.sentinel2 import SENTINEL2, Sentinel2Reader, composite
from cube.sources.stac import Scene
from tests.support.scenes import Scenes, needs_stackstac, open_scenes

REGION = Region(4700, 2850, 4710, 2860, 10)
UNIT = next(REGION.units())
BANDS = ("red", "green", "blue", "nir")
MEBI = 2**20


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Scene]:
    """A UTM scene that covers the unit; more of them may be had by naming it anew."""
    scenes = Scenes(tmp_path_factory.mktemp("stack"), "sentinel-2-l2a")
    (x,), (y,) = transform("EPSG:3035", "EPSG:32633", [4705000], [2855000])
    corner = Affine(10, 0, round(x, -1) - 6000, 0, -10, round(y, -1) + 6000)
    bands = np.random.default_rng(0).integers(100, 5000, (4, 1200, 1200))
    scl = np.random.default_rng(1).choice([4, 9], (600, 600))
    scenes.add("s", "2020-06-01", "EPSG:32633", corner, dict(zip(BANDS, bands, strict=True)), ("scl", scl, 0), coarser=2)
    path = scenes.save()
    return path, open_scenes(path, SENTINEL2, REGION).touching(UNIT)[0]


def peak(work: Callable[[], Any]) -> float:
    """MiB that Python and NumPy held at most while `work` ran."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / MEBI
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@needs_stackstac
def test_memory_does_not_grow_with_the_scenes(scene: tuple[str, Scene], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "threads", lambda addresses=(): 2)
    monkeypatch.setattr(stack, "STACK_BYTES", 24 * MEBI)
    many = [replace(scene[1], id=f"s{i}") for i in range(6)]
    few, all_of_them = peak(lambda: composite(many[:1], UNIT)), peak(lambda: composite(many, UNIT))
    assert all_of_them < 1.25 * few
    # All at once would take 150 MB; the unit itself takes 9.
    assert all_of_them < 9 + 3 * 24


@needs_stackstac
def test_memory_does_not_grow_with_the_region(scene: tuple[str, Scene], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "threads", lambda addresses=(): 1)  # of several, chance decides which are at work together
    peaks = []
    for region in (REGION, Region(4500, 2650, 4900, 3050, 10)):
        catalogue = open_scenes(scene[0], SENTINEL2, region)
        reader = Sentinel2Reader(Source(layer="sentinel2", stac=catalogue.search), catalogue.search, catalogue)
        reader = replace(reader, search=reader.search.model_copy(update={"gaps": "accept"}))
        peaks.append(peak(lambda r=reader, around=region: r.read(around, UNIT)))
    assert peaks[1] < 1.05 * peaks[0]


@pytest.mark.parametrize("size", [10, 50])
@pytest.mark.parametrize(("km", "scenes"), [(10, 1), (10, 500), (40, 1), (40, 60), (80, 7), (80, 60)])
def test_tiles_cover_a_unit_once_in_whole_cells(km: int, scenes: int, size: int) -> None:
    unit = Unit(km, 30, 40)
    pixels = RasterGrid(Affine(10, 0, 300_005, 0, -10, 5_000_005), (1, 1), "EPSG:32633")
    covered = np.zeros((km * 1000 // size, km * 1000 // size), np.uint8)
    for where, tile in stack.tiles(RasterGrid.over(unit.bounds, size), scenes, 5, pixels):
        assert all(edge % 50 == 0 for edge in tile.bounds)
        assert tile.bounds[::3] == (unit.west + where[1].start * size, unit.north - where[0].start * size)
        covered[where] += 1
        height, width = pixels.around(tile, stack.MARGIN).shape
        assert scenes * 5 * 2 * height * width < 1.1 * stack.STACK_BYTES
    assert (covered == 1).all()


def test_a_window_holds_its_tile_and_lies_on_whole_pixels() -> None:
    pixels = RasterGrid(Affine(9.99, 0, 300_003, 0, -10.01, 5_000_007), (1, 1), "EPSG:32633")
    tile = (4_700_000, 2_850_000, 4_704_000, 2_854_000)
    west, south, east, north = pixels.around(RasterGrid.over(tile, 50), stack.MARGIN).bounds
    for edge, corner, size in (
        (west, 300_003, 9.99),
        (east, 300_003, 9.99),
        (south, 5_000_007, 10.01),
        (north, 5_000_007, 10.01),
    ):
        assert abs((edge - corner) / size - round((edge - corner) / size)) < 1e-6
    corners_x, corners_y = np.meshgrid([4_700_000, 4_704_000], [2_850_000, 2_854_000])
    x, y = transform("EPSG:3035", "EPSG:32633", corners_x.ravel(), corners_y.ravel())
    assert west < min(x) - 20
    assert east > max(x) + 20
    assert south < min(y) - 20
    assert north > max(y) + 20


CELLS = RasterGrid.over((4_700_000, 2_850_000, 4_704_000, 2_854_000), 50)


@needs_stackstac
def test_the_grid_of_most_scenes_is_taken_and_equals_are_decided(scene: tuple[str, Scene]) -> None:
    here = scene[1]
    there = replace(here, epsg=32634)
    assert stack.common_grid([here, there, here], "red", CELLS).crs == "EPSG:32633"
    # Two equals: the lower code, in whatever order they come. A scene that does not say asks its file.
    assert (
        stack.common_grid([there, here], "red", CELLS).crs == stack.common_grid([here, there], "red", CELLS).crs == "EPSG:32633"
    )
    assert stack.common_grid([replace(here, epsg=None)], "red", CELLS) == stack.common_grid([here], "red", CELLS)
