"""Layers that no array holds: one bound of an indicator less another, in stored steps, so that what follows stays the same."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def less(stored: NDArray[Any], taken: NDArray[Any], fill: float) -> NDArray[Any]:
    """`stored` - `taken`, of equal shape and type, not below 0; `fill` where either is fill or not finite.

    Both are steps of one array, so the difference times its scale is the difference of the values.
    """
    valid = (stored != fill) & (taken != fill) & np.isfinite(stored) & np.isfinite(taken)
    difference = np.where(stored > taken, stored - taken, 0)
    return np.where(valid, difference, np.asarray(fill, stored.dtype)).astype(stored.dtype)
