"""What follows from elevation: slope, the two sides of aspect, and height above the 1 km mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cube.grid import CELL, COARSE
from cube.inputs import input_layer
from cube.layers import Layer


def gradient(elevation: NDArray[np.float32], cell: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(dz/dx to the east, dz/dy to the north), dimensionless, by the 3 x 3 stencil of Horn (1981).

    `elevation` is (rows + 2, columns + 2) metres with one cell of halo, `cell` its size in metres.
    """
    z = elevation
    east = (z[:-2, 2:] + 2 * z[1:-1, 2:] + z[2:, 2:] - z[:-2, :-2] - 2 * z[1:-1, :-2] - z[2:, :-2]) / (8 * cell)
    north = (z[:-2, :-2] + 2 * z[:-2, 1:-1] + z[:-2, 2:] - z[2:, :-2] - 2 * z[2:, 1:-1] - z[2:, 2:]) / (8 * cell)
    return east, north


def derive(layer: Layer, padded: NDArray[np.float32], cell: float, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Stored values of elevation and of the layers `names` that follow from it.

    `padded` is (rows + 2, columns + 2) metres, NaN where unknown; rows and columns cover whole square kilometres.
    Slope is in degrees; northness and eastness are the north and east components of the unit normal of the
    surface, positive where the slope looks north or east.
    """
    elevation = padded[1:-1, 1:-1]
    # At the outer edge of a source the halo is unknown: the nearest known row stands in for it.
    filled = padded.copy()
    for edge, inner in (((0, ...), (1, ...)), ((-1, ...), (-2, ...)), ((..., 0), (..., 1)), ((..., -1), (..., -2))):
        filled[edge] = np.where(np.isnan(filled[edge]), filled[inner], filled[edge])
    east, north = gradient(filled, cell)
    norm = np.sqrt(1 + east**2 + north**2)
    side = COARSE // CELL
    rows, cols = elevation.shape
    blocks = elevation.reshape(rows // side, side, cols // side, side)
    with np.errstate(invalid="ignore"):
        known = np.isfinite(blocks)
        mean = np.where(known, blocks, 0).sum((1, 3)) / np.maximum(known.sum((1, 3)), 1)
    values = {
        "slope": np.degrees(np.arctan(np.hypot(east, north))),
        "northness": -north / norm,
        "eastness": -east / norm,
        "relief": elevation - mean.repeat(side, 0).repeat(side, 1),
    }
    return {layer.name: layer.encode(elevation)} | {n: input_layer(n).encode(values[n]) for n in names}
