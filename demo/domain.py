"""Where the landscape lies: a region of whole kilometres and the margin around it, as 50 m and 10 m arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from cube.grid import CELL, FINE


@dataclass(frozen=True, slots=True)
class Domain:
    """Region plus margin in EPSG:3035; arrays are (y, x), rows going south."""

    west_km: int
    south_km: int
    size_km: int
    margin_km: int

    @property
    def west(self) -> int:
        """Left edge of the domain (margin included), metres."""
        return (self.west_km - self.margin_km) * 1000

    @property
    def north(self) -> int:
        """Upper edge of the domain (margin included), metres."""
        return (self.south_km + self.size_km + self.margin_km) * 1000

    @property
    def side_km(self) -> int:
        """Side of the domain, km."""
        return self.size_km + 2 * self.margin_km

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of 50 m cells."""
        return (self.side_km * 1000 // CELL, self.side_km * 1000 // CELL)

    @property
    def fine_shape(self) -> tuple[int, int]:
        """Rows and columns of 10 m pixels."""
        return (self.side_km * 1000 // FINE, self.side_km * 1000 // FINE)

    @property
    def transform(self) -> Affine:
        """50 m pixel (col, row) to (x, y) metres, upper left corners."""
        return Affine(CELL, 0, self.west, 0, -CELL, self.north)

    @property
    def region(self) -> tuple[slice, slice]:
        """(rows, columns) of the region itself, without its margin, in 50 m arrays."""
        skip, keep = self.margin_km * 1000 // CELL, self.size_km * 1000 // CELL
        return (slice(skip, skip + keep), slice(skip, skip + keep))

    def kilometres(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(y, x): km south and east of the domain's upper left corner, at 50 m cell centres."""
        axis = ((np.arange(self.shape[0]) + 0.5) * CELL / 1000).astype(np.float32)
        rows, cols = np.meshgrid(axis, axis, indexing="ij")
        return rows, cols
