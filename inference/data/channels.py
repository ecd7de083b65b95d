"""The numbers that a layer gives a model, each with its name, title and units: bands, variables, or a column a class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cube.layers import Layer, legends
from cube.layers.ids import slug

Floats = NDArray[np.float32]
LANDCOVER: Final = "landcover"  # of its bands the first is read, whose classes are those of the layer igbp


@dataclass(frozen=True)
class Channel:
    """One number of a layer: `bioclim.bio12`, the annual precipitation, mm; units are empty where there are none."""

    name: str
    title: str
    units: str = ""


def channels_of(layer: Layer) -> tuple[Channel, ...]:
    """The channels of a layer, in order; of a series they are its bands."""
    classes = _classes(layer)
    if layer.name == LANDCOVER:
        return tuple(Channel(f"{LANDCOVER}.igbp{value}", f"Land cover is {meaning}") for value, meaning in classes)
    if layer.kind == "class":
        names = [slug(meaning) for _, meaning in classes]
        return tuple(
            Channel(f"{layer.name}.{name if name and names.count(name) == 1 else value}", f"{layer.long_name} is {meaning}")
            for name, (value, meaning) in zip(names, classes, strict=True)
        )
    if not layer.dims:
        return (Channel(layer.name, layer.long_name, _unit_text(layer.units)),)
    bands = (layer.band(label) for label in layer.labels[layer.dims[0]])
    return tuple(Channel(f"{layer.name}.{band.name}", band.long_name, _unit_text(band.units)) for band in bands)


def _unit_text(units: str) -> str:
    return "" if units == "1" else units


def _classes(layer: Layer) -> tuple[tuple[int, str], ...]:
    legend = legends.IGBP if layer.name == LANDCOVER else layer.flags
    return tuple((value, meaning) for value, meaning, _ in legend)


def as_channels(layer: Layer, values: Floats) -> Floats:
    """Values (axes of the layer, ...) in units to (channels, ...); a class becomes 1 in its channel, NaN where none is known."""
    if layer.kind != "class":
        return values if layer.dims else values[None]
    kind = values[0] if layer.dims else values
    out = np.stack([(kind == value) for value, _ in _classes(layer)]).astype(np.float32)
    out[:, np.isnan(kind)] = np.nan
    return out
