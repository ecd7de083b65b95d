"""The cascade of one unit, in memory and in float: species -> composition and indicators -> habitats, written whole."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from cube.errors import ModelError
from cube.grid import CELL, COARSE, Region, Unit
from cube.inputs import INPUTS
from cube.layers import COMPOSITION, NO_SPECIES, RANKS, habitat_entropy, habitat_probability
from cube.storage.ledger import Receipt, checksum
from cube.storage.releases import group_of
from cube.storage.store import CubeStore, open_cube
from inference.calibration.intervals import bounds
from inference.calibration.sets import set_size
from inference.cascade.indicators import applicable
from inference.cascade.model import Model, load_model
from inference.cascade.products import TOP_HABITATS
from inference.data.sampling import read_window
from inference.network.ensemble import STEPS

Floats = NDArray[np.float32]
LAND: Final = 0  # of the surface layer


@dataclass(frozen=True)
class Job:
    """What a worker must know of a run; small enough to travel with every task."""

    cube_url: str
    model_path: str
    versions: tuple[tuple[str, str], ...]  # product, version
    region_km: tuple[int, int, int, int]
    year: int
    area_m2: float
    block: int
    inputs: str
    model_hash: str
    threads: int | None = None

    @property
    def version(self) -> dict[str, str]:
        """Version by product."""
        return dict(self.versions)


@dataclass
class Cells:
    """The predicted cells of one unit and what is known of them so far; n cells of a U x U unit."""

    index: NDArray[np.int64]  # (n,) flat indices
    side: int
    sums: NDArray[np.float64]  # running, (rows of the model's plan, n)
    top: Floats  # (n, RANKS) probabilities, descending
    ranked: NDArray[np.int32]  # (n, RANKS) species, -1 none
    clipped: int = 0
    written: dict[str, int] = field(default_factory=dict)

    def spread_out(self, values: NDArray[Any], fill: Any, dtype: Any) -> NDArray[Any]:
        """(..., n) values to (..., U, U), `fill` where no cell is predicted."""
        out = np.full((*values.shape[:-1], self.side * self.side), fill, dtype)
        out[..., self.index] = values
        return out.reshape(*values.shape[:-1], self.side, self.side)


@lru_cache(maxsize=2)
def _loaded(cube_url: str, model_path: str, model_hash: str) -> tuple[CubeStore, Model]:
    model = load_model(model_path)
    if model.hash != model_hash:
        raise ModelError(
            f"{model_path}: the model that this worker sees is another one than the run began with; give all machines the same"
            " folder, and do not train into it while it predicts."
        )
    return open_cube(cube_url, writable=True), model


def opened(job: Job) -> tuple[CubeStore, Model]:
    """The cube and the model of a job, once per worker process: a worker may live longer than one run and one model."""
    return _loaded(job.cube_url, job.model_path, job.model_hash)


def run_unit(job: Job, unit: Unit) -> dict[str, Any]:
    """Predict one unit and write the products of the job; returns its receipt as a dictionary.

    Cells that are not land, lie outside the predicted region or have no predictor at all stay without data.
    """
    if job.threads:
        torch.set_num_threads(job.threads)
    started = time.perf_counter()
    cube, model = opened(job)
    window = read_window(cube, unit, model.recipe, model.ensemble.spec.halo)
    index = np.flatnonzero(_predicted(cube, unit, job.region_km) & _known(window, unit.cells))
    cells = Cells(
        index, unit.cells, model.plan.zero(len(index)),
        np.zeros((len(index), RANKS), np.float32), np.full((len(index), RANKS), -1, np.int32),
    )  # fmt: skip
    if len(index):
        tensors = {name: torch.from_numpy(values) for name, values in window.items()}
        joint = model.ensemble.embed_window(tensors, job.year, job.area_m2)
        z = joint.flatten(1).T[torch.from_numpy(index)].contiguous()
        del joint, tensors, window
        _species(cube, model, job, unit, cells, z)
        size = set_size(cells.top, model.plan.named(cells.sums)["p"])
        _order_as_stored(cells)
        _composition(cube, job, unit, cells, size)
        _indicators(cube, model, job, unit, cells)
        _habitats(cube, model, job, unit, cells, size)
    counts = {"cells": len(index), "clipped": cells.clipped}
    receipt = Receipt(unit.name, "predict", job.inputs, round(time.perf_counter() - started, 3), counts, cells.written)
    return dict(vars(receipt))


def _predicted(cube: CubeStore, unit: Unit, region_km: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """(U, U) land within the predicted region."""
    surface = cube.read_window(INPUTS["surface"].path, cube.region.square(unit))
    region = Region(*region_km, cube.region.unit_km)
    x = unit.west + (np.arange(unit.cells) + 0.5) * CELL
    y = unit.north - (np.arange(unit.cells) + 0.5) * CELL
    return (surface == LAND) & region.contains(x[None, :], y[:, None])


def _known(window: Mapping[str, Floats], side: int) -> NDArray[np.bool_]:
    """(U, U) cells with at least one known value: without any there is nothing to predict from."""
    known = np.zeros((side, side), bool)
    for name, values in window.items():
        finite: NDArray[np.bool_] = np.asarray(np.isfinite(values).reshape(-1, *values.shape[-2:]).any(0))
        if name in ("climate", "coarse"):
            factor = COARSE // CELL
            finite = np.asarray(finite[1:-1, 1:-1].repeat(factor, 0).repeat(factor, 1))
        elif name == "satellite":
            halo = (finite.shape[0] - 5 * side) // 2
            inner = finite[halo : halo + 5 * side, halo : halo + 5 * side]
            finite = np.asarray(inner.reshape(side, 5, side, 5).any((1, 3)))
        known |= finite
    return known


def blur(values: Floats, cells: Cells, km: int) -> Floats:
    """(n,) probabilities replaced by the mean of their square of `km` kilometres, over the predicted cells of the unit."""
    step = km * 1000 // CELL
    row, col = np.divmod(cells.index, cells.side)
    square = (row // step) * (-(-cells.side // step)) + col // step
    total = np.bincount(square, weights=values)
    count = np.bincount(square)
    return (total / np.maximum(count, 1))[square].astype(np.float32)


def _species(cube: CubeStore, model: Model, job: Job, unit: Unit, cells: Cells, z: torch.Tensor) -> None:
    """Block by block: probabilities, blurred where sensitive, summed, ranked, quantised, written."""
    version = job.version.get("species")
    path = f"{group_of('species', version)}/occurrence" if version else None
    names, scale = model.ensemble.species, model.ensemble.scale
    sensitive = np.nan_to_num(model.traits["sensitive_km"]).astype(int)
    for start in range(0, len(names), job.block):
        block = slice(start, min(start + job.block, len(names)))
        p = model.ensemble.probability(z, job.area_m2, block).numpy().T.copy()
        for i in np.flatnonzero(sensitive[block]):
            p[i] = blur(p[i], cells, int(sensitive[start + i]))
        model.plan.add(cells.sums, p, block)
        _rank(cells, p, start)
        if path is None:
            continue
        steps = p / scale[block, None]
        cells.clipped += int((steps > STEPS + 0.5).sum())
        stored = np.minimum(np.rint(steps), STEPS).astype(np.uint8)
        values = cells.spread_out(stored, 255, np.uint8)
        cube.write_unit(path, unit, values, lead=block)
        cells.written[f"species {start}"] = checksum(values)


def _rank(cells: Cells, p: Floats, start: int) -> None:
    """Merge a block (species, n) into the running ranking; of equals the one ranked before stays before."""
    count = p.shape[0]
    if len(cells.index) == 0:
        return
    merged = np.concatenate([cells.top, p.T], axis=1)
    ids = np.concatenate(
        [cells.ranked, np.broadcast_to(np.arange(start, start + count, dtype=np.int32), (len(p.T), count))], axis=1
    )
    values, order = torch.topk(torch.from_numpy(merged), RANKS, dim=1, sorted=True)
    cells.top = values.numpy()
    cells.ranked = np.take_along_axis(ids, order.numpy(), axis=1)


def _order_as_stored(cells: Cells) -> None:
    """Rank by the probability as it is stored, equal ones by their place in the species table.

    Habitats then read what a reader of the composition layer reads, so they can be run again from it alone; and
    neighbouring cells often hold the very same assemblage, which is read once.
    """
    stored = COMPOSITION[1].encode(cells.top).astype(np.int64)
    last = np.where(cells.ranked < 0, NO_SPECIES, cells.ranked)
    order = np.argsort((255 - stored) * (NO_SPECIES + 1) + last, axis=1)
    cells.ranked = np.take_along_axis(cells.ranked, order, axis=1)
    cells.top = np.take_along_axis(cells.top, order, axis=1)


def _composition(cube: CubeStore, job: Job, unit: Unit, cells: Cells, size: NDArray[np.uint16]) -> None:
    version = job.version.get("composition")
    if version is None:
        return
    group = group_of("composition", version)
    layers = {layer.name: layer for layer in COMPOSITION}
    ids = np.where(cells.ranked < 0, NO_SPECIES, cells.ranked).astype(np.uint16)
    probability = np.where(cells.ranked < 0, np.nan, cells.top)
    stored = {
        "species_id": cells.spread_out(ids.T, NO_SPECIES, np.uint16),
        "probability": cells.spread_out(layers["probability"].encode(probability).T, 255, np.uint8),
        "set_size": cells.spread_out(size, 65535, np.uint16),
    }
    for name, values in stored.items():
        cube.write_unit(f"{group}/{name}", unit, values)
        cells.written[f"composition {name}"] = checksum(values)


def _indicators(cube: CubeStore, model: Model, job: Job, unit: Unit, cells: Cells) -> None:
    version = job.version.get("indicators")
    if version is None:
        return
    sums = model.plan.named(cells.sums)
    for indicator in applicable(model.plan.available):
        three = bounds(indicator, sums, model.quantiles.get(indicator.name)) / indicator.scale
        stored = np.where(np.isfinite(three), np.clip(np.rint(three), 0, 65000), 65535)
        values = cells.spread_out(stored, 65535, np.uint16)
        cube.write_unit(f"{group_of('indicators', version)}/{indicator.name}", unit, values)
        cells.written[f"indicators {indicator.name}"] = checksum(values)


def _habitats(cube: CubeStore, model: Model, job: Job, unit: Unit, cells: Cells, size: NDArray[np.uint16]) -> None:
    version = job.version.get("habitats")
    if version is None or model.habitats is None:
        return
    reader = model.habitats
    p = reader.classify(cells.ranked, size)  # (n, classes), NaN for an empty cell
    group = group_of("habitats", version)
    empty: NDArray[np.bool_] = np.asarray(~np.isfinite(p).all(axis=1))
    safe = np.where(empty[:, None], 1.0 / p.shape[1], p)
    order = np.argsort(-safe, axis=1, kind="stable")[:, :TOP_HABITATS]
    best = np.take_along_axis(safe, order, axis=1)
    stored: dict[str, NDArray[Any]] = {}
    for level, classes in reader.level_maps(safe).items():
        stored[level] = cells.spread_out(np.where(empty, 65535, classes), 65535, np.uint16)
    entropy = -(safe * np.log(np.maximum(safe, 1e-12))).sum(1) / np.log(max(p.shape[1], 2))
    rows = reader.rows[order]
    stored["probability"] = cells.spread_out(habitat_probability("").encode(np.where(empty, np.nan, best[:, 0])), 255, np.uint8)
    stored["entropy"] = cells.spread_out(habitat_entropy("").encode(np.where(empty, np.nan, entropy)), 255, np.uint8)
    wanted = np.full((TOP_HABITATS, len(empty)), 65535, np.uint16)
    wanted[: order.shape[1]] = np.where(empty[:, None], 65535, rows).T
    chance = np.full((TOP_HABITATS, len(empty)), np.nan)
    chance[: order.shape[1]] = np.where(empty[:, None], np.nan, best).T
    stored["top3_class"] = cells.spread_out(wanted, 65535, np.uint16)
    stored["top3_probability"] = cells.spread_out(habitat_probability("").encode(chance), 255, np.uint8)
    for name, values in stored.items():
        cube.write_unit(f"{group}/{name}", unit, values)
        cells.written[f"habitats {name}"] = checksum(values)
