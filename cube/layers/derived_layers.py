"""Layers that are computed from another one: which there are, of what they are made, and what each means.

How they are computed is in `cube.sources.terrain`, `cube.sources.wetness` and `cube.sources.harmonics`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from cube.grid import CELL, RESOLUTIONS
from cube.layers.inputs import INPUTS
from cube.layers.layer import Band, Layer

POSITION: Final = re.compile(r"topographic_position_([1-9]\d{1,3})m")
FARTHEST: Final = 5_000  # m, the largest radius of a topographic position


def _curvature(name: str, long_name: str) -> Layer:
    return Layer(
        name,
        "inputs/50m",
        "int16",
        -32768,
        f"{long_name}, positive where convex",
        "m-1",
        scale=1e-5,
        palette="vik",
        references="Zevenbergen and Thorne 1987, doi:10.1002/esp.3290120107",
    )


TERRAIN: Final[Mapping[str, Layer]] = {
    **{name: INPUTS[name] for name in ("slope", "northness", "eastness", "wetness")},
    "heat_load": Layer(
        "heat_load",
        "inputs/50m",
        "uint16",
        65535,
        "Heat load index, 0 cold to 1.1 warm",
        "1",
        scale=1e-4,
        palette="batlow",
        references="McCune and Keon 2002, doi:10.1111/j.1654-1103.2002.tb02087.x",
    ),
    "curvature": _curvature("curvature", "Curvature of the terrain"),
    "profile_curvature": _curvature("profile_curvature", "Curvature of the terrain along the slope"),
    "plan_curvature": _curvature("plan_curvature", "Curvature of the terrain across the slope"),
}
SERIES: Final = {  # what is derived of a series, and how its title says so
    "mean": "mean",
    "amplitude": "amplitude of the year",
    "phase": "time of the yearly maximum",
    "trend": "linear trend",
}
NAMES: Final = (
    f"{', '.join(TERRAIN)}, topographic_position_500m (or another radius) of an elevation; {', '.join(SERIES)} of a series"
)


def radius_of(name: str) -> int | None:
    """Radius in metres of a topographic position; None of another layer."""
    match = POSITION.fullmatch(name)
    return int(match[1]) if match else None


def refuse_unknown(name: str) -> None:
    """Raise `ValueError` for a name that is no layer which can be derived; without its place, which the caller knows."""
    if name == "relief":
        raise ValueError("'relief' is now a topographic position: write topographic_position_500m")
    radius = radius_of(name)
    if radius is not None and radius > FARTHEST:
        raise ValueError(f"'{name}' has a radius of {radius} m; give one of at most {FARTHEST} m")
    if radius is None and name not in TERRAIN and name not in SERIES:
        raise ValueError(f"'{name}' cannot be derived; known are {NAMES}")


def derived_layer(base: Layer, name: str) -> Layer:
    """The layer `name` of the layer `base`: by this name of the preset elevation, as `<base>_<name>` of any other.

    Raises `ValueError`, without the place, where `base` is not what it is computed from.
    """
    layer = _of_series(base, name) if name in SERIES else _of_terrain(base, name)
    return layer if base.name == "elevation" else replace(layer, name=f"{base.name}_{name}")


def _of_terrain(base: Layer, name: str) -> Layer:
    if base.period or base.dims or base.kind != "continuous" or base.units != "m":
        of_bands = f"of {len(base.bands) or 1} bands in '{base.units}'"
        kind = "a series" if base.period else "of classes" if base.kind == "class" else of_bands
        raise ValueError(f"'{name}' is derived from one band of elevation in metres, and {base.name} is {kind}; leave it out")
    cell = RESOLUTIONS[base.resolution]
    radius = radius_of(name)
    if radius is None:
        if name == "wetness" and cell != CELL:
            raise ValueError(f"'wetness' is computed on cells of {CELL} m, and {base.name} has {cell} m; leave it out")
        return replace(TERRAIN[name], group=base.group)
    if radius < cell:
        raise ValueError(f"'{name}' has a radius of {radius} m, less than the cell of {base.name}, {cell} m; give a larger one")
    title = f"Elevation minus its mean within {radius:,} m"
    return Layer(
        name,
        base.group,
        "int16",
        -32768,
        title,
        "m",
        scale=0.25,
        valid_range=(-2000.0, 2000.0),
        palette="vik",
        references="Guisan, Weiss and Weiss 1999, doi:10.1023/A:1009841519580",
    )


def _of_series(base: Layer, name: str) -> Layer:
    if not base.period:
        raise ValueError(f"'{name}' is derived from a series, and {base.name} is none; leave it out")
    years = len(base.labels[base.dims[-1]]) / base.period
    if name in ("amplitude", "phase") and base.period < 3:
        raise ValueError(f"'{name}' needs three steps a year or more, and {base.name} has {base.period}; leave it out")
    if name == "trend" and years < 2:
        raise ValueError(f"'trend' needs two years or more, and {base.name} has {years:g}; leave it out")
    title, axis = SERIES[name], f"{base.name}_{name}_band"
    of_series = [base.band(label) for label in base.labels[base.dims[0]]] if len(base.dims) > 1 else [Band(base.name, "")]
    alone = len(of_series) == 1
    bands = []
    for band in of_series:
        text = f"{base.long_name if alone or not band.long_name else band.long_name}, {title}"
        # A difference of temperatures is in K: a conversion would shift degrees Celsius.
        step = {"degC": "K", "degree_Celsius": "K", "celsius": "K"}.get(band.units or base.units, band.units or base.units)
        if name == "phase":
            bands += [
                Band("cosine" if alone else f"{band.name}_cosine", f"{text}: cosine of its angle"),
                Band("sine" if alone else f"{band.name}_sine", f"{text}: sine of its angle"),
            ]
        elif name == "mean":
            bands.append(replace(band, long_name=text))
        else:
            trend = "year-1" if step in ("", "1") else f"{step} year-1"
            bands.append(Band(band.name, text, trend if name == "trend" else step))
    units = {band.units for band in bands}
    has_several_bands = len(bands) > 1
    return Layer(
        name,
        base.group,
        "float32",
        math.nan,
        f"{base.long_name}, {title}",
        units.pop() if len(units) == 1 else "",
        (axis,) if has_several_bands else (),
        {axis: tuple(band.name for band in bands)} if has_several_bands else {},
        bands=tuple(bands) if has_several_bands else (),
        palette="vik" if name == "trend" else "viridis",
        references="Verbesselt et al. 2010, doi:10.1016/j.rse.2009.08.014",
    )
