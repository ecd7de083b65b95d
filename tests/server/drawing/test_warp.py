"""Interpolated pixel positions are those of pyproj, in every tile matrix set and wherever a tile lies."""

from __future__ import annotations

import math

import morecantile
import numpy as np
import pytest
from pyproj import Transformer

from cube import grid
from server.drawing.warp import interpolate, warp_grid

PLACES = [(16.77, 49.02), (-9.0, 38.7), (25.0, 70.5), (-20.0, 64.5), (33.0, 35.0)]


@pytest.mark.parametrize("tms", ["WebMercatorQuad", "EuropeanETRS89_LAEAQuad", "WorldCRS84Quad"])
@pytest.mark.parametrize("zoom", [3, 4, 6, 9, 12, 15, 18])
def test_positions_are_within_a_tenth_of_a_cell_of_the_exact_ones(tms: str, zoom: int) -> None:
    matrix_set = morecantile.tms.get(tms)
    if zoom > matrix_set.maxzoom:
        pytest.skip(f"{tms} ends at zoom {matrix_set.maxzoom}")
    transformer = Transformer.from_crs(matrix_set.crs.to_wkt(), grid.EUROPE.epsg, always_xy=True)
    for lon, lat in PLACES:
        tile = matrix_set.tile(lon, lat, zoom)
        west, south, east, north = matrix_set.xy_bounds(tile)
        half = (east - west) / 512, (north - south) / 512
        x = np.linspace(west + half[0], east - half[0], 256)
        y = np.linspace(north - half[1], south + half[1], 256)
        exact = np.stack(transformer.transform(*np.meshgrid(x, y)))
        warp = warp_grid(tms, zoom, tile.x, tile.y, 256, 3035)
        # The coarsest cell that is not coarser than the screen; never finer than 10 m.
        cell = max(10.0, 10.0 * 2 ** math.floor(math.log2(max(warp.pixel, 10.0) / 10.0)))
        found = np.stack([interpolate(warp.x, 256), interpolate(warp.y, 256)])
        defined = np.isfinite(exact).all(axis=0) & np.isfinite(found).all(axis=0)
        assert np.abs(found - exact)[:, defined].max() < 0.1 * cell


def test_a_tile_beyond_the_projection_has_no_finite_position_off_the_earth() -> None:
    warp = warp_grid("WebMercatorQuad", 0, 0, 0, 256, 3035)
    assert warp.x.shape == (256, 256)
    assert np.isfinite(warp.pixel)
