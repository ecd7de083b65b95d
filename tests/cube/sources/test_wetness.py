"""Wetness against surfaces whose answer is known, and neighbouring units against each other."""

from __future__ import annotations

import numpy as np
import pytest

from cube.grid import CELL
from cube.layers.inputs import INPUTS
from cube.sources.terrain import gradient, neighbours
from cube.sources.wetness import GENTLEST, HALO, REACH, fill_pits, upslope_cells, wetness

SIDE = 40


def around(size: int) -> tuple[np.ndarray, np.ndarray]:
    """(row, column) of a unit of `size` cells and its halo, counted from the unit's corner."""
    rows, cols = np.mgrid[-HALO : size + HALO, -HALO : size + HALO]
    return rows, cols


def index_of(padded: np.ndarray) -> np.ndarray:
    near = padded[HALO - 1 : -HALO + 1, HALO - 1 : -HALO + 1]
    return wetness(padded, np.hypot(*gradient(neighbours(near), CELL)), CELL)


def test_on_an_inclined_plane_a_is_the_distance_from_the_ridge() -> None:
    """A roof: the ridge at row 0 runs east, its southern side falls by 1 in 10; the cells on the ridge feed either side."""
    row, _ = around(SIDE)
    seen = index_of((1000 - 5.0 * np.abs(row)).astype(np.float32))
    below = np.arange(1, SIDE)
    expected = np.log((below + 0.5) * CELL / 0.1)
    np.testing.assert_allclose(seen[1:], np.broadcast_to(expected[:, None], seen[1:].shape), atol=1e-3)


@pytest.mark.parametrize("azimuth", [0.0, 20.0, 45.0, 70.0])
def test_a_plane_is_as_wet_whichever_way_it_faces(azimuth: float) -> None:
    """Far below every ridge a is the flow path that is counted, of REACH steps along or across the cells."""
    row, col = around(SIDE)
    east, north = np.sin(np.radians(azimuth)), np.cos(np.radians(azimuth))
    seen = index_of((5000 - 4.0 * (east * col - north * row)).astype(np.float32))
    assert seen.std() < 1e-3
    steps = np.exp(seen.mean()) * (4 / 50) / CELL
    assert steps == pytest.approx(REACH + 1, rel=1e-3)


def test_a_cone_sheds_water_in_all_directions_alike() -> None:
    """The disc within radius r drains over its rim: a = r / 2, whatever the direction."""
    row, col = np.mgrid[-100:101, -100:101]
    radius = np.hypot(row, col)
    cells = upslope_cells((1000 - 5 * radius).astype(np.float32))
    angle = np.degrees(np.arctan2(row, col)) % 45
    for ring in (20, 40, 60):
        of = (radius >= ring - 0.5) & (radius < ring + 0.5)
        assert cells[of].mean() == pytest.approx(ring / 2, rel=0.12)
        along, across = cells[of & (angle < 10)].mean(), cells[of & (np.abs(angle - 22.5) < 5)].mean()
        assert along == pytest.approx(across, rel=0.25)


def test_a_valley_gathers_its_slopes_and_is_wetter_than_they_are() -> None:
    """Two planes meet in a bed: in REACH steps it gathers what runs down both of them, and mass is kept on the way."""
    row, col = around(SIDE)
    middle = SIDE // 2
    z = (2000 + 10.0 * np.abs(col - middle) - 1.0 * row).astype(np.float32)
    seen = index_of(z)
    assert (seen[:, middle] > seen[:, middle - 5] + 1).all()
    assert (seen[:, middle] > seen[:, middle + 5] + 1).all()
    cells = upslope_cells(z)[HALO:-HALO, HALO:-HALO]
    # Of the two sides a triangle of paths reaches the bed in time; its area is that of REACH rows of either side.
    assert cells[:, middle].mean() == pytest.approx(REACH**2, rel=0.15)
    np.testing.assert_allclose(cells[:, middle - 3], cells[:, middle + 3], rtol=1e-3)


def test_water_is_neither_lost_nor_made() -> None:
    """What leaves a bowl of known land through its rim into the sea is what fell on it."""
    rng = np.random.default_rng(1)
    row, col = np.mgrid[:41, :41]
    z = (100 - np.hypot(row - 20, col - 20) + rng.normal(0, 0.2, (41, 41))).astype(np.float32)
    land = np.hypot(row - 20, col - 20) < 15
    cells = upslope_cells(np.where(land, z, np.float32(np.nan)))
    assert cells[~land].sum() - (~land).sum() == pytest.approx(land.sum(), rel=1e-4)


def test_a_small_pit_is_filled_and_water_runs_on() -> None:
    row, _ = np.mgrid[:120, :60]
    slope = (500 - 2.0 * row).astype(np.float32)
    pitted = slope.copy()
    pitted[60:63, 29:32] -= 50
    with_pit, without = upslope_cells(pitted)[:, 20:40], upslope_cells(slope)[:, 20:40]
    assert with_pit[75].sum() == pytest.approx(without[75].sum(), rel=0.02)
    assert fill_pits(pitted)[61, 30] == pytest.approx(slope[63, 30], abs=2.1)
    inner = (slice(30, 90), slice(None))  # beyond it nothing says how the slope goes on
    np.testing.assert_allclose(fill_pits(slope)[inner], slope[inner], atol=1e-3)  # a slope has nothing to fill


def test_flats_have_a_gentlest_slope_and_the_index_fits_its_type() -> None:
    seen = index_of(np.zeros((SIDE + 2 * HALO, SIDE + 2 * HALO), np.float32))
    assert np.isfinite(seen).all()
    wettest = np.log((2 * REACH + 1) ** 2 * CELL / GENTLEST)
    assert wettest < INPUTS["wetness"].valid_range[1]  # type: ignore[index]
    assert INPUTS["wetness"].encode(np.asarray([wettest])) < 32767


def test_neighbouring_units_agree_to_the_last_bit_where_they_overlap() -> None:
    """Rough ground with pits and lakes: two units, each with its own halo alone, say the same of the same cells."""
    rng = np.random.default_rng(4)
    row, col = np.mgrid[: 60 + 2 * HALO, : 100 + 2 * HALO].astype(np.float32)
    z = (80 * np.sin(row / 23) * np.cos(col / 31) - 0.3 * col + rng.normal(0, 3, row.shape)).astype(np.float32)
    z[HALO + 20 : HALO + 30, HALO + 45 : HALO + 55] = np.nan
    one, other = index_of(z[:, : 60 + 2 * HALO]), index_of(z[:, 40:])
    np.testing.assert_array_equal(one[:, 40:], other[:, :20])
    assert np.isfinite(one).mean() > 0.9
