"""Area shares against exact integer ratios and against a mean over very many points."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from pyproj import CRS
from rasterio.warp import transform

from cube.sources import resample
from cube.sources.areas import shares
from cube.sources.resample import Piece, Positions


@pytest.mark.parametrize("size", [10, 25, 50])
def test_pixels_that_divide_a_cell_weigh_exactly(size: int) -> None:
    ratio, cells = 50 // size, 6
    values = np.random.default_rng(0).normal(size=(2, cells * ratio, cells * ratio)).astype(np.float32)
    values[:, 0, 0] = np.nan
    positions = Positions(Affine(50, 0, 4e6, 0, -50, 3e6), (cells, cells), Affine(size, 0, 4e6, 0, -size, 3e6), None)
    seen = shares(positions, *values.shape[1:]).mean(values)
    parts = np.ma.masked_invalid(values.reshape(2, cells, ratio, cells, ratio).astype(float))
    expected = np.ma.filled(parts.mean(axis=(2, 4)), np.nan)
    np.testing.assert_allclose(seen, expected, atol=1e-6)


@pytest.mark.parametrize("size", [10, 30])
def test_rotated_pixels_are_weighed_by_their_area(size: int) -> None:
    """UTM 31 in Belgium is turned by more than five degrees against EPSG:3035."""
    (x,), (y,) = transform("EPSG:3035", "EPSG:32631", [3_990_500], [3_068_500])
    source = Affine(size, 0, round(x) - 900, 0, -size, round(y) + 900)
    values = np.random.default_rng(1).uniform(0, 1, (1, 1800 // size, 1800 // size)).astype(np.float32)
    values[0, 20:25, 20:25] = np.nan
    west, north, wkt = 3_990_000, 3_069_000, CRS.from_epsg(32631).to_wkt()
    seen = shares(Positions(Affine(50, 0, west, 0, -50, north), (20, 20), source, wkt), *values.shape[1:]).mean(values)[0]
    fine = resample.nearest([Piece(values, Positions(Affine(0.5, 0, west, 0, -0.5, north), (2000, 2000), source, wkt))])[0]
    expected = np.ma.filled(np.ma.masked_invalid(fine.reshape(20, 100, 20, 100)).mean(axis=(1, 3)), np.nan)
    share = np.isfinite(fine).reshape(20, 100, 20, 100).mean(axis=(1, 3))
    # White noise between 0 and 1 is the worst there is: a hundred points know a share to a few hundredths.
    assert np.abs(seen - expected)[share > 0.99].max() < 0.05
    assert np.abs(seen - expected)[share > 0.99].mean() < 0.005
    assert np.isfinite(seen[share > 0.02]).all()
