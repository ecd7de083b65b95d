"""Which values a layer can have at all: the ranges outside of which a pixel is a fill value, another unit or another band.

Ranges are wide: they tell mistakes from measurements, not good measurements from bad ones. Layers that are not named here
have their `valid_range`, else what their type stores.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from numpy.typing import NDArray

from cube.layers import Layer
from cube.layers.inputs import INPUTS

Range = tuple[float, float]

_TEMPERATURE: Final[Range] = (-75.0, 60.0)  # degree Celsius, of any bioclimatic mean or extreme
# Of a layer of another name whose source states no `valid_range`: beyond lie the fill values that programs write, from -9999 on.
BELIEVED: Final[Range] = (-9998.0, 1e15)
_KELVIN: Final[Range] = (180.0, 335.0)
_LC_TYPES: Final = ((1, 17), (0, 15), (0, 10), (0, 8), (0, 11))  # MCD12 user guide v6.1, tables 3 to 7
_LC_PROPERTIES: Final = (*[(0, 100)] * 3, (1, 43), (1, 40), (1, 51), (0, 10), (1, 2))  # tables 1 and 8 to 10

# In the layer's units: one range, or one for each label of the first axis. The lower ends of bio2, bio3, bio4, bio7, of air
# temperatures, bulk density and pH stand above 0: a raster with 0 for no data is then refused instead of believed.
RANGES: Final[Mapping[str, Range | tuple[Range, ...]]] = {
    # From the least digital number less ESA's offset to snow that faces the sun; below 0 is stored as 0.
    "sentinel2": (-0.1, 1.6),
    "landsat": (-0.2, 1.61),  # what Collection 2 can express; stored is 0 to 1
    "soil": (
        (1.0, 265.0),  # bulk density: below that of quartz
        (0.0, 3000.0),
        *[(0.0, 1000.0)] * 4,
        (0.0, 10_000.0),
        (20.0, 110.0),
        (0.0, 10_000.0),
    ),
    "climate": ((0.0, 5000.0), _KELVIN, _KELVIN, _KELVIN),
    "bioclim": (
        _TEMPERATURE,
        (0.1, 60.0),
        (3.0, 100.0),
        (20.0, 2500.0),
        _TEMPERATURE,
        _TEMPERATURE,
        (0.5, 110.0),
        *[_TEMPERATURE] * 4,
        (0.0, 15_000.0),
        *[(0.0, 5000.0)] * 2,
        (0.0, 350.0),
        *[(0.0, 10_000.0)] * 4,
    ),
    "landcover": tuple((float(low), float(high)) for low, high in (*_LC_TYPES, *_LC_PROPERTIES)),
    "effort": (0.0, 1e9),
    "terrain": (*[(-500.0, 6000.0)] * 3, (0.0, 3000.0)),
    "srtm": (-500.0, 6000.0),
}


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


def scale_that_fits(layer: str, values: NDArray[Any], allowed: Range) -> str | None:
    """The `scale` and `offset` of a common way to store a layer that would bring nearly all `values` into `allowed`."""
    for scale, offset in COMMON_SCALES.get(layer, COMMON_SCALES[""]):
        inside = (values * scale + offset >= allowed[0]) & (values * scale + offset <= allowed[1])
        if inside.mean() > 0.99:
            return f"`scale: {scale:g}`" + (f" and `offset: {offset:g}`" if offset else "")
    return None


# (scale, offset) as publishers store a layer, the likelier first: reflectance, percent, units x 10, K x 10, K, units x 100.
COMMON_SCALES: Final[Mapping[str, tuple[Range, ...]]] = {
    "sentinel2": ((1e-4, 0.0), (0.01, 0.0)),
    "landsat": ((2.75e-5, -0.2), (1e-4, 0.0), (0.01, 0.0)),
    "corine": ((0.01, 0.0),),
    "": ((0.1, 0.0), (0.1, -273.15), (1.0, -273.15), (1.0, 273.15), (0.01, 0.0), (10.0, 0.0), (100.0, 0.0)),
}
