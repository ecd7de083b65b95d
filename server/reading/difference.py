"""Layers that no array holds: one bound of an indicator less another, in stored steps, so that what follows stays the same."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def less(stored_values: NDArray[Any], subtrahend: NDArray[Any], fill: float) -> NDArray[Any]:
    """`stored_values` - `subtrahend`, of equal shape and type, not below 0; `fill` where either is fill or not finite.

    Both are steps of one array, so the difference times its scale is the difference of the values.
    """
    valid = (stored_values != fill) & (subtrahend != fill) & np.isfinite(stored_values) & np.isfinite(subtrahend)
    difference = np.where(stored_values > subtrahend, stored_values - subtrahend, 0)
    return np.where(valid, difference, np.asarray(fill, stored_values.dtype)).astype(stored_values.dtype)
