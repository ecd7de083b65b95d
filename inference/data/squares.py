"""Predictors of surveys larger than a cell: the mean of their square, not the values of the cell in its middle.

A plot of a hectare or a square of an atlas lists what grows anywhere in it. Single places are read in `sampling.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cube.grid import CELL, COARSE, FINE, Region, Window
from cube.layers import Layer
from cube.storage.store import resolution_of

Floats = NDArray[np.float32]
STRIP: Final = 100  # rows of cells read at a time: a square of 100 km would be gigabytes
ReadWindow = Callable[[Layer, Window], Floats]  # layer, window in its own pixels: (channels, ..., height, width)


@dataclass(frozen=True)
class Squares:
    """Square places: `rows` (k,) are their numbers among all places, the rest their cells of 50 m within a region."""

    rows: NDArray[np.int64]
    top: NDArray[np.int64]  # (k,) first row of cells
    bottom: NDArray[np.int64]  # (k,) behind the last row
    left: NDArray[np.int64]
    right: NDArray[np.int64]

    @classmethod
    def longer_than_a_cell(
        cls, region: Region, x: NDArray[np.float64], y: NDArray[np.float64], side_m: NDArray[np.floating]
    ) -> Squares:
        """The places (x, y) metres whose side (n,) is longer than a cell; NaN: as small as a cell.

        A square is of the cells whose centres lie in it, cut at the region's edge.
        """
        rows = np.flatnonzero(np.nan_to_num(np.asarray(side_m, np.float64)) > CELL)
        west, _, _, north = region.bounds
        height, width = region.shape()
        half = np.asarray(side_m, np.float64)[rows] / 2
        left, right = _cells((x[rows] - west - half) / CELL, (x[rows] - west + half) / CELL, width)
        top, bottom = _cells((north - y[rows] - half) / CELL, (north - y[rows] + half) / CELL, height)
        return cls(rows, top, bottom, left, right)

    def __len__(self) -> int:
        return len(self.rows)

    def identity(self) -> bytes:
        """What samples of these squares depend on."""
        return np.stack([self.rows, self.top, self.bottom, self.left, self.right]).tobytes()

    def mean(self, read_window: ReadWindow, layer: Layer, square: int, resolution: int) -> Floats:
        """(...) means of a layer over the cells of a square, NaN where none of them has a value.

        Pixels of 10 m are those within the cells; a pixel of 1 km weighs as many cells as it covers of the square.
        """
        total: NDArray[np.float64] | float = 0.0
        weight: NDArray[np.float64] | float = 0.0
        for first in range(int(self.top[square]), int(self.bottom[square]), STRIP):
            last = min(first + STRIP, int(self.bottom[square]))
            row, down = _pixels(first, last, resolution)
            col, right = _pixels(int(self.left[square]), int(self.right[square]), resolution)
            values = read_window(layer, Window(row, col, len(down), len(right)))
            cells = down[:, None] * right[None, :]
            finite = np.isfinite(values)
            total = total + (np.where(finite, values, 0) * cells).sum((-2, -1), dtype=np.float64)
            weight = weight + (finite * cells).sum((-2, -1), dtype=np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.where(weight > 0, total / weight, np.nan), np.float32)

    def table(self, read_window: ReadWindow, layers: Sequence[Layer], square: int, resolution: int) -> Floats:
        """(channels, ...) means of several layers, one behind the other; a class is the share of its cells."""
        return np.concatenate([self.mean(read_window, layer, square, resolution) for layer in layers])

    def put_means(
        self, read_window: ReadWindow, index: NDArray[np.int64], groups: Mapping[str, Sequence[Layer]], out: dict[str, Floats]
    ) -> None:
        """Put the means of the squares among the places `index` into `out` of them, in place; `groups`: layers by modality.

        An image of a square is of one colour.
        """
        position = {int(place): at for at, place in enumerate(index)}
        for square, place in enumerate(self.rows):
            at = position.get(int(place))
            if at is None:
                continue
            for modality, layers in groups.items():
                mean = self.table(read_window, layers, square, resolution_of(layers[0]))
                out[modality][at] = mean[:, None, None] if layers[0].resolution == "10m" else mean


def _cells(low: NDArray[np.float64], high: NDArray[np.float64], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and behind the last of the cells 0..count-1 whose centres lie from `low` to below `high`; at least one."""
    first = np.clip(np.ceil(low - 0.5), 0, count - 1).astype(np.int64)
    last = np.clip(np.ceil(high - 0.5), first + 1, count).astype(np.int64)
    return first, last


def _pixels(first: int, last: int, resolution: int) -> tuple[int, NDArray[np.float64]]:
    """(first pixel, how many cells each pixel stands for) along cells `first` to `last` - 1 of 50 m."""
    if resolution == COARSE:
        pixels = np.arange(first, last) // (COARSE // CELL)
        return int(pixels[0]), np.bincount(pixels - pixels[0]).astype(np.float64)
    finer = CELL // FINE if resolution == FINE else 1
    return first * finer, np.ones((last - first) * finer)
