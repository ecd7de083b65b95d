"""The inputs of a cube, as the table `inputs.yaml` beside this module describes them: the only place where these are written.

Ranges outside of which a pixel is a fill value, another unit or another band are wide: they tell mistakes from measurements, not
good measurements from bad ones. Layers that are no input have their `valid_range`, else what their type stores.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cube.errors import CubeError
from cube.layers import Band, Layer, legends, periods
from cube.yaml_tables import yaml_table

_TABLE: Final[dict[str, dict[str, Any]]] = yaml_table(__file__, "inputs.yaml")
Range = tuple[float, float]

# Of a layer of another name whose source states no `valid_range`: beyond lie the fill values that programs write, from -9999 on.
BELIEVED: Final[Range] = (-9998.0, 1e15)
# (scale, offset) as publishers store a layer, the likelier first: reflectance, percent, units x 10, K x 10, K, units x 100.
COMMON_SCALES: Final[Mapping[str, tuple[Range, ...]]] = {
    "sentinel2": ((1e-4, 0.0), (0.01, 0.0)),
    "landsat": ((2.75e-5, -0.2), (1e-4, 0.0), (0.01, 0.0)),
    "corine": ((0.01, 0.0),),
    "": ((0.1, 0.0), (0.1, -273.15), (1.0, -273.15), (1.0, 273.15), (0.01, 0.0), (10.0, 0.0), (100.0, 0.0)),
}


def _fill(dtype: str) -> float | int:
    """The number for no data of a type."""
    if dtype.startswith("float"):
        return math.nan
    return int(np.iinfo(dtype).max if dtype.startswith("u") else np.iinfo(dtype).min)


def _labels(labels: list[str] | str | None, bands: Mapping[str, Any]) -> tuple[str, ...]:
    """Labels of an axis: a list, `first to last` of quarters or months, or the bands where nothing is given."""
    return periods.without_gaps(labels.split(" to ")) if isinstance(labels, str) else tuple(labels or bands)


def _layer(name: str, resolution: str, **row: Any) -> Layer:
    row.pop("plausible", None)
    bands, axes = row.pop("bands", {}), row.pop("axes", {})
    valid_range = row.pop("valid_range", None)
    return Layer(
        name=name,
        group=f"inputs/{resolution}",
        fill=_fill(row["dtype"]),
        units=row.pop("units", ""),
        dims=tuple(axes),
        labels={dim: _labels(entry_ranges, bands) for dim, entry_ranges in axes.items()},
        bands=tuple(Band(band, title, units, *standard_name) for band, (title, units, _, *standard_name) in bands.items()),
        valid_range=(float(valid_range[0]), float(valid_range[1])) if valid_range else None,
        flags=getattr(legends, row.pop("legend", ""), ()),
        **row,
    )


def _ranges(row: Mapping[str, Any]) -> Range | tuple[Range, ...] | None:
    entry_ranges = [parts[2] for parts in row["bands"].values()] if "bands" in row else row.get("plausible")
    if entry_ranges is None:
        return None
    pairs = entry_ranges if isinstance(entry_ranges[0], list) else [entry_ranges]
    ranges = tuple((float(low), float(high)) for low, high in pairs)
    return ranges if pairs is entry_ranges else ranges[0]


INPUTS: Final[Mapping[str, Layer]] = {name: _layer(name, **row) for name, row in _TABLE.items()}
# In the layer's units: one range, or one for each label of the first axis; of layers that state one besides `valid_range`.
RANGES: Final = {name: ranges for name, row in _TABLE.items() if (ranges := _ranges(row)) is not None}

SENTINEL2_BANDS: Final = INPUTS["sentinel2"].labels["sentinel2_band"]
LANDSAT_BANDS, QUARTERS = INPUTS["landsat"].labels.values()
CLIMATE_VARIABLES, CLIMATE_MONTHS = INPUTS["climate"].labels.values()
SOIL_VARIABLES: Final = INPUTS["soil"].labels["soil_variable"]
FOOTPRINT_PRESSURES: Final = INPUTS["footprint_detail"].labels["footprint_pressure"]
SURFACE: Final = INPUTS["surface"].path  # says which cells are predicted


def input_layer(name: str) -> Layer:
    """The row of the table for the input `name`; raises `CubeError` naming the known ones."""
    try:
        return INPUTS[name]
    except KeyError:
        raise CubeError(f"'{name}' is not an input layer; known are {', '.join(sorted(INPUTS))}.") from None


def plausible_ranges(layer: Layer) -> tuple[Range, ...]:
    """(lowest, highest) value in `layer.units`, one for each label of the layer's first axis (one for a layer without).

    A range that the type cannot store as a whole is clipped when it is stored; only reflectance has one.
    """
    count = len(layer.labels[layer.dims[0]]) if layer.dims else 1
    ranges = RANGES.get(layer.name)
    if ranges is None:
        ranges = layer.valid_range or (layer.limits if layer.name in INPUTS or layer.dtype != "float32" else BELIEVED)
    if isinstance(ranges[0], tuple):
        return tuple(ranges[i] for i in preset_positions(layer))  # type: ignore[misc]
    return (ranges,) * count  # type: ignore[return-value]


def preset_positions(layer: Layer) -> list[int]:
    """Where the labels of a preset's first axis stand among those of all its bands; empty for a layer without axes."""
    if not layer.dims:
        return []
    labels = INPUTS[layer.name].labels[layer.dims[0]]
    return [labels.index(label) for label in layer.labels[layer.dims[0]]]


def scale_that_fits(layer: str, values: NDArray[Any], plausible: Range) -> str | None:
    """The `scale` and `offset` of a common way to store a layer that would bring nearly all `values` into `plausible`."""
    for scale, offset in COMMON_SCALES.get(layer, COMMON_SCALES[""]):
        inside = (values * scale + offset >= plausible[0]) & (values * scale + offset <= plausible[1])
        if inside.mean() > 0.99:
            return f"`scale: {scale:g}`" + (f" and `offset: {offset:g}`" if offset else "")
    return None
