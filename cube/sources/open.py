"""From a configuration to readers: every source is opened and checked before any work starts."""

from __future__ import annotations

from collections.abc import Sequence

from cube.config import Config, Source
from cube.errors import ConfigError
from cube.grid import Region
from cube.layers import Layer, periods
from cube.layers.inputs import input_layer
from cube.sources.effort import open_effort
from cube.sources.embeddings import open_embedding
from cube.sources.landsat import LandsatReader
from cube.sources.rasters import open_rasters
from cube.sources.reader import Reader
from cube.sources.sentinel2 import Sentinel2Reader
from cube.sources.source_layer import derived_layers
from cube.sources.surface import SurfaceReader, open_surface


def _require_stackstac(key: str) -> None:
    """Raise `ConfigError` for a configuration's key that needs stackstac where that is not installed."""
    try:
        import stackstac  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{key}: scenes need {error.name}, which is not installed; install floracube[build]"
            " (`pip install 'floracube[build]'`)."
        ) from error


def open_source(config: Config, source: Source, where: str, region: Region) -> Reader:
    """The reader of one source; `where` is its place in the configuration. Raises `SourceError` or `ConfigError`."""
    if source.stac is not None:
        _require_stackstac(f"{config.path}: {where}.stac")
        derived_layers(source, input_layer(source.layer), f"{config.path}: {where}")
        return (LandsatReader if source.layer == "landsat" else Sentinel2Reader).open(config, source, region)
    if source.embedding is not None:
        return open_embedding(config, source, where, region)
    if source.layer == "surface":
        return open_surface(config, source, where, region)
    return open_rasters(config, source, where, region)


def open_sources(config: Config, region: Region) -> list[Reader]:
    """A reader for each source, and one for the surface; raises `SourceError` or `ConfigError` for the first that fails."""
    readers: list[Reader] = []
    for i, source in enumerate(config.sources):
        readers.append(open_source(config, source, f"sources[{i}]", region))
    if not any(source.layer == "surface" for source in config.sources):
        readers.append(SurfaceReader(None))
    effort = open_effort(config, region)
    if effort is not None:
        readers.append(effort)
    names = [layer.name for reader in readers for layer in reader.layers]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ConfigError(f"{config.path}: sources: the layer {min(twice)} is given twice; keep one.")
    refuse_shared_names(config, [layer for reader in readers for layer in reader.layers])
    return readers


def refuse_shared_names(config: Config, layers: Sequence[Layer]) -> None:
    """Refuse a layer named like an axis or coordinate of another one, which is an array beside it in the cube."""
    names = {layer.name for layer in layers}
    for layer in layers:
        arrays = {array for dim in layer.dims for array in (dim, periods.time_name(dim), periods.bounds_name(dim))}
        if common_names := sorted(names & arrays):
            raise ConfigError(
                f"{config.path}: sources: the layer {common_names[0]} has the name of an axis of the layer {layer.name};"
                " choose another name."
            )
