"""Which share of a cell each pixel covers: worked out once, then used for every picture on the same pixels.

`cube.sources.resample.average` finds the shares anew each time, which suits one picture; a series has 84.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cube.sources.resample import Positions

POINTS: Final = 10  # along a cell's side at least: aligned pixels of a half, a fifth or a tenth of a cell weigh exactly
A_PIXEL: Final = 4  # and along a pixel's side


@dataclass(frozen=True)
class Areas:
    """Shares of pixels in cells, one entry for each pair that meets: flat cell, flat pixel, points of the cell on the pixel."""

    shape: tuple[int, int]  # cells
    cell: NDArray[np.int32]
    pixel: NDArray[np.int32]
    share: NDArray[np.float64]

    def mean(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """(bands, rows, columns) pixels to the mean of the valid ones in each cell, weighed by area; NaN where there is none.

        A pixel is valid, not NaN, in all bands or in none.
        """
        flat = values.reshape(len(values), -1)[:, self.pixel]
        valid = np.isfinite(flat[0])
        cell, share = self.cell[valid], self.share[valid]
        size = self.shape[0] * self.shape[1]
        weight = np.bincount(cell, share, size)
        sums = np.stack([np.bincount(cell, share * band[valid], size) for band in flat])
        with np.errstate(invalid="ignore", divide="ignore"):
            return (sums / weight).astype(np.float32).reshape(-1, *self.shape)


def shares(positions: Positions, height: int, width: int) -> Areas:
    """Shares of the pixels of a picture of (height, width), by a lattice of at least 10 x 10 points in each cell."""
    ratio = max(positions.pixels_a_cell())
    points = max(POINTS, int(np.ceil(A_PIXEL * ratio)))
    corners = [positions.at(down, across) for down in (0.0, 1.0) for across in (0.0, 1.0)]
    first_row, first_col = (np.floor(np.min([corner[axis] for corner in corners], axis=0)).astype(np.int64) for axis in (0, 1))
    # A rotated cell reaches over its diagonal at most, plus the pixel that it begins in.
    around = int(np.ceil(ratio * np.sqrt(2))) + 2
    found = np.zeros((first_row.size, around * around), np.uint16)
    cells = np.arange(first_row.size)
    for i in range(points):
        for j in range(points):
            row, col = (np.floor(p).astype(np.int64) for p in positions.at((i + 0.5) / points, (j + 0.5) / points))
            found[cells, ((row - first_row) * around + col - first_col).ravel()] += 1
    cell, local = np.nonzero(found)
    row, col = first_row.ravel()[cell] + local // around, first_col.ravel()[cell] + local % around
    inside = (row >= 0) & (row < height) & (col >= 0) & (col < width)
    return Areas(
        positions.shape, cell[inside].astype(np.int32), (row * width + col)[inside].astype(np.int32),
        found[cell, local][inside].astype(np.float64),
    )  # fmt: skip
