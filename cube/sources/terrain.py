"""What follows from elevation cell by cell or from a window around each cell: slope, aspect, heat load, curvature, position.

Wetness, which follows from a whole catchment, is in `cube.sources.wetness`. A value depends on the elevations around its cell
and on nothing else, so that units agree wherever they are cut.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

STEPS: Final = 256  # of a metre: sums of whole numbers do not depend on where a window begins
OPPOSITE: Final = ((-1, 0), (0, -1), (-1, -1), (-1, 1))  # half of the neighbours, (rows down, columns across)


def neighbours(elevation: Floats) -> dict[tuple[int, int], Floats]:
    """The cells, as (0, 0), and their eight neighbours by (rows down, columns across), each (rows, columns).

    `elevation` is (rows + 2, columns + 2) metres, NaN where unknown. An unknown neighbour continues the line from the opposite
    one through the cell. Where that is unknown, too, it is level with the cell, or at a corner on the plane through the cell and
    the neighbours on either side: an inclined plane is one up to its edge.
    """
    rows, cols = elevation.shape[0] - 2, elevation.shape[1] - 2
    out = {(dy, dx): elevation[1 + dy : 1 + dy + rows, 1 + dx : 1 + dx + cols] for dy in (-1, 0, 1) for dx in (-1, 0, 1)}
    cell = out[0, 0]
    for dy, dx in OPPOSITE:
        forward, backward = out[dy, dx], out[-dy, -dx]
        level = out[dy, 0] + out[0, dx] - cell if dy and dx else cell
        out[dy, dx] = np.where(np.isnan(forward), np.where(np.isnan(backward), level, 2 * cell - backward), forward)
        out[-dy, -dx] = np.where(np.isnan(backward), np.where(np.isnan(forward), 2 * cell - level, 2 * cell - forward), backward)
    return out


def gradient(around: Mapping[tuple[int, int], Floats], cell: float) -> tuple[Floats, Floats]:
    """(dz/dx along the columns, dz/dy up the rows), dimensionless, by the 3 x 3 stencil of Horn (1981).

    `around` is what `neighbours` gives, `cell` the size of a cell in metres.
    """
    z = around
    east = (z[-1, 1] + 2 * z[0, 1] + z[1, 1] - z[-1, -1] - 2 * z[0, -1] - z[1, -1]) / (8 * cell)
    north = (z[-1, -1] + 2 * z[-1, 0] + z[-1, 1] - z[1, -1] - 2 * z[1, 0] - z[1, 1]) / (8 * cell)
    return east, north


def heat_load(east: Floats, north: Floats, latitude: Floats) -> Floats:
    """Heat load index, about 0.1 to 1.1, by equation 2 of McCune and Keon (2002).

    `east` and `north` are dz/dx and dz/dy towards true east and north, `latitude` is in degrees. Aspect is folded about the line
    from north-east to south-west (north-west to south-east south of the equator), the warmest slopes face the afternoon sun.
    The equation was made for slopes and latitudes of up to 60 degrees; beyond, it is extrapolated.
    """
    slope, place = np.arctan(np.hypot(east, north)), np.radians(np.abs(latitude))
    aspect = np.degrees(np.arctan2(-east, -north * np.where(latitude < 0, -1, 1)))
    folded_aspect = np.radians(np.abs(180 - np.abs(aspect % 360 - 225)))
    across, along = np.sin(slope), np.sin(place)
    log = (
        -1.236
        + 1.350 * np.cos(place) * np.cos(slope)
        - 1.376 * np.cos(folded_aspect) * across * along
        - 0.331 * along * across
        + 0.375 * np.sin(folded_aspect) * across
    )
    return np.exp(log).astype(np.float32)


def curvatures(around: Mapping[tuple[int, int], Floats], cell: float) -> tuple[Floats, Floats, Floats]:
    """(whole, along the slope, across the slope) curvature in 1/m by Zevenbergen and Thorne (1987).

    All three are positive where the ground is convex, and the first is the sum of the others; on level ground, which has no
    direction, the second and third are 0. `around` is what `neighbours` gives, `cell` the size of a cell in metres.
    """
    z, area = around, cell * cell
    d = ((z[0, -1] + z[0, 1]) / 2.0 - z[0, 0]) / area
    e = ((z[-1, 0] + z[1, 0]) / 2.0 - z[0, 0]) / area
    f = (-z[-1, -1] + z[-1, 1] + z[1, -1] - z[1, 1]) / (4 * area)
    g, h = (z[0, 1] - z[0, -1]) / (2 * cell), (z[-1, 0] - z[1, 0]) / (2 * cell)
    steep = g * g + h * h
    total, along = -2.0 * (d + e), -2.0 * (d * g * g + e * h * h + f * g * h)
    along = np.divide(along, steep, out=np.zeros_like(steep), where=steep != 0)
    return np.asarray(total, np.float32), along, np.where(steep == 0, steep, total - along)


def topographic_position(elevation: Floats, radius: float) -> Floats:
    """(rows, columns) metres: elevation minus the mean of the known cells within `radius` cells (Guisan et al. 1999).

    `elevation` is (rows + 2 n, columns + 2 n) metres, NaN where unknown, n being `radius` without its fraction.
    """
    wide = int(radius)
    rows, cols = elevation.shape[0] - 2 * wide, elevation.shape[1] - 2 * wide
    valid = np.isfinite(elevation)
    steps = np.rint(np.where(valid, elevation, 0) * STEPS).astype(np.int64)
    sums, counts = (np.pad(np.cumsum(part, axis=1, dtype=np.int64), ((0, 0), (1, 0))) for part in (steps, valid))
    total, count = np.zeros((2, rows, cols), np.int64)
    for down in range(-wide, wide + 1):
        half = int(math.sqrt(radius**2 - down**2))
        row, first, end = wide + down, wide - half, wide + half + 1
        for target, part in ((total, sums), (count, counts)):
            target += part[row : row + rows, end : end + cols]
            target -= part[row : row + rows, first : first + cols]
    inner = elevation[wide : wide + rows, wide : wide + cols]
    return np.asarray(inner - total / (STEPS * np.maximum(count, 1)), np.float32)
