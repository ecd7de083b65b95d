"""Pixels of any grid onto cells by points: bilinear and nearest, for rasters that are coarser than the cells.

Those that are finer are weighed by area, in `cube.sources.areas`; files are read in `cube.sources.warp`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cube.sources.raster_grid import RasterGrid

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

DIGITS: Final = 6  # of a position in pixels: the noise of the arithmetic is below


@dataclass(frozen=True)
class Piece:
    """Pixels of one file: (bands, rows, columns), NaN where there is no data, and where they lie."""

    values: Floats
    grid: RasterGrid


def _take(pixels: Floats) -> Callable[[Doubles, Doubles], Floats]:
    """A function from (row, column) of any shape to (bands, ...) pixels, NaN outside of them."""
    bands, height, width = pixels.shape
    with_rim = np.pad(pixels, ((0, 0), (1, 1), (1, 1)), constant_values=np.nan).reshape(bands, -1)

    def take(row: Doubles, col: Doubles) -> Floats:
        r = np.clip(np.floor(row), -1, height).astype(np.int32) + 1
        c = np.clip(np.floor(col), -1, width).astype(np.int32) + 1
        return with_rim[:, r * (width + 2) + c]

    return take


def _centres(target: RasterGrid, piece: Piece) -> tuple[Doubles, Doubles]:
    return piece.grid.positions(target, *(np.arange(n, dtype=np.float64) + 0.5 for n in target.shape))


def bilinear(target: RasterGrid, pieces: Sequence[Piece]) -> Floats:
    """Bilinear between pixel centres, over the valid ones of the four; pieces of one lattice join without a seam."""
    total: Any = 0.0
    weight: Any = 0.0
    for piece in pieces:
        take = _take(piece.values)
        # Without the noise of the arithmetic matching grids come through unchanged.
        row, col = (np.round(p - 0.5, DIGITS) for p in _centres(target, piece))
        top, left = np.floor(row), np.floor(col)
        for down in (0, 1):
            for across in (0, 1):
                share = np.abs(1 - down - (row - top)) * np.abs(1 - across - (col - left))
                values = take(top + down, left + across)
                valid = np.isfinite(values) & (share > 0)
                total = total + np.where(valid, values * share, 0)
                weight = weight + np.where(valid, share, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(weight > 0, total / weight, np.nan), np.float32)


def nearest(target: RasterGrid, pieces: Sequence[Piece]) -> Floats:
    """The pixel that holds each cell's centre; of several pieces the first that knows one."""
    out: Any = np.float32(np.nan)
    for piece in pieces:
        values = _take(piece.values)(*_centres(target, piece))
        out = np.where(np.isnan(out), values, out)
    return np.asarray(out, np.float32)
