"""Pixels of any grid onto cells: exact means and majorities downwards, bilinear and nearest upwards; arrays in, arrays out.

Positions are exact to centimetres, which GDAL's approximated warp is not (up to 1.5 m at 50 m, whatever its tolerance).
Reading lives in `cube.sources.warp`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import pandas as pd
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer

from cube import grid

KNOT: Final = 1_000  # m between exact projections; linear in between, the error of which is KNOT^2 / 8R = 2 cm
FAR: Final = 1e9  # pixels
SAMPLES: Final = 2  # points along the side of a source pixel; every pixel of an integer ratio then weighs exactly alike

Floats = NDArray[np.float32]


@lru_cache(maxsize=32)
def _from_grid(wkt: str) -> Transformer:
    return Transformer.from_crs(grid.EPSG, wkt, always_xy=True)


@dataclass(frozen=True)
class Positions:
    """Where the points of a target grid (EPSG:3035) lie among the pixels of a source.

    `target` and `source` map (column, row) to coordinates in their own CRS; any affine will do, so rotated and
    south-up sources need nothing special. `wkt` is the source's CRS, None where it is EPSG:3035 itself.
    """

    target: Affine
    shape: tuple[int, int]
    source: Affine
    wkt: str | None

    def at(self, down: float, across: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(row, column) in source pixels, whole at a pixel's upper left corner, of the point (down, across) of each
        cell, both in 0..1.
        """
        x: NDArray[np.float64] = self.target.c + (np.arange(self.shape[1], dtype=np.float64) + across) * self.target.a
        y: NDArray[np.float64] = self.target.f + (np.arange(self.shape[0], dtype=np.float64) + down) * self.target.e
        if self.wkt is None:
            return self._pixels(*np.broadcast_arrays(x[None, :], y[:, None]))
        knots_x, weights_x = _knots(x)
        knots_y, weights_y = _knots(y)
        sx, sy = _from_grid(self.wkt).transform(*np.meshgrid(knots_x, knots_y))
        # Where the projection is undefined, a point lies far outside of every raster.
        row, col = (np.nan_to_num(p, nan=-FAR, posinf=FAR, neginf=-FAR) for p in self._pixels(np.asarray(sx), np.asarray(sy)))
        return weights_y @ row @ weights_x.T, weights_y @ col @ weights_x.T

    def pixels_a_cell(self) -> tuple[float, float]:
        """Source pixels that the middle cell spans going down and going across, along whichever source axis is longer."""
        t, (rows, cols) = self.target, self.shape
        middle = Affine(t.a, t.b, t.c + (cols // 2) * t.a, t.d, t.e, t.f + (rows // 2) * t.e)
        cell = Positions(middle, (1, 1), self.source, self.wkt)
        here, below, right = (np.ravel(cell.at(*point)) for point in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0)))
        return float(np.abs(below - here).max()), float(np.abs(right - here).max())

    def _pixels(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        # From the corner first: small numbers keep their digits.
        t = self.source
        dx, dy = x - t.c, y - t.f
        if t.b == t.d == 0:
            return dy / t.e, dx / t.a
        determinant = t.a * t.e - t.b * t.d
        return (t.a * dy - t.d * dx) / determinant, (t.e * dx - t.b * dy) / determinant


def _knots(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Whole multiples of KNOT around `values` and the weights (values, knots) that interpolate linearly between them."""
    first, last = np.floor(values.min() / KNOT), np.floor(values.max() / KNOT) + 1
    knots = np.arange(first, last + 1) * KNOT
    place = values / KNOT - first
    low = np.floor(place).astype(int)
    weights = np.zeros((len(values), len(knots)))
    weights[np.arange(len(values)), low] = 1 - (place - low)
    weights[np.arange(len(values)), low + 1] += place - low
    return knots, weights


@dataclass(frozen=True)
class Piece:
    """Pixels of one file around a target: (bands, rows, columns), NaN where there is no data, and how cells find them."""

    values: Floats
    positions: Positions


def _take(pixels: NDArray[Any], fill: float) -> Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[Any]]:
    """A function from (row, column) of any shape to (bands, ...) pixels, `fill` outside of them."""
    bands, height, width = pixels.shape
    framed = np.pad(pixels, ((0, 0), (1, 1), (1, 1)), constant_values=fill).reshape(bands, -1)

    def take(row: NDArray[np.float64], col: NDArray[np.float64]) -> NDArray[Any]:
        r = np.clip(np.floor(row), -1, height).astype(np.int32) + 1
        c = np.clip(np.floor(col), -1, width).astype(np.int32) + 1
        return framed[:, r * (width + 2) + c]

    return take


def _points(pixels: NDArray[Any], positions: Positions, fill: float) -> Iterator[NDArray[Any]]:
    """(bands, rows, columns) pixels under a lattice of points of each cell, SAMPLES along every pixel's side or more."""
    take = _take(pixels, fill)
    down, across = (max(SAMPLES, int(np.ceil(SAMPLES * ratio - 1e-6))) for ratio in positions.pixels_a_cell())
    for i in range(down):
        for j in range(across):
            yield take(*positions.at((i + 0.5) / down, (j + 0.5) / across))


def average(pieces: Sequence[Piece]) -> Floats:
    """Mean over each cell's area of the valid pixels, weighed by the share of the cell that they cover; NaN: none."""
    total: Any = 0.0
    weight: Any = 0
    for piece in pieces:
        for found in _points(piece.values, piece.positions, np.nan):
            valid = np.isfinite(found)
            total = total + np.where(valid, found, 0).astype(np.float64)
            weight = weight + valid
    return _divided(total, weight)


def bilinear(pieces: Sequence[Piece]) -> Floats:
    """Bilinear between pixel centres, over the valid ones of the four; pieces of one lattice join without a seam."""
    total: Any = 0.0
    weight: Any = 0.0
    for piece in pieces:
        take = _take(piece.values, np.nan)
        # A millionth of a pixel is noise of the arithmetic; without it matching grids come through unchanged.
        row, col = (np.round(p - 0.5, 6) for p in piece.positions.at(0.5, 0.5))
        top, left = np.floor(row), np.floor(col)
        for down in (0, 1):
            for across in (0, 1):
                share = np.abs(1 - down - (row - top)) * np.abs(1 - across - (col - left))
                found = take(top + down, left + across)
                valid = np.isfinite(found) & (share > 0)
                total = total + np.where(valid, found * share, 0)
                weight = weight + np.where(valid, share, 0)
    return _divided(total, weight)


def nearest(pieces: Sequence[Piece]) -> Floats:
    """The pixel that holds each cell's centre; of several pieces the first that knows one."""
    out: Any = np.float32(np.nan)
    for piece in pieces:
        found = _take(piece.values, np.nan)(*piece.positions.at(0.5, 0.5))
        out = np.where(np.isnan(out), found, out)
    return np.asarray(out, np.float32)


def _counts(pieces: Sequence[Piece], codes: NDArray[np.float32]) -> NDArray[np.uint16]:
    """(bands, codes, rows, columns) points of each cell that fall on each of `codes`."""
    bands = pieces[0].values.shape[0]
    counts = np.zeros((bands, len(codes), *pieces[0].positions.shape), np.uint16)
    small = np.uint8 if len(codes) < 255 else np.uint16
    for piece in pieces:
        place = np.zeros(piece.values.shape, small)  # 0: none of the codes
        for n, code in enumerate(codes, 1):
            place[piece.values == code] = n
        for found in _points(place, piece.positions, 0):
            for n in range(len(codes)):
                counts[:, n] += found == n + 1
    return counts


def majority(pieces: Sequence[Piece]) -> Floats:
    """The class that covers most of each cell, the lowest of equals; NaN where no pixel is known."""
    known = [pd.unique(piece.values.ravel()) for piece in pieces]
    codes = np.unique(np.concatenate(known))
    codes = codes[np.isfinite(codes)]
    if not codes.size:
        return np.full((pieces[0].values.shape[0], *pieces[0].positions.shape), np.nan, np.float32)
    counts = _counts(pieces, codes)
    return np.where(counts.any(axis=1), codes[counts.argmax(axis=1)], np.float32(np.nan)).astype(np.float32)


def shares(pieces: Sequence[Piece], codes: Sequence[int]) -> Floats:
    """(codes, rows, columns) share of each cell's known area that each class covers; NaN where nothing is known."""
    counts = _counts(pieces, np.asarray(codes, np.float32))[0].astype(np.float64)
    return _divided(counts, counts.sum(axis=0))


def _divided(total: Any, weight: Any) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(weight > 0, total / weight, np.nan), np.float32)
