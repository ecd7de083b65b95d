"""Arithmetic of coarser pixels: sums and counts of valid cells, their rounded mean, votes for classes.

Arrays in, arrays out; which cells belong to which level and where they lie is `cube.pyramid`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def valid_cells(values: Array, fill: int | float) -> NDArray[np.bool_]:
    """Which stored values are data; a `fill` of NaN, as float layers have, equals nothing and is asked for by name."""
    return ~np.isnan(values) if np.isnan(fill) else np.asarray(values != fill)


def block_sums(values: Array, factor: int) -> Array:
    """Sums over `factor` x `factor` blocks of the last two axes (multiples of it): int64, of floats float64."""
    wide = np.float64 if values.dtype.kind == "f" else np.int64
    rows, cols = values.shape[-2] // factor, values.shape[-1] // factor
    # Rows first, where memory is contiguous; the second sum then has a factor-th of the values. 32 bits hold the first
    # sum of small integers and are summed twice as fast.
    narrow = np.int32 if values.dtype.kind in "bui" and values.dtype.itemsize <= 2 and factor <= 2**14 else wide
    tall = values.reshape(*values.shape[:-2], rows, factor, values.shape[-1]).sum(axis=-2, dtype=narrow)
    return np.asarray(tall.reshape(*tall.shape[:-1], cols, factor).sum(axis=-1, dtype=wide))


def valid_sums(values: Array, fill: int | float, factor: int) -> tuple[Array, NDArray[np.int64]]:
    """(sum of the valid cells, their number) of each `factor` x `factor` block of the last two axes, exact for integers."""
    valid = valid_cells(values, fill)
    if valid.all():
        total = block_sums(values, factor)
        return total, np.full(total.shape, factor * factor, np.int64)
    return block_sums(np.where(valid, values, np.zeros((), values.dtype)), factor), block_sums(valid, factor)


def rounded_mean(total: Array, count: NDArray[np.int64], dtype: Any, fill: int | float) -> Array:
    """`total / count` as `dtype`, `fill` where nothing was counted; integers are rounded to nearest, halves up."""
    safe = np.maximum(count, 1)
    if np.issubdtype(dtype, np.floating):
        return np.where(count > 0, total / safe, fill).astype(dtype)
    return np.where(count > 0, (2 * total + safe) // (2 * safe), fill).astype(dtype)


class Votes:
    """Cells of each class in each of a number of pixels, gathered block by block; classes are found as they come."""

    def __init__(self, pixels: int) -> None:
        """Nothing counted yet in `pixels` pixels."""
        self.classes = np.zeros(0, np.int64)
        self.counts = np.zeros((pixels, 0), np.int64)

    def add(self, values: Array, pixel: NDArray[np.int64], fill: int) -> None:
        """Count (n,) unsigned stored classes, each in the pixel (n,) that it lies in; `fill` has no vote."""
        present = np.flatnonzero(np.bincount(values))
        present = present[present != fill]
        if not np.isin(present, self.classes, assume_unique=True).all():
            together = np.union1d(self.classes, present)
            wider = np.zeros((len(self.counts), len(together)), np.int64)
            wider[:, np.searchsorted(together, self.classes)] = self.counts
            self.classes, self.counts = together, wider
        if not present.size:
            return
        column = np.zeros(int(max(present[-1], fill)) + 1, np.int64)
        column[present] = np.searchsorted(self.classes, present)
        kept = values != fill
        pixels, classes = self.counts.shape
        flat = pixel[kept] * classes + column[values[kept]]
        self.counts += np.bincount(flat, minlength=pixels * classes).reshape(pixels, classes)

    def winners(self, dtype: Any, fill: int) -> Array:
        """(pixels,) the most frequent class; of equals the lowest; `fill` where no cell voted."""
        if not self.classes.size:
            return np.full(len(self.counts), fill, dtype)
        best = self.counts.argmax(axis=1)
        some = self.counts.max(axis=1) > 0
        return np.where(some, self.classes[best], fill).astype(dtype)
