"""The cascade of one unit, in memory and in float: species -> composition and indicators -> habitats, written whole.

Reading runs ahead of the computing and writing behind it. A job names the products to write; what the others would have
needed of them is computed all the same, or read: habitats alone can be made from a composition layer.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from cube.errors import CubeError, ModelError
from cube.grid import Region, Unit
from cube.layers.inputs import SURFACE
from cube.pyramids.facts import Facts
from cube.storage.ledger import Receipt
from cube.storage.releases import group_of
from cube.storage.store import CubeStore, open_cube
from cube.storage.whole_shards import with_metadata_once
from inference.calibration.applicability import Applicability
from inference.calibration.members import common_species, forest_of, member_spread
from inference.cascade import maps
from inference.cascade.ceilings import stored_scale
from inference.cascade.cells import Cells, predicted
from inference.cascade.clock import Clock
from inference.cascade.device import Device
from inference.cascade.embedding import embed_unit
from inference.cascade.model import Model, load_model
from inference.cascade.species import Head, no_range, predict_species
from inference.cascade.writing import Writer
from inference.plantbert.places import PlaceReader

NEEDS_SPECIES: Final = ("species", "composition", "indicators")  # what cannot be made from the composition layer


@dataclass(frozen=True)
class Job:
    """What a worker must know of a run; small enough to travel with every task."""

    cube_url: str
    model_path: str
    versions: tuple[tuple[str, str], ...]  # product to write, its version
    region_km: tuple[int, int, int, int]
    year: int
    area_m2: float
    block: int  # species at a time at most, a multiple of the species in a shard; results do not depend on it
    inputs: str
    model_hash: str  # a worker may live longer than one model in a folder: it refuses another than the run began with
    threads: int | None = None  # that compute; None: one for each core
    device: str = "auto"  # see `Device.by_name`
    composition: str | None = None  # version of the composition that habitats are made from, where nothing else is written
    facts: tuple[Facts, ...] = ()  # of the versions that are written
    applicability: str | None = None  # version of the indicators whose applicability then masks them; None: it is computed

    @property
    def version(self) -> dict[str, str]:
        """Version by product."""
        return dict(self.versions)


@dataclass(frozen=True)
class WorkerContext:
    """What a worker process opens once, with the first unit: the cube, the model, its device and its head."""

    cube: CubeStore
    model: Model
    device: Device
    head: Head


def open_job(job: Job) -> tuple[CubeStore, Model]:
    """The cube and the model of a job, opened once in a process: the first call takes its time, the others none."""
    context = _worker_context(job.cube_url, job.model_path, job.model_hash, job.device, job.area_m2)
    return context.cube, context.model


@lru_cache(maxsize=2)
def _worker_context(cube_url: str, model_path: str, model_hash: str, device: str, area_m2: float) -> WorkerContext:
    model = load_model(model_path)
    if model.hash != model_hash:
        raise ModelError(
            f"{model_path}: the model that this worker sees is another one than the run began with; give all machines the same"
            " folder, and do not train into it while it predicts."
        )
    worker_device = Device.by_name(device)
    ensemble = worker_device.prepare(model.ensemble)
    if model.habitats is not None:
        model.habitats.to(worker_device.torch)
    head = Head.from_ensemble(ensemble, model.plan, model.traits["sensitive_km"], area_m2)
    cube = open_cube(cube_url, writable=True)
    return WorkerContext(cube, replace(model, recipe=model.recipe.in_cube(cube)), worker_device, head)


def run_unit(job: Job, unit: Unit, clock: Clock | None = None) -> dict[str, Any]:
    """Predict one unit and write the products of the job; returns its receipt as a dictionary.

    Cells that are not land, lie outside the predicted region or have no predictor at all stay without data. Values depend
    neither on the number of threads nor on the block of species. `clock` is told what each step costs.
    """
    start = time.perf_counter()
    context = _worker_context(job.cube_url, job.model_path, job.model_hash, job.device, job.area_m2)
    clock = clock or Clock(context.device.torch)
    threads = job.threads or _cores()
    # Libraries compute on the thread that calls them: it is tiles that are spread over the threads.
    torch.set_num_threads(1)
    with (
        ThreadPoolExecutor(threads, "compute", initializer=torch.set_num_threads, initargs=(1,)) as pool,
        Writer(context.cube, unit, clock, job.facts) as writer,
    ):
        unit_run = UnitRun(context, job, unit, pool, writer, clock)
        if job.composition is not None and not any(product in job.version for product in NEEDS_SPECIES):
            cells = unit_run.from_composition(job.composition)
        else:
            cells = unit_run.predict()
    counts = {"cells": len(cells.index), "clipped": cells.clipped_values.total()}
    if context.device.batch.times_halved:
        counts["batch_halved"] = context.device.batch.times_halved
    steps = {step: round(seconds, 3) for step, seconds in clock.seconds.items()}
    steps |= {f"{step}, on the GPU": round(seconds, 3) for step, seconds in clock.device_seconds().items()}
    seconds = round(time.perf_counter() - start, 3)
    receipt = Receipt(unit.name, "predict", job.inputs, seconds, counts, writer.checksums, steps, writer.sizes)
    names = context.model.ensemble.species
    return {
        **vars(receipt),
        "cut_cells": {names[species]: cells.clipped_values[species] for species in sorted(cells.clipped_values)},
    }


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class UnitRun:
    """The steps of one unit, and what they share."""

    context: WorkerContext
    job: Job
    unit: Unit
    pool: Executor
    writer: Writer
    clock: Clock

    def from_composition(self, version: str) -> Cells:
        """Habitats alone, from the ranked species and the applicability that are there already."""
        cube, model, unit = self.context.cube, self.context.model, self.unit
        index, species_ranks = maps.read_ranked(cube, version, unit)
        cells = Cells.empty(index, unit.cells, np.zeros((0, len(index))))
        if self.job.applicability is not None:
            cells.extra["dissimilarity"] = maps.read_dissimilarity(cube, self.job.applicability, unit, index)
        area = model.applicability if self.job.applicability is None else None
        places = None if model.habitats is None else model.habitats.places
        if len(index) and (area is not None or places is not None):
            cells_to_predict = np.zeros(unit.cells**2, bool)
            cells_to_predict[index] = True
            at, z, unlike = self._embedded(cells_to_predict.reshape(unit.cells, -1), area)
            row = np.full(unit.cells**2, -1)
            row[at] = np.arange(len(at))
            row = row[index]  # -1: what it was predicted from is not there any more
            if unlike is not None:
                cells.extra["dissimilarity"] = np.append(unlike, np.nan)[row]
            if places is not None:
                of_place = self._of_places(places, z)
                empty_row = np.full((1, of_place.shape[1]), np.nan, np.float32)
                cells.habitat_of_place = np.append(of_place, empty_row, axis=0)[row]
        self._habitats(cells, species_ranks)
        return cells

    def predict(self) -> Cells:
        """Species, and what is made from them."""
        cube, model, job = self.context.cube, self.context.model, self.job
        surface = cube.read_window(SURFACE, cube.region.square(self.unit))
        region = Region(*job.region_km, cube.region.unit_km, cube.region.grid)
        cells = self._predict_species(predicted(surface, self.unit, region))
        if not len(cells.index):
            return cells
        species_ranks = maps.rank(cells, model.plan.by_name(cells.sums)["p"], self.pool, self.clock)
        if "composition" in job.version:
            with self.clock("set"):
                maps.composition(cells, species_ranks, self._put("composition"))
        if "indicators" in job.version:
            with self.clock("indicators"):
                maps.indicators(cells, model, self._put("indicators"))
        self._habitats(cells, species_ranks)
        return cells

    def _embedded(
        self, cells_to_predict: NDArray[np.bool_], area: Applicability | None
    ) -> tuple[NDArray[np.int64], torch.Tensor, NDArray[np.float64] | None]:
        """See `embed_unit`. All chunks of the unit's shards of 50 m are read, and Zarr would ask for one after another."""
        cube, model, device = with_metadata_once(self.context.cube, "inputs/50m"), self.context.model, self.context.device
        what = (cube, model.ensemble, model.recipe, self.unit, cells_to_predict, self.job.year, self.job.area_m2)
        return device.with_smaller_batches_on_oom(lambda: embed_unit(*what, device, self.pool, self.clock, area))

    def _predict_species(self, cells_to_predict: NDArray[np.bool_]) -> Cells:
        """Embed the wanted cells and predict all species there; the embeddings are gone when this ends."""
        model, device, job = self.context.model, self.context.device, self.job
        area = model.applicability if "indicators" in job.version or "habitats" in job.version else None
        index, z, unlike = self._embedded(cells_to_predict, area)
        head, version = self.context.head, job.version.get("species")
        writer, path = (self.writer, f"{group_of('species', version)}/occurrence") if version else (None, "")
        if version is not None:  # its own steps, fixed before its first unit: see `ceilings`
            scale = stored_scale(self.context.cube, version)
            if scale is None:
                raise CubeError(
                    f"{self.context.cube.url}: version '{version}' of the species has no array 'scale'; run `floracube predict`"
                    " again."
                )
            head = replace(head, scale=scale)

        def predict_cells() -> Cells:
            cells = Cells.empty(index, self.unit.cells, model.plan.zero(len(index)))
            if unlike is not None:
                cells.extra["dissimilarity"] = unlike
                within = np.isfinite(unlike) & ~maps.is_beyond(unlike)
                self.writer.facts.set_applicable(cells.spread_out(within, False, bool).ravel())
            if model.members > 1 and "indicators" in job.version:
                with self.clock("spread"):
                    cells.extra["member_spread"] = _spread(model, z, job.area_m2, self.pool)
            if "habitats" in job.version and model.habitats is not None and model.habitats.places is not None:
                cells.habitat_of_place = self._of_places(model.habitats.places, z)
            if len(index):
                ranges = model.ranges.within(self.unit, index) if model.ranges is not None else no_range
                predict_species(head, cells, z, device, job.block, self.pool, self.clock, writer, path, ranges)
            return cells

        return device.with_smaller_batches_on_oom(predict_cells)

    def _of_places(self, places: PlaceReader, z: torch.Tensor) -> NDArray[np.float32]:
        """(n, C) log probabilities of habitats by embeddings z (n, D)."""
        with self.clock("habitats"):
            return np.concatenate(list(self.pool.map(places.log_probability, z.split(maps.PART))))

    def _habitats(self, cells: Cells, species_ranks: maps.RankedSpecies) -> None:
        habitats = self.context.model.habitats
        if "habitats" in self.job.version and habitats is not None and len(cells.index):
            with self.clock("habitats"):
                maps.habitats(cells, species_ranks, habitats, self._put("habitats"), self.pool)

    def _put(self, product: str) -> maps.WriteLayer:
        group = group_of(product, self.job.version[product])
        return lambda name, values: self.writer.put(f"{product} {name}", f"{group}/{name}", values)


def _spread(model: Model, z: torch.Tensor, area_m2: float, pool: Executor) -> NDArray[np.float64]:
    """(n,) relative spread of probabilities between the members."""
    species = common_species(model.ensemble)
    forest = forest_of(model.ensemble, species)
    parts = [slice(start, start + maps.PART) for start in range(0, len(z), maps.PART)]

    def spread(part: slice) -> NDArray[np.float32]:
        return member_spread(model.ensemble, z[part], species, area_m2, forest).cpu().numpy()

    parts_spread = list(pool.map(spread, parts))
    return np.concatenate(parts_spread).astype(np.float64) if parts_spread else np.zeros(0)
