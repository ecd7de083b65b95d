"""The numbers that a layer gives a model, each with its name, title and units: bands, variables, or a column a class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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
        slugs = [slug(meaning) for _, meaning in classes]
        names = [name if name and slugs.count(name) == 1 else str(value) for name, (value, _) in zip(slugs, classes, strict=True)]
        if len(set(names)) < len(names):  # a class is called by the number of another one
            names = [str(value) for value, _ in classes]
        return tuple(
            Channel(f"{layer.name}.{name}", f"{layer.long_name} is {meaning}")
            for name, (_, meaning) in zip(names, classes, strict=True)
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


def decoded(layer: Layer, stored_values: Tensor) -> tuple[Tensor, Tensor]:
    """`as_channels` of `Layer.decode` of a window, on the device where its stored values (axes of the layer, y, x) lie.

    (channels, ..., y, x) float32 in units, NaN where there is no data, and (y, x) whether the layer has any value there.
    """
    if stored_values.device.type != "cpu":
        return decoded_by_torch(layer, stored_values)
    values = as_channels(layer, layer.decode(stored_values.numpy()))  # numpy needs half of torch's time on a processor
    # one comparison and no copy: the largest of what is finite, and NaN only where nothing is
    has_value = np.isfinite(np.fmax.reduce(values, axis=tuple(range(values.ndim - 2))))
    return torch.from_numpy(values), torch.from_numpy(has_value)


def decoded_by_torch(layer: Layer, stored_values: Tensor) -> tuple[Tensor, Tensor]:
    """The same values, by torch."""
    stored_values = stored_values[0] if layer.kind == "class" and layer.dims else stored_values
    values = stored_values.to(torch.float32)
    if stored_values.is_floating_point():
        missing = ~torch.isfinite(values)
    else:  # float32 holds every integer of 16 bits, and not all types of integers can be compared on a GPU
        missing = (values if stored_values.element_size() <= 2 else stored_values) == layer.fill
        values = values.mul_(layer.scale).add_(layer.offset).masked_fill_(missing, torch.nan)
    has_value = ~missing.reshape(-1, *missing.shape[-2:]).all(0)
    if layer.kind == "class":
        classes = torch.tensor([value for value, _ in _classes(layer)], dtype=torch.float32, device=values.device)
        values = torch.where(missing, torch.nan, (values == classes[:, None, None]).to(torch.float32))
    return values if layer.dims or layer.kind == "class" else values[None], has_value
