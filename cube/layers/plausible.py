"""Which values a layer can have at all: the ranges outside of which a pixel is a fill value, another unit or another band.

Ranges are wide: they tell mistakes from measurements, not good measurements from bad ones. Those of the inputs stand in
`inputs.yaml`; other layers have their `valid_range`, else what their type stores.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from numpy.typing import NDArray

from cube.layers import Layer
from cube.layers.inputs import INPUTS, RANGES, Range

# Of a layer of another name whose source states no `valid_range`: beyond lie the fill values that programs write, from -9999 on.
BELIEVED: Final[Range] = (-9998.0, 1e15)


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


# (scale, offset) as publishers store a layer, the likelier first: reflectance, percent, units x 10, K x 10, K, units x 100.
COMMON_SCALES: Final[Mapping[str, tuple[Range, ...]]] = {
    "sentinel2": ((1e-4, 0.0), (0.01, 0.0)),
    "landsat": ((2.75e-5, -0.2), (1e-4, 0.0), (0.01, 0.0)),
    "corine": ((0.01, 0.0),),
    "": ((0.1, 0.0), (0.1, -273.15), (1.0, -273.15), (1.0, 273.15), (0.01, 0.0), (10.0, 0.0), (100.0, 0.0)),
}
