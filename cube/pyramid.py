"""Pyramids: each level half as fine as the one below, mean of the valid cells or true majority of level 0.

A square of level n spans 2^n x 2^n units and is made from the level below (means) or from level 0 (majorities,
since a majority of majorities is not the majority).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cube.grid import CELL, Unit, Window
from cube.store import SPECIES_PER_SHARD, CubeStore


def mean_of_valid(values: NDArray[Any], fill: int | float) -> NDArray[Any]:
    """Mean of the valid cells of each 2 x 2 block of the last two (even) axes, rounded half up; fill where none is."""
    wide = np.uint16 if values.dtype.itemsize == 1 else np.uint32
    shape = (*values.shape[:-2], values.shape[-2] // 2, values.shape[-1] // 2)
    total, count = np.zeros(shape, wide), np.zeros(shape, wide)
    # Four strided views instead of one 2 x 2 reshape: no array of four times the size is ever made.
    for row in (0, 1):
        for col in (0, 1):
            part = values[..., row::2, col::2]
            valid = part != fill
            count += valid
            np.add(total, part, out=total, where=valid)
    mean = (2 * total + count) // np.maximum(2 * count, 1)
    return np.where(count > 0, mean, fill).astype(values.dtype)


def majority(values: NDArray[Any], factor: int, fill: int, classes: int) -> NDArray[Any]:
    """Most frequent class of each `factor` x `factor` block; of equals the lowest; fill where no cell is valid."""
    rows, cols = values.shape
    blocks = values.reshape(rows // factor, factor, cols // factor, factor)
    best = np.zeros((rows // factor, cols // factor), np.int64)
    out = np.full(best.shape, fill, values.dtype)
    for value in range(classes):
        count = (blocks == value).sum(axis=(1, 3))
        better = count > best
        best[better] = count[better]
        out[better] = value
    return out


def squares(shape: tuple[int, int], side: int) -> Iterator[Window]:
    """The squares of a level's array, whole shards, clipped at the array's edge."""
    for row in range(0, shape[0], side):
        for col in range(0, shape[1], side):
            yield Window(row, col, min(side, shape[0] - row), min(side, shape[1] - col))


def _read_even(cube: CubeStore, path: str, window: Window, factor: int, lead: slice | None) -> NDArray[Any]:
    """The cells below a square, padded with fill so that blocks are whole."""
    array = cube.array(path)
    rows = slice(window.row * factor, min((window.row + window.height) * factor, array.shape[-2]))
    cols = slice(window.col * factor, min((window.col + window.width) * factor, array.shape[-1]))
    values = np.asarray(array[(rows, cols) if lead is None else (lead, ..., rows, cols)])
    pad_rows = window.height * factor - values.shape[-2]
    pad_cols = window.width * factor - values.shape[-1]
    if pad_rows or pad_cols:
        widths = [(0, 0)] * (values.ndim - 2) + [(0, pad_rows), (0, pad_cols)]
        values = np.pad(values, widths, constant_values=array.fill_value)
    return values


def build_level(cube: CubeStore, base: str, level: int, means: Sequence[str], classes: dict[str, int],
                units: Sequence[Unit]) -> None:  # fmt: skip
    """Fill the arrays of `base/<level>` where they hold `units`.

    `means` are averaged from the level below, `classes` (name -> count of classes) are majorities of level 0.
    """
    side = cube.region.unit_km * 1000 // CELL
    shape = cube.region.shape(CELL, level)
    offsets = [cube.region.square(unit) for unit in units]
    touched = {((w.row // side) >> level, (w.col // side) >> level) for w in offsets}
    for window in squares(shape, side):
        if (window.row // side, window.col // side) not in touched:
            continue
        rows, cols = window.slices
        for name in means:
            target = cube.array(f"{base}/{level}/{name}")
            source = f"{base}/{level - 1}/{name}"
            if target.ndim == 2:
                target[rows, cols] = mean_of_valid(_read_even(cube, source, window, 2, None), _fill(target))
                continue
            for start in range(0, target.shape[0], SPECIES_PER_SHARD):
                lead = slice(start, min(start + SPECIES_PER_SHARD, target.shape[0]))
                values = _read_even(cube, source, window, 2, lead)
                target[lead, ..., rows, cols] = mean_of_valid(values, _fill(target))
        for name, count in classes.items():
            target = cube.array(f"{base}/{level}/{name}")
            values = _read_even(cube, f"{base}/0/{name}", window, 2**level, None)
            target[rows, cols] = majority(values, 2**level, int(_fill(target)), count)


def _fill(array: Any) -> int | float:
    value = array.fill_value
    return float(value) if np.issubdtype(array.dtype, np.floating) else int(value)
