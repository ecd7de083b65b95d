"""Records as places that can be sampled, the one shape in which their predictors come, and the cells of a cube that hold them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cube.grid import CELL, EUROPE, FINE, Unit
from cube.layers import Layer
from cube.storage.store import CubeStore, resolution_of

Floats = NDArray[np.float32]

NO_ID: Final = -1

PIXELS: int = CELL // FINE  # of 10 m, along a side of a cell


@dataclass(frozen=True)
class Places:
    """Points (x, y) in metres of the grid, and the ids by which GeoPlant's files know them (-1: none).

    `observations` says of which of GeoPlant's two kinds the ids are, PA or PO; empty: of either.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    survey: NDArray[np.int64]
    patch_id: NDArray[np.int64]
    series_id: NDArray[np.int64]
    observations: str = ""

    def __len__(self) -> int:
        return len(self.x)

    @classmethod
    def at(cls, x: NDArray[np.float64], y: NDArray[np.float64]) -> Places:
        """Points that no file knows by an id."""
        none = np.full(len(x), NO_ID, np.int64)
        return cls(x, y, none, none, none)

    def subset(self, index: NDArray[np.integer | np.bool_]) -> Places:
        """The places of `index` (positions or a mask)."""
        columns = {name: getattr(self, name)[index] for name in ("x", "y", "survey", "patch_id", "series_id")}
        return replace(self, **columns)

    @property
    def lonlat(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Longitudes and latitudes in degrees, WGS 84, of points in EPSG:3035, which GeoPlant's are."""
        return EUROPE.unproject(self.x, self.y)


def places_of(rows: pd.DataFrame, observations: str = "") -> Places:
    """Places of `rows` with x and y (m) or longitude and latitude (degrees); GeoPlant's ids where there are columns of them."""
    if "x" in rows:
        x, y = rows["x"].to_numpy(np.float64), rows["y"].to_numpy(np.float64)
    else:
        x, y = EUROPE.project(rows["longitude"].to_numpy(np.float64), rows["latitude"].to_numpy(np.float64))
    none = pd.Series(NO_ID, index=rows.index, dtype=np.int64)
    patch, series = (np.asarray(rows.get(name, none), np.int64) for name in ("patch_id", "series_id"))
    # A survey of 2023 is named by patch and day; values of that year are known by patch.
    survey = pd.to_numeric(rows["survey"], errors="coerce") if "survey" in rows else none
    numbers = np.where(survey.isna(), patch, survey.fillna(NO_ID)).astype(np.int64)
    return Places(x, y, numbers, patch, series, observations)


class SampleSource(Protocol):
    """Where predictors at places come from: GeoPlant's files, or the cells of a cube.

    Every source gives the same names, units, shapes and order: those of `cube.layers.inputs`, decoded.
    """

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the input layers that the source can give, in the order of `cube.layers.inputs`."""
        ...

    def sample(
        self, places: Places, layers: Sequence[str], cells: int = 1, progress: Callable[[int, int], None] | None = None
    ) -> dict[str, Floats]:
        """Values of `layers` at n places in their units, float32, NaN where there is no data.

        (n,) for a layer of one variable; (n, bands) such as soil (n, 9), landcover (n, 13) and bioclim (n, 19);
        (n, 6, 84) for landsat and (n, 4, 228) for climate; (n, 4, 5 cells, 5 cells) for sentinel2, an odd number of
        `cells` of 50 m with the place's own in the middle. Each value is that of the cell or pixel that holds the place.
        """
        ...


@runtime_checkable
class PackedSource(SampleSource, Protocol):
    """A source whose images of 10 m are files of its own, smaller than their pixels."""

    def packed_patches(self, places: Places) -> list[bytes]:
        """The files of each of n places as bytes, empty where there are none."""
        ...

    def unpacked_patch(self, content: bytes, x: float, y: float, cells: int) -> Floats:
        """(4, 5 cells, 5 cells), the image of a place (x, y) as `sample` gives it."""
        ...


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
        side, first = region.unit_km * 1000 // CELL, next(iter(region.units()))
        key = (row // side) * (width // side) + col // side
        order = inside[np.argsort(key[inside], kind="stable")]
        for members in np.split(order, np.flatnonzero(np.diff(key[order])) + 1):
            if len(members):
                unit_row, unit_col = int(row[members[0]] // side), int(col[members[0]] // side)
                unit = region.unit(first.row + unit_row, first.col + unit_col)
                yield unit, members, row[members] - unit_row * side, col[members] - unit_col * side


def _shape(layer: Layer, places: int, cells: int) -> tuple[int, ...]:
    lead = tuple(len(layer.labels[dim]) for dim in layer.dims)
    return (places, *lead, PIXELS * cells, PIXELS * cells) if layer.resolution == "10m" else (places, *lead)
