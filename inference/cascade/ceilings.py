"""The largest stored probability of each species, fixed before the first unit of a version is written.

A species' 250 steps should be fine where it is rare and still reach the highest probability of its map. What the surveys of the
training saw does not tell that: a map reaches places, and a climate, where nobody made a survey. So cells spread over the region
are predicted first, and the steps reach well above the highest probability among them and among the training surveys. What lies
above all the same is stored as the last step and counted, species by species (`species.py`, receipts, `cube.check`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
import torch
import zarr
from numpy.typing import NDArray

from cube.grid import Region, Unit
from cube.layers import PROBABILITY_STEPS
from cube.layers.inputs import SURFACE
from cube.storage.releases import group_of
from cube.storage.store import CubeStore
from cube.storage.transient import is_transient
from inference.cascade.cells import predicted
from inference.cascade.clock import Clock
from inference.cascade.device import Batch, Device
from inference.cascade.embedding import embed_unit
from inference.cascade.model import Model
from inference.data.recipe import Recipe
from inference.network.ensemble import Ensemble
from inference.training.likelihood import HIGHEST, LOWEST, REFERENCE_AREA_M2

Floats = NDArray[np.float32]
TILES: Final = 64  # squares of a kilometre that are predicted: 25,600 cells, some seconds on a processor
SIDE: Final = 20  # cells of a square
FACTOR: Final = 1.5  # of the highest probability among the sampled cells
RATE: Final = 2.0  # of the highest rate -log(1 - p) among them: for common species 1.5 times p would say nothing
LOWEST_CEILING: Final = 1e-3
SPECIES_BLOCK: Final = 512


def stored_scale(cube: CubeStore, version: str) -> Floats | None:
    """(S,) probability of one step as a version of the species holds it already; None where it does not, or a kill cut it off."""
    path = f"{group_of('species', version)}/scale"
    array = cube.node(path)
    values = np.asarray(array[:], np.float32) if isinstance(array, zarr.Array) else np.zeros(0, np.float32)
    return values if len(values) and (values > 0).all() else None


def map_scale(cube: CubeStore, model: Model, units: Sequence[Unit], region: Region, year: float, area_m2: float) -> Floats:
    """(S,) probability of one stored step of each species' map of `region`, at most 1 / PROBABILITY_STEPS.

    The ceiling is the greater of the model's own (1.5 times what its training saw) and of `with_margin` of the highest
    probability of the sampled cells for `year` and plots of `area_m2`. The same cube, model and region give the same scale.
    """
    ceiling = model.ensemble.ceiling.cpu().numpy()
    eta = highest_scores(cube, model.ensemble, model.recipe, units, region, year, area_m2)
    return np.asarray(np.maximum(ceiling, with_margin(eta)) / PROBABILITY_STEPS, np.float32)


def with_margin(eta: Floats) -> Floats:
    """(S,) ceilings above the highest scores (cloglog scale; -inf: none) of a sample: 1.5 times p or twice the rate, up to 1."""
    rate = np.exp(np.clip(eta.astype(np.float64), LOWEST, HIGHEST))
    p = -np.expm1(-rate)
    return np.clip(np.maximum(FACTOR * p, -np.expm1(-RATE * rate)), LOWEST_CEILING, 1.0).astype(np.float32)


def highest_scores(
    cube: CubeStore, ensemble: Ensemble, recipe: Recipe, units: Sequence[Unit], region: Region, year: float, area_m2: float
) -> Floats:
    """(S,) highest calibrated score among sampled cells of `region`; -inf where no cell of it can be predicted."""
    highest = torch.full((ensemble.spec.species,), -torch.inf)
    device = Device(torch.device("cuda" if torch.cuda.is_available() else "cpu"), Batch(side=SIDE))
    ensemble = ensemble.to(device.torch)
    log_ratio = float(np.log(area_m2 / REFERENCE_AREA_M2))
    sample_units, recipe = _sample_units(units), recipe.in_cube(cube)
    torch.set_num_threads(1)  # as in `run_unit`: tiles are spread over the threads
    try:
        with ThreadPoolExecutor(initializer=torch.set_num_threads, initargs=(1,)) as pool, torch.inference_mode():
            for unit, tiles in sample_units:
                try:
                    surface = cube.read_window(SURFACE, cube.region.square(unit))
                    sample_cells = sampled(predicted(surface, unit, region), unit, tiles)
                    if not sample_cells.any():
                        continue
                    _, z, _ = embed_unit(cube, ensemble, recipe, unit, sample_cells, year, area_m2, device, pool, Clock())
                except Exception as error:
                    if is_transient(error):
                        raise
                    continue  # an input that cannot be read is named when the unit has its turn
                for start in range(0, len(highest) if len(z) else 0, SPECIES_BLOCK):
                    part = slice(start, start + SPECIES_BLOCK)
                    scores = ensemble.eta(z, log_ratio, part).amax(0).cpu()
                    highest[part] = torch.maximum(highest[part], scores)
    finally:
        ensemble.to("cpu")
    return np.asarray(highest.numpy(), np.float32)


def _sample_units(units: Sequence[Unit]) -> list[tuple[Unit, int]]:
    """Units that are sampled and how many squares of each: all where they are few, else those with the lowest hashes."""
    sampled_units = sorted(units, key=lambda unit: _seed(unit.name))[:TILES]
    return [(unit, -(-TILES // len(sampled_units))) for unit in sampled_units]


def sampled(cells: NDArray[np.bool_], unit: Unit, tiles: int) -> NDArray[np.bool_]:
    """The cells of `cells` (U, U) that lie in `tiles` of its squares of a kilometre, drawn by the unit's name."""
    count = cells.shape[0] // SIDE
    blocks = cells.reshape(count, SIDE, count, SIDE)
    present = np.flatnonzero(blocks.any((1, 3)))
    sampled_cells = np.zeros(count * count, bool)
    sampled_cells[np.random.default_rng(_seed(unit.name)).permutation(present)[:tiles]] = True
    return np.asarray((blocks & sampled_cells.reshape(count, 1, count, 1)).reshape(cells.shape))


def _seed(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
