"""Pyramids: the mean of the valid cells, the true majority of level 0, and the same whatever the array's edge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cube.grid import Region
from cube.layers import indicator
from cube.pyramid import build_level, majority, mean_of_valid
from cube.store import create_cube


@given(arrays(np.uint8, (2, 6, 8)))
def test_means_are_those_of_the_valid_cells(values: np.ndarray) -> None:  # type: ignore[type-arg]
    seen = mean_of_valid(values, 255)
    masked = np.ma.masked_equal(values, 255).reshape(2, 3, 2, 4, 2).mean(axis=(2, 4))
    expected = np.ma.filled(np.floor(masked + 0.5), 255).astype(np.uint8)
    np.testing.assert_array_equal(seen, expected)


@given(arrays(np.uint16, (4, 8), elements=st.sampled_from([0, 1, 2, 65535])))
def test_the_majority_is_that_of_the_cells_themselves(values: np.ndarray) -> None:  # type: ignore[type-arg]
    seen = majority(values, 4, 65535, 3)
    for block in range(2):
        cells = values[:, 4 * block : 4 * block + 4].ravel()
        counts = np.bincount(cells[cells != 65535], minlength=3)
        assert seen[0, block] == (counts.argmax() if counts.any() else 65535)


def test_a_majority_of_majorities_would_be_another() -> None:
    cells = np.array([[1, 1, 1, 1], [2, 1, 1, 2], [2, 2, 2, 2], [2, 2, 2, 2]], np.uint16)
    cells[2:] = [[1, 2, 2, 3], [2, 3, 1, 3]]
    halves = majority(cells, 2, 65535, 4)
    assert list(halves.ravel()) == [1, 1, 2, 3]
    assert majority(cells, 4, 65535, 4)[0, 0] == 1


def test_levels_of_a_region_that_no_square_divides_are_filled_to_the_edge(tmp_path: Path) -> None:
    region = Region(4450, 2650, 4480, 2680, 10)  # 600 cells: 300 at level 1, 150 at level 2
    cube = create_cube(str(tmp_path / "c.zarr"), region, "t")
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 1000, (3, 600, 600)).astype(np.uint16)
    truth[:, :200, :200] = 65535
    for level in range(3):
        group = f"products/indicators/v1/{level}"
        cube.ensure_group(group, [indicator("richness", group, "r", "1", 0.01, 650, "viridis")], level=level)
    cube.array("products/indicators/v1/0/richness")[:] = truth
    for level in (1, 2):
        build_level(cube, "products/indicators/v1", level, ["richness"], {}, list(region.units()))
    one = mean_of_valid(truth, 65535)
    np.testing.assert_array_equal(cube.array("products/indicators/v1/1/richness")[:], one)
    np.testing.assert_array_equal(cube.array("products/indicators/v1/2/richness")[:], mean_of_valid(one, 65535))
