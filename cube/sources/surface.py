"""What may carry plants: land, permanent water, sealed ground; and nothing outside the region.

Land cover says which, by the mapping of its published row (`cube.legends`); a coastline says where the sea begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cube import legends
from cube.config import Config, Source
from cube.grid import CELL, Region, Unit
from cube.inputs import INPUTS
from cube.layers import Layer
from cube.sources.coastline import open_coastline
from cube.sources.rasters import open_rasters
from cube.sources.reader import Reader, file_states


@dataclass(frozen=True)
class SurfaceReader:
    """The surface of a raster (plain land where there is none), the sea beyond the coastline, cut to the region.

    Land that the raster does not know stays without data, unless a coastline vouches for it.
    """

    inner: Reader | None
    coastline: str | None = None  # its path: polygons are read by each worker, not sent with each unit
    where: str = ""
    of: Source | None = None

    @property
    def source(self) -> Source | None:
        """That of the raster behind it, or its own."""
        return self.inner.source if self.inner else self.of

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layer `surface`."""
        return (INPUTS["surface"],)

    def depends_on(self) -> tuple[Any, ...]:
        """What the raster and the coastline depend on."""
        behind = self.inner.depends_on() if self.inner else ("all land",)
        return (*behind, self.coastline, file_states([self.coastline])) if self.coastline else behind

    def read(self, region: Region, unit: Unit) -> dict[str, NDArray[Any]]:
        """Units reach further than the region, predictions do not: outside of it there is no surface."""
        layer = INPUTS["surface"]
        values = np.full((unit.cells, unit.cells), legends.LAND, np.uint8)
        if self.inner:
            values = np.array(self.inner.read(region, unit)["surface"])
        if self.coastline:
            land = open_coastline(self.coastline, self.where, repr(file_states([self.coastline]))).land(unit)
            values[land & (values == layer.fill)] = legends.LAND
            values[~land] = legends.WATER
        values[~inside(region, unit)] = layer.fill
        return {"surface": values}


def open_surface(config: Config, source: Source, where: str, region: Region) -> SurfaceReader:
    """Check the files of a surface; raises `ConfigError` or `SourceError` for the first that does not fit."""
    inner = open_rasters(config, source, where, region) if source.raster is not None else None
    if source.coastline is None:
        return SurfaceReader(inner)
    path, key = config.source_path(source.coastline), f"{where}.coastline"
    open_coastline(path, key, repr(file_states([path])))
    return SurfaceReader(inner, path, key, source)


def inside(region: Region, unit: Unit) -> NDArray[np.bool_]:
    """(rows, columns) of a unit's 50 m cells: which of them lie in the region itself."""
    w, s, e, n = region.bounds
    y = unit.north - (np.arange(unit.cells) + 0.5) * CELL
    x = unit.west + (np.arange(unit.cells) + 0.5) * CELL
    return np.asarray(((y > s) & (y < n))[:, None] & ((x > w) & (x < e))[None, :])
