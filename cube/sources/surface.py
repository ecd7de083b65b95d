"""What may carry plants: land, permanent water, sealed ground; and nothing outside the region.

Land cover says which, by the mapping of its published row (`cube.layers.legends`); a coastline says where the sea begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cube.config import Config, Source
from cube.grid import CELL, Region, Unit
from cube.layers import Layer, legends
from cube.layers.inputs import INPUTS
from cube.sources.coastline import open_coastline
from cube.sources.coverage import inside
from cube.sources.rasters import open_rasters
from cube.sources.reader import Reader
from cube.storage.identity import canonical, file_identity


@dataclass(frozen=True)
class SurfaceReader:
    """The surface of a raster (plain land where there is none), the sea beyond the coastline, cut to the region.

    Land that the raster does not know stays without data, unless a coastline vouches for it.
    """

    ALGORITHM: ClassVar[int] = 1

    inner: Reader | None
    coastline: str | None = None  # its path: polygons are read by each worker, not sent with each unit
    where: str = ""
    own_source: Source | None = None

    @property
    def source(self) -> Source | None:
        """That of the raster behind it, or its own."""
        return self.inner.source if self.inner else self.own_source

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layer `surface`."""
        return (INPUTS["surface"],)

    def depends_on(self) -> Mapping[str, Any]:
        """What the raster depends on (None: all is land), and the coastline."""
        raster = {"algorithm": self.inner.ALGORITHM, **self.inner.depends_on()} if self.inner else None
        return {"raster": raster, "coastline": file_identity(self.coastline) if self.coastline else None}

    def memory(self, unit: Unit) -> int:
        """That of the raster, and some masks."""
        return (self.inner.memory(unit) if self.inner else 0) + 8 * unit.cells**2

    def read(self, region: Region, unit: Unit) -> Mapping[str, NDArray[Any]]:
        """Units reach further than the region, predictions do not: outside of it there is no surface."""
        layer = INPUTS["surface"]
        inner = self.inner.read(region, unit) if self.inner else {}
        values = np.array(inner["surface"]) if inner else np.full((unit.cells, unit.cells), legends.LAND, np.uint8)
        if self.coastline:
            land = open_coastline(self.coastline, self.where, canonical(file_identity(self.coastline)), region.grid).land(unit)
            values[land & (values == layer.fill)] = legends.LAND
            values[~land] = legends.WATER
        values[~inside(region, unit, CELL)] = layer.fill
        return {"surface": values}


def open_surface(config: Config, source: Source, where: str, region: Region) -> SurfaceReader:
    """Check the files of a surface; raises `ConfigError` or `SourceError` for the first that does not fit."""
    inner = open_rasters(config, source, where, region) if source.raster is not None else None
    if source.coastline is None:
        return SurfaceReader(inner)
    path, key = config.source_path(source.coastline), f"{where}.coastline"
    open_coastline(path, key, canonical(file_identity(path)), region.grid)
    return SurfaceReader(inner, path, key, source)
