"""The files of a series of another name: those on this machine that fit a template over years, months and quarters."""

from __future__ import annotations

import glob
import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cube.config import Config, Source
from cube.errors import ConfigError, SourceError
from cube.layers import periods
from cube.layers.inputs import INPUTS
from cube.sources.opening import is_remote

TIMES: Final = {"year": r"\d{4}", "month": r"0?[1-9]|1[0-2]", "quarter": r"[1-4]"}
BAND: Final = ("variable", "band")  # either names what a file is of


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
