"""The topographic wetness index: where water gathers, from the area that drains through a cell and how steep it leaves.

ln(a / tan slope) of Beven and Kirkby (1979), a the upslope area per metre of contour. Depressions are filled by Wang and
Liu (2006) and water follows the steepest of eight neighbours, both by pyflwdir.

A unit sees only `HALO` around itself, so an area is counted up to `LARGEST` and no further: catchments of that size lie
within the halo nearly always (3.3 km long by the law of Hack 1957), so neighbouring units agree at their seam, and
whether a river drains 5 or 500 km2 says nothing about the wetness of its bank. Not modelled: divergent flow on convex
slopes, which one direction a cell overestimates along single lines, and water that lakes hold back.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

HALO: Final = 100  # cells of 50 m: 5 km, half as much again as a catchment of LARGEST is long
LARGEST: Final = 5e6  # m2
GENTLEST: Final = 1e-3  # rise per metre: flats would be infinitely wet; below it elevation models hold noise
UNKNOWN: Final = -9999.0


def wetness(padded: NDArray[np.float32], slope: NDArray[np.float32], cell: float) -> NDArray[np.float32]:
    """ln(m) of each cell, NaN where elevation is unknown.

    `padded` is (rows + 2 HALO, columns + 2 HALO) metres, NaN where unknown; `slope` (rows, columns) is the tangent; `cell`
    is in metres. The area of a cell is its own and all that drains through it.
    """
    area = np.minimum(upslope_cells(padded)[HALO:-HALO, HALO:-HALO] * cell**2, LARGEST)
    index = np.log(area / cell / np.maximum(slope, GENTLEST))
    return np.where(np.isfinite(padded[HALO:-HALO, HALO:-HALO]), index, np.nan).astype(np.float32)


def upslope_cells(elevation: NDArray[np.float32]) -> NDArray[np.int64]:
    """Cells that drain through each cell, itself among them; 1 where elevation (metres) is NaN.

    Water leaves at the edge of what is known: of the array, or at a coast.
    """
    # Compiling takes seconds once, and only terrain needs it.
    from pyflwdir import FlwdirRaster, from_array
    from pyflwdir.dem import fill_depressions

    known = np.isfinite(elevation)
    if not known.any():
        return np.ones(elevation.shape, np.int64)
    _, directions = fill_depressions(np.where(known, elevation, np.float32(UNKNOWN)), nodata=UNKNOWN)
    flow: FlwdirRaster = from_array(directions, ftype="d8")
    return np.where(known, flow.upstream_area("cell"), 1).astype(np.int64)
