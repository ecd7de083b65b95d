"""Predictors at places out of a cube: the cells that hold them, unit by unit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cube.grid import CELL, FINE, Region, Unit
from cube.layers import Layer
from cube.records.places import Floats, Places
from cube.storage.store import CubeStore, resolution_of

PIXELS: int = CELL // FINE  # of 10 m, along a side of a cell


@dataclass(frozen=True)
class CubeSource:
    """The inputs of a cube as a `SampleSource`."""

    cube: CubeStore

    @property
    def layers(self) -> tuple[str, ...]:
        """Input layers that the cube has."""
        return tuple(self.cube.layers())

    def sample(
        self, places: Places, layers: Sequence[str], cells: int = 1, progress: Callable[[int, int], None] | None = None
    ) -> dict[str, Floats]:
        """As `SampleSource.sample`; places outside the cube have no data. A unit is read once for all places in it."""
        cube_layers = self.cube.layers()
        out = {name: np.full(_shape(cube_layers[name], len(places), cells), np.nan, np.float32) for name in layers}
        units = list(self._by_unit(places))
        for units_done, (unit, members, rows, cols) in enumerate(units):
            if progress:
                progress(units_done, len(units))
            for name in layers:
                layer = cube_layers[name]
                square = self.cube.region.square(unit, resolution_of(layer))
                if layer.resolution == "10m":
                    values = layer.decode(self.cube.read_window(layer.path, square.grown((cells - 1) // 2 * PIXELS)))
                    side = PIXELS * cells
                    for i, row, col in zip(members, rows * PIXELS, cols * PIXELS, strict=True):
                        out[name][i] = values[..., row : row + side, col : col + side]
                else:
                    values = layer.decode(self.cube.read_window(layer.path, square))
                    coarser = resolution_of(layer) // CELL
                    out[name][members] = np.moveaxis(values[..., rows // coarser, cols // coarser], -1, 0)
        return out

    def _by_unit(self, places: Places) -> Iterator[tuple[Unit, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
        """(unit, indices of its places, their rows and columns of cells within the unit), units in the order of rows."""
        region = self.cube.region
        row, col = region.index(places.x, places.y)
        height, width = region.shape()
        inside = np.flatnonzero((row >= 0) & (row < height) & (col >= 0) & (col < width))
        side = region.unit_km * 1000 // CELL
        key = (row // side) * (width // side) + col // side
        order = inside[np.argsort(key[inside], kind="stable")]
        for members in np.split(order, np.flatnonzero(np.diff(key[order])) + 1):
            if len(members):
                unit_row, unit_col = int(row[members[0]] // side), int(col[members[0]] // side)
                yield (
                    _unit_at(region, unit_row, unit_col),
                    members,
                    row[members] - unit_row * side,
                    col[members] - unit_col * side,
                )


def _shape(layer: Layer, places: int, cells: int) -> tuple[int, ...]:
    lead = tuple(len(layer.labels[dim]) for dim in layer.dims)
    return (places, *lead, PIXELS * cells, PIXELS * cells) if layer.resolution == "10m" else (places, *lead)


def _unit_at(region: Region, row: int, col: int) -> Unit:
    first = next(iter(region.units()))
    return region.unit(first.row + row, first.col + col)
