"""Values at the pixels of a tile: nearest for classes, GDAL's bilinear for quantities (it widens when it shrinks).

Positions are in pixels from the upper left corner of the array, so a pixel's centre is at one half; they come as the
control points of `server.drawing.warp`, evenly spaced from the first to the last pixel of the tile.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

# GDAL's warper widens its kernel only when it shrinks by more than this, so as not to blur by rounding.
_SHRINKS: Final = 0.95
WIDEST: Final = 4.0  # source pixels of kernel radius; only a tile that shows far less than its coarsest level asks for more


def kernel_radius(ratio: float) -> float:
    """Radius in source pixels of the bilinear kernel when one output pixel spans `ratio` source pixels."""
    return ratio if ratio > 1 / _SHRINKS else 1.0


def bilinear(
    values: NDArray[np.float32],
    rows: NDArray[np.float64],
    cols: NDArray[np.float64],
    size: int,
    radius: tuple[float, float] = (1.0, 1.0),
) -> NDArray[np.float32]:
    """(size, size) tent-weighted means of the valid pixels around the positions; NaN where the pixel there is not valid.

    `values` (h, w) is NaN where there is no data; `radius` (rows, columns), at most `WIDEST`. The rule is GDAL's
    (`GWKBilinear`, unified source no-data): weights of missing neighbours go to the present ones, and a missing centre
    stays missing. Positions outside the array, or not finite, are missing.
    """
    from server.drawing import kernels

    tile: NDArray[np.float32] = kernels.bilinear(values, rows, cols, size, np.float32(radius[0]), np.float32(radius[1]))
    return tile


def nearest(
    values: NDArray[np.int32], rows: NDArray[np.float64], cols: NDArray[np.float64], size: int, missing: int
) -> NDArray[np.int32]:
    """(size, size) values of the pixels that hold the positions; `missing` outside the array and where not finite."""
    from server.drawing import kernels

    tile: NDArray[np.int32] = kernels.nearest(values, rows, cols, size, np.int32(missing))
    return tile


def steps(values: NDArray[np.float32], low: float, high: float, last: int) -> NDArray[np.uint8]:
    """Values (h, w) to the nearest of the steps 1 (`low`) to `last` (`high`), clipped; NaN is 0."""
    gain = (last - 1) / (high - low)
    from server.drawing import kernels

    tile: NDArray[np.uint8] = kernels.steps(values, np.float32(gain), np.float32(1.5 - low * gain), np.uint8(last))
    return tile


def warm_up() -> None:
    """Draw one pixel, so that what is compiled lies in memory before the first tile asks for it."""
    at = np.full((2, 2), 1.5)
    bilinear(np.zeros((3, 3), np.float32), at, at, 2)
    nearest(np.zeros((3, 3), np.int32), at, at, 2, -1)
    steps(np.zeros((1, 1), np.float32), 0.0, 1.0, 2)
