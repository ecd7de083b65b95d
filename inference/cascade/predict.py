"""Inputs to products: units over dask workers or in process, overviews above them, and the release that names them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from cube import model_card, publishing
from cube.config import Config
from cube.engine.attempt import patiently, store_named
from cube.engine.build import require_complete
from cube.engine.cluster import chosen
from cube.engine.report import Report
from cube.engine.workers import Workers, run
from cube.errors import ConfigError, WorkersError
from cube.grid import Unit
from cube.pyramids.overviews import Overviews, build_overviews, count_squares
from cube.pyramids.pyramid import Pyramid
from cube.records.traits import traits_attributes
from cube.storage import claims, lock, releases
from cube.storage.leaves import SPECIES_PER_SHARD
from cube.storage.ledger import digest, mark
from cube.storage.store import CubeStore, open_cube
from inference.cascade import products, versions
from inference.cascade.documents import model_documents
from inference.cascade.indicators import applicable
from inference.cascade.model import Model, load_model
from inference.cascade.unit import Job
from inference.cascade.worker import predict_unit, prepare

Progress = Callable[[int, int, str], None]  # units and squares done, in all, what
RETRIES: Final = 7  # after the first try: a store may be away for more than a minute (the waits add up to two)


@dataclass(frozen=True)
class Outcome:
    """What a run did: the release, units computed now, cells predicted now, clipped values, units that failed, its report."""

    release: str
    units: int
    cells: int
    clipped: int
    failures: list[str]
    report: Path


@dataclass(frozen=True)
class _Run:
    """What a run is to do, fixed before any work."""

    config: Config
    cube: CubeStore
    model: Model
    units: tuple[Unit, ...]
    version: str
    job: Job
    base: dict[str, Any]  # the release whose other products stay beside these

    @property
    def stage(self) -> str:
        return f"predict/{self.version}"

    @property
    def products(self) -> dict[str, str]:
        return self.job.version


def predict(
    config: Config,
    workers: int | None = None,
    scheduler: str | None = None,
    version: str | None = None,
    publish: bool = True,
    progress: Progress | None = None,
    only: Sequence[str] | None = None,
    tell: Callable[[str], None] | None = None,
) -> Outcome:
    """Predict every unit of the configuration's region and write a release.

    `workers` or a `scheduler` address stand above the configuration's `cluster`. A killed run goes on where it was: units
    with a valid receipt are left alone. With `only` some products are written, as a new version of them beside the others
    of the release that readers follow. `tell` is told what a person should know, such as the address of the dashboard.
    A log and a report of the run are left in the folder of the reports, whatever ends it.

    Raises `CubeError`, `ModelError` or `ConfigError` before any work starts; `WorkersError` where another run writes this
    version, or going on is useless (a full disk, a scheduler that went away).
    """
    cube = open_cube(config.cube_url, writable=True)
    fix = partial(_fixed, config, cube, load_model(config.model_path), version, only)
    this = fix()
    report = Report(config.report_path, config.title, cube.url, f"predict-{this.version}")
    told = _told(report, tell)
    crew = Workers(cluster=chosen(config.cluster, workers, scheduler), retries=RETRIES, prepare=partial(prepare, this.job),
                   one_a_process=True, tell=told)  # fmt: skip
    # A store that fails is named for the report too, so once within it.
    with store_named(cube.url), lock.held(cube, this.stage) as still_ours, report, store_named(cube.url), crew:
        if fix().version != this.version:
            raise WorkersError(f"{cube.url}: another run has taken version '{this.version}' just now; run the command again.")
        patiently(partial(_make_products, this), RETRIES)

        def move(what: str) -> None:
            still_ours()
            if progress:
                progress(report.done, report.total, f"{what}{report.speed()}")

        clipped, todo = _units(this, crew, report, move, told)
        if not report.failures:
            report.release = this.version
            refused = patiently(partial(_release, this, publish), RETRIES)
        else:
            refused = []
    return Outcome(this.version, todo, report.cells, clipped, report.failures + refused, report.folder / f"{report.name}.html")


def _told(report: Report, tell: Callable[[str], None] | None) -> Callable[[str], None]:
    def told(text: str) -> None:
        report.journal.write("note", text=text)
        if tell:
            tell(text)

    return told


def _fixed(config: Config, cube: CubeStore, model: Model, version: str | None, only: Sequence[str] | None) -> _Run:
    """Everything checked and decided. Raises `CubeError` or `ConfigError`."""
    region = config.predict_region()
    units = tuple(region.units())
    require_complete(cube, units)
    if config.predict.block % SPECIES_PER_SHARD:
        wrong = f"{config.path}: predict.block is {config.predict.block}"
        raise ConfigError(f"{wrong}; it must be a multiple of {SPECIES_PER_SHARD}, the species of a shard.")
    wanted = versions.wanted_products(only, model)
    bounds = (region.west_km, region.south_km, region.east_km, region.north_km)
    base = versions.beside(cube, wanted, model, bounds) if only is not None else {}
    # Habitats alone are read from the ranked species that are there already.
    there = base.get("products", {}) if wanted == ("habitats",) else {}
    composition, mask = there.get("composition"), versions.of_applicability(cube, there)
    what = (model.hash, bounds, config.predict.year, config.predict.area_m2)
    inputs = digest((*what, versions.input_hashes(cube), wanted, composition, mask))
    name = versions.choose(cube, version, inputs, only is None)
    job = Job(
        cube.url, str(config.model_path), tuple(dict.fromkeys(wanted, name).items()), bounds, config.predict.year,
        config.predict.area_m2, config.predict.block, inputs, model_hash=model.hash,
    )  # fmt: skip
    if composition is not None:
        job = replace(job, composition=composition, applicability=mask)
    return _Run(config, cube, model, units, name, job, base)


def _units(this: _Run, crew: Workers, report: Report, move: Callable[[str], None],
           told: Callable[[str], None]) -> tuple[int, int]:  # fmt: skip
    """Predict what has no valid receipt and build what stands above; (values clipped, units that were to do)."""
    cube, clipped = this.cube, 0
    cube.sweep(f"ledger/{this.stage}")
    claims.sweep(cube, this.stage)
    cube.sweep("products", deep=False)  # of the metadata above versions; other versions may be in the making
    for product, version in this.products.items():
        cube.sweep(f"products/{product}", deep=False)
        cube.sweep(f"products/{product}/{version}")
    marks = patiently(partial(_marks, this, report), RETRIES)
    todo = [unit for unit in this.units if unit.name not in marks]
    above = Overviews(this.stage, _pyramids(this), this.units, marks)
    report.expect(this.version, this.units, marks)
    report.expect_squares(count_squares(cube.region, [above]))
    report.begin(crew.where, crew.dashboard)
    if crew.dashboard:
        told(f"dask dashboard: {crew.dashboard}")
    move("units")
    task: Callable[[Unit], dict[str, Any]] = partial(predict_unit, replace(this.job, threads=crew.threads), this.stage)
    for end in run(task, todo, crew):
        if end.result is None:
            report.unit(this.version, end.task, end)
        else:
            marks[end.task.name] = end.result["mark"]
            counts = end.result["counts"]
            clipped += counts["clipped"]
            report.unit(this.version, end.task, end, end.result["seconds"], counts["cells"], end.result.get("steps"))
        move(end.task.name)
    for step in build_overviews(cube.url, cube.region, [replace(above, marks=marks)], crew):
        report.square(step)
        move(f"overviews {step.square.name}")
    return clipped, len(todo)


def _marks(this: _Run, report: Report) -> dict[str, str]:
    """The mark of every unit with a valid receipt; the seconds that those tell go to the report."""
    asked, marks = {unit.name for unit in this.units}, {}
    receipts: Iterable[tuple[str, Any]] = this.cube.read_folder(f"ledger/{this.stage}")
    held = [(name, receipt) for name, receipt in receipts if receipt.get("inputs") == this.job.inputs and name in asked]
    for name, receipt in held:
        marks[name] = mark(receipt)
        report.add_steps(receipt.get("steps", {}))
    return marks


def _pyramids(this: _Run) -> tuple[Pyramid, ...]:
    classes = this.model.habitats.flags() if this.model.habitats else {}
    return products.pyramids(this.products, this.job.area_m2, applicable(this.model.available), classes)


def _make_products(this: _Run) -> None:
    """Make the groups of every product to be written; what is there is left as it is."""
    config, cube, model, held = this.config, this.cube, this.model, this.products
    about: dict[str, Any] = {"floracube_inputs": this.job.inputs, "reference_year": config.predict.year}
    about[products.STATEMENT] = str(model.card.training.get("statement", products.PROBABILITY))
    about |= {k: v for k, v in (("license", config.license), ("attribution", config.attribution),
                                ("note", config.note)) if v}  # fmt: skip
    if model.ranges is not None:
        about["floracube_ranges"] = f"probabilities of {len(model.ranges)} species are 0 outside of their range maps"
    area = {**about, "reference_area_m2": config.predict.area_m2}
    names = model.ensemble.species
    if "species" in held:
        products.make_species(cube, held["species"], names, model.ensemble.scale, config.predict.area_m2, about)
        ids = np.arange(len(names), dtype=np.int32)
        columns = {"species_id": ids, "scientific_name": np.asarray(names, object), **model.traits}
        own = f"products/species/{held['species']}/{releases.TABLE}"
        releases.ensure_table(cube, own, columns, releases.TABLED["species"], traits_attributes())
        if (model_card.read_card(cube, held["species"]) or {}).get("model") != model.hash:
            model_card.write_model(cube, held["species"], *model_documents(config.model_path, model))
    if "composition" in held:
        products.make_composition(cube, held["composition"], area)
    if "indicators" in held:
        products.make_indicators(cube, held["indicators"], applicable(model.available), area)
    if "habitats" in held and model.habitats is not None:
        title = config.habitats.title if config.habitats else "Habitat"
        products.make_habitats(cube, held["habitats"], model.habitats.flags(), title, about)
        own = f"products/habitats/{held['habitats']}/{releases.TABLE}"
        releases.ensure_table(cube, own, model.habitats.table, releases.TABLED["habitats"])


def _release(this: _Run, publish: bool) -> list[str]:
    """Write the release, and let readers follow it if it keeps its promises; a sentence for each that it does not keep."""
    cube, held = this.cube, this.products
    origin = versions.provenance(
        this.config, this.model, this.job.region_km, this.job.inputs, tuple(held), this.base
    )  # fmt: skip
    releases.write_release(cube, this.version, {**this.base.get("products", {}), **held}, origin)
    if not cube.has("tables/species"):  # the first maps of a cube can be read before they are published
        releases.adopt_tables(cube, held)
    if not publish:
        return []
    _, document = publishing.publish(cube.url, this.version)
    return [f"release {this.version} is not published: {sentence}" for sentence in publishing.broken(document)]
