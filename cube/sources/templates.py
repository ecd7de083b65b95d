"""Names of files: one path, a list of tiles, or a template over the labels of a layer and over tiles of whole degrees.

`{variable}` is our label on a layer's first axis, `{band}` the publisher's name of it, `{year}`, `{month:02d}` and
`{quarter}` come from the second axis, `{north}` and `{east}` (N48, E015) name a tile by its lower left corner. What a
template leaves out lies in one file as bands, in the order of the layer. Of a layer that is no preset, the files on this
machine that fit a template over years, months and quarters are its series.
"""

from __future__ import annotations

import glob
import math
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cube.config import Config, Source
from cube.errors import ConfigError, SourceError
from cube.layers import Layer, periods
from cube.layers.inputs import INPUTS
from cube.sources.opening import is_remote

TILE_FIELDS: Final = frozenset({"north", "east"})
EDGE: Final = 0.02  # degrees around a unit, so that the neighbours of its outermost cells are read as well

TIMES: Final = {"year": r"\d{4}", "month": r"0?[1-9]|1[0-2]", "quarter": r"[1-4]"}
BAND: Final = ("variable", "band")  # either names what a file is of


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


@dataclass(frozen=True)
class SeriesFiles:
    """Paths by (band, step); a template without a band has the one band ''."""

    paths: dict[tuple[str, str], str]
    period: int  # steps a year

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands in order; empty where the template has none."""
        return tuple(sorted({band for band, _ in self.paths if band}))

    @property
    def steps(self) -> tuple[str, ...]:
        """Labels of the steps in order of time: `2018-07`, `2018Q3`, `2018`, or `07` of a year that stands for many."""
        return tuple(sorted({step for _, step in self.paths}))

    @property
    def first_of_bands(self) -> list[str]:
        """The path of the first step of each band."""
        return [self.paths[band, self.steps[0]] for band in self.bands or ("",)]

    def in_order(self) -> list[str]:
        """Band after band, each in order of time."""
        return [self.paths[band, step] for band in self.bands or ("",) for step in self.steps]


def series_files(config: Config, source: Source, where: str) -> SeriesFiles | None:
    """The files of a template with {year}, {month} or {quarter}; None for a source without, and for presets.

    Raises `ConfigError` for a template that cannot be listed, `SourceError` where no file fits it or some are missing.
    """
    template = source.raster
    if not isinstance(template, str) or source.layer in INPUTS:
        return None
    names = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
    if not set(names) & set(TIMES):
        return None
    at = f"{config.path}: {where}.raster"
    unknown = sorted(set(names) - set(TIMES) - set(BAND))
    if unknown:
        raise ConfigError(
            f"{at}: '{template}' names {{{unknown[0]}}}; a series has {{year}}, {{month}}, {{quarter}} and {{band}}."
        )
    path = config.source_path(template)
    if is_remote(path):
        raise ConfigError(f"{at}: files at an address cannot be listed; give the series as one file of many bands, or fetch it.")
    files: dict[tuple[str, str], str] = {}
    expression = re.compile(_expression(path))
    for file in glob.glob(_pattern(path)):
        match = expression.fullmatch(file)
        if match is not None:
            parts = match.groupdict()
            key = parts.get("variable") or parts.get("band") or "", _label(parts)
            if key in files:
                raise SourceError(f"{file}: is the file of {key[1]}, as {files[key]} is; keep one of them ({where}).")
            files[key] = file
    if not files:
        raise SourceError(f"{path}: there is no file of this name with numbers in it; check {where}.raster.")
    out = SeriesFiles(files, 12 if "month" in names else 4 if "quarter" in names else 1)
    bands_and_steps = [(band, step) for band in out.bands or ("",) for step in _due(out, names, source.period)]
    missing = [f"{band} {step}".strip() for band, step in bands_and_steps if (band, step) not in files]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise SourceError(
            f"{path}: there is no file of {', '.join(missing[:3])}{more}; fetch them, or take whole years ({where})."
        )
    return out


def _due(series: SeriesFiles, names: Sequence[str], period: int | None) -> Sequence[str]:
    """The steps of a series without gaps: from its first to its last, or of a year that stands for many all of it."""
    if "year" not in names:
        return (
            [f"{n + 1:0{len(str(series.period))}d}" for n in range(series.period)]
            if period in (None, series.period)
            else series.steps
        )
    if series.period > 1:
        return periods.without_gaps(series.steps)
    return [str(year) for year in range(int(series.steps[0]), int(series.steps[-1]) + 1)]


def _label(parts: dict[str, str]) -> str:
    year, month, quarter = (parts.get(name) for name in TIMES)
    if month:
        return f"{year}-{int(month):02d}" if year else f"{int(month):02d}"
    if quarter:
        return f"{year}Q{quarter}" if year else quarter
    return str(year)


def _expression(template: str) -> str:
    """A regular expression whose named groups are the placeholders of a template; one that comes again must be the same."""
    out, names = "", set[str]()
    for literal, name, _, _ in string.Formatter().parse(template):
        out += re.escape(literal)
        if name is not None:
            out += f"(?P={name})" if name in names else f"(?P<{name}>{TIMES.get(name, '[^/]+?')})"
            names.add(name)
    return out


def _pattern(template: str) -> str:
    return "".join(
        glob.escape(literal) + ("*" if name is not None else "") for literal, name, _, _ in string.Formatter().parse(template)
    )
