"""Published rasters, as the table `published_rasters.yaml` beside this module describes them.

A configuration names a row (`published: soilgrids-2.0`); scale, offset, no-data rules, licence and years then come
from there. How files are found is in `cube.sources.templates`, how they are read in `cube.sources.rasters`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cube.errors import ConfigError
from cube.layers import legends
from cube.layers.inputs import INPUTS
from cube.sources.pixels import PixelRules
from cube.yaml_tables import yaml_table


@dataclass(frozen=True)
class Published:
    """One published product. A stored number v of band i stands for `v * scale[i] + offset[i]` in units of the layer."""

    title: str
    layers: tuple[str, ...]  # input layers that it can fill
    bands: tuple[str, ...]  # published names, in the order of the layer's first axis
    file: str  # name as distributed, a template (see `cube.sources.templates`)
    pixel: float  # m, about
    bytes: float  # a pixel and band, as distributed (compressed, rounded up)
    license: str
    attribution: str
    references: str
    reference_years: str
    lookup: str
    scale: tuple[float, ...] = (1.0,)
    offset: tuple[float, ...] = (0.0,)
    nodata: tuple[float, ...] = ()
    valid: tuple[float, float] | None = None  # raw numbers outside of it mean no data
    recode: Mapping[int, int] = field(default_factory=dict)
    surface: Mapping[int, int] = field(default_factory=dict)  # class -> land, water, sealed
    classes: tuple[int, ...] = ()  # what fractions are made of
    tile: int | None = None  # degrees on a side of its tiles

    def rules(self, layer: str) -> PixelRules:
        """What its numbers mean for an input layer, before anything is resampled."""
        return PixelRules(self.nodata, None if layer == "surface" else self.valid, self._meanings(layer), raw=True)

    def _meanings(self, layer: str) -> dict[int, int | None]:
        """What each class number means (None: no data); empty for a product without classes."""
        if layer == "surface":
            numbers = {*self.surface, *self.recode.values()}
            meanings: dict[int, int | None] = {number: self.surface.get(number) for number in numbers}
        else:
            # Of CORINE's fractions what has no class is a share of its own.
            unclassed = max(self.classes) + 1 if layer == "corine" else None
            meanings = {number: number if number in self.classes else unclassed for number in self.recode.values()}
            meanings |= {number: number for number in self.classes}
        return meanings | {code: meanings[number] for code, number in self.recode.items()}


def _published(layers: list[str], **row: Any) -> Published:
    first = INPUTS[layers[0]]
    bands = row.pop("bands", None) or first.labels[first.dims[0]]
    # Legends are named, as all layers of a product share them.
    legend: dict[str, Any] = {key: getattr(legends, row.pop(key)) for key in ("recode", "surface", "classes") if key in row}
    if "classes" in legend:
        legend["classes"] = tuple(value for value, _, _ in legend["classes"])
    row |= {key: tuple(map(float, row[key])) for key in ("scale", "offset", "nodata", "valid") if key in row}
    return Published(layers=tuple(layers), bands=tuple(bands), **legend, **row)


_TABLE: Final = yaml_table(__file__, "published_rasters.yaml")
PRODUCTS: Final[Mapping[str, Published]] = {name: _published(**row) for name, row in _TABLE.items()}


def published(name: str, layer: str) -> Published:
    """The row `name` for an input layer; raises `ConfigError` with the close names, or the rows that fill the layer."""
    row = PRODUCTS.get(name)
    if row is None:
        close = difflib.get_close_matches(name, PRODUCTS, n=3, cutoff=0.4) or sorted(PRODUCTS)
        raise ConfigError(f"'{name}' is no published product that is known; close are {', '.join(close)}")
    if layer not in row.layers:
        fitting = [product for product, r in PRODUCTS.items() if layer in r.layers]
        instead = f"; for {layer} there is {', '.join(fitting)}" if fitting else ""
        raise ConfigError(f"'{name}' fills {', '.join(row.layers)}, not the layer {layer}{instead}")
    return row
