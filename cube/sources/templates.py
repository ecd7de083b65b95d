"""Names of files: one path, a list of tiles, or a template over the labels of a layer and over tiles of whole degrees.

`{variable}` is our label on a layer's first axis, `{band}` the publisher's name of it, `{year}`, `{month:02d}` and
`{quarter}` come from the second axis, `{north}` and `{east}` (N48, E015) name a tile by its lower left corner. What a
template leaves out lies in one file as bands, in the order of the layer.
"""

from __future__ import annotations

import math
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cube.errors import ConfigError
from cube.layers import Layer, periods

TILE_FIELDS: Final = frozenset({"north", "east"})
EDGE: Final = 0.02  # degrees around a unit, so that the neighbours of its outermost cells are read as well


@dataclass(frozen=True)
class RasterFile:
    """Some bands of a file, of the list of its tiles, or of a template over `tile` degrees.

    `labels` are what the bands are, of the layer's only axis; empty where there is none, or a second axis of dates.
    """

    path: str | tuple[str, ...]
    bands: tuple[int, ...]
    tile: int | None = None
    labels: tuple[str, ...] = field(default=(), compare=False)

    def paths(self, bounds: tuple[float, float, float, float]) -> list[str]:
        """The files that may hold pixels within `bounds` (west, south, east, north; degrees)."""
        if isinstance(self.path, tuple):
            return list(self.path)
        if self.tile is None:
            return [self.path]
        return [self.path.format(**names) for names in _tiles(bounds, self.tile)]


def _tiles(bounds: tuple[float, float, float, float], degrees: int) -> Iterator[dict[str, str]]:
    west, south, east, north = bounds
    for lat in range(_corner(south - EDGE, degrees), math.floor(north + EDGE) + 1, degrees):
        for lon in range(_corner(west - EDGE, degrees), math.floor(east + EDGE) + 1, degrees):
            yield {
                "north": f"{'N' if lat >= 0 else 'S'}{abs(lat):02d}",
                "east": f"{'E' if lon >= 0 else 'W'}{abs(lon):03d}",
            }


def _corner(value: float, degrees: int) -> int:
    return math.floor(value / degrees) * degrees


def fields(template: str) -> set[str]:
    """Names of the placeholders of a template."""
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


def _labels(layer: Layer, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """What the placeholders stand for, for every band of the layer in its order."""
    first = layer.labels[layer.dims[0]] if layer.dims else ("",)
    rows: list[dict[str, Any]] = []
    # A product of one band that fills a layer of many is one file, whatever it is called.
    bands = names[: len(first)] if len(names) >= len(first) else names[:1] * len(first) or first
    for label, band in zip(first, bands, strict=True):
        fields_of_band: dict[str, Any] = {"band": band, **({"variable": label} if layer.dims else {})}
        steps = layer.labels[layer.dims[1]] if len(layer.dims) > 1 else ()
        if not periods.are_periods(steps):
            rows += [fields_of_band] * max(len(steps), 1)
            continue
        for when in steps:
            year, kind, number = periods.parts(when)
            rows.append(fields_of_band | {"year": year, kind: number})
    return rows


def expand(template: str, layer: Layer, names: tuple[str, ...] = (), tile: int | None = None) -> list[RasterFile]:
    """The files of a layer, its bands in order; `names` are the publisher's, `tile` the side of tiles in degrees.

    Raises `ConfigError` (a sentence without its place) for a placeholder that is not known.
    """
    rows = _labels(layer, names)
    wanted_fields = fields(template)
    possible_fields = {*rows[0], *TILE_FIELDS}
    if unknown := sorted(wanted_fields - possible_fields):
        raise ConfigError(
            f"'{template}' names {{{unknown[0]}}}; for the layer {layer.name} a file name may have"
            f" {', '.join('{' + k + '}' for k in sorted(possible_fields))}"
        )
    tiled = bool(wanted_fields & TILE_FIELDS)
    tile_fields: Mapping[str, str] = {"north": "{north}", "east": "{east}"}
    labels: dict[str, list[str]] = {}
    for row in rows:
        try:
            path = template.format(**row, **tile_fields)
        except (ValueError, IndexError, KeyError) as error:
            raise ConfigError(f"'{template}' is not a file name template ({error}); write for example {{month:02d}}") from None
        labels.setdefault(path, []).append(str(row.get("variable", "")))
    side = (tile or 1) if tiled else None
    has_one_axis = len(layer.dims) == 1
    return [
        RasterFile(path, tuple(range(1, len(bands) + 1)), side, tuple(bands) if has_one_axis else ())
        for path, bands in labels.items()
    ]
