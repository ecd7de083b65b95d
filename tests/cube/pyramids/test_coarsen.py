"""Coarser pixels: sums, means and majorities agree with plain numpy on the cells themselves, whatever the type and the gaps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from cube.pyramids.coarsen import Votes, modes, rounded_mean, valid_sums

FILLS = {"uint8": 255, "uint16": 65535, "int16": -32768, "float32": float("nan")}


@st.composite
def stored(draw: st.DrawFn) -> tuple[NDArray[Any], int]:
    """Values of a type of the cube with gaps, and a factor that divides their last two axes."""
    dtype, factor = draw(st.sampled_from(sorted(FILLS))), draw(st.sampled_from((2, 4, 8)))
    shape = (draw(st.integers(1, 2)), factor * draw(st.integers(1, 2)), factor * draw(st.integers(1, 2)))
    plain = st.floats(-1e4, 1e4, width=32) if dtype == "float32" else st.integers(np.iinfo(dtype).min, np.iinfo(dtype).max)
    values = draw(arrays(dtype, shape, elements=plain))
    values[draw(arrays(np.bool_, shape))] = FILLS[dtype]
    return values, factor


@given(stored())
def test_a_mean_is_that_of_the_valid_cells_rounded_once(case: tuple[NDArray[Any], int]) -> None:
    values, factor = case
    fill = FILLS[str(values.dtype)]
    seen = rounded_mean(*valid_sums(values, fill, factor), values.dtype, fill)
    gaps = np.isnan(values) if np.isnan(fill) else values == fill
    lead, rows, cols = values.shape
    cells = np.ma.masked_array(values.astype(np.float64), gaps).reshape(lead, rows // factor, factor, cols // factor, factor)
    mean = cells.mean(axis=(2, 4))
    expected = np.ma.filled(mean if values.dtype.kind == "f" else np.floor(mean + 0.5), fill)
    np.testing.assert_allclose(seen, expected.astype(values.dtype), rtol=1e-6, atol=1e-3 if values.dtype.kind == "f" else 0)


@given(arrays(np.uint16, (96,), elements=st.sampled_from([0, 1, 2, 300, 65535])), st.integers(1, 96))
def test_votes_do_not_depend_on_the_blocks_that_they_come_in(values: NDArray[np.uint16], step: int) -> None:
    pixel = np.arange(96) % 5
    votes = Votes(5)
    for start in range(0, 96, step):
        votes.add(values[start : start + step], pixel[start : start + step], 65535)
    for p, winner in enumerate(votes.winners(np.uint16, 65535)):
        cells = values[(pixel == p) & (values != 65535)]
        assert winner == (np.bincount(cells).argmax() if cells.size else 65535)


@given(arrays(np.uint8, (8, 12), elements=st.sampled_from([0, 1, 2, 7, 255])), st.sampled_from([2, 4]))
def test_the_mode_of_small_blocks_is_that_of_their_votes(values: NDArray[np.uint8], factor: int) -> None:
    rows, cols = np.arange(8) // factor, np.arange(12) // factor
    votes = Votes((8 // factor) * (12 // factor))
    votes.add(values.ravel(), (rows[:, None] * (12 // factor) + cols).ravel(), 255)
    expected = votes.winners(np.uint8, 255).reshape(8 // factor, 12 // factor)
    np.testing.assert_array_equal(modes(values, factor, 255), expected)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_the_largest_and_smallest_values_do_not_overflow(dtype: str) -> None:
    for extreme in (np.iinfo(dtype).min, np.iinfo(dtype).max):
        values = np.full((256, 256), extreme, dtype)
        fill = 7
        total, count = valid_sums(values, fill, 256)
        assert int(total[0, 0]) == 65536 * int(extreme)
        assert rounded_mean(total, count, np.dtype(dtype), fill)[0, 0] == extreme
