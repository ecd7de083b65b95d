"""Layers out of raster files: one file, one for each label, a template over labels or tiles; published ones by their row."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from cube.config import Config, Source
from cube.errors import ConfigError, SourceError
from cube.grid import CELL, Region, Unit
from cube.inputs import input_layer
from cube.layers import Layer
from cube.sources import terrain
from cube.sources.published import Published, published
from cube.sources.reader import file_states
from cube.sources.templates import RasterFile, expand
from cube.sources.warp import PixelRules, check_raster, is_remote, is_there, read_raster
from cube.storage.store import resolution_of

NAMED: int = 3  # missing files that a sentence names


@dataclass(frozen=True)
class RasterReader:
    """A layer and the files that hold it, in the order of the layer's leading axes.

    A number v of the files stands for `v * scale + offset` in the layer's units, for each label of its first axis.
    """

    source: Source
    where: str
    files: tuple[RasterFile, ...]
    rules: PixelRules
    scale: tuple[float, ...] = (1.0,)
    offset: tuple[float, ...] = (0.0,)
    shares: tuple[int, ...] | None = None
    seen: tuple[str, ...] = ()  # local files, whose state the values depend on

    @property
    def layer(self) -> Layer:
        """The layer that is read, not derived."""
        return input_layer(self.source.layer)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layer itself and what is derived from it."""
        return (self.layer, *(input_layer(name) for name in self.source.derive))

    def depends_on(self) -> tuple[Any, ...]:
        """The configuration, the published numbers and the state of local files."""
        numbers = (self.scale, self.offset, self.shares, repr(self.rules))
        return (self.source.model_dump_json(), numbers, file_states(self.seen))

    def values(self, unit: Unit, halo: int = 0) -> NDArray[np.float32]:
        """(bands, rows, columns) in the layer's units, NaN without data, of a unit with `halo` pixels around it."""
        layer, source = self.layer, self.source
        size = resolution_of(layer)
        west, south, east, north = unit.bounds
        transform = Affine(size, 0, west - halo * size, 0, -size, north + halo * size)
        side = unit.km * 1000 // size + 2 * halo
        around = (west - halo * size, south - halo * size, east + halo * size, north + halo * size)
        parts = []
        for file in self.files:
            paths = file.paths(around)
            if file.tile is not None:
                paths = [path for path in paths if is_there(path, self.where)]
            if paths:
                parts.append(read_raster(paths, self.where, transform, (side, side), file.bands, layer.kind == "class",
                                         source.resampling, source.absent, self.rules, self.shares))  # fmt: skip
            else:  # the open sea has no tiles
                parts.append(np.full((len(self.shares or file.bands), side, side), np.nan, np.float32))
        values = np.concatenate(parts)
        scale, offset = (_along(numbers, len(values)) for numbers in (self.scale, self.offset))
        if (scale != 1).any() or (offset != 0).any():
            values = values * scale[:, None, None] + offset[:, None, None]
        if source.stored:
            values = values * np.float32(layer.scale) + np.float32(layer.offset)
        return values

    def read(self, region: Region, unit: Unit) -> dict[str, NDArray[Any]]:
        """Stored values of one unit."""
        layer = self.layer
        if self.source.derive:
            halo = terrain.halo(self.source.derive)
            return terrain.derive(layer, self.values(unit, halo)[0], CELL, self.source.derive)
        values = self.values(unit)
        return {layer.name: layer.encode(values).reshape(*_lengths(layer), *values.shape[1:])}


def _lengths(layer: Layer) -> tuple[int, ...]:
    return tuple(len(layer.labels[d]) for d in layer.dims)


def _along(numbers: tuple[float, ...], count: int) -> NDArray[np.float32]:
    """One number, or one for each label of the first axis, repeated for every band."""
    return np.repeat(np.asarray(numbers, np.float32), count // len(numbers))


def open_rasters(config: Config, source: Source, where: str, region: Region) -> RasterReader:
    """Check the files of a source: raises `ConfigError` or `SourceError` for the first that does not fit the layer."""
    layer = input_layer(source.layer)
    at = f"{config.path}: {where}"
    try:
        row = published(source.published, layer.name) if source.published else None
        files = files_of(config, source, layer, row)
    except ConfigError as error:
        raise ConfigError(f"{at}: {error}.") from None
    shares = _shares(layer, row)
    count = 1 if shares else int(np.prod(_lengths(layer)))
    if source.bands is not None:
        files = [RasterFile(file.path, source.bands, file.tile) for file in files]
    found = sum(len(file.bands) for file in files)
    if found != count:
        raise ConfigError(f"{at}.bands names {found // len(files)} bands; the layer {layer.name} needs {count // len(files)}.")
    seen = _check(files, f"{where}.raster", region)
    rules = PixelRules(nodata=source.nodata)
    scale: tuple[float, ...] = (source.scale,)
    offset: tuple[float, ...] = (source.offset,)
    if row is not None:
        rules = row.rules(layer.name)
        rules = PixelRules((*rules.nodata, *source.nodata), rules.valid, rules.recode, rules.known, rules.raw)
        scale = scale if "scale" in source.model_fields_set else row.scale
        offset = offset if "offset" in source.model_fields_set else row.offset
        source = credited(source, row)
    return RasterReader(source, f"{where}.raster", tuple(files), rules, scale, offset, shares, seen)


def credited(source: Source, row: Published) -> Source:
    """The source with the licence, attribution, references and years of its row, where it names none itself."""
    names = ("license", "attribution", "references", "reference_years")
    return source.model_copy(update={name: getattr(source, name) or getattr(row, name) for name in names})


def _shares(layer: Layer, row: Published | None) -> tuple[int, ...] | None:
    """Classes whose shares fill the layer: the row's own and, where the layer has one more label, what has no class."""
    if layer.name != "corine" or row is None:
        return None
    return (*row.classes, len(row.classes) + 1)


def files_of(config: Config, source: Source, layer: Layer, row: Published | None) -> list[RasterFile]:
    """The files of a source by name alone; raises `ConfigError` (without its place) for a name that does not fit."""
    names = row.bands if row else ()
    tile = row.tile if row else None
    if _shares(layer, row):
        layer = input_layer("corine_class")  # one band of classes, whatever becomes of it
    raster = source.raster
    assert raster is not None
    if isinstance(raster, dict):
        labels = layer.labels[layer.dims[0]] if layer.dims else ()
        if set(raster) != set(labels):
            raise ConfigError(
                f"raster: the layer {layer.name} needs one file for each of {', '.join(labels) or 'no name: give one path'};"
                f" found {', '.join(raster)}"
            )
        rest = int(np.prod(_lengths(layer)[1:]))
        return [RasterFile(config.source_path(raster[label]), tuple(range(1, rest + 1))) for label in labels]
    if isinstance(raster, tuple):
        count = int(np.prod(_lengths(layer)))
        return [RasterFile(tuple(config.source_path(tile) for tile in raster), tuple(range(1, count + 1)))]
    path = config.source_path(raster)
    if row is not None and raster.endswith("/"):
        path = f"{path.rstrip('/')}/{row.file}"
    return expand(path, layer, names, tile)


def _check(files: list[RasterFile], where: str, region: Region) -> tuple[str, ...]:
    """Refuse missing and unfit files; returns the local ones. Remote ones are opened only where there are few."""
    tiled = any(file.tile is not None for file in files)
    paths = list(dict.fromkeys(path for file in files for path in file.paths(region.grown_bounds)))
    local = [path for path in paths if not is_remote(path)]
    missing = [path for path in local if not os.path.exists(path)]
    there = tuple(path for path in local if path not in set(missing))
    if missing and not (tiled and there):
        if len(paths) == 1:
            raise SourceError(f"{missing[0]}: there is no such file; check {where}.")
        named = ", ".join(missing[:NAMED]) + (", ..." if len(missing) > NAMED else "")
        raise SourceError(f"{len(missing)} of {len(paths)} files of {where} are missing: {named}; fetch them or check the name.")
    whole = not tiled and not any(isinstance(file.path, tuple) for file in files)
    remote = [path for path in paths if path not in set(local)]
    for file in files:
        for path in file.paths(region.grown_bounds):
            # A thousand remote files are not worth a thousand requests before work starts; the first speaks for them.
            if path in there or (not tiled and path == remote[0]):
                check_raster(path, where, max(file.bands), region.bounds if whole else None)
    return there
