"""The compiled loop behind the figures of species: one pass over the cells, where NumPy needs ten."""

from __future__ import annotations

from typing import Any

from numba import njit


def _count_values(stored_values, group, out):  # type: ignore[no-untyped-def]
    """Count the `stored_values` (s, n) uint8 values of each species: in out[g - 1, s, value] of cells of group g, 0 left out."""
    for s in range(stored_values.shape[0]):
        for i in range(stored_values.shape[1]):
            if group[i]:
                out[group[i] - 1, s, stored_values[s, i]] += 1


def _compiled() -> Any:
    try:
        return njit(cache=True, nogil=True)(_count_values)
    except RuntimeError:  # neither this folder nor the user's cache can be written
        return njit(nogil=True)(_count_values)


count_values: Any = _compiled()
