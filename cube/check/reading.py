"""Stored values of one unit, for the promises that read them; and the sentence that has a unit written again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cube.check.inspection import Inspection, Leaf
from cube.grid import Unit
from cube.storage.leaves import SPECIES_PER_SHARD
from cube.storage.store import layer_of, resolution_of

Array = NDArray[Any]


def read(inspection: Inspection, path: str, unit: Unit, lead: slice | None = None) -> Array:
    """Stored values of one unit, at the resolution of the array."""
    array = inspection.cube.array(path)
    rows, cols = inspection.cube.region.square(unit, resolution_of(layer_of(array))).slices
    return np.asarray(array[..., rows, cols] if lead is None else array[lead, ..., rows, cols])


def read_map(inspection: Inspection, leaf: Leaf, name: str, unit: Unit) -> Array:
    """Stored values of one unit of a map."""
    rows, cols = inspection.cube.region.square(unit, leaf.resolution).slices
    return np.asarray(inspection.cube.array(f"{leaf.path}/{name}")[..., rows, cols])


def blocks(inspection: Inspection, leaf: Leaf, name: str, unit: Unit) -> Iterator[Array]:
    """Stored values of a unit in blocks of its first axis: ten thousand species at once would fill any memory."""
    rows, cols = inspection.cube.region.square(unit, leaf.resolution).slices
    array = inspection.cube.array(f"{leaf.path}/{name}")
    if array.ndim == 2:
        yield np.asarray(array[rows, cols])
        return
    for start in range(0, array.shape[0], SPECIES_PER_SHARD):
        yield np.asarray(array[start : start + SPECIES_PER_SHARD, ..., rows, cols])


def write_again(fix: str, stage: str, unit: str) -> str:
    """How to have one unit or square written anew: a file of its own stands above what a block of receipts says."""
    return f"write {{}} to ledger/{stage}/{unit}.json and {fix}"
