"""What follows from elevation cell by cell: slope, its north and east components, and height above the 1 km mean.

Wetness, which follows from a whole catchment, is in `cube.sources.wetness`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cube.grid import CELL, COARSE
from cube.layers import Layer
from cube.layers.inputs import input_layer
from cube.sources import wetness


def halo(names: Sequence[str]) -> int:
    """Cells around a unit that the layers `names` need."""
    return wetness.HALO if "wetness" in names else 1


def memory(names: Sequence[str], cells: int) -> int:
    """Memory that deriving the layers `names` takes on `cells`, halo included: arrays of float32 in the busiest moment."""
    return cells * 4 * (28 if "wetness" in names else 16 if names else 0)


def gradient(elevation: NDArray[np.float32], cell: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(dz/dx to the east, dz/dy to the north), dimensionless, by the 3 x 3 stencil of Horn (1981).

    `elevation` is (rows + 2, columns + 2) metres with one cell of halo, `cell` its size in metres.
    """
    z = elevation
    east = (z[:-2, 2:] + 2 * z[1:-1, 2:] + z[2:, 2:] - z[:-2, :-2] - 2 * z[1:-1, :-2] - z[2:, :-2]) / (8 * cell)
    north = (z[:-2, :-2] + 2 * z[:-2, 1:-1] + z[:-2, 2:] - z[2:, :-2] - 2 * z[2:, 1:-1] - z[2:, 2:]) / (8 * cell)
    return east, north


def _relief(elevation: NDArray[np.float32]) -> NDArray[np.float32]:
    side = COARSE // CELL
    rows, cols = elevation.shape
    blocks = elevation.reshape(rows // side, side, cols // side, side)
    with np.errstate(invalid="ignore"):
        known = np.isfinite(blocks)
        mean = np.where(known, blocks, 0).sum((1, 3)) / np.maximum(known.sum((1, 3)), 1)
    return np.asarray(elevation - mean.repeat(side, 0).repeat(side, 1), np.float32)


def derive(layer: Layer, padded: NDArray[np.float32], cell: float, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Stored values of elevation and of the layers `names` that follow from it.

    `padded` is metres, NaN where unknown, with `halo(names)` cells on every side; rows and columns inside of it cover
    whole square kilometres. Slope is in degrees; northness and eastness are the north and east components
    of the unit normal of the surface, positive where the slope looks north or east.
    """
    wide = halo(names)
    near = padded[wide - 1 : padded.shape[0] - wide + 1, wide - 1 : padded.shape[1] - wide + 1]
    elevation = near[1:-1, 1:-1]
    # At the outer edge of a source the halo is unknown: the nearest known row stands in for it.
    filled = near.copy()
    for edge, inner in (((0, ...), (1, ...)), ((-1, ...), (-2, ...)), ((..., 0), (..., 1)), ((..., -1), (..., -2))):
        filled[edge] = np.where(np.isnan(filled[edge]), filled[inner], filled[edge])
    east, north = gradient(filled, cell)
    norm = np.sqrt(1 + east**2 + north**2)
    values = {
        "slope": np.degrees(np.arctan(np.hypot(east, north))),
        "northness": -north / norm,
        "eastness": -east / norm,
        "relief": _relief(elevation),
    }
    if "wetness" in names:
        values["wetness"] = wetness.wetness(padded, np.hypot(east, north), cell)
    return {layer.name: layer.encode(elevation)} | {n: input_layer(n).encode(values[n]) for n in names}
