"""Layers out of raster files: one file, one for each label, a template over labels or tiles; published ones by their row."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cube.config import Config, Source
from cube.config.sources import TERMS
from cube.errors import ConfigError, SourceError
from cube.grid import COARSE, FINE, Region, Unit, bounds_in
from cube.layers import Layer
from cube.layers.inputs import INPUTS, Range, plausible_ranges
from cube.sources import derivation
from cube.sources.opening import files_behind, is_remote, open_raster, raster_exists
from cube.sources.pixels import MAX_REFUSED_SHARE, Account, Bools, Floats, Judgement, PixelRules, file_ranges
from cube.sources.published_rasters import Published
from cube.sources.raster_files import check_files, files_of, lengths_of, shares_of
from cube.sources.raster_grid import RasterGrid
from cube.sources.reader import UnitValues
from cube.sources.source_layer import derived_layers, published_row, source_layer
from cube.sources.templates import RasterFile
from cube.sources.warp import ResampleSpec, area_of_cell, look_at, read_raster, working_bytes
from cube.storage.identity import file_identities
from cube.storage.store import resolution_of

LOOKED_AT: int = 32  # local files of a source whose pixels are looked at before work starts


@dataclass(frozen=True)
class RasterReader:
    """A layer and the files that hold it, in the order of the layer's leading axes.

    A number v of the files stands for `v * scale + offset` in the layer's units, for each label of its first axis.
    """

    ALGORITHM: ClassVar[int] = 2

    source: Source
    layer: Layer  # that is read
    layers_derived: tuple[Layer, ...]  # that are computed from it
    where: str
    files: tuple[RasterFile, ...]
    rules: PixelRules
    scale: tuple[float, ...] = (1.0,)
    offset: tuple[float, ...] = (0.0,)
    shares: tuple[int, ...] | None = None
    local_files: tuple[str, ...] = ()  # local files, whose state the values depend on

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layer itself and what is derived from it."""
        return (self.layer, *self.layers_derived)

    def depends_on(self) -> Mapping[str, Any]:
        """How numbers become values, and for each file its bands, plausible ranges and content."""
        contents = file_identities(files_behind(self.local_files, self.where))
        parent = os.path.commonpath([os.path.dirname(path) for path in self.local_files]) if self.local_files else ""
        files = []
        for file, spec, _ in self.specs():
            of_file: dict[str, Any] = {"bands": spec.bands, "ranges": spec.ranges, "tile": file.tile}
            if file.tile is None:
                paths = (file.path,) if isinstance(file.path, str) else file.path
                of_file["content"] = [contents.get(path, path) for path in paths]
            else:  # the name of a tile says where it lies
                path = str(file.path)
                of_file["name"] = path if is_remote(path) else os.path.relpath(path, parent)
            files.append(of_file)
        tiles = self.local_files if any(file.tile is not None for file in self.files) else ()
        return {
            "files": files,
            "tiles": {os.path.relpath(path, parent): contents[path] for path in tiles},
            "behind": [content for path, content in contents.items() if path not in self.local_files],
            "numbers": [numbers.tolist() for numbers in self.units_of_numbers],
            "shares": self.shares,
            # Of layers that it is not for, as before there was such a rule: no unit of theirs is built anew.
            "rules": {name: value for name, value in asdict(self.rules).items() if name != "fills" or value},
            "resampling": self.source.resampling,
            "absent": self.source.absent,
            "derive": (*self.source.derive, derivation.ALGORITHM) if self.source.derive else (),
        }

    @property
    def units_of_numbers(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(scale, offset) of every band: units of the layer = number (times the file's own scale) x scale + offset."""
        layer, count = self.layer, self._bands
        scale, offset = _along(self.scale, count), _along(self.offset, count)
        if self.source.stored:
            scale, offset = scale * layer.scale, offset * layer.scale + layer.offset
        return scale, offset

    @property
    def _bands(self) -> int:
        return len(self.shares) if self.shares else sum(len(file.bands) for file in self.files)

    def specs(self) -> list[tuple[RasterFile, ResampleSpec, Judgement]]:
        """How each file is read, and how the account of its pixels is judged."""
        layer, source = self.layer, self.source
        scale, offset = self.units_of_numbers
        value_ranges: list[Range] = []
        if not self.rules.classes:
            ranges = plausible_ranges(layer)
            value_ranges = [ranges[n * len(ranges) // len(scale)] for n in range(len(scale))]
        raw_ranges = file_ranges(value_ranges, scale.tolist(), offset.tolist()) if value_ranges else ()
        out, first = [], 0
        for file in self.files:
            bands = slice(first, first + len(file.bands))
            first = bands.stop
            spec = ResampleSpec(
                self.where,
                file.bands,
                layer.kind == "class",
                source.resampling,
                source.absent,
                self.rules,
                self.shares,
                raw_ranges[bands],
            )
            units = dict(zip(file.bands, zip(scale[bands].tolist(), offset[bands].tolist(), strict=True), strict=False))
            max_share = 0.0 if self.rules.classes or layer.kind == "class" else MAX_REFUSED_SHARE
            limits = dict(zip(file.bands, value_ranges[bands], strict=False))
            out.append((file, spec, Judgement(layer, self.where, limits, units, max_share, self.rules.fills)))
        return out

    def _cells(self, unit: Unit) -> tuple[RasterGrid, int]:
        """(cells of a unit, how many more on every side what is derived needs)."""
        return RasterGrid.of_place(unit, resolution_of(self.layer)), derivation.halo(self.layer, self.source.derive)

    def memory(self, unit: Unit) -> int:
        """Memory that reading a unit takes; the pixels of files far away are taken to be of 10 m."""
        cells, halo = self._cells(unit)
        target = cells.window(-halo, -halo, cells.shape[0] + 2 * halo, cells.shape[1] + 2 * halo)
        spec = max((spec for _, spec, _ in self.specs()), key=lambda spec: spec.layers)
        area = (resolution_of(self.layer) / FINE) ** 2
        local = [path for path in self.local_files if not is_remote(path)]
        if local:
            with open_raster(local[0], self.where) as dataset:
                area = area_of_cell(dataset, target)
        # Of all bands what is stored and two masks; of the bands of a file their values, two masks and what compares them.
        result = self._bands * cells.pixels * (np.dtype(self.layer.dtype).itemsize + 2)
        values = spec.layers * target.pixels * 8
        derivation_bytes = derivation.memory(self.layer, self.source.derive, target.pixels)
        return result + values + derivation_bytes + working_bytes(target, area, spec)

    def _files(self, target: RasterGrid) -> Iterator[tuple[Floats, Bools | None, tuple[str, ...]]]:
        """(values in units, which are missing because pixels were refused or None, warnings), file by file."""
        scale, offset = (numbers.astype(np.float32)[:, None, None] for numbers in self.units_of_numbers)
        first = 0
        for file, spec, judgement in self.specs():
            paths = file.paths(bounds_in(4326, target.bounds, target.crs))
            if file.tile is not None:
                paths = [path for path in paths if raster_exists(path, self.where)]
            account = Account()
            if paths:
                values = read_raster(paths, target, spec, account)
            else:  # the open sea has no tiles
                values = np.full((spec.layers, *target.shape), np.nan, np.float32)
            bands = slice(first, first + len(values))
            first = bands.stop
            if (scale[bands] != 1).any() or (offset[bands] != 0).any():
                values *= scale[bands]
                values += offset[bands]
            yield values, account.cells, judgement.check(account)

    def read(self, region: Region, unit: Unit) -> UnitValues:
        """Stored values of one unit; raises `SourceError` for a file whose numbers the layer cannot have."""
        layer, source_values = self.layer, []
        cells, halo = self._cells(unit)
        side, inner = cells.shape[0], (..., slice(halo, halo + cells.shape[0]), slice(halo, halo + cells.shape[1]))
        out = UnitValues({layer.name: np.empty((self._bands, side, side), layer.dtype)})
        marks = (out.refused, out.clipped)
        first = 0
        for values, is_refused, warnings in self._files(cells.window(-halo, -halo, side + 2 * halo, side + 2 * halo)):
            bands = slice(first, first + len(values))
            first = bands.stop
            out.warnings += warnings
            out[layer.name][bands] = layer.encode(values[inner])
            if self.layers_derived:
                source_values.append(values)
            for marks_by_layer, mask in zip(marks, (is_refused, layer.clipped(values)), strict=True):
                if mask is not None and mask[inner].any():
                    unit_marks = marks_by_layer.setdefault(layer.name, np.zeros((self._bands, side, side), np.bool_))
                    unit_marks[bands] = mask[inner]
        shape = (*lengths_of(layer), side, side)
        for array in (out, *marks):
            if layer.name in array:
                array[layer.name] = array[layer.name].reshape(shape)
        if source_values:
            out |= derivation.compute(layer, self.source.derive, np.concatenate(source_values), cells)
        return out


def _along(numbers: tuple[float, ...], count: int) -> NDArray[np.float64]:
    """One number, or one for each label of the first axis, repeated for every band."""
    return np.repeat(np.asarray(numbers, np.float64), count // len(numbers))


def open_rasters(config: Config, source: Source, where: str, region: Region) -> RasterReader:
    """Check the files of a source: raises `ConfigError` or `SourceError` for the first that does not fit the layer."""
    layer = source_layer(config, source, where)
    at = f"{config.path}: {where}"
    try:
        row = published_row(source, layer)
        files = files_of(config, source, where, layer, row)
    except ConfigError as error:
        raise ConfigError(f"{at}: {error}.") from None
    shares = shares_of(layer, row)
    count = 1 if shares else int(np.prod(lengths_of(layer)))
    if source.band_numbers is not None:
        files = [replace(file, bands=source.band_numbers) for file in files]
    bands_in_files = sum(len(file.bands) for file in files)
    if bands_in_files != count:
        raise ConfigError(
            f"{at}.bands names {bands_in_files // len(files)} bands; the layer {layer.name} needs {count // len(files)}."
        )
    files, local_files = check_files(files, f"{where}.raster", region, layer, source, row)
    rules = PixelRules()
    scale: tuple[float, ...] = (source.scale,)
    offset: tuple[float, ...] = (source.offset,)
    if row is not None:
        rules = row.rules(layer.name)
        scale = scale if "scale" in source.model_fields_set else row.scale
        offset = offset if "offset" in source.model_fields_set else row.offset
        source = credited(source, row)
    nodata = (*rules.nodata, *source.nodata, *((float(layer.fill),) if source.stored else ()))
    # A class is its number: a scale of the file says nothing of it.
    rules = replace(
        rules,
        nodata=nodata,
        classes=_classes(layer, source, rules),
        raw=rules.raw or layer.kind == "class",
        zeros=layer.name == "sentinel2",
        fills=layer.name not in INPUTS and layer.kind != "class" and layer.valid_range is None,
    )
    reader = RasterReader(
        source,
        layer,
        derived_layers(source, layer, at),
        f"{where}.raster",
        tuple(files),
        rules,
        scale,
        offset,
        shares,
        local_files,
    )
    _look(reader, region)
    return reader


def _classes(layer: Layer, source: Source, rules: PixelRules) -> dict[int, int | None]:
    """What each number of a file means for a class layer: the published meanings or the layer's legend, then `classes`.

    Once `classes` gives one of these numbers another meaning, the file has a legend of its own: then only what is listed
    has a meaning, and nothing is believed to be a class because its number happens to be one.
    """
    old_classes: dict[int, int | None] = dict(rules.classes) or {number: number for number, _, _ in layer.flags}
    names = {name: number for number, name, _ in layer.flags}
    new_classes = {number: names[meaning] if isinstance(meaning, str) else meaning for number, meaning in source.classes.items()}
    if any(number in old_classes and meaning not in (old_classes[number], None) for number, meaning in new_classes.items()):
        return new_classes
    return old_classes | new_classes


def _look(reader: RasterReader, region: Region) -> None:
    """Judge the pixels of the first local files before any work starts; units judge all of theirs when they are read."""
    local = [path for path in reader.local_files[:LOOKED_AT] if not is_remote(path)]
    for file, spec, judgement in reader.specs():
        for path in file.paths(region.degrees):
            if path in local:
                account = Account()
                # What cannot be read fails the units that it is about, and no other.
                with suppress(SourceError), open_raster(path, reader.where) as dataset:
                    look_at(dataset, RasterGrid.over(region.grown_bounds, COARSE, region.grid.code), spec, account)
                judgement.check(account)


def credited(source: Source, row: Published) -> Source:
    """The source with the licence, attribution, references and years of its row, where it names none itself."""
    return source.model_copy(update={name: getattr(source, name) or getattr(row, name) for name in TERMS})
