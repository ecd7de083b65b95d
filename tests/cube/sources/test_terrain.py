"""Slope and its components against a tilted plane, whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from cube.layers.inputs import INPUTS
from cube.sources.terrain import derive

NAMES = ("slope", "northness", "eastness", "relief")


@pytest.mark.parametrize(("east", "north"), [(0.1, 0.0), (0.0, 0.3), (-0.2, 0.2), (0.0, 0.0)])
def test_a_tilted_plane_has_its_analytic_slope_and_aspect(east: float, north: float) -> None:
    """z rises by `east` to the east and `north` to the north: it looks the other way."""
    row, col = np.mgrid[:42, :42]
    z = (1000 + 50 * (east * col - north * row)).astype(np.float32)
    stored = derive(INPUTS["elevation"], z, 50, NAMES)
    seen = {name: INPUTS[name].decode(values) for name, values in stored.items()}
    np.testing.assert_allclose(seen["slope"], np.degrees(np.arctan(np.hypot(east, north))), atol=0.006)
    norm = np.sqrt(1 + east**2 + north**2)
    np.testing.assert_allclose(seen["northness"], -north / norm, atol=1e-4)
    np.testing.assert_allclose(seen["eastness"], -east / norm, atol=1e-4)
    np.testing.assert_allclose(seen["elevation"], z[1:-1, 1:-1], atol=0.126)
    assert abs(seen["relief"].reshape(2, 20, 2, 20).mean((1, 3))).max() < 0.02


def test_an_unknown_halo_repeats_the_edge_and_unknown_cells_stay_unknown() -> None:
    z = np.full((22, 22), 500, np.float32)
    z[0] = np.nan
    z[10, 10] = np.nan
    seen = derive(INPUTS["elevation"], z, 50, NAMES)
    assert (INPUTS["slope"].decode(seen["slope"])[0] == 0).all()
    assert seen["elevation"][9, 9] == INPUTS["elevation"].fill
