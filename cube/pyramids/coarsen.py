"""Arithmetic of coarser pixels: sums and counts of valid cells, their rounded mean, votes for classes.

Arrays in, arrays out; which cells belong to which level and where they lie is `cube.pyramids.pyramid`.
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
    """Sums over `factor` x `factor` blocks of the last two axes (multiples of it, itself a power of two).

    Exact for integers: int32 where twice the largest sum fits, else int64; floats are summed as float64.
    """
    dtype = _wide_enough(values.dtype, factor)
    total = values
    if factor <= 4:  # by halves: numpy is slow to sum over an axis as short as this
        for _ in range(factor.bit_length() - 1):
            total = np.add(total[..., 0::2, :], total[..., 1::2, :], dtype=dtype)
        for _ in range(factor.bit_length() - 1):
            total = np.add(total[..., 0::2], total[..., 1::2], dtype=dtype)
    else:  # rows first, where memory is contiguous; columns then have a factor-th of the values
        total = total.reshape(*total.shape[:-2], -1, factor, total.shape[-1]).sum(axis=-2, dtype=dtype)
        total = total.reshape(*total.shape[:-1], -1, factor).sum(axis=-1, dtype=dtype)
    return total if total.dtype.kind == "f" or total.dtype.itemsize >= 4 else total.astype(np.int32)


def _wide_enough(dtype: np.dtype[Any], factor: int) -> type[np.generic]:
    """The fastest type that holds the sum of a block; `int32` only where twice as much fits, which rounding needs."""
    if dtype.kind == "f":
        return np.float64
    if dtype.itemsize == 1 and factor <= 16:
        return np.uint16 if dtype.kind in "bu" else np.int16
    return np.int32 if dtype.itemsize <= 2 and factor <= 64 else np.int64


def valid_sums(values: Array, fill: int | float, factor: int) -> tuple[Array, NDArray[np.integer[Any]]]:
    """(sum of the valid cells, their number) of each `factor` x `factor` block of the last two axes, exact for integers."""
    valid = valid_cells(values, fill)
    if valid.all():
        total = block_sums(values, factor)
        return total, np.full(total.shape, factor * factor, np.int64 if total.dtype.itemsize == 8 else np.int32)
    if not valid.any():  # the sea: more than half of a continent's window
        shape = (*values.shape[:-2], values.shape[-2] // factor, values.shape[-1] // factor)
        return np.zeros(shape, np.float64 if values.dtype.kind == "f" else np.int32), np.zeros(shape, np.int32)
    return block_sums(np.where(valid, values, np.zeros((), values.dtype)), factor), block_sums(valid, factor)


def rounded_mean(total: Array, count: NDArray[np.integer[Any]], dtype: Any, fill: int | float) -> Array:
    """`total / count` as `dtype`, `fill` where nothing was counted; integers are rounded to nearest, halves up."""
    safe = np.maximum(count, 1)
    if np.issubdtype(dtype, np.floating):
        return np.where(count > 0, total / safe, fill).astype(dtype)
    return np.where(count > 0, (2 * total + safe) // (2 * safe), fill).astype(dtype)


def modes(values: Array, factor: int, fill: int) -> Array:
    """Most frequent class of each block of (rows, columns) unsigned classes; of equals the lowest; `fill` has no vote.

    For small blocks, where sorting a few cells is cheaper than counting every class; `Votes` is for large ones.
    """
    rows, cols = values.shape[0] // factor, values.shape[1] // factor
    cells = values.reshape(rows, factor, cols, factor).transpose(1, 3, 0, 2).reshape(factor * factor, rows, cols)
    sorted_cells = np.sort(cells, axis=0)
    winner, longest, run = (
        np.full((rows, cols), fill, values.dtype),
        np.zeros((rows, cols), np.uint8),
        np.zeros((rows, cols), np.uint8),
    )
    for i, cell in enumerate(sorted_cells):
        # A run of equal cells continues or begins; a longer one than all before wins, so the lowest class of equals does.
        run = np.where(cell == sorted_cells[i - 1], run + 1, 1).astype(np.uint8) if i else np.ones((rows, cols), np.uint8)
        better = (run > longest) & (cell != fill)
        winner[better] = cell[better]
        longest[better] = run[better]
    return winner


class Votes:
    """Cells of each class in each of a number of pixels, gathered block by block; classes are found as they come."""

    def __init__(self, pixels: int) -> None:
        """Nothing counted yet in `pixels` pixels."""
        self.classes = np.zeros(0, np.int64)
        self.counts = np.zeros((pixels, 0), np.int64)

    def add(self, values: Array, pixel: NDArray[np.int64], fill: int) -> None:
        """Count (n,) unsigned stored classes, each in the pixel (n,) that it lies in; `fill` has no vote."""
        is_present = np.zeros(max(fill, int(values.max(initial=0))) + 1, np.bool_)
        is_present[values] = True
        is_present[fill] = False
        present = np.flatnonzero(is_present)
        if not np.isin(present, self.classes, assume_unique=True).all():
            together = np.union1d(self.classes, present)
            wider = np.zeros((len(self.counts), len(together)), np.int64)
            wider[:, np.searchsorted(together, self.classes)] = self.counts
            self.classes, self.counts = together, wider
        if not present.size:
            return
        # Cells without data go to a column of their own that is thrown away: cheaper than leaving them out.
        pixels, classes = self.counts.shape
        column = np.full(len(is_present), classes, np.int64)
        column[present] = np.searchsorted(self.classes, present)
        flat = pixel * (classes + 1)
        flat += column[values]
        new_counts = np.bincount(flat, minlength=pixels * (classes + 1)).reshape(pixels, classes + 1)
        self.counts += new_counts[:, :classes]

    def winners(self, dtype: Any, fill: int) -> Array:
        """(pixels,) the most frequent class; of equals the lowest; `fill` where no cell voted."""
        if not self.classes.size:
            return np.full(len(self.counts), fill, dtype)
        best = self.counts.argmax(axis=1)
        has_votes = self.counts.max(axis=1) > 0
        return np.where(has_votes, self.classes[best], fill).astype(dtype)
