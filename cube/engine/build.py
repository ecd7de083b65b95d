"""Sources to inputs: every unit of every source read, harmonised and written whole, then the overviews above them.

What a source is, is known to its reader (`cube.sources`), how work is spread to `cube.engine.workers`; here is only what is to be
done, in which order, and what became of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import rasterio

from cube.config import Config
from cube.engine.memory import check_memory, peak_bytes, projected_bytes
from cube.engine.plan import StagePlan, make_groups
from cube.engine.report import Report
from cube.engine.workers import Workers, run, store_named
from cube.grid import Region, Unit
from cube.pyramids.overviews import Overviews, build_overviews, count_squares
from cube.sources.coverage import counts_of, coverage_of
from cube.sources.open import open_sources
from cube.sources.reader import Loadable, ManyScenes, Reader, UnitValues
from cube.storage import lock
from cube.storage.leaves import set_attributes
from cube.storage.ledger import Ledger, OpenBlocks, Receipt, ReceiptIndex, add_counts, checksum, fingerprint
from cube.storage.progress import LAYERS, input_stages
from cube.storage.store import CubeStore, create_cube, open_cube, resolution_of
from cube.storage.transient import retry_transient

Progress = Callable[[int, int, str], None]  # tasks done, tasks in all, what
GDAL_CACHE: int = 64 * 2**20  # bytes; GDAL's own 5 % of the machine, in every worker, would grow with the region


@dataclass(frozen=True)
class Stage:
    """A stage of the plan with its reader, and the state of its units in the ledger."""

    plan: StagePlan
    reader: Reader
    index: ReceiptIndex

    def open_blocks(self, cube: CubeStore, units: Sequence[Unit]) -> OpenBlocks:
        """The blocks of receipts that the missing ones of `units` belong to."""
        todo = [unit.name for unit in units if unit.name not in self.index.fingerprints]
        return OpenBlocks(Ledger(cube, self.plan.path, self.plan.inputs), units, todo)


@dataclass(frozen=True)
class UnitTask:
    """One unit of one reader, as it travels to a worker."""

    cube_url: str
    stage: str
    inputs: str | None
    reader: Reader
    region: Region
    unit: Unit
    stale: bool  # an older receipt is there: what it vouches for is about to be overwritten


def build(config: Config, progress: Progress | None = None, workers: Workers | None = None) -> list[str]:
    """Build every input of the configuration; returns one sentence for each unit that failed (none: all is built).

    A layer that has too few values in the region (`min_coverage`, or a band without any) is a failure, too.

    Units with a valid receipt are left alone, so an interrupted build resumes. What became of the run is written to
    `build.json` in the folder of the reports, whatever ended it. Raises `SourceError` or `ConfigError` before any work
    starts, `WorkersError` where another build is at work on this cube or continuing is useless (a full disk).
    """
    workers = workers or Workers()
    region = config.whole_region()
    readers = open_sources(config, region)
    terms = {"license": config.license, "attribution": config.attribution, "note": config.note}
    cube = create_cube(config.cube_url, region, config.title, terms)
    report = Report(config.report_path, config.title, cube.url)
    with store_named(cube.url), lock.hold(cube, "inputs") as still_ours, report:
        cube.sweep("", deep=False)  # of the root's own metadata; below it are other stages, which may be running
        cube.sweep("inputs")
        cube.sweep("ledger/inputs")
        lock.sweep_claims(cube, "inputs")
        plans = [StagePlan.of_reader(reader) for reader in readers]
        _remove_redefined(cube, plans)
        _forget_former_makers(cube, plans)
        make_groups(cube, plans)
        stages = [_stage(cube, plan, reader) for plan, reader in zip(plans, readers, strict=True)]
        units = tuple(region.units())
        missing = [stage.reader for stage in stages if not stage.index.fingerprints.keys() >= {unit.name for unit in units}]
        check_memory(missing, units[0], workers.cluster)
        fingerprints = {stage.plan.path: dict(stage.index.fingerprints) for stage in stages}
        counts = {stage.plan.path: dict(stage.index.counts) for stage in stages}
        blocks = {stage.plan.path: stage.open_blocks(cube, units) for stage in stages}
        above = [Overviews(plan.path, plan.pyramids(), units, fingerprints[plan.path]) for plan in plans]
        for plan in plans:
            report.expect(plan.name, units, fingerprints[plan.path])
        report.expect_squares(count_squares(region, above))

        def tell(what: str) -> None:
            still_ours()
            if progress:
                progress(report.steps_done, report.total, f"{what}{report.speed()}")

        with workers:
            report.begin(workers.where, workers.dashboard)
            tell("inputs")
            for outcome in run(build_unit, _tasks(cube.url, region, units, stages), workers):
                task, result, name = outcome.task, outcome.result, outcome.task.reader.layers[0].name
                if result is not None:
                    fingerprints[task.stage][task.unit.name] = result.fingerprint
                    add_counts(counts[task.stage], result.counts)
                    report.warn(result.warnings)
                report.unit(name, task.unit, outcome, result.seconds if result else 0.0, task.unit.cells**2)
                retry_transient(partial(blocks[task.stage].finish, task.unit.name), workers.retries, workers.first_wait)
                tell(f"{name} {task.unit.name}")
            for step in build_overviews(cube.url, region, above, workers):
                report.square(step)
                tell(f"overviews {step.square.name}")
        for plan in plans:
            complete = all(unit.name in fingerprints[plan.path] for unit in units)
            report.cover(plan.name, coverage_of(counts[plan.path]), plan.min_coverage if complete else 0.0)
    return report.failures


def _forget_former_makers(cube: CubeStore, plans: Sequence[StagePlan]) -> None:
    """Remove all receipts of a stage one of whose layers another stage makes now: its values are about to be written over.

    A slope of its own raster, then derived from an elevation, then of its raster again, would else pass for built.
    """
    makers = {layer.name: plan.path for plan in plans for layer in plan.layers}
    layers = cube.layers()
    for stage in input_stages(cube):
        other_layers = [name for name in stage.layers if makers.get(name, stage.path) != stage.path]
        if other_layers and stage.inputs is not None:
            cube.remove_tree(f"ledger/{stage.path}")
            if stage.layers[0] not in makers:
                remaining_layers = " ".join(name for name in stage.layers if name not in other_layers)
                set_attributes(cube.array(layers[stage.layers[0]].path), {LAYERS: remaining_layers})


def _remove_redefined(cube: CubeStore, plans: Sequence[StagePlan]) -> None:
    """Remove layers that are now of another resolution, type or bands, with their overviews and receipts."""
    cube_layers = cube.layers()
    for layer in (layer for plan in plans for layer in plan.layers):
        old = cube_layers.get(layer.name)
        if old is None or all(str(getattr(old, key)) == str(getattr(layer, key)) for key in ("path", "dtype", "fill", "labels")):
            continue
        overviews = f"inputs/overviews/{old.resolution}"
        groups = [old.group, *(f"{overviews}/{level}" for level in cube.groups(overviews))]
        for path in [*groups, *(f"{overviews}/sums/{level}" for level in cube.groups(f"{overviews}/sums"))]:
            for name in cube.folders(path):
                if name in (layer.name, f"{layer.name}_sum", f"{layer.name}_count", *old.dims):
                    cube.remove_tree(f"{path}/{name}")
        cube.remove_tree(f"ledger/inputs/{layer.name}")


def _stage(cube: CubeStore, plan: StagePlan, reader: Reader) -> Stage:
    ledger = Ledger(cube, plan.path, plan.inputs)
    ledger.compact()  # what a run that was killed left
    index = ledger.index()
    if isinstance(reader, Loadable) and any(unit.name not in index.fingerprints for unit in cube.region.units()):
        reader = reader.loaded(cube.region)
    return Stage(plan, reader, index)


def _tasks(url: str, region: Region, units: Sequence[Unit], stages: Sequence[Stage]) -> Iterator[UnitTask]:
    """What is missing, unit by unit: all sources of a place together, so that time left can be judged from time spent."""
    for unit in units:
        for stage in stages:
            if unit.name not in stage.index.fingerprints:
                reader = stage.reader.near(unit) if isinstance(stage.reader, ManyScenes) else stage.reader
                stale = unit.name in stage.index.stale
                yield UnitTask(url, stage.plan.path, stage.plan.inputs, reader, region, unit, stale)


@dataclass(frozen=True)
class BuiltUnit:
    """What comes back of a unit: the fingerprint of its values, the seconds it took, its counts and what a person should know."""

    fingerprint: str
    seconds: float
    counts: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def build_unit(task: UnitTask) -> BuiltUnit:
    """Read, write and sign one unit: an old receipt goes before the first shard is written, the new one comes after the last.

    What cannot be read leaves the unit as it was; what cannot be written whole is removed.
    Raises `SourceError` naming what cannot be read, and what the store raises.
    """
    cube = open_cube(task.cube_url, writable=True)
    ledger = Ledger(cube, task.stage, task.inputs)
    # Whoever is at it still, a worker of a run that was killed, is waited for; what it finished need not be done again.
    with lock.claimed(cube, task.stage, task.unit.name):
        receipt = ledger.valid(task.unit.name)
        warnings: tuple[str, ...] = ()
        if receipt is None:
            unit_receipt, warnings = _write(cube, ledger, task)
            receipt = vars(unit_receipt)
    return BuiltUnit(fingerprint(receipt), receipt.get("seconds", 0.0), receipt.get("counts", {}), warnings)


def _write(cube: CubeStore, ledger: Ledger, task: UnitTask) -> tuple[Receipt, tuple[str, ...]]:
    start = time.perf_counter()
    layers = {layer.name: layer for layer in task.reader.layers}
    with rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE):
        read_values = task.reader.read(task.region, task.unit)
    unit_values = read_values if isinstance(read_values, UnitValues) else UnitValues(read_values)
    if task.stale:
        ledger.withdraw(task.unit.name)
    checksums: dict[str, int] = {}
    counts: dict[str, int] = {}
    sizes: dict[str, int] = {}
    try:
        for name, values in read_values.items():
            layer = layers[name]
            sizes |= cube.write_unit(layer.path, task.unit, values, resolution_of(layer))
            checksums[name] = checksum(values)
            counts |= counts_of(
                layer, values, task.region, task.unit, unit_values.refused.get(name), unit_values.clipped.get(name)
            )
    except Exception:
        # The Rust codecs write in place: what a full disk cut off would lie there as a damaged shard.
        with suppress(Exception):
            for layer in task.reader.layers:
                cube.clear(layer.path, task.region.square(task.unit, resolution_of(layer)))
        raise
    memory = {"projected": projected_bytes(task.reader, task.unit), "peak": peak_bytes()}
    return ledger.sign(task.unit, start, counts, checksums, sizes, memory), unit_values.warnings
