"""What may carry plants: land, permanent water, sealed ground; and nothing outside the region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cube.config import Source
from cube.grid import CELL, Region, Unit
from cube.inputs import INPUTS
from cube.layers import Layer
from cube.sources.reader import Reader


@dataclass(frozen=True)
class SurfaceReader:
    """The surface of a source, or plain land where no source gives one, cut to the region."""

    inner: Reader | None

    @property
    def source(self) -> Source | None:
        """That of the source behind it."""
        return self.inner.source if self.inner else None

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layer `surface`."""
        return (INPUTS["surface"],)

    def depends_on(self) -> tuple[Any, ...]:
        """What the source behind it depends on."""
        return self.inner.depends_on() if self.inner else ("all land",)

    def read(self, region: Region, unit: Unit) -> dict[str, NDArray[Any]]:
        """Units reach further than the region, predictions do not: outside of it there is no surface."""
        layer = INPUTS["surface"]
        values = np.zeros((unit.cells, unit.cells), np.uint8)
        if self.inner:
            values = np.array(self.inner.read(region, unit)["surface"])
        values[~inside(region, unit)] = layer.fill
        return {"surface": values}


def inside(region: Region, unit: Unit) -> NDArray[np.bool_]:
    """(rows, columns) of a unit's 50 m cells: which of them lie in the region itself."""
    w, s, e, n = region.bounds
    y = unit.north - (np.arange(unit.cells) + 0.5) * CELL
    x = unit.west + (np.arange(unit.cells) + 0.5) * CELL
    return np.asarray(((y > s) & (y < n))[:, None] & ((x > w) & (x < e))[None, :])
