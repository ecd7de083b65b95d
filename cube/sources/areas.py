"""Means, majorities and shares by area: how much of each cell each pixel covers, exactly, and what follows from it.

A cell is the quadrilateral between its four projected corners, which neighbours share, so that cells cover the ground once.
What it has in common with each pixel is added up along its edges, as fonts are drawn (the signed area accumulation of
font-rs and stb_truetype): no sampling, and nothing that depends on the window in which a cell is computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray

from cube.sources.raster_grid import FAR_PIXELS, RasterGrid
from cube.sources.resample import Floats, Piece

Doubles = NDArray[np.float64]

NOISE: Final = 1e-7  # of a cell or a pixel, whichever is smaller: less in common is rounding, not area
EQUAL: Final = 1e-6  # of a cell: classes whose areas differ by less cover the same
MAX_PIXELS: Final = FAR_PIXELS / 1e4  # pixels: corners beyond are interpolated with a point that has no projection
CACHED: Final = 4  # overlaps in memory: the blocks of a unit, of which each file of a series needs all
SUM_BLOCK: Final = 2**22  # areas by cell and class that are added up together, 8 bytes each

_compiled: Callable[[Callable[..., Any]], Callable[..., Any]] = njit(cache=True, nogil=True)


@dataclass(frozen=True, eq=False)
class Overlap:
    """The share of each cell that each pixel covers: a sparse matrix, cells by pixels, in compressed rows.

    Entries `first[i]` to `first[i + 1]` are those of cell i: flat numbers of pixels, and their shares of the cell, which
    add up to the part of it that lies on the raster.
    """

    shape: tuple[int, int]  # rows and columns of cells
    first: NDArray[np.int64]
    pixel: NDArray[np.int32]
    share: NDArray[np.float32]

    def sums(self, values: Floats) -> tuple[Doubles, Doubles]:
        """(sum of value x share, sum of share) over the finite of (bands, rows, columns) pixels, (bands, cells) each."""
        flat = np.ascontiguousarray(values, np.float32).reshape(len(values), -1)
        total, weight = np.empty((2, len(flat), len(self.first) - 1))
        _sums(self.first, self.pixel, self.share, flat, total, weight)
        return total, weight


def overlap_bytes(cells: int, area: float) -> int:
    """Memory of an overlap of `cells`, each of an `area` in pixels and the pixels along its edges."""
    return round(cells * (8 + 8 * (math.sqrt(area) * 1.2 + 1.5) ** 2))


@lru_cache(maxsize=CACHED)
def overlap(target: RasterGrid, source: RasterGrid) -> Overlap:
    """How the cells of `target` (north-up) lie on the pixels of `source`: worked out once for a pair of grids."""
    row, col = source.positions(target, *(np.arange(n + 1.0) for n in target.shape))
    # Room for every pixel of the rectangles around the cells; memory that is not written to is never taken.
    sides = [_reach(axis, size) for axis, size in ((row, source.shape[0]), (col, source.shape[1]))]
    room = int((sides[0] * sides[1]).sum())
    pixel, share = np.empty(room, np.int32), np.empty(room, np.float32)
    first = np.zeros(target.pixels + 1, np.int64)
    _overlap(row, col, *source.shape, first, pixel, share)
    return Overlap(target.shape, first, pixel[: first[-1]].copy(), share[: first[-1]].copy())


def _reach(corners: Doubles, size: int) -> Doubles:
    """Pixels, along one axis, that the rectangle around each cell touches within a raster of `size` of them."""
    four = corners[:-1, :-1], corners[:-1, 1:], corners[1:, :-1], corners[1:, 1:]
    low, high = np.minimum.reduce(four), np.maximum.reduce(four)
    n_cells = np.clip(np.floor(high) + 1, 0, size) - np.clip(np.floor(low), 0, size)
    return np.where((low > -MAX_PIXELS) & (high < MAX_PIXELS), n_cells, 0)


@_compiled
def _overlap(row: Any, col: Any, height: Any, width: Any, first: Any, pixel: Any, share: Any) -> None:
    """Fill the compressed rows from (rows + 1, columns + 1) corners in pixels of a raster of height x width."""
    entries = 0
    cells = row.shape[1] - 1
    corner_row, corner_col = np.empty(5), np.empty(5)
    cover = np.zeros((8, 10))
    for i in range(row.shape[0] - 1):
        for j in range(cells):
            for n in range(5):  # around the cell and back to where it began
                down, across = (n % 4) // 2, ((n + 1) % 4) // 2
                corner_row[n], corner_col[n] = row[i + down, j + across], col[i + down, j + across]
            low_row, high_row = corner_row.min(), corner_row.max()
            low_col, high_col = corner_col.min(), corner_col.max()
            overlaps = low_row < height and high_row > 0 and low_col < width and high_col > 0
            has_projection = min(low_row, low_col) > -MAX_PIXELS and max(high_row, high_col) < MAX_PIXELS
            if overlaps and has_projection:
                top, left = int(np.floor(low_row)), int(np.floor(low_col))
                rows, cols = int(np.floor(high_row)) + 1 - top, int(np.floor(high_col)) + 1 - left
                if rows > cover.shape[0] or cols + 1 > cover.shape[1]:
                    cover = np.zeros((2 * rows, 2 * cols + 2))
                cover[:rows, : cols + 1] = 0
                area = 0.0
                for n in range(4):
                    r0, c0 = corner_row[n] - top, corner_col[n] - left
                    r1, c1 = corner_row[n + 1] - top, corner_col[n + 1] - left
                    area -= (r1 - r0) * (c0 + c1) / 2
                    _add_edge(cover, r0, c0, r1, c1)
                if area != 0:
                    entries = _collect(cover, (top, left, rows, cols), (height, width), area, entries, pixel, share)
            first[i * cells + j + 1] = entries


@_compiled
def _add_edge(cover: Any, r0: Any, c0: Any, r1: Any, c1: Any) -> None:
    """Add one edge to `cover`, whose running sums along a row then are the areas right of the edge in each pixel, signed."""
    if r0 == r1:
        return
    slope = (c1 - c0) / (r1 - r0)
    low, high = min(r0, r1), max(r0, r1)
    for row in range(int(low), int(np.ceil(high))):
        start, end = max(low, row), min(high, row + 1)
        height = end - start if r1 > r0 else start - end
        # Rounding must not carry the edge beyond its own ends.
        first_col = min(max(c0 + (start - r0) * slope, min(c0, c1)), max(c0, c1))
        second_col = min(max(c0 + (end - r0) * slope, min(c0, c1)), max(c0, c1))
        begin, stop = min(first_col, second_col), max(first_col, second_col)
        for col in range(int(begin), int(stop) + 1):
            left, right = max(begin, col), min(stop, col + 1)
            part = height * (right - left) / (stop - begin) if stop > begin else height
            left_of_it = part * ((left + right) / 2 - col)
            cover[row, col] += part - left_of_it
            cover[row, col + 1] += left_of_it


@_compiled
def _collect(cover: Any, box: Any, shape: Any, area: Any, entries: Any, pixel: Any, share: Any) -> Any:
    """Append the pixels that a cell covers, and how much of the cell each is; returns how many entries there are now.

    `cover` is that of a `box` (first row, first column, rows, columns) of a raster of a `shape`.
    """
    (top, left, rows, cols), (height, width) = box, shape
    noise = NOISE * min(1.0, 1.0 / abs(area))
    for row in range(max(0, -top), min(rows, height - top)):
        running = 0.0
        for col in range(min(cols, width - left)):
            running += cover[row, col]
            part = running / area
            if col >= -left and part > noise:
                pixel[entries] = (top + row) * width + left + col
                share[entries] = part
                entries += 1
    return entries


@_compiled
def _sums(first: Any, pixel: Any, share: Any, values: Any, total: Any, weight: Any) -> None:
    """Fill (bands, cells) sums of value x share and of share from (bands, pixels); what is not finite counts in neither."""
    for band in range(values.shape[0]):
        for cell in range(len(first) - 1):
            sum_, covered_area = 0.0, 0.0
            for entry in range(first[cell], first[cell + 1]):
                value = values[band, pixel[entry]]
                if np.isfinite(value):
                    sum_ += np.float64(share[entry]) * value
                    covered_area += share[entry]
            total[band, cell], weight[band, cell] = sum_, covered_area


@_compiled
def _class_areas(first: Any, pixel: Any, share: Any, place: Any, start: Any, area: Any) -> None:
    """Add shares to (cells, classes) `area`, cells counted from `start`; `place` is the class of each pixel, -1: none."""
    for cell in range(len(area)):
        for entry in range(first[start + cell], first[start + cell + 1]):
            if place[pixel[entry]] >= 0:
                area[cell, place[pixel[entry]]] += share[entry]


def mean(target: RasterGrid, pieces: Sequence[Piece]) -> Floats:
    """(bands, rows, columns) mean over each cell's area of the valid pixels of all pieces; NaN where there is none."""
    total: Any = 0.0
    weight: Any = 0.0
    for piece in pieces:
        sums = overlap(target, piece.grid).sums(piece.values)
        total, weight = total + sums[0], weight + sums[1]
    return _divided(total, weight).reshape(-1, *target.shape)


def _areas_of_classes(target: RasterGrid, pieces: Sequence[Piece], band: int, codes: Floats) -> Iterator[tuple[slice, Doubles]]:
    """(cells, codes) share of each cell that each of `codes` covers in one band, for slices of the flat cells."""
    order = np.argsort(codes)
    places = []
    for piece in pieces:
        values = piece.values[band].ravel()
        near = order[np.clip(np.searchsorted(codes, values, sorter=order), 0, len(codes) - 1)].astype(np.int32)
        places.append(np.where(codes[near] == values, near, np.int32(-1)))
    step = max(1, SUM_BLOCK // len(codes))
    for start in range(0, target.pixels, step):
        area = np.zeros((min(step, target.pixels - start), len(codes)))
        for piece, place in zip(pieces, places, strict=True):
            matrix = overlap(target, piece.grid)
            _class_areas(matrix.first, matrix.pixel, matrix.share, place, start, area)
        yield slice(start, start + len(area)), area


def majority(target: RasterGrid, pieces: Sequence[Piece]) -> Floats:
    """(bands, rows, columns) the class that covers most of each cell, the lowest of equals; NaN where no pixel has one."""
    bands = len(pieces[0].values)
    out = np.full((bands, target.pixels), np.nan, np.float32)
    for band in range(bands):
        codes = np.unique(np.concatenate([pd.unique(piece.values[band].ravel()) for piece in pieces]))
        codes = codes[np.isfinite(codes)]
        if not codes.size:
            continue
        for cells, area in _areas_of_classes(target, pieces, band, codes):
            largest = area.max(axis=1)
            # The first of those that are as large as the largest.
            winner = codes[(area >= largest[:, None] - EQUAL).argmax(axis=1)]
            out[band, cells] = np.where(largest > 0, winner, np.float32(np.nan))
    return out.reshape(-1, *target.shape)


def shares(target: RasterGrid, pieces: Sequence[Piece], codes: Sequence[int]) -> Floats:
    """(codes, rows, columns) share that each class of the first band covers of the area of them all; NaN where none does."""
    out = np.empty((len(codes), target.pixels), np.float32)
    for cells, area in _areas_of_classes(target, pieces, 0, np.asarray(codes, np.float32)):
        out[:, cells] = _divided(area, area.sum(axis=1, keepdims=True)).T
    return out.reshape(-1, *target.shape)


def _divided(total: Doubles, weight: Doubles) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(weight > 0, total / weight, np.nan), np.float32)
