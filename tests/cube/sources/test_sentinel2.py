"""Sentinel-2 composites against a median worked out by hand: clouds masked per scene, offsets removed, nothing silent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio.warp
from affine import Affine
from pyproj import Transformer

from cube.config import Source
from cube.errors import SourceError
from cube.grid import Region
from cube.sources import stack
from cube.sources.raster_grid import RasterGrid
from cube.sources.sentinel2 import SENTINEL2, Sentinel2Reader, composite
from cube.sources.stac import Catalogue
from tests.support.scenes import Array, Scenes, needs_stackstac, open_scenes

REGION = Region(4700, 2850, 4710, 2860, 10)
UNIT = next(REGION.units())
SIDE = 1000
BANDS = ("red", "green", "blue", "nir")
DAYS = (("2020-06-01", "03.01"), ("2020-07-01", "04.00"), ("2021-07-01", "05.09"), ("2021-12-01", "05.09"))
SEARCH: dict[str, Any] = {"start": "2020-01-01", "end": "2021-12-31", "months": (6, 7)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Array, Array]:
    """(catalog, reflectance x 10,000 of each scene (4, 4, y, x), SCL at 10 m (4, y, x))."""
    scenes = Scenes(tmp_path_factory.mktemp("stac"), "sentinel-2-l2a")
    rng = np.random.default_rng(0)
    truth = rng.integers(100, 5000, (4, 4, SIDE, SIDE))
    scl = rng.choice([4, 5, 3, 8, 9, 10], (4, SIDE // 2, SIDE // 2), p=[0.4, 0.2, 0.1, 0.1, 0.1, 0.1])
    scl[:, 0, 0] = 8
    for i, (day, baseline) in enumerate(DAYS):
        numbers = truth[i] + (1000 if baseline >= "04.00" else 0)
        scenes.add(
            f"scene{i}",
            day,
            "EPSG:3035",
            REGION.transform(10),
            dict(zip(BANDS, numbers, strict=True)),
            ("scl", scl[i], 0),
            coarser=2,
            **{"s2:processing_baseline": baseline, "eo:cloud_cover": 30.0},
        )
    return scenes.save(), truth, scl.repeat(2, 1).repeat(2, 2)


def reader(catalogue: Catalogue) -> Sentinel2Reader:
    return Sentinel2Reader(Source(layer="sentinel2", stac=catalogue.search), catalogue.search, catalogue)


def expected(truth: Array, scl: Array) -> tuple[Array, Array]:
    clear = np.isin(scl, (4, 5))
    masked = np.ma.masked_array(truth, ~np.broadcast_to(clear[:, None], truth.shape))
    return np.ma.filled(np.ma.median(masked, axis=0), 65535), clear.sum(axis=0)


@needs_stackstac
def test_the_composite_is_the_median_of_the_clear_pixels_without_offset(made: tuple[str, Array, Array]) -> None:
    path, truth, scl = made
    catalogue = open_scenes(path, SENTINEL2, REGION, **SEARCH)
    assert [scene.id for scene in catalogue.touching(UNIT)] == ["scene0", "scene1", "scene2"]
    layers = reader(catalogue).read(REGION, UNIT)
    seen, count = layers["sentinel2"], layers["sentinel2_count"]
    median, clear = expected(truth[:3], scl[:3])
    np.testing.assert_array_equal(count, clear)
    assert (seen[:, 0, 0] == 65535).all()
    known = seen != 65535
    assert (known == (count > 0)).all()
    assert np.abs(seen.astype(float) - median)[known].max() <= 0.5


@pytest.mark.slow
@needs_stackstac
def test_a_unit_in_tiles_is_the_unit_at_once(made: tuple[str, Array, Array], monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = open_scenes(made[0], SENTINEL2, REGION, **SEARCH).touching(UNIT)
    whole = composite(scenes, UNIT)
    monkeypatch.setattr(stack, "STACK_BYTES", 2**20)
    cells = RasterGrid.of_place(UNIT, 10)
    assert len(list(stack.tiles(cells, 3, 5, stack.common_grid(scenes, "red", cells)))) == 25
    for at_once, in_parts in zip(whole, composite(scenes, UNIT), strict=True):
        np.testing.assert_array_equal(at_once, in_parts)


@needs_stackstac
def test_months_without_a_scene_are_named_and_only_accepted_when_asked(made: tuple[str, Array, Array]) -> None:
    search = {**SEARCH, "months": (6, 7, 8, 9)}
    with pytest.raises(SourceError, match=r"10kmE470N285 in month 8, 9 of any year.*gaps: accept"):
        reader(open_scenes(made[0], SENTINEL2, REGION, **search)).read(REGION, UNIT)
    layers = reader(open_scenes(made[0], SENTINEL2, REGION, **search, gaps="accept")).read(REGION, UNIT)
    assert layers["sentinel2_count"].max() == 3
    elsewhere = next(Region(5000, 2850, 5010, 2860, 10).units())
    layers = reader(open_scenes(made[0], SENTINEL2, REGION, **search, gaps="accept")).read(REGION, elsewhere)
    assert (layers["sentinel2"] == 65535).all()
    assert (layers["sentinel2_count"] == 0).all()


@pytest.mark.slow
@needs_stackstac
def test_a_scene_in_another_projection_just_works(tmp_path: Path) -> None:
    scenes = Scenes(tmp_path, "sentinel-2-l2a")
    middle = 4705000.0, 2855000.0
    for i, crs in enumerate(("EPSG:32633", "EPSG:32633", "EPSG:32634")):
        (x,), (y,) = rasterio.warp.transform("EPSG:3035", crs, [middle[0]], [middle[1]])
        transform = Affine(10, 0, round(x, -1) - 5500, 0, -10, round(y, -1) + 5500)
        # The truth is a plane in EPSG:3035, so that every projection can be filled with it.
        cols, rows = np.meshgrid(np.arange(1100) + 0.5, np.arange(1100) + 0.5)
        px, py = transform.c + 10 * cols, transform.f - 10 * rows
        gx, gy = Transformer.from_crs(crs, "EPSG:3035", always_xy=True).transform(px, py)
        plane = 2000 + (gx - middle[0]) * 0.1 + (gy - middle[1]) * 0.05
        scenes.add(
            f"s{i}",
            f"2020-06-0{i + 1}",
            crs,
            transform,
            dict.fromkeys(BANDS, plane),
            ("scl", np.full((550, 550), 4), 0),
            coarser=2,
        )
    found = open_scenes(scenes.save(), SENTINEL2, REGION).touching(UNIT)
    assert stack.common_grid(found, "red", RasterGrid.of_place(UNIT, 10)).crs == "EPSG:32633"
    median, count = composite(found, UNIT)
    y, x = REGION.coordinates(10)
    truth = 2000 + (x[None, :] - middle[0]) * 0.1 + (y[:, None] - middle[1]) * 0.05
    inner = (slice(60, -60), slice(60, -60))
    assert (count[inner] == 3).all()
    # A DN is a pixel's way up the plane; the numbers are whole in the scenes and once more in the median.
    assert np.abs(median[0][inner] - truth[inner]).max() < 1.1


@needs_stackstac
def test_what_lies_under_a_cloud_never_reaches_a_neighbour(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    (x,), (y,) = rasterio.warp.transform("EPSG:3035", "EPSG:32633", [4705000], [2855000])
    transform = Affine(10, 0, round(x, -1) - 5500, 0, -10, round(y, -1) + 5500)
    scl = rng.choice([4, 9], (550, 550))
    cloud = scl.repeat(2, 0).repeat(2, 1) == 9
    found = []
    for name, under in (("dark", 1), ("bright", 60000)):
        (tmp_path / name).mkdir()
        scenes = Scenes(tmp_path / name, "sentinel-2-l2a")
        band = np.where(cloud, under, 2000 + rng.integers(0, 1, cloud.shape))
        scenes.add("s", "2020-06-01", "EPSG:32633", transform, dict.fromkeys(BANDS, band), ("scl", scl, 0), coarser=2)
        found.append(composite(open_scenes(scenes.save(), SENTINEL2, REGION).touching(UNIT), UNIT))
    for dark, bright in zip(*found, strict=True):
        np.testing.assert_array_equal(dark, bright)
    assert set(np.unique(found[0][0])) == {2000, 65535}
