"""Sources to inputs: every unit of every source read, harmonised and written whole, then the overviews above them.

What a source is, is known to its reader (`cube.sources`), how work is spread to `cube.engine.workers`; here is only what is to be
done, in which order, and what became of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import rasterio

from cube.config import Config
from cube.engine.attempt import store_named
from cube.engine.report import Report
from cube.engine.workers import Workers, run
from cube.errors import SourceError
from cube.grid import Region, Unit
from cube.layers import Layer
from cube.pyramids.levels import make_levels
from cube.pyramids.overviews import Overviews, build_overviews, count_squares
from cube.pyramids.pyramid import Pyramid
from cube.sources.open import open_sources
from cube.sources.reader import ManyScenes, Reader
from cube.storage import claims, lock
from cube.storage.leaves import set_attributes
from cube.storage.ledger import Ledger, Receipt, Standing, checksum, digest, mark
from cube.storage.store import CubeStore, create_cube, open_cube, resolution_of

Progress = Callable[[int, int, str], None]  # tasks done, tasks in all, what
GDAL_CACHE: int = 64 * 2**20  # bytes; GDAL's own 5 % of the machine, in every worker, would grow with the region


@dataclass(frozen=True)
class Stage:
    """One reader and the state of its units in the ledger."""

    reader: Reader
    inputs: str  # what a valid receipt carries
    standing: Standing

    @property
    def name(self) -> str:
        """The first layer, which names the stage."""
        return self.reader.layers[0].name

    @property
    def path(self) -> str:
        """The stage in the ledger."""
        return f"inputs/{self.name}"


@dataclass(frozen=True)
class UnitTask:
    """One unit of one reader, as it travels to a worker."""

    cube_url: str
    stage: str
    inputs: str
    reader: Reader
    region: Region
    unit: Unit
    stale: bool  # an older receipt is there: what it vouches for is about to be overwritten


def build(config: Config, progress: Progress | None = None, workers: Workers | None = None) -> list[str]:
    """Build every input of the configuration; returns one sentence for each unit that failed (none: all is built).

    Units with a valid receipt are left alone, so a killed build goes on where it was. What became of the run is written to
    `build.json` in the folder of the reports, whatever ended it. Raises `SourceError` or `ConfigError` before any work
    starts, `WorkersError` where another build is at work on this cube or going on is useless (a full disk).
    """
    workers = workers or Workers()
    region = config.whole_region()
    readers = open_sources(config, region)
    about = {"license": config.license, "attribution": config.attribution, "note": config.note}
    cube = create_cube(config.cube_url, region, config.title, about)
    report = Report(config.report_path, config.title, cube.url)
    with store_named(cube.url), lock.held(cube, "inputs") as still_ours, report:
        cube.sweep("", deep=False)  # of the root's own metadata; below it are other stages, which may be running
        cube.sweep("inputs")
        cube.sweep("ledger/inputs")
        claims.sweep(cube, "inputs")
        make_groups(cube, readers)
        stages = [_stage(cube, reader) for reader in readers]
        units = tuple(region.units())
        marks = {stage.path: {u.name: stage.standing.marks[u.name] for u in units if u.name in stage.standing.marks}
                 for stage in stages}  # fmt: skip
        above = [Overviews(stage.path, _pyramids(stage.reader.layers), units, marks[stage.path]) for stage in stages]
        for stage in stages:
            report.expect(stage.name, units, marks[stage.path])
        report.expect_squares(count_squares(region, above))

        def tell(what: str) -> None:
            still_ours()
            if progress:
                progress(report.done, report.total, f"{what}{report.speed()}")

        with workers:
            report.begin(workers.where, workers.dashboard)
            tell("inputs")
            for outcome in run(build_unit, _tasks(cube.url, region, units, stages), workers):
                task = outcome.task
                seconds = 0.0
                if outcome.result is not None:
                    marks[task.stage][task.unit.name] = outcome.result.mark
                    seconds = outcome.result.seconds
                report.unit(task.reader.layers[0].name, task.unit, outcome, seconds, task.unit.cells**2)
                tell(f"{task.reader.layers[0].name} {task.unit.name}")
            for step in build_overviews(cube.url, region, above, workers):
                report.square(step)
                tell(f"overviews {step.square.name}")
    return report.failures


def _stage(cube: CubeStore, reader: Reader) -> Stage:
    inputs = digest(reader.depends_on())
    return Stage(reader, inputs, Ledger(cube, f"inputs/{reader.layers[0].name}", inputs).standing())


def _tasks(url: str, region: Region, units: Sequence[Unit], stages: Sequence[Stage]) -> Iterator[UnitTask]:
    """What is missing, unit by unit: all sources of a place together, so that time left can be judged from time spent."""
    for unit in units:
        for stage in stages:
            if unit.name not in stage.standing.marks:
                reader = stage.reader.near(unit) if isinstance(stage.reader, ManyScenes) else stage.reader
                yield UnitTask(url, stage.path, stage.inputs, reader, region, unit, unit.name in stage.standing.stale)


def make_groups(cube: CubeStore, readers: Sequence[Reader]) -> None:
    """Make the groups and arrays of every layer and of its overviews; what is there is left as it is."""
    groups: dict[str, list[Layer]] = {}
    for reader in readers:
        for layer in reader.layers:
            groups.setdefault(layer.group, []).append(layer)
    for path, layers in groups.items():
        cube.ensure_group(path, layers, resolution_of(layers[0]), consolidate=False)
    for reader in readers:
        if reader.source is None:
            continue
        about = {"license": reader.source.license, "attribution": reader.source.attribution,
                 "references": reader.source.references, "reference_years": reader.source.reference_years}  # fmt: skip
        for layer in reader.layers:
            set_attributes(cube.array(layer.path), {k: v for k, v in about.items() if v})
    for path, layers in groups.items():
        cube.ensure_group(path, [], resolution_of(layers[0]))
        make_levels(cube, Pyramid.of_inputs(layers[0].resolution, layers))


def _pyramids(layers: Sequence[Layer]) -> tuple[Pyramid, ...]:
    """One pyramid for each resolution among the layers of a reader."""
    by_resolution: dict[str, list[Layer]] = {}
    for layer in layers:
        by_resolution.setdefault(layer.resolution, []).append(layer)
    return tuple(Pyramid.of_inputs(resolution, some) for resolution, some in by_resolution.items())


@dataclass(frozen=True)
class BuiltUnit:
    """What comes back of a unit: its mark in the ledger and the seconds it took."""

    mark: str
    seconds: float


def build_unit(task: UnitTask) -> BuiltUnit:
    """Read, write and sign one unit: an old receipt goes before the first shard is written, the new one comes after the last.

    What cannot be read leaves the unit as it was; what cannot be written whole is removed.
    Raises `SourceError` naming what cannot be read, and what the store raises.
    """
    cube = open_cube(task.cube_url, writable=True)
    ledger = Ledger(cube, task.stage, task.inputs)
    # Whoever is at it still, a worker of a run that was killed, is waited for; what it finished need not be done again.
    with claims.claimed(cube, task.stage, task.unit.name):
        held = ledger.valid(task.unit.name)
        receipt = held if held is not None else vars(_write(cube, ledger, task))
    return BuiltUnit(mark(receipt), receipt["seconds"])


def _write(cube: CubeStore, ledger: Ledger, task: UnitTask) -> Receipt:
    started = time.perf_counter()
    layers = {layer.name: layer for layer in task.reader.layers}
    with rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE):
        stored = task.reader.read(task.region, task.unit)
    if task.stale:
        ledger.withdraw(task.unit.name)
    checksums, counts = {}, {}
    try:
        for name, values in stored.items():
            layer = layers[name]
            cube.write_unit(layer.path, task.unit, values, resolution_of(layer))
            checksums[name] = checksum(values)
            empty = np.isnan(values) if layer.dtype.startswith("float") else values == layer.fill
            counts[f"{name} valid"] = int(values.size - empty.sum())
    except Exception:
        # The Rust codecs write in place: what a full disk cut off would lie there as a damaged shard.
        with suppress(Exception):
            for layer in task.reader.layers:
                cube.clear(layer.path, task.region.square(task.unit, resolution_of(layer)))
        raise
    return ledger.sign(task.unit, started, counts, checksums)


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
