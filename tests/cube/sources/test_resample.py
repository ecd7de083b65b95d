"""Cells out of pixels: exact means, true majorities, seamless tiles, and positions that are where the projection says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.warp import reproject

from cube.grid import Region
from cube.sources.resample import Piece, Positions, average, bilinear, majority, nearest, shares
from cube.sources.warp import PixelRules, read_raster

REGION = Region(4700, 2850, 4710, 2860, 10)
GRID = REGION.transform(50)


def write(path: Path, values: np.ndarray[Any, Any], transform: Affine, crs: str = "EPSG:3035",
          nodata: float | None = None) -> str:  # fmt: skip
    with rasterio.open(path, "w", driver="GTiff", height=values.shape[0], width=values.shape[1], count=1, dtype=values.dtype,
                       crs=crs, transform=transform, nodata=nodata) as target:  # fmt: skip
        target.write(values, 1)
    return str(path)


@settings(max_examples=40, deadline=None)
@given(ratio=st.integers(2, 9), rows=st.integers(1, 6), cols=st.integers(1, 6), seed=st.integers(0, 10_000), gaps=st.booleans())
def test_an_integer_ratio_gives_the_exact_mean_and_the_true_majority(
    ratio: int, rows: int, cols: int, seed: int, gaps: bool
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 4, (rows * ratio, cols * ratio)).astype(np.float32)
    if gaps:
        values[rng.random(values.shape) < 0.4] = np.nan
    source = Affine(50 / ratio, 0, GRID.c, 0, -50 / ratio, GRID.f)
    piece = Piece(values[None], Positions(GRID, (rows, cols), source, None))
    blocks = values.reshape(rows, ratio, cols, ratio).swapaxes(1, 2).reshape(rows, cols, -1)
    known = np.isfinite(blocks)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, blocks, 0).sum(-1, dtype=np.float64) / known.sum(-1)
    np.testing.assert_allclose(average([piece])[0], mean, rtol=1e-6)
    counts = np.stack([(blocks == code).sum(-1) for code in range(4)])
    expected = np.where(counts.any(0), counts.argmax(0), np.nan)
    np.testing.assert_array_equal(majority([piece])[0], expected)
    with np.errstate(invalid="ignore", divide="ignore"):
        np.testing.assert_allclose(shares([piece], range(4)), counts / counts.sum(0), rtol=1e-6)


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
    seen = bilinear([Piece(np.stack([row, col]), Positions(GRID, (200, 200), source, wkt))])
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
        reproject(rasterio.band(source, 1), expected, dst_transform=target, dst_crs="EPSG:3035", dst_nodata=np.nan,
                  resampling=Resampling.average)  # fmt: skip
        relief = float(np.ptp(source.read(1)))
    seen = read_raster(str(path), "x", target, (12, 12), [1])[0]
    assert np.isfinite(seen).all()
    assert abs(seen - expected).mean() < 0.01 * relief


def test_rotated_and_south_up_rasters_are_read_like_any_other(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    values = rng.uniform(0, 9, (240, 240)).astype(np.float32)
    north_up = Affine(50, 0, GRID.c - 1000, 0, -50, GRID.f + 1000)
    expected = read_raster(write(tmp_path / "a.tif", values, north_up), "x", GRID, (200, 200), [1])
    south_up = Affine(50, 0, GRID.c - 1000, 0, 50, GRID.f + 1000 - 240 * 50)
    flipped = read_raster(write(tmp_path / "b.tif", values[::-1].copy(), south_up), "x", GRID, (200, 200), [1])
    np.testing.assert_allclose(flipped, expected, rtol=1e-6)
    quarter = Affine(0, 50, GRID.c - 1000, -50, 0, GRID.f + 1000)  # turned by 90 degrees: columns run south
    turned = read_raster(write(tmp_path / "c.tif", values.T.copy(), quarter), "x", GRID, (200, 200), [1])
    np.testing.assert_allclose(turned, expected, rtol=1e-6)


@pytest.mark.parametrize("size", [7.0, 170.0])
def test_tiles_of_one_lattice_join_without_a_seam(tmp_path: Path, size: float) -> None:
    side = int(12_000 / size)
    values = np.random.default_rng(5).uniform(0, 9, (side, side)).astype(np.float32)
    corner = Affine(size, 0, GRID.c - 500, 0, -size, GRID.f + 500)
    whole = read_raster(write(tmp_path / "whole.tif", values, corner), "x", GRID, (200, 200), [1])
    cut = side // 2
    left = write(tmp_path / "left.tif", values[:, :cut].copy(), corner)
    right = write(tmp_path / "right.tif", values[:, cut:].copy(), Affine(size, 0, corner.c + cut * size, 0, -size, corner.f))
    np.testing.assert_allclose(read_raster([left, right], "x", GRID, (200, 200), [1]), whole, rtol=1e-5)


def test_blocks_and_halos_see_the_same_values() -> None:
    """A cell's value does not depend on the window in which it is read."""
    values = np.random.default_rng(7).uniform(0, 9, (1, 700, 900)).astype(np.float32)
    source = Affine(0.0004, 0, 15.05, 0, -0.0004, 48.85)
    wkt = rasterio.crs.CRS.from_epsg(4326).to_wkt()
    all_at_once = average([Piece(values, Positions(GRID, (200, 200), source, wkt))])
    moved = Affine(50, 0, GRID.c + 37 * 50, 0, -50, GRID.f - 61 * 50)
    part = average([Piece(values, Positions(moved, (50, 50), source, wkt))])
    np.testing.assert_allclose(part, all_at_once[:, 61:111, 37:87], rtol=1e-6)


def test_rules_come_before_any_resampling(tmp_path: Path) -> None:
    values = np.full((1000, 1000), 10, np.int16)
    values[::5, ::5] = -32768  # the file says so
    values[1::5, ::5] = 99  # a number that means no data without being declared
    values[2::5, ::5] = -5  # out of range
    path = write(tmp_path / "a.tif", values, REGION.transform(10), nodata=-32768)
    seen = read_raster(path, "x", GRID, (200, 200), [1], rules=PixelRules(nodata=(99.0,), valid=(0.0, 50.0)))
    assert (seen == 10).all()
    codes = np.where(values == 10, 111, 523).astype(np.int16)
    path = write(tmp_path / "b.tif", codes, REGION.transform(10))
    rules = PixelRules(recode={111: 1, 523: 44}, known=frozenset(range(1, 45)))
    got = read_raster(path, "x", GRID, (200, 200), [1], rules=rules, shares=(1, 44))
    np.testing.assert_allclose(got[0], 22 / 25, rtol=1e-6)
    np.testing.assert_allclose(got[1], 3 / 25, rtol=1e-6)


def test_classes_are_never_averaged_even_between_known_and_unknown() -> None:
    values = np.array([[[1, 9], [np.nan, 9]]], np.float32)
    for size, method in ((25.0, majority), (200.0, nearest)):
        piece = Piece(values, Positions(GRID, (3, 3), Affine(size, 0, GRID.c, 0, -size, GRID.f), None))
        seen = method([piece])
        assert set(np.unique(seen[np.isfinite(seen)])) <= {1.0, 9.0}
