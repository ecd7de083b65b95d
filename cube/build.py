"""Sources to inputs, unit by unit: each unit is read, harmonised and written whole, and leaves a receipt."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pystac
from numpy.typing import NDArray

from cube import sentinel2, terrain
from cube.config import Config, Source
from cube.errors import ConfigError, FloracubeError, SourceError
from cube.grid import CELL, Region, Unit
from cube.layers import INPUTS, Layer, input_layer
from cube.ledger import Ledger, checksum, digest
from cube.rasters import check_raster, read_raster
from cube.store import CubeStore, create_cube, resolution_of

Progress = Callable[[int, int, str], None]  # units done, units in all, what


@dataclass(frozen=True)
class Task:
    """One source and what it needs to be read: files by band, or scenes."""

    source: Source
    layer: Layer
    where: str
    files: tuple[tuple[str, tuple[int, ...]], ...]  # path, bands; in the order of the layer's leading axes
    catalog: str = ""
    scenes: tuple[pystac.Item, ...] = ()

    @property
    def layers(self) -> list[Layer]:
        """Every layer that the task writes."""
        return [self.layer, *(input_layer(name) for name in self.source.derive)]


def _lengths(layer: Layer) -> tuple[int, ...]:
    return tuple(len(layer.labels[d]) for d in layer.dims)


def plan(config: Config, region: Region) -> list[Task]:
    """Check every source before any work starts; raises `SourceError` or `ConfigError` for the first that fails."""
    tasks: list[Task] = []
    for i, source in enumerate(config.sources):
        layer, where = input_layer(source.layer), f"sources[{i}].raster"
        lead = _lengths(layer)
        if source.stac is not None:
            catalog = config.source_path(source.stac.catalog)
            scenes = tuple(sentinel2.find_scenes(source.stac, catalog, region))
            tasks.append(Task(source, layer, where, (), catalog, scenes))
            continue
        files: list[tuple[str, tuple[int, ...]]] = []
        if isinstance(source.raster, dict):
            labels = layer.labels[layer.dims[0]] if layer.dims else ()
            if set(source.raster) != set(labels):
                raise ConfigError(
                    f"{config.path}: {where}: the layer {layer.name} needs one file for each of"
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
            raise ConfigError(
                f"{config.path}: sources[{i}].bands names {len(bands)} bands; the layer {layer.name} needs {count}."
            )
        for path, bands in files:
            check_raster(path, where, max(bands), region.bounds)
        tasks.append(Task(source, layer, where, tuple(files)))
    names = [layer.name for task in tasks for layer in task.layers]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ConfigError(f"{config.path}: sources: the layer {min(twice)} is given twice; keep one.")
    return tasks


def _fingerprint(task: Task) -> str:
    """Hash of what a task's values depend on: its configuration and the state of its local files."""
    paths = [path for path, _ in task.files] or [task.catalog]
    stats = [(p, os.stat(p).st_size, os.stat(p).st_mtime_ns) for p in paths if os.path.exists(p)]
    return digest((task.source.model_dump_json(), stats))


def _read(task: Task, region: Region, unit: Unit) -> dict[str, NDArray[Any]]:
    """Stored values of every layer of a task on one unit."""
    layer, source = task.layer, task.source
    if source.stac is not None:
        median, _ = sentinel2.composite(task.scenes, source.stac, unit)
        return {layer.name: median}
    resolution = resolution_of(layer)
    pad = 1 if source.derive else 0
    west, _, _, north = unit.bounds
    transform = region.transform(resolution)
    transform = type(transform)(resolution, 0, west - pad * resolution, 0, -resolution, north + pad * resolution)
    side = unit.km * 1000 // resolution + 2 * pad
    parts = [
        read_raster(path, task.where, transform, (side, side), bands, layer.kind == "class", source.resampling, source.absent)
        for path, bands in task.files
    ]
    values = np.concatenate(parts) * np.float32(source.scale) + np.float32(source.offset)
    if source.stored:
        values = values * np.float32(layer.scale) + np.float32(layer.offset)
    if source.derive:
        return terrain.derive(layer, values[0], CELL, source.derive)
    return {layer.name: layer.encode(values).reshape(*_lengths(layer), side, side)}


def _mask_outside(layer: Layer, values: NDArray[Any], region: Region, unit: Unit, resolution: int) -> None:
    """Outside the region there is no surface: units reach further than the region, predictions do not."""
    if layer.name != "surface":
        return
    w, s, e, n = region.bounds
    rows = np.arange(values.shape[-2]) * -resolution + unit.north - resolution / 2
    cols = np.arange(values.shape[-1]) * resolution + unit.west + resolution / 2
    outside = ~(((rows > s) & (rows < n))[:, None] & ((cols > w) & (cols < e))[None, :])
    values[..., outside] = layer.fill


def _make_groups(cube: CubeStore, tasks: Sequence[Task]) -> None:
    groups: dict[str, list[Layer]] = {}
    for task in tasks:
        for layer in task.layers:
            groups.setdefault(layer.group, []).append(layer)
    if not any(task.layer.name == "surface" for task in tasks):
        groups.setdefault("inputs/50m", []).append(INPUTS["surface"])
    for path, layers in groups.items():
        cube.ensure_group(path, layers, resolution_of(layers[0]), consolidate=False)
    for task in tasks:
        about = {"license": task.source.license, "attribution": task.source.attribution,
                 "reference_years": task.source.reference_years}  # fmt: skip
        for layer in task.layers:
            cube.array(layer.path).attrs.update({k: v for k, v in about.items() if v})
    for path, layers in groups.items():
        cube.ensure_group(path, [], resolution_of(layers[0]))


def build(config: Config, progress: Progress | None = None) -> list[str]:
    """Build every input of the configuration; returns one sentence for each unit that failed (none: all is built).

    Units with a valid receipt are left alone, so a killed build goes on where it was.
    """
    region = config.whole_region()
    tasks = plan(config, region)
    cube = create_cube(config.cube_url, region, config.title)
    cube.root.attrs.update({k: v for k, v in (("license", config.license), ("attribution", config.attribution),
                                              ("note", config.note)) if v})  # fmt: skip
    _make_groups(cube, tasks)
    units = list(region.units())
    ledgers = [Ledger(cube, f"inputs/{task.layer.name}", _fingerprint(task)) for task in tasks]
    todo = [(task, ledger, unit) for task, ledger in zip(tasks, ledgers, strict=True) for unit in ledger.missing(units)]
    failures: list[str] = []
    total = len(units) * len(tasks)
    done = total - len(todo)
    for task, ledger, unit in todo:
        if progress:
            progress(done, total, f"{task.layer.name} {unit.name}")
        try:
            _build_unit(cube, task, ledger, region, unit)
        except FloracubeError as error:
            failures.append(f"{unit.name}: {error}")
        except (OSError, RuntimeError) as error:
            failures.append(f"{unit.name}: {task.layer.name}: {error}")
        done += 1
    if not any(task.layer.name == "surface" for task in tasks):
        _plain_surface(cube, region, units)
    if progress:
        progress(done, total, "inputs")
    return failures


def _build_unit(cube: CubeStore, task: Task, ledger: Ledger, region: Region, unit: Unit) -> None:
    started = time.perf_counter()
    arrays = _read(task, region, unit)
    sums, counts = {}, {}
    for name, values in arrays.items():
        layer = input_layer(name)
        _mask_outside(layer, values, region, unit, resolution_of(layer))
        cube.write_unit(layer.path, unit, values, resolution_of(layer))
        sums[name] = checksum(values)
        empty = np.isnan(values) if layer.dtype.startswith("float") else values == layer.fill
        counts[f"{name} valid"] = int(values.size - empty.sum())
    ledger.sign(unit, started, counts, sums)


def _plain_surface(cube: CubeStore, region: Region, units: Sequence[Unit]) -> None:
    """Without a land mask every cell of the region counts as land."""
    layer = INPUTS["surface"]
    ledger = Ledger(cube, "inputs/surface", digest("all land"))
    for unit in ledger.missing(units):
        started = time.perf_counter()
        values = np.zeros((unit.cells, unit.cells), np.uint8)
        _mask_outside(layer, values, region, unit, CELL)
        cube.write_unit(layer.path, unit, values)
        ledger.sign(unit, started, {"land": int((values == 0).sum())}, {"surface": checksum(values)})


def require_complete(cube: CubeStore, units: Sequence[Unit]) -> None:
    """Raise `SourceError` unless every input layer has a receipt for each of `units`."""
    for stage in cube.stages("inputs"):
        held = set(cube.list_json(f"ledger/inputs/{stage}"))
        lacking = [unit.name for unit in units if unit.name not in held]
        if lacking:
            raise SourceError(
                f"{cube.url}: the input {stage} lacks {len(lacking)} units ({', '.join(lacking[:3])}...);"
                " run `floracube build` until it ends well."
            )
