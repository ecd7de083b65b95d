"""The inputs of a cube, as the table `inputs.yaml` beside this module describes them: the only place where these are written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml

from cube.errors import CubeError
from cube.layers import Band, Layer, legends, periods

_TABLE: Final[dict[str, dict[str, Any]]] = yaml.safe_load(Path(__file__).with_name("inputs.yaml").read_text(encoding="utf-8"))
Range = tuple[float, float]


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
