"""A region in longitude and latitude (degrees, WGS 84) as documents tell it: six decimals, a tenth of a metre."""

from __future__ import annotations

import itertools
from typing import Final

import numpy as np

from cube.grid import Bounds, Region

_PIECES: Final = 20  # of each edge


def box(region: Region) -> Bounds:
    """(west, south, east, north) of the smallest box around the region."""
    west, south, east, north = region.degrees
    return round(west, 6), round(south, 6), round(east, 6), round(north, 6)


def outline(region: Region) -> list[list[float]]:
    """The edge of the region as a closed ring of [longitude, latitude]: straight on the grid, and so curved there."""
    west, south, east, north = region.bounds
    corners = np.array([(east, south), (east, north), (west, north), (west, south), (east, south)], float)
    sides = [np.linspace(one, other, _PIECES, endpoint=False) for one, other in itertools.pairwise(corners)]
    lon, lat = region.grid.unproject(*np.concatenate([*sides, corners[:1]]).T)
    return [[round(float(x), 6), round(float(y), 6)] for x, y in zip(lon, lat, strict=True)]
