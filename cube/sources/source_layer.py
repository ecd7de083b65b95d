"""From a source to its layer: a preset, some bands of a preset, or a layer of another name that its file and keys describe.

What neither the file nor the keys say (units, whether numbers are classes) is asked for in one sentence; nothing is guessed
that could be wrong in silence. Pixels are not read here, only headers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from cube.config import Config, Source
from cube.config.sources import refuse_misfits
from cube.errors import ConfigError
from cube.layers import Band, Layer, periods
from cube.layers.derived_layers import derived_layer
from cube.layers.ids import slug
from cube.layers.inputs import INPUTS, preset_positions
from cube.sources.class_names import class_colour, read_names
from cube.sources.embeddings import embedding_layer
from cube.sources.published_rasters import Published, published
from cube.sources.raster_header import RasterHeader, read_header
from cube.sources.templates import SeriesFiles, series_files

FINEST_PIXEL: Final = 20.0  # metres: a finer raster is kept at 10 m
COARSEST_PIXEL: Final = 500.0  # metres: a coarser raster is kept at 1 km
MEANINGLESS: Final = {"class": ("units", "period", "valid_range"), "series": ("names",), "continuous": ("names", "period")}
# Names of tables, of axes, and of what a batch of training holds beside the layers.
_WORDS: Final = """
    table_50m table_1km survey satellite table x y spatial_ref
    corner weight species certainty presence row_weight log_ratio noise
"""
RESERVED: Final = frozenset(_WORDS.split())


def source_layer(config: Config, source: Source, where: str) -> Layer:
    """The layer that a source fills; `where` is its place in the configuration, such as `sources[2]`.

    Raises `ConfigError` for what the configuration has to say, `SourceError` for a file that cannot be read.
    """
    at = f"{config.path}: {where}"
    preset = INPUTS.get(source.layer)
    if preset is not None:
        return _bands_of_preset(preset, source, at)
    if source.embedding is not None:
        return embedding_layer(config, source, where)
    layer = _of_file(config, source, where)
    try:
        refuse_misfits(source, layer)
    except ValueError as error:
        raise ConfigError(f"{at}: {error}.") from None
    return layer


def derived_layers(source: Source, layer: Layer, at: str) -> tuple[Layer, ...]:
    """What `derive` of a source computes from its layer; `at` is its place. Raises `ConfigError`."""
    try:
        return tuple(derived_layer(layer, name) for name in source.derive)
    except ValueError as error:
        raise ConfigError(f"{at}.derive: {error}.") from None


def published_row(source: Source, layer: Layer) -> Published | None:
    """The published row of a source, for the bands that the layer has. Raises `ConfigError` without its place."""
    if source.published is None:
        return None
    row = published(source.published, layer.name)
    at = preset_positions(layer)
    full = INPUTS[layer.name].labels[layer.dims[0]] if layer.dims else ()
    if len(at) == len(full):
        return row
    settings = {
        name: tuple(values[i] for i in at)
        for name, values in (("bands", row.bands), ("scale", row.scale), ("offset", row.offset))
        if len(values) == len(full)
    }
    if "bands" not in settings:
        raise ConfigError(f"'{source.published}' fills all bands of {layer.name} at once; leave out `bands`")
    return replace(row, **settings)  # type: ignore[arg-type]


def _bands_of_preset(preset: Layer, source: Source, at: str) -> Layer:
    names = source.band_names
    if names is None:
        return preset
    if not preset.dims:
        raise ConfigError(f"{at}.bands names {', '.join(names)}, and the layer {preset.name} has one band; leave out `bands`.")
    dim = preset.dims[0]
    unknown = [name for name in names if name not in preset.labels[dim]]
    if unknown:
        raise ConfigError(
            f"{at}.bands names '{unknown[0]}', which is no band of the layer {preset.name}; its bands are"
            f" {', '.join(preset.labels[dim])}."
        )
    bands = tuple(preset.band(name) for name in names) if preset.bands else ()
    return replace(preset, labels={**preset.labels, dim: names}, bands=bands)


def _of_file(config: Config, source: Source, where: str) -> Layer:
    at, name = f"{config.path}: {where}", source.layer
    if name in RESERVED or any(name in layer.dims for layer in INPUTS.values()):
        raise ConfigError(f"{at}.layer is '{name}', a word with a meaning of its own; choose another name.")
    series = series_files(config, source, where)
    header = read_header(config, source, where, series)
    kind = _kind(source, header, series, at)
    if unused := [key for key in MEANINGLESS[kind] if getattr(source, key) is not None]:
        of_kind = {"class": "classes", "series": "a series"}.get(kind, "measurements")
        raise ConfigError(f"{at}.{unused[0]} says nothing of {of_kind}, which {name} has by its file and keys; leave it out.")
    resolution = source.resolution or _resolution(header.pixel)
    if kind == "series" and source.band_names is not None:
        raise ConfigError(
            f"{at}.bands names {source.band_names[0]}, and the steps of a series have no names; give their numbers, such as"
            " `bands: [1]`."
        )
    if kind == "series" and resolution == "10m":
        if source.resolution:
            raise ConfigError(f"{at}.resolution is 10m, and a series is kept at 50m or 1km; choose one of these.")
        resolution = "50m"
    group = f"inputs/{resolution}"
    title = source.long_name or name.replace("_", " ").capitalize()
    if kind == "class":
        return _of_classes(config, source, where, header, Layer(name, group, "uint8", 255, title, "1", kind="class"))
    labels = labels_of(source, header, kind, series, at)
    refuse_labels_without_ids(next(iter(labels.values()), ()), at)
    dims = tuple(labels)
    bands = labels[dims[0]] if dims else (name,)
    units = _units(source, header, bands, at)
    has_one_unit = len(set(units)) == 1
    band_titles = dict(zip(bands, header.names, strict=False)) if kind == "continuous" and not source.has_file_by_band else {}
    layer = Layer(
        name,
        group,
        "float32",
        math.nan,
        title,
        units[0] if has_one_unit else "",
        dims,
        labels,
        bands=tuple(
            Band(band, band_titles.get(band) or (f"{title}: {band.replace('_', ' ')}" if band != name else title), unit)
            for band, unit in zip(bands, units, strict=True)
        )
        if dims
        else (),
        valid_range=source.valid_range,
        references=source.references,
        period=_period(source, series, labels[dims[-1]], at) if kind == "series" else 0,
    )
    return _in_steps_of_the_file(layer, source, header) if layer.resolution == "10m" else layer


def _kind(source: Source, header: RasterHeader, series: SeriesFiles | None, at: str) -> str:
    if source.kind is not None:
        return source.kind
    if series or source.period:
        return "series"
    if source.names is not None:
        return "class"
    if source.units is None and header.classes:
        return "class"
    if source.units is not None or all(header.units) or header.dtype.startswith("float"):
        return "continuous"
    raise ConfigError(
        f"{at}: '{source.layer}' is no preset, and nothing says whether its whole numbers are measurements or classes; add"
        " `kind: continuous` with `units:`, or `kind: class` with `names:`."
    )


def _resolution(pixel: float) -> str:
    return "10m" if pixel < FINEST_PIXEL else "50m" if pixel < COARSEST_PIXEL else "1km"


def _units(source: Source, header: RasterHeader, bands: Sequence[str], at: str) -> tuple[str, ...]:
    """Units of each band: those of the configuration, else those of the file."""
    unit_text = source.units
    if isinstance(unit_text, dict):
        strange = sorted(set(unit_text) - set(bands))
        if strange:
            raise ConfigError(f"{at}.units names '{strange[0]}', which is no band; the bands are {', '.join(bands)}.")
        units_in_file = dict(zip(bands, header.units, strict=False))
        units = tuple(unit_text.get(band) or units_in_file.get(band, "") for band in bands)
    elif unit_text is not None:
        units = (unit_text,) * len(bands)
    elif len(header.units) == len(bands):
        units = header.units
    else:
        units = (header.units[0],) * len(bands)
    missing = [band for band, unit in zip(bands, units, strict=True) if not unit]
    if missing:
        which = "" if len(bands) == 1 else f" of the band {missing[0]}"
        raise ConfigError(
            f"{at}: '{source.layer}' is no preset, and nothing says in which units{which} its numbers are; add `units: m` (or"
            ' `K`, `mm`, ...), or `units: "1"` for numbers without units.'
        )
    return units


def _period(source: Source, series: SeriesFiles | None, steps: Sequence[str], at: str) -> int:
    steps_a_year = {"Q": 4, "-": 12}[steps[0][4]] if periods.are_periods(steps) else None
    period = source.period or (series.period if series else None) or steps_a_year
    if period is None:
        raise ConfigError(f"{at}: nothing says how many steps of the series make a year; add `period: 12` (months) or another.")
    if steps_a_year is not None and period != steps_a_year:
        raise ConfigError(
            f"{at}: `period` is {period}, but the steps are named {steps[0]} and so on, {steps_a_year} a year; leave it out."
        )
    if len(steps) % period:
        raise ConfigError(
            f"{at}: the series has {len(steps)} steps, which are no whole number of years of {period}; give whole years, or"
            " another `period`."
        )
    return period


def _in_steps_of_the_file(layer: Layer, source: Source, header: RasterHeader) -> Layer:
    """An image of 8 or 16 bits is stored in the steps of its file: of 25 pixels a cell, four bytes each would be many."""
    if header.dtype not in ("uint8", "int8", "int16", "uint16"):
        return layer
    scale, offset = header.scale * source.scale, header.offset * source.scale + source.offset
    info = np.iinfo(header.dtype)
    fill = int(info.min if info.min < 0 else info.max)
    if scale <= 0 or header.nodata != fill:  # every number of the file may be a value
        return layer
    return replace(layer, dtype=header.dtype, fill=fill, scale=scale, offset=offset)


def _of_classes(config: Config, source: Source, where: str, header: RasterHeader, layer: Layer) -> Layer:
    at = f"{config.path}: {where}"
    if isinstance(source.raster, dict) or len(header.names) > 1:
        raise ConfigError(f"{at}: a layer of classes has one band; choose it by `bands: [1]`, counted from 1.")
    if source.names is None and not header.classes:
        line = ", ".join(f"{number}: name{i + 1}" for i, number in enumerate(header.numbers)) or "1: granite, 2: limestone"
        raise ConfigError(
            f"{at}: nothing says what the classes of {layer.name} are; add `names: {{{line}}}`, or the path of a table with the"
            " columns value and name (and colour, if you like)."
        )
    if source.names is None:
        rows = dict(header.classes)
    elif isinstance(source.names, str):
        rows = read_names(config.source_path(source.names), f"{at}.names")
    else:
        rows = {value: (name, "") for value, name in source.names.items()}
    beyond = [value for value in rows if not 0 <= value <= 65534]
    if source.names is None and beyond:
        raise ConfigError(
            f"{at}: the file names the class {beyond[0]}, and numbers go from 0 to 65534; say which of these it is by `classes:`,"
            " such as `classes: {-1: 0}`, and name them by `names:`."
        )
    if not rows or beyond:
        raise ConfigError(
            f"{at}.names needs at least one class, with numbers from 0 to 65534; say which of these a file's other numbers are by"
            " `classes:`, such as `classes: {-1: 0}`."
        )
    # The cube keeps names as words with '_' between them: other blanks would divide a name, and no name would be lost.
    classes = {value: (" ".join(name.split()), colour) for value, (name, colour) in rows.items()}
    nameless = [value for value, (name, _) in classes.items() if not name]
    if nameless:
        raise ConfigError(f"{at}.names has no name for the class {nameless[0]}; write one.")
    flags = tuple(
        (v, name, colour or header.colours.get(v) or class_colour(i)) for i, (v, (name, colour)) in enumerate(classes.items())
    )
    wide = max(rows) > 254
    return replace(
        layer,
        dtype="uint16" if wide else "uint8",
        fill=65535 if wide else 255,
        flags=flags,
        palette="flags",
        references=source.references,
    )


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
