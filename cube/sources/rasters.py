"""Layers out of raster files: one file for all bands, or one for each label of the layer's first axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cube.config import Config, Source
from cube.errors import ConfigError
from cube.grid import CELL, Region, Unit
from cube.inputs import input_layer
from cube.layers import Layer
from cube.sources import terrain
from cube.sources.reader import file_states
from cube.sources.warp import check_raster, read_raster
from cube.store import resolution_of


@dataclass(frozen=True)
class RasterReader:
    """A layer and the files that hold it; `files` are (path, bands) in the order of the layer's leading axes."""

    source: Source
    where: str
    files: tuple[tuple[str, tuple[int, ...]], ...]

    @property
    def layer(self) -> Layer:
        """The layer that is read, not derived."""
        return input_layer(self.source.layer)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layer itself and what is derived from it."""
        return (self.layer, *(input_layer(name) for name in self.source.derive))

    def depends_on(self) -> tuple[Any, ...]:
        """The configuration and the state of local files."""
        return (self.source.model_dump_json(), file_states(path for path, _ in self.files))

    def read(self, region: Region, unit: Unit) -> dict[str, NDArray[Any]]:
        """Stored values of one unit."""
        layer, source = self.layer, self.source
        resolution = resolution_of(layer)
        pad = 1 if source.derive else 0
        west, _, _, north = unit.bounds
        transform = region.transform(resolution)
        transform = type(transform)(resolution, 0, west - pad * resolution, 0, -resolution, north + pad * resolution)
        side = unit.km * 1000 // resolution + 2 * pad
        parts = [
            read_raster(path, self.where, transform, (side, side), bands, layer.kind == "class", source.resampling, source.absent)
            for path, bands in self.files
        ]
        values = np.concatenate(parts) * np.float32(source.scale) + np.float32(source.offset)
        if source.stored:
            values = values * np.float32(layer.scale) + np.float32(layer.offset)
        if source.derive:
            return terrain.derive(layer, values[0], CELL, source.derive)
        return {layer.name: layer.encode(values).reshape(*_lengths(layer), side, side)}


def _lengths(layer: Layer) -> tuple[int, ...]:
    return tuple(len(layer.labels[d]) for d in layer.dims)


def open_rasters(config: Config, source: Source, where: str, region: Region) -> RasterReader:
    """Check the files of a source: raises `ConfigError` or `SourceError` for the first that does not fit the layer."""
    layer = input_layer(source.layer)
    lead = _lengths(layer)
    if isinstance(source.raster, dict):
        labels = layer.labels[layer.dims[0]] if layer.dims else ()
        if set(source.raster) != set(labels):
            raise ConfigError(
                f"{config.path}: {where}.raster: the layer {layer.name} needs one file for each of"
                f" {', '.join(labels) or 'no name: give one path'}; found {', '.join(source.raster)}."
            )
        count = lead[1] if len(lead) == 2 else 1
        bands = source.bands or tuple(range(1, count + 1))
        files = [(config.source_path(source.raster[label]), bands) for label in labels]
    else:
        assert source.raster is not None
        count = int(np.prod(lead)) if lead else 1
        bands = source.bands or tuple(range(1, count + 1))
        files = [(config.source_path(source.raster), bands)]
    if sum(len(b) for _, b in files) != (int(np.prod(lead)) if lead else 1):
        raise ConfigError(f"{config.path}: {where}.bands names {len(bands)} bands; the layer {layer.name} needs {count}.")
    for path, bands in files:
        check_raster(path, f"{where}.raster", max(bands), region.bounds)
    return RasterReader(source, f"{where}.raster", tuple(files))
