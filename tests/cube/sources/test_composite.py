"""The median of clear pixels against NumPy's masked median, for any number of scenes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cube.sources.composite import PIXEL_BLOCK, clear_median, sorting_network


@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_the_network_sorts_whatever_comes(n: int, seed: int) -> None:
    # By the 0-1 principle a network that sorts zeros and ones sorts everything (Knuth 5.3.4, theorem Z).
    rows = np.random.default_rng(seed).integers(0, 2, (n, 300))
    expected = np.sort(rows, axis=0)
    for low, high in sorting_network(n):
        rows[low], rows[high] = np.minimum(rows[low], rows[high]), np.maximum(rows[low], rows[high])
    np.testing.assert_array_equal(rows, expected)


@pytest.mark.parametrize("scenes", [1, 2, 3, 8, 13, 31])
def test_the_median_is_that_of_the_clear_scenes_alone(scenes: int) -> None:
    rng = np.random.default_rng(scenes)
    shape = (97, PIXEL_BLOCK // 97 * 2)  # more than one block, the last one not full
    values = rng.integers(1, 65535, (scenes, 2, *shape)).astype(np.uint16)
    clear = rng.random((scenes, *shape)) < 0.5
    masked = np.ma.masked_array(values.astype(np.float64), ~np.broadcast_to(clear[:, None], values.shape))
    expected = np.ma.filled(np.ma.median(masked, axis=0), np.nan)
    median, count = clear_median(values, clear, threads=2)
    np.testing.assert_array_equal(count, clear.sum(axis=0))
    np.testing.assert_array_equal(median, expected.astype(np.float32))
