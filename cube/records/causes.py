"""Why a table gave nothing: where its places lie, and which column a missing one is likely to be."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from cube.grid import Region


def where_they_lie(longitude: pd.Series, latitude: pd.Series, region: Region) -> str:
    """Where the rows of a table lie, none of them in `region`. `longitude`, `latitude` (n,) in degrees, NaN: no number.

    Swapped and projected columns are refused before, by `cube.records.coordinates`.
    """
    x, y = longitude.to_numpy(float), latitude.to_numpy(float)
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = x[finite], y[finite]
    if not len(x):
        return "none has coordinates that are numbers"
    west, south, east, north = (float(f(v)) for f, v in ((np.min, x), (np.min, y), (np.max, x), (np.max, y)))
    corners = region.bounds
    lon, lat = region.grid.unproject(np.array([corners[0], corners[2]]), np.array([corners[1], corners[3]]))
    return (
        f"they lie at {west:.2f} to {east:.2f} E, {south:.2f} to {north:.2f} N, the region at about {lon[0]:.2f} to {lon[1]:.2f}"
        f" E, {lat[0]:.2f} to {lat[1]:.2f} N; check the key region"
    )


def near_column(column: str, present: Sequence[str]) -> str:
    """The column that differs from `column` by case, dots, blanks or underscores alone, as a question; empty without one."""
    for name in map(str, present):
        if _plain(name) == _plain(column):
            dots = " (R writes a dot for a blank)" if "." in name and "." not in column else ""
            return f"; did you mean '{name}'{dots}?"
    return ""


def _plain(name: str) -> str:
    return re.sub(r"[\s._-]+", "", name).casefold()
