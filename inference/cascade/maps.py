"""Sums and ranks of a unit's cells to the maps of composition, indicators and habitats, as they are stored."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cube.grid import Unit
from cube.layers import COMPOSITION, INDICATOR_STEPS, NO_SPECIES, RANKS, habitat_entropy, habitat_probability
from cube.storage.releases import group_of
from cube.storage.store import CubeStore
from inference.calibration.intervals import bounds
from inference.calibration.sets import set_size
from inference.cascade.cells import Cells
from inference.cascade.clock import Clock
from inference.cascade.habitats import HabitatMapper
from inference.cascade.indicators import INDICATORS, applicable
from inference.cascade.model import Model
from inference.cascade.products import TOP_HABITATS

PART: Final = 16_384  # cells finished at a time: what lies between takes little memory
APPLICABILITY: Final = next(i for i in INDICATORS if i.name == "applicability")
WriteLayer = Callable[[str, NDArray[Any]], None]  # name of a layer, its stored values (..., U, U)


@dataclass(frozen=True)
class RankedSpecies:
    """Species of each of n cells by probability, best first, as the composition layer stores them.

    Their order is that of the probabilities before they were rounded to steps: among species of one step it would otherwise
    be that of the table, and a reader of habitats would read the alphabet.
    """

    species: NDArray[np.uint16]  # (n, RANKS), NO_SPECIES where there is none
    probability: NDArray[np.uint8]  # (n, RANKS), 255 where there is none
    size: NDArray[np.uint16]  # (n,) how many are in the cell's set


def rank(cells: Cells, expected: NDArray[np.float64], threads: Executor, clock: Clock) -> RankedSpecies:
    """The ranked species of all cells and the size of their sets; `expected` (n,) is the sum of all probabilities."""
    n = len(cells.index)
    species, probability = np.empty((n, RANKS), np.uint16), np.empty((n, RANKS), np.uint8)
    size = np.empty(n, np.uint16)

    def finish(part: slice) -> None:
        with clock("set"):
            p, ids = cells.ranking(part)
            size[part] = set_size(p, expected[part])
            none = ids < 0
            species[part] = np.where(none, NO_SPECIES, ids)
            probability[part] = np.where(none, 255, COMPOSITION[1].encode(p))

    list(threads.map(finish, [slice(start, min(start + PART, n)) for start in range(0, n, PART)]))
    return RankedSpecies(species, probability, size)


def read_ranked(cube: CubeStore, version: str, unit: Unit) -> tuple[NDArray[np.int64], RankedSpecies]:
    """(flat indices (n,) of the predicted cells, their ranked species) of a unit of a composition layer."""
    square, group = cube.region.square(unit), group_of("composition", version)
    size = cube.read_window(f"{group}/set_size", square).ravel()
    index = np.flatnonzero(size != 65535)
    ids, chance = (cube.read_window(f"{group}/{x}", square).reshape(RANKS, -1)[:, index].T for x in ("species_id", "probability"))
    return index, RankedSpecies(np.ascontiguousarray(ids), np.ascontiguousarray(chance), size[index])


def read_dissimilarity(cube: CubeStore, version: str, unit: Unit, index: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n,) dissimilarity of some cells of a unit, as the layer of applicability of a version of the indicators tells it."""
    path = f"{group_of('indicators', version)}/{APPLICABILITY.name}"
    stored_values = cube.read_window(path, cube.region.square(unit))[0].ravel()[index]
    return np.where(stored_values == 65535, np.nan, stored_values * APPLICABILITY.scale)


def is_beyond(dissimilarity: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """(n,) whether cells lie outside the area of applicability, judged by the stored step, so that its layer says the same."""
    return np.asarray(np.rint(dissimilarity / APPLICABILITY.scale) > np.rint(1 / APPLICABILITY.scale))


def composition(cells: Cells, species_ranks: RankedSpecies, write_layer: WriteLayer) -> None:
    """`species_id`, `probability` and `set_size`."""
    write_layer("species_id", cells.spread_out(species_ranks.species.T, NO_SPECIES, np.uint16))
    write_layer("probability", cells.spread_out(species_ranks.probability.T, 255, np.uint8))
    write_layer("set_size", cells.spread_out(species_ranks.size, 65535, np.uint16))


def indicators(cells: Cells, model: Model, write_layer: WriteLayer) -> None:
    """One layer an indicator, (bound 3, U, U)."""
    sums = {**model.plan.by_name(cells.sums), **cells.extra}
    for indicator in applicable(sums.keys()):
        three = bounds(indicator, sums, model.quantiles.get(indicator.name)) / indicator.scale
        stored_values = np.where(np.isfinite(three), np.clip(np.rint(three), 0, INDICATOR_STEPS), 65535)
        write_layer(indicator.name, cells.spread_out(stored_values, 65535, np.uint16))


def habitats(
    cells: Cells, species_ranks: RankedSpecies, reader: HabitatMapper, write_layer: WriteLayer, threads: Executor | None = None
) -> None:
    """The most probable class at each level, its probability and the entropy of all, and the best three."""
    ids = np.where(species_ranks.species == NO_SPECIES, -1, species_ranks.species.astype(np.int32)).astype(np.int32)
    p = reader.classify(ids, species_ranks.size, cells.habitat_of_place, threads)  # (n, classes), NaN for an empty cell
    empty: NDArray[np.bool_] = np.asarray(~np.isfinite(p).all(axis=1))
    if "dissimilarity" in cells.extra:
        # A vegetation reader knows what grows where plots were made; elsewhere its class would be a guess that looks like a map.
        empty |= is_beyond(cells.extra["dissimilarity"])
    safe = np.where(empty[:, None], 1.0 / p.shape[1], p)
    order = np.argsort(-safe, axis=1, kind="stable")[:, :TOP_HABITATS]
    best = np.take_along_axis(safe, order, axis=1)
    for level, classes in reader.level_maps(safe).items():
        write_layer(level, cells.spread_out(np.where(empty, 65535, classes), 65535, np.uint16))
    entropy = -(safe * np.log(np.maximum(safe, 1e-12))).sum(1) / np.log(max(p.shape[1], 2))
    share, spread = habitat_probability("").encode, habitat_entropy("").encode
    write_layer("probability", cells.spread_out(share(np.where(empty, np.nan, best[:, 0])), 255, np.uint8))
    write_layer("entropy", cells.spread_out(spread(np.where(empty, np.nan, entropy)), 255, np.uint8))
    top_classes = np.full((TOP_HABITATS, len(empty)), 65535, np.uint16)
    top_classes[: order.shape[1]] = np.where(empty[:, None], 65535, reader.rows[order]).T
    chance = np.full((TOP_HABITATS, len(empty)), np.nan)
    chance[: order.shape[1]] = np.where(empty[:, None], np.nan, best).T
    write_layer("top3_class", cells.spread_out(top_classes, 65535, np.uint16))
    write_layer("top3_probability", cells.spread_out(share(chance), 255, np.uint8))
