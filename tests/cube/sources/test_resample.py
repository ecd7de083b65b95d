"""Cells out of pixels: seamless tiles, and positions that are where the projection says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.warp import reproject

from cube.grid import Region
from cube.sources.areas import majority
from cube.sources.pixels import PixelRules
from cube.sources.raster_grid import RasterGrid
from cube.sources.resample import Piece, bilinear, nearest
from cube.sources.warp import ResampleSpec, read_raster

REGION = Region(4700, 2850, 4710, 2860, 10)
GRID = REGION.transform(50)
TARGET = RasterGrid(GRID, (200, 200))


def write(
    path: Path, values: np.ndarray[Any, Any], transform: Affine, crs: str = "EPSG:3035", nodata: float | None = None
) -> str:
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=values.shape[0],
        width=values.shape[1],
        count=1,
        dtype=values.dtype,
        crs=crs,
        transform=transform,
        nodata=nodata,
    ) as target:
        target.write(values, 1)
    return str(path)


@pytest.mark.parametrize(
    ("crs", "size"), [("EPSG:4326", 1 / 3600), ("EPSG:32633", 30.0), ("ESRI:54009", 200.0), ("EPSG:4326", 0.0083333)]
)
def test_a_pixel_is_found_where_the_projection_puts_it(crs: str, size: float) -> None:
    """A raster of its own column numbers, read bilinearly, says where a cell lies, to a few centimetres."""
    to_source = Transformer.from_crs(3035, crs, always_xy=True)
    x, y = np.meshgrid(GRID.c + (np.arange(200) + 0.5) * 50, GRID.f - (np.arange(200) + 0.5) * 50)
    sx, sy = (np.asarray(a) for a in to_source.transform(x, y))
    source = Affine(size, 0, sx.min() - 3 * size, 0, -size, sy.max() + 3 * size)
    shape = (int(np.ptp(sy) / size) + 7, int(np.ptp(sx) / size) + 7)
    row, col = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    wkt = rasterio.crs.CRS.from_user_input(crs).to_wkt()
    seen = bilinear(TARGET, [Piece(np.stack([row, col]), RasterGrid(source, shape, wkt))])
    metre = 1 / (size * (111_000 if crs == "EPSG:4326" else 1))  # in pixels
    assert abs(seen[0] - ((sy - source.f) / -size - 0.5)).max() < 0.03 * metre + 1e-3
    assert abs(seen[1] - ((sx - source.c) / size - 0.5)).max() < 0.03 * metre + 1e-3


def test_the_mean_of_a_warp_equals_gdals_on_the_real_terrain_of_slovenia(real_data: Path) -> None:
    path = real_data / "slovenia/derived/DEM.tif"
    with rasterio.open(path) as source:
        x, y = Transformer.from_crs(source.crs, 3035, always_xy=True).transform(
            (source.bounds.left + source.bounds.right) / 2, (source.bounds.top + source.bounds.bottom) / 2
        )
        target = Affine(50, 0, x // 50 * 50 - 300, 0, -50, y // 50 * 50 + 300)
        expected = np.full((12, 12), np.nan, np.float32)
        reproject(
            rasterio.band(source, 1),
            expected,
            dst_transform=target,
            dst_crs="EPSG:3035",
            dst_nodata=np.nan,
            resampling=Resampling.average,
        )
        relief = float(np.ptp(source.read(1)))
    seen = read_raster(str(path), RasterGrid(target, (12, 12)), ResampleSpec("x", [1]))[0]
    assert np.isfinite(seen).all()
    assert abs(seen - expected).mean() < 0.01 * relief


def test_rotated_and_south_up_rasters_are_read_like_any_other(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    values = rng.uniform(0, 9, (240, 240)).astype(np.float32)
    north_up = Affine(50, 0, GRID.c - 1000, 0, -50, GRID.f + 1000)
    expected = read_raster(write(tmp_path / "a.tif", values, north_up), TARGET, ResampleSpec("x", [1]))
    south_up = Affine(50, 0, GRID.c - 1000, 0, 50, GRID.f + 1000 - 240 * 50)
    flipped = read_raster(write(tmp_path / "b.tif", values[::-1].copy(), south_up), TARGET, ResampleSpec("x", [1]))
    np.testing.assert_allclose(flipped, expected, rtol=1e-6)
    quarter = Affine(0, 50, GRID.c - 1000, -50, 0, GRID.f + 1000)  # turned by 90 degrees: columns run south
    turned = read_raster(write(tmp_path / "c.tif", values.T.copy(), quarter), TARGET, ResampleSpec("x", [1]))
    np.testing.assert_allclose(turned, expected, rtol=1e-6)


@pytest.mark.parametrize("size", [7.0, 170.0])
def test_tiles_of_one_lattice_join_without_a_seam(tmp_path: Path, size: float) -> None:
    side = int(12_000 / size)
    values = np.random.default_rng(5).uniform(0, 9, (side, side)).astype(np.float32)
    corner = Affine(size, 0, GRID.c - 500, 0, -size, GRID.f + 500)
    whole = read_raster(write(tmp_path / "whole.tif", values, corner), TARGET, ResampleSpec("x", [1]))
    cut = side // 2
    left = write(tmp_path / "left.tif", values[:, :cut].copy(), corner)
    right = write(tmp_path / "right.tif", values[:, cut:].copy(), Affine(size, 0, corner.c + cut * size, 0, -size, corner.f))
    np.testing.assert_allclose(read_raster([left, right], TARGET, ResampleSpec("x", [1])), whole, rtol=1e-5)


def test_rules_come_before_any_resampling(tmp_path: Path) -> None:
    values = np.full((1000, 1000), 10, np.int16)
    values[::5, ::5] = -32768  # the file says so
    values[1::5, ::5] = 99  # a number that means no data without being declared
    values[2::5, ::5] = -5  # out of range
    path = write(tmp_path / "a.tif", values, REGION.transform(10), nodata=-32768)
    seen = read_raster(path, TARGET, ResampleSpec("x", [1], rules=PixelRules(nodata=(99.0,), valid=(0.0, 50.0))))
    assert (seen == 10).all()
    codes = np.where(values == 10, 111, 523).astype(np.int16)
    path = write(tmp_path / "b.tif", codes, REGION.transform(10))
    rules = PixelRules(classes={111: 1, 523: 44})
    got = read_raster(path, TARGET, ResampleSpec("x", [1], rules=rules, shares=(1, 44)))
    np.testing.assert_allclose(got[0], 22 / 25, rtol=1e-6)
    np.testing.assert_allclose(got[1], 3 / 25, rtol=1e-6)


def test_classes_are_never_averaged_even_between_known_and_unknown() -> None:
    values = np.array([[[1, 9], [np.nan, 9]]], np.float32)
    for size, method in ((25.0, majority), (200.0, nearest)):
        piece = Piece(values, RasterGrid(Affine(size, 0, GRID.c, 0, -size, GRID.f), (2, 2)))
        seen = method(TARGET.window(0, 0, 3, 3), [piece])
        assert set(np.unique(seen[np.isfinite(seen)])) <= {1.0, 9.0}
