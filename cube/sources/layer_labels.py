"""Labels of the axes of a layer that is no preset: names of its bands, and the steps of a series."""

from __future__ import annotations

from collections.abc import Sequence

from cube.config import Source
from cube.errors import ConfigError
from cube.layers import periods
from cube.layers.ids import slug
from cube.sources.raster_header import RasterHeader
from cube.sources.series_files import SeriesFiles


def labels_of(source: Source, header: RasterHeader, kind: str, series: SeriesFiles | None, at: str) -> dict[str, tuple[str, ...]]:
    """Labels by axis: none for one band; `<layer>_band` for several; `<layer>_band` and `<layer>_step` for a series."""
    band, step = f"{source.layer}_band", f"{source.layer}_step"
    if series:
        return {band: series.bands or (source.layer,), step: series.steps}
    if kind == "series":
        steps = header.names if periods.are_periods(header.names) else _numbered(len(header.names))
        expected = periods.without_gaps(steps)
        if tuple(steps) != expected:
            n, label, due = next((n, *pair) for n, pair in enumerate(zip(steps, expected, strict=False), 1) if len(set(pair)) > 1)
            raise ConfigError(
                f"{at}: band {n} of its file is {label} where {due} should be; bring the bands in order of time without gaps, or"
                " choose those of whole years by `bands: [1, 2, ...]`."
            )
        return {band: tuple(source.raster) if isinstance(source.raster, dict) else (source.layer,), step: steps}
    if isinstance(source.raster, dict):
        return {band: tuple(source.raster)}
    if source.band_names is not None:
        return {band: tuple(_checked(source.band_names, at))}
    names = [slug(name) for name in header.names]
    if len(names) == 1:
        return {}
    if not all(names) and source.band_numbers is None:
        other = next((title for title in header.names if title and not slug(title)), None)
        if other is not None:
            raise ConfigError(
                f"{at}: the band '{other}' of its file has no letter from a to z and no digit, of which ids are made; choose"
                " bands by number, such as `bands: [1, 2]`."
            )
        without = [str(n) for n, title in enumerate(header.names, 1) if not title]
        which = f"bands {', '.join(without)}" if len(without) < len(names) else f"the {len(names)} bands"
        raise ConfigError(
            f"{at}: {which} of its file have no names; name all {len(names)} in their order by `bands:`, such as"
            f" `bands: [{', '.join(f'name{i + 1}' for i in range(min(len(names), 3)))}]`."
        )
    if source.band_numbers is not None:
        names = [
            f"{name or 'band'}_{number}" if not name or names.count(name) > 1 else name
            for name, number in zip(names, source.band_numbers, strict=True)
        ]
    return {band: tuple(_checked(names, at))}


def refuse_labels_without_ids(labels: Sequence[str], at: str) -> None:
    """Refuse labels that tiles and exports could not name: without a letter from a to z or a digit, or alike in these."""
    by_id: dict[str, str] = {}
    for label in labels:
        key = slug(label)
        if not key:
            raise ConfigError(
                f"{at}: the band '{label}' has no letter from a to z and no digit, of which ids are made; rename it."
            )
        if key in by_id:
            raise ConfigError(f"{at}: the bands '{by_id[key]}' and '{label}' are both '{key}' in ids; rename one of them.")
        by_id[key] = label


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"{i + 1:0{len(str(count))}d}" for i in range(count))


def _checked(names: Sequence[str], at: str) -> Sequence[str]:
    twice = [name for name in names if list(names).count(name) > 1]
    if twice:
        raise ConfigError(f"{at}: two bands of its file are named '{twice[0]}'; choose bands by number, `bands: [1, 2]`.")
    return names
