"""Values of the layers that are computed from another one, on one unit: how far around it they look, and their memory.

Which layers there are is in `cube.layers.derived_layers`; the arithmetic is in `terrain`, `wetness` and `harmonics`.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cube.grid import RESOLUTIONS, transformer
from cube.layers import Layer, periods
from cube.layers.derived_layers import TERRAIN, derived_layer, radius_of
from cube.sources import terrain, wetness
from cube.sources.georeference import LONLAT
from cube.sources.harmonics import PIXEL_BLOCK, harmonic_fit
from cube.sources.raster_grid import RasterGrid, knots

ALGORITHM: Final = 3  # raised with every change of the code that changes values
NORTHWARD: Final = 1e-4  # degrees of latitude along which true north is looked for: 11 m
TURNED: Final = frozenset({"northness", "eastness", "heat_load"})  # what depends on where north is

Floats = NDArray[np.float32]


def halo(layer: Layer, names: Sequence[str]) -> int:
    """Cells around a unit that computing the layers `names` of `layer` needs; none for a series."""
    if layer.period or not names:
        return 0
    radii = [radius // RESOLUTIONS[layer.resolution] for name in names if (radius := radius_of(name)) is not None]
    return max(1, wetness.HALO if "wetness" in names else 1, *radii)


def memory(layer: Layer, names: Sequence[str], cells: int) -> int:
    """Bytes that computing the layers `names` takes on `cells`, halo included, at the busiest moment."""
    if not names:
        return 0
    if layer.period:
        steps = len(layer.labels[layer.dims[-1]])
        bands = math.prod(len(layer.labels[dim]) for dim in layer.dims) // steps
        # Values of all bands as they are read and side by side, what is found, then the normal matrices of some pixels.
        return cells * 4 * bands * (2 * steps + 20) + min(cells, PIXEL_BLOCK) * 8 * (3 * steps + 60)
    return cells * 4 * (28 if "wetness" in names else 24)


def compute(layer: Layer, names: Sequence[str], values: Floats, cells: RasterGrid) -> dict[str, NDArray[Any]]:
    """Stored values by name of the layers `names` of `layer`, over the grid of a unit.

    `values` are (bands x steps, rows, columns) of `layer` in its units: all of a series, or the one band of an elevation with
    `halo` cells on every side.
    """
    values_of = _of_series(layer, values) if layer.period else _of_terrain(layer, names, values[0], cells)
    derived_layers = {name: derived_layer(layer, name) for name in names}
    return {of_name.name: of_name.encode(values_of[name]) for name, of_name in derived_layers.items()}


def _of_series(layer: Layer, values: Floats) -> dict[str, Floats]:
    """(bands, rows, columns) of all that follows from a series; of one band (rows, columns), but for its phase."""
    steps = layer.labels[layer.dims[-1]]
    began = 0.0
    if periods.are_periods(steps):
        year, kind, number = periods.parts(steps[0])
        # Months are twelfths of a year; a first quarter begins in December.
        days = (periods.first_day(steps[0]) - datetime.date(year, 1, 1)).days
        began = (number - 1) / 12 if kind == "month" else days / 365.25
    bands = values.reshape(-1, len(steps), *values.shape[1:])
    fits = [harmonic_fit(band, layer.period, began) for band in bands]
    statistics = {name: np.concatenate([np.atleast_3d(fit[name].T).T for fit in fits]) for name in fits[0]}
    return {name: parts[0] if len(parts) == 1 else parts for name, parts in statistics.items()}


def _of_terrain(layer: Layer, names: Sequence[str], elevation: Floats, cells: RasterGrid) -> dict[str, Floats]:
    wide, cell = halo(layer, names), RESOLUTIONS[layer.resolution]
    inner = _within(elevation, wide)
    if not np.isfinite(inner).any():
        return dict.fromkeys(names, inner)
    out: dict[str, Floats] = {}
    for name in names:
        radius = radius_of(name)
        if radius is not None:
            out[name] = terrain.topographic_position(_within(elevation, wide - radius // cell), radius / cell)
    if not set(names) & set(TERRAIN):
        return out
    around = terrain.neighbours(_within(elevation, wide - 1))
    east, north = terrain.gradient(around, cell)
    steep = np.hypot(east, north)
    out["slope"] = np.degrees(np.arctan(steep))
    if "wetness" in names:
        out["wetness"] = wetness.wetness(_within(elevation, wide - wetness.HALO), steep, cell)
    if {"curvature", "profile_curvature", "plan_curvature"} & set(names):
        parts = terrain.curvatures(around, cell)
        out |= dict(zip(("curvature", "profile_curvature", "plan_curvature"), parts, strict=True))
    if TURNED & set(names):
        sine, cosine, latitude = meridians(cells)
        north, east = north * cosine + east * sine, east * cosine - north * sine
        norm = np.sqrt(1 + steep**2)
        out |= {"northness": -north / norm, "eastness": -east / norm}
        if "heat_load" in names:
            out["heat_load"] = terrain.heat_load(east, north, latitude)
    return out


def _within(elevation: Floats, rim: int) -> Floats:
    """A window that is `rim` cells smaller on every side."""
    return elevation[rim : elevation.shape[0] - rim, rim : elevation.shape[1] - rim]


def meridians(cells: RasterGrid) -> tuple[Floats, Floats, Floats]:
    """(sine, cosine) of the angle from the grid's north clockwise to true north, and latitude (degrees), (rows, columns).

    Projected at whole kilometres and linear in between. In Portugal and Finland the two norths are up to 13 degrees apart.
    """
    t, (rows, cols) = cells.transform, cells.shape
    knots_y, down = knots(np.asarray(t.f + (np.arange(rows) + 0.5) * t.e, np.float64))
    knots_x, across = knots(np.asarray(t.c + (np.arange(cols) + 0.5) * t.a, np.float64))
    x, y = np.meshgrid(knots_x, knots_y)
    lon, lat = transformer(cells.crs, LONLAT).transform(x, y)
    further, up = transformer(LONLAT, cells.crs).transform(lon, lat + NORTHWARD)
    length = np.hypot(further - x, up - y)
    sine, cosine, latitude = (
        (down @ part @ across.T).astype(np.float32) for part in ((further - x) / length, (up - y) / length, lat)
    )
    return sine, cosine, latitude
