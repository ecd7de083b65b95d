"""Which files a source has, by its names and templates, and whether their headers fit the layer; pixels are read elsewhere.

How pixels become a layer is in `cube.sources.rasters`.
"""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
from rasterio.io import DatasetReader

from cube.config import Config, Source
from cube.errors import ConfigError, SourceError
from cube.grid import Region
from cube.layers import Layer
from cube.layers.inputs import INPUTS, input_layer
from cube.sources.band_names import find_bands, name_of_band, refuse_alpha, require_bands, value_bands
from cube.sources.opening import is_remote, open_raster
from cube.sources.published_rasters import Published
from cube.sources.raster_grid import RasterGrid
from cube.sources.source_layer import published_row, source_layer
from cube.sources.templates import RasterFile, expand, series_files
from cube.sources.units import conversion, differ
from cube.sources.warp import check_numbers, check_raster

MAX_NAMES: int = 3  # missing files that a sentence names


def lengths_of(layer: Layer) -> tuple[int, ...]:
    """How many labels each leading axis of a layer has."""
    return tuple(len(layer.labels[d]) for d in layer.dims)


def shares_of(layer: Layer, row: Published | None) -> tuple[int, ...] | None:
    """Classes whose shares fill the layer: the row's own and, where the layer has one more label, what has no class."""
    if layer.name != "corine" or row is None:
        return None
    return (*row.classes, len(row.classes) + 1)


def files_of(config: Config, source: Source, where: str, layer: Layer, row: Published | None) -> list[RasterFile]:
    """The files of a source by name alone; raises `ConfigError` (without its place) for a name that does not fit."""
    names = row.bands if row else ()
    tile = row.tile if row else None
    if shares_of(layer, row):
        layer = input_layer("corine_class")  # one band of classes, whatever becomes of it
    raster = source.raster
    assert raster is not None
    series = series_files(config, source, where)
    if series is not None:
        return [RasterFile(path, (1,)) for path in series.in_order()]
    if isinstance(raster, dict):
        labels = layer.labels[layer.dims[0]] if layer.dims else ()
        if set(raster) != set(labels):
            raise ConfigError(
                f"raster: the layer {layer.name} needs one file for each of {', '.join(labels) or 'no name: give one path'};"
                f" found {', '.join(raster)}"
            )
        bands = tuple(range(1, int(np.prod(lengths_of(layer)[1:])) + 1))
        has_one_axis = len(layer.dims) == 1
        return [RasterFile(config.source_path(raster[label]), bands, None, (label,) if has_one_axis else ()) for label in labels]
    if isinstance(raster, tuple):
        bands = tuple(range(1, int(np.prod(lengths_of(layer))) + 1))
        labels = layer.labels[layer.dims[0]] if len(layer.dims) == 1 else ()
        return [RasterFile(tuple(config.source_path(tile) for tile in raster), bands, None, labels)]
    path = config.source_path(raster)
    if row is not None and raster.endswith("/"):
        path = f"{path.rstrip('/')}/{row.file}"
    return expand(path, layer, names, tile)


def check_files(
    files: list[RasterFile], where: str, region: Region, layer: Layer, source: Source, row: Published | None
) -> tuple[list[RasterFile], tuple[str, ...]]:
    """Refuse missing and unfit files; returns the files with their bands, and the local paths.

    Remote ones are opened only where there are few.
    """
    has_tiles = any(file.tile is not None for file in files)
    around = region.degrees
    paths = list(dict.fromkeys(path for file in files for path in file.paths(around)))
    local = [path for path in paths if not is_remote(path)]
    missing = [path for path in local if not os.path.exists(path)]
    existing = tuple(path for path in local if path not in set(missing))
    if missing and not (has_tiles and existing):
        if len(paths) == 1:
            raise SourceError(f"{missing[0]}: there is no such file; check {where}.")
        files_text = ", ".join(missing[:MAX_NAMES]) + (", ..." if len(missing) > MAX_NAMES else "")
        raise SourceError(
            f"{len(missing)} of {len(paths)} files of {where} are missing: {files_text}; fetch them or check the name."
        )
    single_raster = not has_tiles and not any(isinstance(file.path, tuple) for file in files)
    remote = [path for path in paths if path not in set(local)]
    out = []
    for file in files:
        by_bands: dict[tuple[int, ...], str] = {}
        for path in file.paths(around):
            # A thousand remote files are not worth a thousand requests before work starts; the first speaks for them.
            # Of several bands each file says itself which is which.
            if path in existing or (not has_tiles and (path == remote[0] or len(file.labels) > 1)):
                check_raster(path, where, max(file.bands), RasterGrid.of_place(region), not single_raster)
                by_bands.setdefault(bands_of(path, where, file, layer, source, row), path)
        if not by_bands and len(file.labels) > 1 and source.band_numbers is None and row is None:
            raise SourceError(
                f"{where}: tiles of several bands at an address are not opened before work starts; say which of their bands"
                f" are {', '.join(file.labels)} by `bands:` with {len(file.labels)} numbers counted from 1."
            )
        if len(by_bands) > 1:
            (first_bands, first), (second_bands, second) = list(by_bands.items())[:2]
            raise SourceError(
                f"{second}: its bands {', '.join(map(str, second_bands))} are what the bands {', '.join(map(str, first_bands))}"
                f" of {first} are; bring the tiles of one raster to one order of bands ({where})."
            )
        out.append(replace(file, bands=next(iter(by_bands), file.bands)))
    return out, existing


def local_problems(config: Config, source: Source, where: str, region: Region) -> tuple[list[str], list[str]]:
    """What a build would refuse in the headers of a source's local files, and which of these are not there yet, in sentences."""
    layer = source_layer(config, source, where.removesuffix(".raster"))
    row = published_row(source, layer)
    files = files_of(config, source, where.removesuffix(".raster"), layer, row)
    around = region.degrees
    by_path = {path: file for file in files for path in file.paths(around) if not is_remote(path)}
    missing = [path for path in by_path if not os.path.exists(path)]
    has_tiles = any(file.tile is not None for file in files)  # of these the open sea has none
    absent = []
    if missing and not (has_tiles and len(missing) < len(by_path)):
        absent = [f"{where}: {len(missing)} of {len(by_path)} files are not there yet, the first is {missing[0]}."]
    out = []
    for path, file in by_path.items():
        if path in missing:
            continue
        single_raster = file.tile is None and not isinstance(file.path, tuple)
        try:
            check_raster(path, where, max(file.bands), RasterGrid.of_place(region), not single_raster)
            bands_of(path, where, file, layer, source, row)
        except SourceError as error:
            out.append(str(error))
    return out, absent


def bands_of(path: str, where: str, file: RasterFile, layer: Layer, source: Source, row: Published | None) -> tuple[int, ...]:
    """The bands of one file, in the layer's order: those of the configuration, else those that their names say.

    Dates of a series have their order in the file. Raises `SourceError` where the bands cannot be told apart.
    """
    if shares_of(layer, row):
        layer = input_layer("corine_class")
    with open_raster(path, where) as dataset:
        bands = source.band_numbers or _bands_by_name(dataset, where, file, layer, source, row)
        require_bands(dataset, where, bands)
        refuse_alpha(dataset, where, bands)
        raw = row is not None or layer.kind == "class"
        check_numbers(dataset, where, bands, raw)
        if not raw:
            _check_twice(dataset, where, bands, source)
        if layer.kind != "class" and row is None and not source.stored:
            _check_units(dataset, where, bands, layer, file, source)
        return bands


def _check_units(
    dataset: DatasetReader, where: str, bands: tuple[int, ...], layer: Layer, file: RasterFile, source: Source
) -> None:
    """Refuse a file whose units are not those of its layer: another file of the source, a preset or `units` says which."""
    labels = file.labels if len(file.labels) == len(bands) else ()
    layer_units = {band.units for band in layer.bands} or {layer.units}
    of_files = layer.name not in INPUTS and source.units is None
    converts = bool({"scale", "offset"} & source.model_fields_set)
    for n, band in enumerate(bands):
        units = dataset.units[band - 1]
        expected_units = {layer.band(labels[n]).units} if labels and layer.dims else layer_units
        if of_files and units and units not in expected_units:
            raise SourceError(
                f"{dataset.name}: says that band {band} is in {units}, where other files of the layer {layer.name} are in"
                f" {', '.join(sorted(expected_units))}; bring all of them to the same units ({where})."
            )
        if not of_files and not converts and all(differ(units or "", other) for other in expected_units):
            raise SourceError(
                f"{dataset.name}: says that band {band} is in {units}, and the layer {layer.name} is in"
                f" {', '.join(sorted(expected_units))}; give {conversion(units or '', min(expected_units))}, or `scale: 1` if the"
                f" file is wrong ({where})."
            )


def _check_twice(dataset: DatasetReader, where: str, bands: tuple[int, ...], source: Source) -> None:
    """Refuse a scale or offset of the source that the file has as well: both would count."""
    for name, file_value, plain, file_values in (
        ("scale", source.scale, 1.0, dataset.scales),
        ("offset", source.offset, 0.0, dataset.offsets),
    ):
        if file_value != plain and any(np.isclose(file_values[band - 1], file_value, rtol=1e-6, atol=0) for band in bands):
            raise SourceError(
                f"{dataset.name}: has the {name} {file_value:g} of its own, which counts already, so that `{name}:"
                f" {file_value:g}` would be used twice; take `{name}` out of the source ({where})."
            )


def _bands_by_name(
    dataset: DatasetReader, where: str, file: RasterFile, layer: Layer, source: Source, row: Published | None
) -> tuple[int, ...]:
    if len(layer.dims) < 2:
        names, bands = source.band_names, value_bands(dataset)
        if names and len(names) == len(bands) > 1 and not any(name_of_band(dataset, band) for band in bands):
            return tuple(bands)  # the configuration names the bands of a file that does not
        return find_bands(dataset, where, layer, file.labels, row.bands if row else ())
    if dataset.count != len(file.bands):
        raise SourceError(
            f"{dataset.name}: has {dataset.count} bands, {where} needs {len(file.bands)} in the order of the layer's"
            f" {layer.dims[-1].replace('_', ' ')}s; name those by `bands:`."
        )
    return file.bands
