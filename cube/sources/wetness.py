"""The topographic wetness index: where water gathers, from the area that drains through a cell and how steep it leaves.

ln(a / tan slope) of Beven and Kirkby (1979), a the upslope area per metre of contour. Water divides among all lower
neighbours by slope to the power 1.1 (Freeman 1991), which a single direction a cell cannot do without stripes, and the
small pits of an elevation model are filled to their brim, with a faint fall towards it (Planchon and Darboux 2001).

Every step looks one cell further, and their number is fixed: a value depends on nothing beyond `HALO`, so units need not
know each other and agree to the last bit where they overlap. The limits that follow: area is counted along `REACH` cells
of flow and no further (a river of 5 or 500 km2 says the same of its bank), and a hollow wider than `BRIM`
cells stays one and collects what runs into it. (The general solvers fill and route a whole raster at once: a cell's value then
depends on where the raster ends, and pyflwdir's directions follow the lowest neighbour, not the steepest.)
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

REACH: Final = 80  # cells of flow: 4 km, as long as catchments of 7 km2 are (Hack 1957)
BRIM: Final = 10  # cells along which a way out of a pit is looked for: 500 m
FILLING: Final = 2 * BRIM  # steps of lowering the water again: the way out may wind
HALO: Final = REACH + BRIM + FILLING + BRIM + 2  # cells; one for the slopes between cells, one for that of the cell itself
FALL: Final = np.float32(1e-3)  # m a cell across a filled pit
SPREAD: Final = 1.1  # exponent of Freeman
GENTLEST: Final = 1e-3  # rise per metre: flats would be infinitely wet; below it elevation models hold noise
SEA: Final = np.float32(-20_000.0)  # m: what is unknown lies below everything and takes all water

# The eight neighbours: rows down, columns across.
AROUND: Final = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx)

Floats = NDArray[np.float32]


def wetness(wide_elevation: Floats, slope: Floats, cell: float) -> Floats:
    """ln(m) of each cell, NaN where elevation is unknown.

    `wide_elevation` is (rows + 2 HALO, columns + 2 HALO) metres, NaN where unknown; `slope` (rows, columns) is the tangent;
    `cell` is in metres. The area of a cell is its own and all that drains through it.
    """
    inner = (slice(HALO, -HALO), slice(HALO, -HALO))
    index = np.log(upslope_cells(wide_elevation)[inner] * np.float32(cell) / np.maximum(slope, np.float32(GENTLEST)))
    return np.where(np.isfinite(wide_elevation[inner]), index, np.float32(np.nan)).astype(np.float32)


def upslope_cells(elevation: Floats) -> Floats:
    """Cells that drain through each cell within REACH steps, itself and parts of others among them.

    `elevation` is in metres, NaN where unknown: the sea, or beyond the source, where water leaves.
    """
    valid = np.isfinite(elevation)
    shares = _shares(np.where(valid, fill_pits(elevation), SEA), valid)
    area = np.ones(elevation.shape, np.float32)
    for _ in range(REACH):
        cells_gathered = np.ones_like(area)
        for (dy, dx), share in zip(AROUND, shares, strict=True):
            into, source = _pair(area.shape, dy, dx)
            cells_gathered[into] += share[source] * area[source]
        area = cells_gathered
    return area


def fill_pits(elevation: Floats) -> Floats:
    """Elevation (metres) with pits narrower than BRIM cells filled; NaN stays, and is lower than everything around it.

    Water first stands as high as on the best of eight straight ways out, BRIM cells long: at the ground itself on every
    slope and in every valley that runs straight, never below the brim in a pit. Then it falls, step by step, wherever
    a neighbour's water stands lower, and flats are tilted towards their outlet.
    """
    ground = np.where(np.isfinite(elevation), elevation, SEA).astype(np.float32)
    water = np.full_like(ground, np.inf)
    for dy, dx in AROUND:
        highest = ground.copy()
        for steps in range(1, BRIM + 1):
            neighbours, at = _pair(ground.shape, steps * dy, steps * dx)
            np.maximum(highest[at], ground[neighbours], out=highest[at])
        np.minimum(water, highest, out=water)
    for _ in range(FILLING):
        water = np.maximum(ground, np.minimum(water, _lowest_around(water)))
    for _ in range(BRIM):  # what has no lower neighbour is lifted: a flat tilts towards its outlet, ring by ring
        lowest = _lowest_around(water)
        water = np.where((water <= lowest) & (ground != SEA), lowest + FALL, water)
    return np.where(np.isfinite(elevation), water, np.float32(np.nan))


def _lowest_around(values: Floats) -> Floats:
    """The lowest of the eight neighbours of each cell."""
    lowest = np.full_like(values, np.inf)
    for dy, dx in AROUND:
        neighbours, at = _pair(values.shape, dy, dx)
        np.minimum(lowest[at], values[neighbours], out=lowest[at])
    return lowest


def _shares(surface: Floats, valid: NDArray[np.bool_]) -> list[Floats]:
    """The part of its water that each cell gives to each of `AROUND`; 0 where no neighbour lies lower, and at sea."""
    parts = []
    for dy, dx in AROUND:
        neighbours, at = _pair(surface.shape, dy, dx)
        drop = np.zeros_like(surface)
        drop[at] = np.maximum(surface[at] - surface[neighbours], 0) / np.float32(np.hypot(dy, dx))
        parts.append(drop ** np.float32(SPREAD))
    total = np.sum(parts, axis=0)
    return [np.divide(part, total, out=np.zeros_like(part), where=valid & (total > 0)) for part in parts]


def _pair(shape: tuple[int, ...], dy: int, dx: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Windows of one array over another, the first moved by (dy, dx) from the second: to a neighbour, from a cell."""
    rows, cols = shape
    first = (slice(max(dy, 0), rows + min(dy, 0)), slice(max(dx, 0), cols + min(dx, 0)))
    second = (slice(max(-dy, 0), rows + min(-dy, 0)), slice(max(-dx, 0), cols + min(-dx, 0)))
    return first, second
