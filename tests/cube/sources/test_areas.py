"""Areas of cells and pixels against exact polygons, and what follows from them against analytic truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from cube.sources.areas import majority, mean, overlap, shares
from cube.sources.raster_grid import RasterGrid
from cube.sources.resample import Piece
from cube.sources.terrain import gradient

Array = np.ndarray[Any, Any]

WEST, NORTH = 3_990_000, 3_069_000  # in Belgium, where UTM 31 is turned by more than five degrees against EPSG:3035
CELLS = RasterGrid(Affine(50, 0, WEST, 0, -50, NORTH), (20, 20))


def source_of(kind: str, size: float) -> RasterGrid:
    """Pixels of `size` metres over most of the cells: beside them, turned by 17 degrees, south-up or in UTM."""
    side = int(900 / size)
    if kind == "UTM":
        x, y = Transformer.from_crs(3035, 32631, always_xy=True).transform(WEST + 500, NORTH - 500)
        return RasterGrid(Affine(size, 0, round(x) - 450, 0, -size, round(y) + 450), (side, side), "EPSG:32631")
    transform = Affine(size, 0, WEST + 41.3, 0, -size, NORTH - 37.9)
    if kind == "turned":
        transform = transform * Affine.rotation(17)
    elif kind == "south-up":
        transform = Affine(size, 0, WEST + 41.3, 0, size, NORTH - 960)
    return RasterGrid(transform, (side, side))


def dense(target: RasterGrid, source: RasterGrid) -> Array:
    """(cells, pixels) shares of an overlap."""
    found = overlap(target, source)
    out = np.zeros((target.pixels, source.pixels))
    out[np.repeat(np.arange(target.pixels), np.diff(found.first)), found.pixel] = found.share
    return out


def by_polygons(target: RasterGrid, source: RasterGrid) -> Array:
    """The same by shapely's intersections, in pixels of the source."""
    rows, cols = target.shape
    row, col = source.positions(target, np.arange(rows + 1.0), np.arange(cols + 1.0))
    points = np.stack([col, row], axis=-1)
    rings = np.stack([points[:-1, :-1], points[:-1, 1:], points[1:, 1:], points[1:, :-1]], axis=2)
    cells = shapely.polygons(rings.reshape(-1, 4, 2))
    down, across = np.divmod(np.arange(source.pixels), source.shape[1])
    pixels = shapely.box(across, down, across + 1, down + 1)
    cell, pixel = shapely.STRtree(pixels).query(cells)
    out = np.zeros((target.pixels, source.pixels))
    out[cell, pixel] = shapely.area(shapely.intersection(cells[cell], pixels[pixel])) / shapely.area(cells)[cell]
    return out


@pytest.mark.parametrize("kind", ["beside", "turned", "south-up", "UTM"])
@pytest.mark.parametrize("size", [10, 25, 30, 90])
def test_shares_are_the_areas_of_the_polygons(kind: str, size: float) -> None:
    source = source_of(kind, size)
    seen, expected = dense(CELLS, source), by_polygons(CELLS, source)
    assert np.abs(seen - expected).max() <= 1e-6
    # Of a cell on the raster all is covered, of one at its edge what lies on it.
    np.testing.assert_allclose(seen.sum(axis=1), expected.sum(axis=1), atol=1e-5)
    assert (np.abs(seen.sum(axis=1) - 1) < 1e-5).sum() > 200


@settings(max_examples=60, deadline=None)
@given(
    angle=st.floats(-180, 180),
    size=st.floats(0.4, 300),
    east=st.floats(-80, 80),
    north=st.floats(-80, 80),
    skew=st.floats(-20, 20),
)
def test_shares_of_any_affine_grid_are_the_areas_of_the_polygons(
    angle: float, size: float, east: float, north: float, skew: float
) -> None:
    cells = CELLS.window(0, 0, 2, 3)
    side = min(60, int(300 / size) + 2)
    transform = Affine(size, 0, WEST + east, 0, -size, NORTH + north) * Affine.rotation(angle) * Affine.shear(skew)
    source = RasterGrid(transform, (side, side))
    assert np.abs(dense(cells, source) - by_polygons(cells, source)).max() <= 1e-6


@settings(max_examples=40, deadline=None)
@given(ratio=st.integers(1, 12), rows=st.integers(1, 6), cols=st.integers(1, 6), seed=st.integers(0, 10_000), gaps=st.booleans())
def test_an_integer_ratio_gives_the_exact_mean_and_the_true_majority(
    ratio: int, rows: int, cols: int, seed: int, gaps: bool
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 4, (rows * ratio, cols * ratio)).astype(np.float32)
    if gaps:
        values[rng.random(values.shape) < 0.4] = np.nan
    target = CELLS.window(0, 0, rows, cols)
    piece = Piece(values[None], RasterGrid(Affine(50 / ratio, 0, WEST, 0, -50 / ratio, NORTH), values.shape))
    blocks = values.reshape(rows, ratio, cols, ratio).swapaxes(1, 2).reshape(rows, cols, -1)
    known = np.isfinite(blocks)
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = np.where(known, blocks, 0).sum(-1, dtype=np.float64) / known.sum(-1)
    np.testing.assert_allclose(mean(target, [piece])[0], expected, rtol=1e-6)
    counts = np.stack([(blocks == code).sum(-1) for code in range(4)])
    np.testing.assert_array_equal(majority(target, [piece])[0], np.where(counts.any(0), counts.argmax(0), np.nan))
    with np.errstate(invalid="ignore", divide="ignore"):
        np.testing.assert_allclose(shares(target, [piece], [2, 0, 3, 1]), (counts / counts.sum(0))[[2, 0, 3, 1]], rtol=1e-6)


@pytest.mark.parametrize("size", [30, 20, 90])
def test_white_noise_has_the_true_means(size: int) -> None:
    """On pixels of 10 m, of which both grids are made, the truth is a plain mean; gaps weigh nothing."""
    rng = np.random.default_rng(0)
    side = 1800 // size
    values = rng.normal(size=(side, side)).astype(np.float32)
    values[rng.random(values.shape) < 0.1] = np.nan
    fine = values.repeat(size // 10, 0).repeat(size // 10, 1).reshape(36, 5, 36, 5)
    with np.errstate(invalid="ignore"):
        expected = np.ma.masked_invalid(fine).mean(axis=(1, 3)).filled(np.nan)
    piece = Piece(values[None], RasterGrid(Affine(size, 0, WEST, 0, -size, NORTH), values.shape))
    seen = mean(CELLS.window(0, 0, 36, 36), [piece])[0]
    np.testing.assert_allclose(seen, expected, atol=1e-6)


def test_the_majority_is_that_of_the_ground_and_not_of_points() -> None:
    """Pixels of 30 m: 12 of a cell's 25 parts are the class 5, and 13 are spread over others."""
    values = np.array([[5, 1], [2, 3]], np.float32)[None]
    piece = Piece(values, RasterGrid(Affine(30, 0, WEST, 0, -30, NORTH), (2, 2)))
    cell = CELLS.window(0, 0, 1, 1)
    assert majority(cell, [piece])[0, 0, 0] == 5
    np.testing.assert_allclose(shares(cell, [piece], [1, 2, 3, 5])[:, 0, 0], [6 / 25, 6 / 25, 4 / 25, 9 / 25], rtol=1e-6)
    equals = Piece(np.array([[[9, 7], [np.nan, np.nan]]], np.float32), RasterGrid(Affine(25, 0, WEST, 0, -25, NORTH), (2, 2)))
    assert majority(cell, [equals])[0, 0, 0] == 7


def test_the_slope_of_a_ridge_is_that_of_its_ground() -> None:
    """A roof of 30 degrees across the grid, as pixels of 30 m: half a degree is what their steps cost, whoever averages them."""
    tangent, direction = np.tan(np.radians(30)), np.radians(23)

    def height(size: int, side: int) -> Array:  # of squares of `size`, by points 2 m apart
        at = (np.arange(side * size // 2) + 0.5) * 2 - side * size / 2
        points = -tangent * np.abs(at[None, :] * np.cos(direction) + at[:, None] * np.sin(direction))
        return points.reshape(side, size // 2, side, size // 2).mean(axis=(1, 3))

    pixels, truth = height(30, 60), height(50, 36)
    piece = Piece(pixels[None].astype(np.float32), RasterGrid(Affine(30, 0, WEST, 0, -30, NORTH), pixels.shape))
    seen = mean(CELLS.window(0, 0, 36, 36), [piece])[0]
    slopes = [np.degrees(np.arctan(np.hypot(*gradient(z.astype(np.float32), 50)))) for z in (seen, truth)]
    assert np.sqrt(np.mean((slopes[0] - slopes[1]) ** 2)) < 0.65
    assert abs(seen - truth).max() < 30 * tangent / 4


@pytest.mark.parametrize("kind", ["beside", "turned", "UTM"])
def test_a_cell_has_one_value_whatever_window_it_is_computed_in(kind: str) -> None:
    source = source_of(kind, 30)
    rng = np.random.default_rng(7)
    values = rng.integers(0, 5, (2, *source.shape)).astype(np.float32)
    values[rng.random(values.shape) < 0.2] = np.nan
    everything = [Piece(values, source)]
    for row, col, rows, cols in ((0, 0, 10, 20), (10, 0, 10, 20), (3, 11, 5, 4), (19, 19, 1, 1)):
        part = CELLS.window(row, col, rows, cols)
        top, left, bottom, right = np.clip(source.span(part, 2), 0, source.shape[0])
        near = [Piece(values[:, top:bottom, left:right], source.window(top, left, bottom - top, right - left))]
        there = (..., slice(row, row + rows), slice(col, col + cols))
        np.testing.assert_allclose(mean(part, near), mean(CELLS, everything)[there], rtol=1e-6)
        np.testing.assert_array_equal(majority(part, near), majority(CELLS, everything)[there])
        np.testing.assert_allclose(shares(part, near, range(5)), shares(CELLS, everything, range(5))[there], atol=1e-6)


def test_tiles_together_are_the_raster_that_they_were_cut_from() -> None:
    source = source_of("turned", 30)
    values = np.random.default_rng(3).integers(0, 5, (1, *source.shape)).astype(np.float32)
    left = Piece(values[..., :13], source.window(0, 0, source.shape[0], 13))
    right = Piece(values[..., 13:], source.window(0, 13, source.shape[0], source.shape[1] - 13))
    np.testing.assert_allclose(mean(CELLS, [left, right]), mean(CELLS, [Piece(values, source)]), rtol=1e-5)
    np.testing.assert_array_equal(majority(CELLS, [left, right]), majority(CELLS, [Piece(values, source)]))


def test_cells_without_a_place_in_the_projection_have_no_value() -> None:
    """An orthographic projection shows half of the Earth: cells over its edge reach from a place to none."""
    source = RasterGrid(Affine(1000, 0, -5e5, 0, -1000, 5e5), (1000, 1000), "+proj=ortho +lat_0=-40 +lon_0=10")
    seen = mean(RasterGrid.over((4_000_000, 2_000_000, 4_320_000, 4_000_000), 40_000), [Piece(np.ones((1, 1000, 1000)), source)])
    assert np.isnan(seen).all()


def test_a_pair_of_grids_is_worked_out_once() -> None:
    source = source_of("UTM", 30)
    assert overlap(CELLS, source) is overlap(CELLS.window(0, 0, *CELLS.shape), source_of("UTM", 30))
