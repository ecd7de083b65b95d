"""Inputs to products: versions, units over dask workers or in process, pyramids, and the release that names them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from cube import publishing
from cube.config import Config
from cube.engine.build import require_complete
from cube.engine.workers import Workers, run
from cube.errors import ConfigError, CubeError
from cube.pyramids.overviews import Overviews, build_overviews
from cube.records.traits import traits_attributes
from cube.storage import releases
from cube.storage.ledger import Ledger, digest
from cube.storage.store import CubeStore, open_cube
from inference.cascade import products
from inference.cascade.indicators import applicable
from inference.cascade.model import Model, load_model
from inference.cascade.unit import Job, run_unit

Progress = Callable[[int, int, int, str], None]  # units done, units in all, cells done, what


@dataclass(frozen=True)
class Outcome:
    """What a run did: the release, units computed now, cells predicted now, clipped values, units that failed."""

    release: str
    units: int
    cells: int
    clipped: int
    failures: list[str]


def predict(
    config: Config,
    workers: int = 1,
    scheduler: str | None = None,
    version: str | None = None,
    publish: bool = True,
    progress: Progress | None = None,
) -> Outcome:
    """Predict every unit of the configuration's region and write a release.

    `workers` > 1 or a `scheduler` address runs the units on dask.distributed. A killed run goes on where it was:
    units with a valid receipt are left alone.
    Raises `CubeError`, `ModelError` or `ConfigError` before any work starts.
    """
    cube = open_cube(config.cube_url, writable=True)
    model = load_model(config.model_path)
    region = config.predict_region()
    units = list(region.units())
    require_complete(cube, units)
    if config.predict.block % 128:
        raise ConfigError(f"{config.path}: predict.block is {config.predict.block}; it must be a multiple of 128.")
    bounds = (region.west_km, region.south_km, region.east_km, region.north_km)
    inputs = digest((model.hash, bounds, config.predict.year, config.predict.area_m2, _input_hashes(cube)))
    name = _version(cube, version, inputs)
    held = ["species", "composition", "indicators", *(["habitats"] if model.habitats else [])]
    versions = dict.fromkeys(held, name)
    _make_products(cube, config, model, versions, inputs)
    job = Job(
        cube.url, str(config.model_path), tuple(versions.items()), bounds, config.predict.year,
        config.predict.area_m2, config.predict.block, inputs,
    )  # fmt: skip
    ledger = Ledger(cube, f"predict/{name}", inputs)
    todo = ledger.missing(units)
    cells, clipped, failures = 0, 0, []
    done = len(units) - len(todo)
    with Workers(workers, scheduler) as crew:
        for end in run(partial(run_unit, replace(job, threads=crew.threads)), todo, crew):
            if end.result is None:
                failures.append(f"{end.task.name}: {end.error}")
            else:
                cube.write_json(f"ledger/predict/{name}/{end.task.name}.json", end.result)
                cells += end.result["counts"]["cells"]
                clipped += end.result["counts"]["clipped"]
            done += 1
            if progress:
                progress(done, len(units), cells, end.task.name)
        if not failures:
            classes = model.habitats.flags() if model.habitats else {}
            pyramids = products.pyramids(versions, config.predict.area_m2, applicable(model.plan.available), classes)
            above = Overviews(ledger.stage, pyramids, tuple(units), ledger.standing().marks)
            for step in build_overviews(cube.url, cube.region, [above], crew):
                if step.error is not None:
                    failures.append(f"{step.square.name}: {step.error}")
                if progress:
                    progress(len(units), len(units), cells, f"overviews {step.square.name}")
    if not failures:
        releases.write_release(cube, name, versions, _provenance(config, model, bounds, inputs))
        if not cube.has("tables/species"):  # the first maps of a cube can be read before they are published
            releases.adopt_tables(cube, versions)
        if publish:
            _, document = publishing.publish(cube.url, name)
            failures += [f"release {name} is not published: {sentence}" for sentence in publishing.broken(document)]
    return Outcome(name, len(todo), cells, clipped, failures)


def _input_hashes(cube: CubeStore) -> list[str]:
    """Hash of each input's receipts, so that rebuilt inputs make a new version."""
    out = []
    for stage in cube.stages("inputs"):
        names = cube.list_json(f"ledger/inputs/{stage}")
        first = cube.read_json(f"ledger/inputs/{stage}/{names[0]}.json") if names else None
        out.append(f"{stage}:{(first or {}).get('inputs')}")
    return out


def _version(cube: CubeStore, wanted: str | None, inputs: str) -> str:
    """The version to write: the wanted one, or the first `vN` that is new or was begun from the same inputs."""
    held = {name: _made_from(cube, name) for name in cube.groups("products/species")}
    if wanted is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", wanted):
        raise ConfigError(f"--version is '{wanted}'; a version is made of letters, digits, '.', '_' and '-'.")
    if wanted is not None:
        if held.get(wanted, inputs) != inputs:
            raise CubeError(
                f"{cube.url}: version '{wanted}' was made from another model or other inputs and versions are never"
                " changed; choose another --version."
            )
        return wanted
    number = 1
    while held.get(f"v{number}", inputs) != inputs:
        number += 1
    return f"v{number}"


def _made_from(cube: CubeStore, version: str) -> str | None:
    value = cube.group(f"products/species/{version}").attrs.get("floracube_inputs")
    return None if value is None else str(value)


def _make_products(cube: CubeStore, config: Config, model: Model, versions: dict[str, str], inputs: str) -> None:
    about: dict[str, Any] = {"floracube_inputs": inputs, "reference_year": config.predict.year}
    about |= {k: v for k, v in (("license", config.license), ("attribution", config.attribution),
                                ("note", config.note)) if v}  # fmt: skip
    area = {**about, "reference_area_m2": config.predict.area_m2}
    names = model.ensemble.species
    ids = np.arange(len(names), dtype=np.int32)
    products.make_species(cube, versions["species"], names, model.ensemble.scale, config.predict.area_m2, about)
    columns = {"species_id": ids, "scientific_name": np.asarray(names, object), **model.traits}
    own = f"products/species/{versions['species']}/{releases.TABLE}"
    releases.ensure_table(cube, own, columns, releases.TABLED["species"], traits_attributes())
    products.make_composition(cube, versions["composition"], area)
    products.make_indicators(cube, versions["indicators"], applicable(model.plan.available), area)
    if model.habitats is not None:
        title = config.habitats.title if config.habitats else "Habitat"
        products.make_habitats(cube, versions["habitats"], model.habitats.flags(), title, about)
        own = f"products/habitats/{versions['habitats']}/{releases.TABLE}"
        releases.ensure_table(cube, own, model.habitats.table, releases.TABLED["habitats"])


def _provenance(config: Config, model: Model, bounds: tuple[int, ...], inputs: str) -> dict[str, Any]:
    return {
        "model": model.hash,
        "inputs": inputs,
        "code": _code_version(),
        "title": config.title,
        "region_km": list(bounds),
        "reference_year": config.predict.year,
        "reference_area_m2": config.predict.area_m2,
    }


def _code_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        number = version("floracube")
    except PackageNotFoundError:
        number = "unknown"
    try:
        commit = subprocess.run(
            ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, timeout=5, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return number
    return f"{number} ({commit})"
