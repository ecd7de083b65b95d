"""What follows from elevation against surfaces whose answer is known, and against other libraries."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from cube.grid import CELL, EUROPE, Grid
from cube.layers.derived_layers import TERRAIN, derived_layer
from cube.layers.inputs import INPUTS
from cube.sources.derivation import compute, halo, meridians
from cube.sources.raster_grid import RasterGrid
from cube.sources.terrain import curvatures, gradient, heat_load, neighbours, topographic_position
from tests.support.rasters import Array

CENTRAL = (4_321_000, 3_200_000)  # (x, y) of a corner near the meridian of 10 E, where the grid's north is the true one
FAR = (2_700_000, 1_800_000)  # in Portugal
ELEVATION = INPUTS["elevation"]
EVERY = (*TERRAIN, "topographic_position_300m")


def over(west: int, north: int, cells: int) -> RasterGrid:
    return RasterGrid.over((west, north - cells * CELL, west + cells * CELL, north), CELL)


def derived(z: Array, names: tuple[str, ...], corner: tuple[int, int] = CENTRAL) -> dict[str, Array]:
    """Decoded values of `names` inside the halo of `z`."""
    cells = over(*corner, z.shape[0] - 2 * halo(ELEVATION, names))
    stored = compute(ELEVATION, names, z.astype(np.float32)[None], cells)
    return {name: derived_layer(ELEVATION, name).decode(values) for name, values in stored.items()}


def plane(east: float, north: float, size: int) -> Array:
    row, col = np.mgrid[:size, :size]
    return np.asarray(1000 + CELL * (east * col - north * row), np.float32)


@pytest.mark.parametrize(("east", "north"), [(0.1, 0.0), (0.0, 0.3), (-0.2, 0.2), (0.0, 0.0)])
def test_a_tilted_plane_has_its_analytic_slope_and_aspect(east: float, north: float) -> None:
    """z rises by `east` to the east and `north` to the north: it looks the other way."""
    seen = derived(plane(east, north, 42), ("slope", "northness", "eastness", "curvature"))
    np.testing.assert_allclose(seen["slope"], np.degrees(np.arctan(np.hypot(east, north))), atol=0.006)
    norm = np.sqrt(1 + east**2 + north**2)
    np.testing.assert_allclose(seen["northness"], -north / norm, atol=1e-4)
    np.testing.assert_allclose(seen["eastness"], -east / norm, atol=1e-4)
    np.testing.assert_allclose(seen["curvature"], 0, atol=1e-6)


def test_northness_is_of_the_true_north_where_the_grid_is_turned() -> None:
    """A slope that looks where the meridian goes, in Portugal, 13 degrees beside the grid's north."""
    lon, lat = EUROPE.unproject(*FAR)
    x, y = EUROPE.project(lon, lat + 0.01)
    bearing = np.arctan2(x - FAR[0], y - FAR[1])
    assert abs(np.degrees(bearing)) > 10
    z = plane(-0.2 * np.sin(bearing), -0.2 * np.cos(bearing), 22)  # it falls towards the north
    seen = derived(z, ("northness", "eastness"), FAR)
    np.testing.assert_allclose(seen["northness"], 0.2 / np.sqrt(1.04), atol=3e-4)
    np.testing.assert_allclose(seen["eastness"], 0, atol=3e-4)


@pytest.mark.parametrize(("grid", "corner"), [(EUROPE, FAR), (Grid.of("EPSG:3577"), (1_200_000, -4_700_000))])
def test_meridians_are_those_of_every_cell_projected(grid: Grid, corner: tuple[int, int]) -> None:
    """In Portugal, and in Tasmania on a grid of its own."""
    west, north = corner
    cells = RasterGrid.over((west, north - 40 * CELL, west + 40 * CELL, north), CELL, grid.code)
    sine, cosine, latitude = meridians(cells)
    x, y = np.meshgrid(west + (np.arange(40) + 0.5) * CELL, north - (np.arange(40) + 0.5) * CELL)
    lon, lat = grid.unproject(x, y)
    further, up = grid.project(lon, lat + 1e-3)
    np.testing.assert_allclose(np.arctan2(sine, cosine), np.arctan2(further - x, up - y), atol=1e-5)
    np.testing.assert_allclose(latitude, lat, atol=1e-5)


def test_a_plane_is_one_up_to_its_edge_and_around_what_is_unknown() -> None:
    z = plane(0.1, -0.2, 42)
    z[0], z[:, -1], z[20, 20:23], z[30:, 30:] = np.nan, np.nan, np.nan, np.nan
    seen = derived(z, ("slope", "curvature"))
    known = np.isfinite(z[1:-1, 1:-1])
    np.testing.assert_allclose(seen["slope"][known], np.degrees(np.arctan(np.hypot(0.1, 0.2))), atol=0.006)
    np.testing.assert_allclose(seen["curvature"][known], 0, atol=1.1e-5)
    assert np.isnan(seen["slope"][~known]).all()


def test_slope_is_that_of_a_convolution_with_horns_kernel() -> None:
    z = np.random.default_rng(0).normal(500, 30, (60, 60)).astype(np.float32)
    east, north = gradient(neighbours(z), CELL)
    kernel = np.outer((1, 2, 1), (-1, 0, 1)) / (8 * CELL)
    inner = (slice(1, -1), slice(1, -1))
    np.testing.assert_allclose(east, ndimage.correlate(z.astype(float), kernel)[inner], atol=1e-5)
    np.testing.assert_allclose(north, -ndimage.correlate(z.astype(float), kernel.T)[inner], atol=1e-5)


def test_a_paraboloid_has_its_analytic_curvature() -> None:
    """z = a x2 + b y2 + c x y, whose second derivatives are the same everywhere."""
    a, b, c = -2e-4, 3e-4, 1e-4
    row, col = np.mgrid[-20:21, -20:21] * float(CELL)
    x, y = col, -row
    whole, along, across = curvatures(neighbours((a * x**2 + b * y**2 + c * x * y).astype(np.float32)), CELL)
    np.testing.assert_allclose(whole, -2 * (a + b), atol=1e-6)
    gx, gy = ((2 * a * x + c * y)[1:-1, 1:-1], (2 * b * y + c * x)[1:-1, 1:-1])
    with np.errstate(invalid="ignore"):
        expected = -(2 * a * gx**2 + 2 * b * gy**2 + 2 * c * gx * gy) / (gx**2 + gy**2)
    sloping = np.hypot(gx, gy) > 0.01
    np.testing.assert_allclose(along[sloping], expected[sloping], atol=2e-6)
    np.testing.assert_allclose((along + across)[sloping], whole[sloping], atol=1e-6)


def test_a_cone_is_straight_down_its_slope_and_convex_across_it() -> None:
    row, col = np.mgrid[-60:61, -60:61] * float(CELL)
    radius = np.hypot(row, col)
    _, along, across = curvatures(neighbours((2000 - 0.3 * radius).astype(np.float32)), CELL)
    ring = (radius > 1000) & (radius < 2500)
    inner = ring[1:-1, 1:-1]
    np.testing.assert_allclose(across[inner], 0.3 / radius[1:-1, 1:-1][inner], rtol=0.02)
    np.testing.assert_allclose(along[inner], 0, atol=3e-6)


@pytest.mark.parametrize(("slope", "aspect", "log"), [(0, 0, -0.202), (30, 0, -0.889), (30, 180, -0.005)])
def test_heat_load_is_that_of_the_published_table_where_aspect_is_folded_about_the_same_line(
    slope: float, aspect: float, log: float
) -> None:
    """Table 2 of McCune and Keon (2002) at 40 N, of aspects folded north to south: 45 degrees before ours."""
    towards = np.radians(aspect + 45)  # ours folds about 225 degrees: that is their 180
    tilt = np.tan(np.radians(slope))
    east, north = (np.float32([-tilt * turned(towards)]) for turned in (np.sin, np.cos))
    np.testing.assert_allclose(np.log(heat_load(east, north, np.float32([40]))), log, atol=6e-4)


def test_heat_load_mirrors_about_the_afternoon_sun_and_the_equator() -> None:
    angle = np.radians(np.arange(0, 360, 5, dtype=np.float32))
    east, north, place = -0.4 * np.sin(angle), -0.4 * np.cos(angle), np.full(72, 50, np.float32)
    load = heat_load(east, north, place)
    assert np.degrees(angle[load.argmin()]) == pytest.approx(45)
    np.testing.assert_allclose(load, np.roll(load[::-1], 1 + 2 * 45 // 5), rtol=1e-5)
    np.testing.assert_allclose(heat_load(east, -north, -place), load, rtol=1e-5)


def test_position_is_elevation_minus_the_mean_of_a_disc_over_what_is_known() -> None:
    rng = np.random.default_rng(1)
    z = rng.normal(500, 50, (70, 70)).astype(np.float32)
    z[rng.random(z.shape) < 0.2] = np.nan
    row, col = np.mgrid[-6:7, -6:7]
    disc = (np.hypot(row, col) <= 6).astype(float)
    known = np.isfinite(z)
    mean = ndimage.convolve(np.where(known, z, 0).astype(float), disc) / ndimage.convolve(known.astype(float), disc)
    np.testing.assert_allclose(topographic_position(z, 6.0), (z - mean)[6:-6, 6:-6], atol=0.005)


def test_position_does_not_jump_at_kilometre_lines() -> None:
    """A plane is level with its surroundings everywhere; a ridge on a kilometre line stands out alike on both of its sides."""
    name = "topographic_position_300m"
    assert abs(derived(plane(0.2, 0.1, 52), (name,))[name]).max() <= 0.25
    row, col = np.mgrid[:52, :52]
    ridge = derived(800 - 10.0 * np.abs(col - 25.5) + 0 * row, (name,))[name]
    np.testing.assert_allclose(ridge, ridge[:, ::-1], atol=0.25)
    step = np.abs(np.diff(ridge, axis=1)).max()
    assert step <= 10


@pytest.mark.parametrize("name", EVERY)
def test_neighbouring_units_say_what_one_large_unit_says(name: str) -> None:
    """Rough ground with the sea in it: two units, each with its halo alone, against one over both."""
    rng = np.random.default_rng(4)
    wide, side = halo(ELEVATION, (name,)), 20
    row, col = np.mgrid[: side + 2 * wide, : 2 * side + 2 * wide].astype(np.float32)
    z = (80 * np.sin(row / 23) * np.cos(col / 31) - 0.3 * col + rng.normal(0, 3, row.shape)).astype(np.float32)
    z[wide + 5 : wide + 9, wide + 17 : wide + 24] = np.nan
    west, north = CENTRAL

    def of(first: int, cells: int) -> Array:
        part = z[None, :, first : first + cells + 2 * wide]
        target = RasterGrid.over((west + first * CELL, north - side * CELL, west + (first + cells) * CELL, north), CELL)
        return compute(ELEVATION, (name,), part, target)[name]

    np.testing.assert_array_equal(np.hstack([of(0, side), of(side, side)]), of(0, 2 * side))
