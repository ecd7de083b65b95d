"""Where places and 50 m cells lie among 1 km cells, and what bilinear interpolation gives there."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cube.grid import CELL, COARSE

CELLS_PER_KM: Final = COARSE // CELL


def bilinear(
    row: NDArray[np.floating[Any]], col: NDArray[np.floating[Any]], shape: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Four surrounding cells and their weights at fractional positions of a raster of `shape`.

    `row`, `col`: (n,), in cells, a cell's centre at its integer index. Returns corner (n, 4), flat indices
    (upper left, upper right, lower left, lower right), and weight (n, 4), sum 1. Outside, the edge is repeated.
    """
    height, width = shape
    top, left = np.floor(row).astype(np.int64), np.floor(col).astype(np.int64)
    down, right = row - top, col - left
    rows = np.clip(np.stack([top, top, top + 1, top + 1], 1), 0, height - 1)
    cols = np.clip(np.stack([left, left + 1, left, left + 1], 1), 0, width - 1)
    weight = np.stack([(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right], 1)
    return rows * width + cols, weight.astype(np.float32)


def known_mean(
    values: NDArray[np.floating[Any]], corner: NDArray[np.integer[Any]], weight: NDArray[np.floating[Any]]
) -> NDArray[np.float32]:
    """(n, columns) of 1 km values (m, columns) at places, over those of the four cells of `bilinear` that hold a value."""
    total = np.zeros((len(corner), values.shape[1]), np.float32)
    weight_sum = np.zeros_like(total)
    for at in range(4):
        part = values[corner[:, at]]
        share = weight[:, at, None] * np.isfinite(part)
        total += share * np.nan_to_num(part)
        weight_sum += share
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(weight_sum > 1e-6, total / weight_sum, np.nan), np.float32)


def weights_along(first: int, count: int, cells: int) -> NDArray[np.float32]:
    """(count, cells) weights along one axis of a window's 1 km cells, one of halo on each side, at its 50 m cells from `first`.

    Bilinear weights are a product of one along the rows and one along the columns, so two small matrix products spread
    1 km values over all cells of a window.
    """
    # the centre of cell 0 lies half a 50 m cell into the first 1 km cell behind the halo
    at = (np.arange(first, first + count) + 0.5) / CELLS_PER_KM + 0.5
    low = np.floor(at).astype(np.int64)
    weight = np.zeros((count, cells), np.float32)
    weight[np.arange(count), low] = 1 - (at - low)
    weight[np.arange(count), low + 1] = at - low
    return weight
