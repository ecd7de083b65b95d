"""Inputs to products: units over dask workers or in process, overviews above them, and the release that names them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cube.check import publishing
from cube.check.receipts import cut_shares
from cube.config import Config
from cube.engine.cluster import with_flags
from cube.engine.report import Report
from cube.engine.workers import Workers, run, store_named
from cube.errors import ConfigError, WorkersError
from cube.grid import Region, Unit
from cube.pyramids.facts import all_facts, make_facts
from cube.pyramids.overviews import Overviews, build_overviews, count_squares
from cube.pyramids.pyramid import Pyramid
from cube.records.traits import traits_attributes
from cube.storage import lock, model_card, releases
from cube.storage.identity import digest
from cube.storage.leaves import SPECIES_PER_SHARD
from cube.storage.ledger import Ledger, OpenBlocks, fingerprint, receipts
from cube.storage.progress import MADE_FROM, REGION_KM, require_complete
from cube.storage.store import CubeStore, open_cube
from cube.storage.transient import retry_transient
from inference.cascade import products, versions
from inference.cascade.areas import extrapolated_area
from inference.cascade.ceilings import map_scale, stored_scale
from inference.cascade.documents import model_documents
from inference.cascade.fidelity import remove_documents, write_documents
from inference.cascade.indicators import applicable
from inference.cascade.model import Model, load_model
from inference.cascade.unit import Job, open_job
from inference.cascade.worker import predict_unit

Progress = Callable[[int, int, str], None]  # units and squares done, in all, what
RETRIES: Final = 7  # after the first try: a store may be away for more than a minute (the waits add up to two)


@dataclass(frozen=True)
class Outcome:
    """What a run did: the release, units and cells predicted now, values clipped now, units that failed, its report.

    `clipped_shares`: by species, the share of the cells of the whole version whose value is above the largest stored one.
    """

    release: str
    units: int
    cells: int
    clipped: int
    failures: list[str]
    report: Path
    clipped_shares: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """What a run is to do, fixed before any work."""

    config: Config
    cube: CubeStore
    model: Model
    units: tuple[Unit, ...]
    version: str
    job: Job
    base: dict[str, Any]  # the release whose other products stay beside these
    made_from: list[str]  # hashes of the inputs

    @property
    def stage(self) -> str:
        """The stage in the ledger."""
        return f"predict/{self.version}"

    @property
    def products(self) -> dict[str, str]:
        """Version by product to be written."""
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

    `workers` or a `scheduler` address stand above the configuration's `cluster`. An interrupted run resumes: units
    with a valid receipt are left alone. With `only` some products are written, as a new version of them beside the others
    of the release that readers follow. `tell` is told what a person should know, such as the address of the dashboard.
    A log and a report of the run are left in the folder of the reports, whatever ends it.

    Raises `CubeError`, `ModelError` or `ConfigError` before any work starts; `WorkersError` where another run writes this
    version, or continuing is useless (a full disk, a scheduler that went away).
    """
    cube = open_cube(config.cube_url, writable=True)
    fix = partial(fix_run, config, cube, load_model(config.model_path), version, only)
    this = fix()
    report = Report(config.report_path, config.title, cube.url, f"predict-{this.version}")
    announce = _announcer(report, tell)
    crew = Workers(
        cluster=with_flags(config.cluster, workers, scheduler),
        retries=RETRIES,
        prepare=partial(open_job, this.job),
        one_a_process=True,
        tell=announce,
    )
    # A store that fails is named for the report too, so once within it.
    with store_named(cube.url), lock.hold(cube, this.stage) as still_ours, report, store_named(cube.url), crew:
        if fix().version != this.version:
            raise WorkersError(f"{cube.url}: another run has taken version '{this.version}' just now; run the command again.")
        if progress:
            progress(0, 0, "fixing the species' steps from cells of the region")
        retry_transient(partial(make_products, this), RETRIES)

        def move(what: str) -> None:
            still_ours()
            if progress:
                progress(report.steps_done, report.total, f"{what}{report.speed()}")

        clipped_values, todo = _units(this, crew, report, move, announce)
        if not report.failures:
            if retry_transient(partial(_made_from, cube, this.model, this.units), RETRIES) != this.made_from:
                raise WorkersError(f"{cube.url}: inputs were built anew during this run; run `floracube predict` again.")
            report.release = this.version
            broken_rules = retry_transient(partial(_release, this, publish), RETRIES)
        else:
            broken_rules = []
        clipped_shares = retry_transient(partial(_clipped_shares, this), RETRIES)
    return Outcome(this.version, todo, report.cells, clipped_values, report.failures + broken_rules, report.path, clipped_shares)


def _clipped_shares(this: Run) -> dict[str, float]:
    """See `Outcome.clipped_shares`."""
    return cut_shares(receipt for _, receipt in receipts(this.cube, this.stage) if receipt["inputs"] == this.job.inputs)


def _announcer(report: Report, tell: Callable[[str], None] | None) -> Callable[[str], None]:
    def announce(text: str) -> None:
        report.journal.write("note", text=text)
        if tell:
            tell(text)

    return announce


def fix_run(config: Config, cube: CubeStore, model: Model, version: str | None, only: Sequence[str] | None) -> Run:
    """Everything checked and decided. Raises `CubeError` or `ConfigError`."""
    region = config.predict_region()
    units = tuple(region.units())
    _require_region(config, cube, region)
    extrapolated_area(config, model.areas)
    versions.require_layers(config, cube, model)
    if config.predict.block % SPECIES_PER_SHARD:
        wrong = f"{config.path}: predict.block is {config.predict.block}"
        raise ConfigError(f"{wrong}; it must be a multiple of {SPECIES_PER_SHARD}, the species of a shard.")
    products_to_write = versions.wanted_products(only, model)
    bounds = (region.west_km, region.south_km, region.east_km, region.north_km)
    base = versions.base_release(config, cube, products_to_write, model, bounds) if only is not None else {}
    # Habitats alone are read from the ranked species that are there already.
    base_products = base.get("products", {}) if products_to_write == ("habitats",) else {}
    composition, mask = base_products.get("composition"), versions.of_applicability(cube, base_products)
    what = (model.hash, bounds, config.predict.year, config.predict.area_m2)
    made_from = _made_from(cube, model, units)
    inputs = digest([*what, made_from, products_to_write, composition, mask])
    name = versions.choose(cube, version, inputs, only is None)
    job = Job(
        cube.url,
        str(config.model_path),
        tuple(dict.fromkeys(products_to_write, name).items()),
        bounds,
        config.predict.year,
        config.predict.area_m2,
        config.predict.block,
        inputs,
        model_hash=model.hash,
    )
    if composition is not None:
        job = replace(job, composition=composition, applicability=mask)
    return Run(config, cube, model, units, name, job, base, made_from)


def _made_from(cube: CubeStore, model: Model, units: Sequence[Unit]) -> list[str]:
    """Hashes of the inputs that a prediction reads; raises `SourceError` unless they are complete."""
    return require_complete(cube, {"surface", *model.recipe.layers}, units)


def _require_region(config: Config, cube: CubeStore, region: Region) -> None:
    """Raises `ConfigError` unless `region` is a part of the cube, cut into the same units."""
    in_cube, in_run = ((*(edge // 1000 for edge in r.bounds), r.unit_km) for r in (cube.region, region))
    inside = in_cube[0] <= in_run[0] and in_cube[1] <= in_run[1] and in_run[2] <= in_cube[2] and in_run[3] <= in_cube[3]
    if not inside or cube.region.unit_km != region.unit_km:
        raise ConfigError(
            f"{config.path}: region {list(in_run[:4])} km in units of {in_run[4]} km is no part of {cube.url}, which was built"
            f" for {list(in_cube[:4])} km in units of {in_cube[4]} km; choose a region within it, or build another cube."
        )


def _units(
    this: Run, crew: Workers, report: Report, move: Callable[[str], None], announce: Callable[[str], None]
) -> tuple[int, int]:
    """Predict what has no valid receipt and build what stands above; (values clipped, units that were to do)."""
    cube, clipped_values = this.cube, 0
    cube.sweep(f"ledger/{this.stage}")
    lock.sweep_claims(cube, this.stage)
    cube.sweep("products", deep=False)  # of the metadata above versions; other versions may be in the making
    for product, version in this.products.items():
        cube.sweep(f"products/{product}", deep=False)
        cube.sweep(f"products/{product}/{version}")
    ledger = Ledger(cube, this.stage, this.job.inputs)
    retry_transient(ledger.compact, RETRIES)  # what a run that was killed left
    fingerprints = retry_transient(partial(_fingerprints, this, report), RETRIES)
    todo = [unit for unit in this.units if unit.name not in fingerprints]
    if todo:
        retry_transient(partial(remove_documents, cube, this.base.get("products", {}), this.products), RETRIES)
    blocks = OpenBlocks(ledger, this.units, [unit.name for unit in todo])
    facts = retry_transient(partial(all_facts, cube, this.products), RETRIES)
    above = Overviews(this.stage, _pyramids(this), this.units, fingerprints, facts)
    report.expect(this.version, this.units, fingerprints)
    report.expect_squares(count_squares(cube.region, [above]))
    report.begin(crew.where, crew.dashboard)
    if crew.dashboard:
        announce(f"dask dashboard: {crew.dashboard}")
    move("units")
    job = replace(this.job, threads=crew.threads, facts=facts)
    task: Callable[[Unit], dict[str, Any]] = partial(predict_unit, job, this.stage)
    for end in run(task, todo, crew):
        if end.result is None:
            report.unit(this.version, end.task, end)
        else:
            fingerprints[end.task.name] = end.result["fingerprint"]
            counts, seconds = end.result.get("counts", {}), end.result.get("seconds", 0.0)
            clipped_values += counts.get("clipped", 0)
            report.unit(this.version, end.task, end, seconds, counts.get("cells", 0), end.result.get("steps"))
        retry_transient(partial(blocks.finish, end.task.name), RETRIES)
        move(end.task.name)
    for step in build_overviews(cube.url, cube.region, [replace(above, fingerprints=fingerprints)], crew):
        report.square(step)
        move(f"overviews {step.square.name}")
    return clipped_values, len(todo)


def _fingerprints(this: Run, report: Report) -> dict[str, str]:
    """The fingerprint of every unit with a valid receipt; the seconds that those tell go to the report."""
    unit_names = {unit.name for unit in this.units}
    valid = [
        (name, receipt)
        for name, receipt in receipts(this.cube, this.stage)
        if receipt["inputs"] == this.job.inputs and name in unit_names
    ]
    for _, receipt in valid:
        report.add_steps(receipt.get("steps", {}))
    return {name: fingerprint(receipt) for name, receipt in valid}


def _pyramids(this: Run) -> tuple[Pyramid, ...]:
    classes = this.model.habitats.flags() if this.model.habitats else {}
    return products.pyramids(this.products, this.job.area_m2, applicable(this.model.available), classes)


def make_products(this: Run, steps: NDArray[np.float32] | None = None) -> None:
    """Make the groups of every product to be written; what is there is left as it is.

    `steps` (species): the probability of one stored step of each; None: fixed from cells of the region, which takes a while.
    """
    config, cube, model, to_write = this.config, this.cube, this.model, this.products
    attributes: dict[str, Any] = {MADE_FROM: this.job.inputs, REGION_KM: list(this.job.region_km)}
    attributes["reference_year"] = config.predict.year
    attributes[products.OUTPUT_KIND] = str(model.card.training.get("statement", products.PROBABILITY))
    attributes |= {
        k: v for k, v in (("license", config.license), ("attribution", config.attribution), ("note", config.note)) if v
    }
    extrapolation_note = extrapolated_area(config, model.areas)
    attributes |= products.attributes_of(config.note, str(attributes[products.OUTPUT_KIND]), extrapolation_note)
    if model.ranges is not None:
        attributes["floracube_ranges"] = f"probabilities of {len(model.ranges)} species are 0 outside of their range maps"
    area = {**attributes, "reference_area_m2": config.predict.area_m2}
    names = model.ensemble.species
    species = {
        "species_id": np.arange(len(names), dtype=np.int32),
        "scientific_name": np.asarray(names, object),
        **model.traits,
    }
    if "species" in to_write:
        scale = stored_scale(cube, to_write["species"]) if steps is None else steps
        if scale is None:  # a resumed run has fixed its steps already
            region = config.predict_region()
            scale = map_scale(cube, model, this.units, region, config.predict.year, config.predict.area_m2)
        releases.ensure_table(cube, "species", to_write["species"], species, traits_attributes())
        products.make_species(cube, to_write["species"], names, scale, config.predict.area_m2, attributes)
        if (model_card.read_card(cube, to_write["species"]) or {}).get("model") != model.hash:
            card, rows = model_documents(config.model_path, model)
            card["extrapolated_area"] = extrapolation_note or None
            model_card.write_model(cube, to_write["species"], card, rows)
    if "composition" in to_write:
        releases.ensure_table(cube, "composition", to_write["composition"], species, traits_attributes())
        products.make_composition(cube, to_write["composition"], area)
    if "indicators" in to_write:
        products.make_indicators(cube, to_write["indicators"], applicable(model.available), area)
    if "habitats" in to_write and model.habitats is not None:
        title = config.habitats.title if config.habitats else "Habitat"
        releases.ensure_table(cube, "habitats", to_write["habitats"], model.habitats.table)
        products.make_habitats(cube, to_write["habitats"], model.habitats.flags(), title, attributes)
    make_facts(cube, this.stage, to_write)


def _release(this: Run, publish: bool) -> list[str]:
    """Write the release, and let readers follow it if it keeps the rules; a sentence for each that it does not keep."""
    cube, to_write = this.cube, this.products
    origin = versions.provenance(this.config, this.model, this.job.region_km, this.job.inputs, tuple(to_write), this.base)
    products = {**this.base.get("products", {}), **to_write}
    write_documents(cube, products)
    releases.write_release(cube, this.version, products, origin)
    if not publish:
        return []
    _, document = publishing.publish(cube.url, this.version)
    return [f"release {this.version} is not published: {sentence}" for sentence in publishing.broken_rules(document)]
