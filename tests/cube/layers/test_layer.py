"""What a layer stores of a value: the nearest step, the nearest end of its type, or its fill; and the memory that this takes."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from cube.layers import Layer
from cube.layers.inputs import INPUTS

Array = np.ndarray[Any, Any]
STORED = [("uint8", 255, 0.004, 0.0), ("uint16", 65535, 0.01, 0.0), ("int16", -32768, 0.25, 0.0), ("uint16", 65535, 0.1, -273.15)]


def layer_of(dtype: str, fill: int, scale: float, offset: float) -> Layer:
    return Layer("x", "inputs/50m", dtype, fill, "x", "1", scale=scale, offset=offset)


@settings(max_examples=100, deadline=None)
@given(
    stored=st.sampled_from(STORED),
    values=st.sampled_from([np.float32, np.float64]).flatmap(
        lambda dtype: arrays(
            dtype,
            array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=9),
            elements=st.floats(-1e5, 1e5, width=32) | st.sampled_from([np.nan, np.inf, -np.inf]),
        )
    ),
    turned=st.booleans(),
)
def test_a_value_is_stored_as_the_nearest_step_that_the_type_holds(
    stored: tuple[str, int, float, float], values: Array, turned: bool
) -> None:
    dtype, fill, scale, offset = stored
    values = values.T if turned else values
    seen = layer_of(*stored).encode(values)
    info = np.iinfo(dtype)
    low, high = info.min + (fill == info.min), info.max - (fill == info.max)
    expected = [
        min(max(round((float(value) - offset) / scale), low), high) if np.isfinite(value) else fill for value in values.ravel()
    ]
    assert seen.shape == values.shape
    assert seen.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(seen.ravel(), expected)


@pytest.mark.parametrize("name", ["landsat", "elevation", "slope", "climate"])
def test_storing_a_value_takes_no_more_than_eight_bytes_beside_it(name: str) -> None:
    """One unit of 40 km has 322 million values of Landsat: at 25 bytes each they took 8 GB."""
    layer, values = INPUTS[name], np.linspace(-1, 1, 2_000_000, dtype=np.float32).reshape(2, 1000, 1000)
    tracemalloc.start()
    stored = layer.encode(values)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak / values.size <= 8
    assert peak <= 1.5 * stored.nbytes + 8 * 2**20
