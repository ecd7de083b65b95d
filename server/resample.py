"""Values at positions of an array: nearest for classes, GDAL's bilinear for quantities (it widens when it shrinks).

Positions are in pixels from the upper left corner of the array, so a pixel's centre is at one half.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

# GDAL's warper widens its kernel only when it shrinks by more than this, so as not to blur by rounding.
_SHRINKS: Final = 0.95


def kernel_radius(ratio: float) -> float:
    """Radius in source pixels of the bilinear kernel when one output pixel spans `ratio` source pixels."""
    return ratio if ratio > 1 / _SHRINKS else 1.0


def nearest(values: NDArray[Any], rows: NDArray[np.float64], cols: NDArray[np.float64]) -> NDArray[Any]:
    """Values (h, w) of the pixels that hold the positions; positions outside take the pixel at the edge."""
    height, width = values.shape
    row = np.clip(rows, 0, height - 1).astype(np.intp)
    col = np.clip(cols, 0, width - 1).astype(np.intp)
    return np.asarray(values.ravel().take(row * width + col))


def _taps(at: NDArray[np.float64], radius: float, end: int) -> tuple[NDArray[np.intp], list[NDArray[np.float32]]]:
    """First source index of each position along one axis of length `end`, and the weights of the following ones."""
    reach = math.ceil(radius)
    centre = np.clip(at, reach + 0.5, end - reach - 0.5) - 0.5
    low = np.floor(centre)
    part = (centre - low).astype(np.float32)
    first = low.astype(np.intp) - (reach - 1)
    if reach == 1:
        return first, [1 - part, part]
    offsets = np.arange(1 - reach, reach + 1, dtype=np.float32)
    return first, [np.maximum(0, 1 - np.abs(k - part) / np.float32(radius)) for k in offsets]


def bilinear(
    values: NDArray[np.float32],
    valid: NDArray[np.bool_] | None,
    rows: NDArray[np.float64],
    cols: NDArray[np.float64],
    radius: tuple[float, float] = (1.0, 1.0),
) -> NDArray[np.float32]:
    """Tent-weighted means of the valid pixels around the positions; NaN where the pixel at the position is not valid.

    `values` (h, w) must be finite, with `ceil(radius) + 1` pixels to spare around all positions that count;
    `valid` is None where all pixels are. The rule is GDAL's (`GWKBilinear`, unified source no-data): weights of
    missing neighbours go to the present ones, and a missing centre stays missing.
    """
    height, width = values.shape
    first_row, row_weights = _taps(rows, radius[0], height)
    first_col, col_weights = _taps(cols, radius[1], width)
    start = first_row * width + first_col
    flat = values.ravel()
    total = np.zeros(start.shape, np.float32)
    weight = np.zeros(start.shape, np.float32)
    plain = valid is None and radius == (1.0, 1.0)
    seen = None if valid is None else valid.ravel().astype(np.float32)
    for i, row_weight in enumerate(row_weights):
        line = np.zeros(start.shape, np.float32)
        share = np.zeros(start.shape, np.float32)
        for k, col_weight in enumerate(col_weights):
            at = start + (i * width + k)
            here = col_weight if seen is None else col_weight * seen.take(at)
            line += here * flat.take(at)
            if not plain:
                share += here
        total += row_weight * line
        if not plain:
            weight += row_weight * share
    if plain:
        return total
    with np.errstate(invalid="ignore", divide="ignore"):
        total /= weight
    total[weight < 1e-5] = np.nan
    if valid is not None:
        total[~nearest(valid, rows, cols).astype(bool)] = np.nan
    return total
