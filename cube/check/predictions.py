"""Rules on the values of the products: where there are any, rankings, sensitive species, levels of habitats.

Of the roll-up of habitats that is asked which stored values can answer: a coarser level is the class with the largest *sum*
of probabilities. Sums are not stored, the best three classes are: what these give one class must not exceed what they and
all that they leave could give the stored one. Of up to three classes this is the whole truth.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cube.check.completeness import PREDICT
from cube.check.inspection import Inspection, as_layer, blocks, read, write_again
from cube.check.rules import Finding, rule_of_values, wrong_cells
from cube.grid import CELL, Unit, Window
from cube.layers import NO_SPECIES, PROBABILITY_STEPS
from cube.layers.inputs import SURFACE
from cube.layers.legends import LAND
from cube.pyramids.coarsen import valid_cells
from cube.sources.coverage import inside
from cube.storage import releases
from cube.storage.progress import version_stage

Array = NDArray[Any]
STRIP: Final = 100  # rows


@rule_of_values
def only_land(inspection: Inspection) -> Iterator[Finding]:
    """Products hold values on land within the predicted region alone."""
    if not inspection.cube.has(SURFACE):
        return
    for version in sorted({v for product in releases.PRODUCTS for v in inspection.versions(product)}):
        region = version_stage(inspection.cube, version).region
        leaves = [leaf for product in releases.PRODUCTS if (leaf := inspection.leaf(releases.group_of(product, version)))]
        for unit in inspection.cube.region.units():
            land = (read(inspection, SURFACE, unit) == LAND) & inside(region, unit, CELL)
            for leaf in leaves:
                for name, _ in leaf.maps():
                    fill, beyond = as_layer(leaf, name).fill, np.zeros(land.shape, bool)
                    for values in blocks(inspection, leaf, name, unit):
                        beyond |= valid_cells(values, fill).reshape(-1, *land.shape).any(axis=0) & ~land
                    location, fix = f"{leaf.path}/{name} in unit {unit.name}", _repeat(version, unit)
                    yield from wrong_cells(location, beyond, "no data off the land", "cells with values", fix)


def _repeat(version: str, unit: Unit) -> str:
    return write_again(PREDICT, f"predict/{version}", unit.name)


@rule_of_values
def composition_order(inspection: Inspection) -> Iterator[Finding]:
    """The composition lists each species once, by descending probability."""
    for version in inspection.versions("composition"):
        group = releases.group_of("composition", version)
        for unit in inspection.cube.region.units():
            wrong: dict[str, int] = {}
            for window in _strips(inspection.cube.region.square(unit)):
                for what, cells in _disorder(
                    *(inspection.cube.read_window(f"{group}/{n}", window) for n in ("species_id", "probability"))
                ):
                    wrong[what] = wrong.get(what, 0) + cells
            for what, cells in wrong.items():
                if cells:
                    location, problem = f"{group} in unit {unit.name}", f"{cells} cells where {what}"
                    yield Finding(location, "a ranking", problem, _repeat(version, unit))


def _strips(square: Window) -> Iterator[Window]:
    """A unit in strips of rows: the ranking of a whole one takes a gigabyte as integers."""
    for row in range(0, square.height, STRIP):
        yield Window(square.row + row, square.col, min(STRIP, square.height - row), square.width)


def _disorder(ids: Array, chance: Array) -> Iterator[tuple[str, int]]:
    """(what is wrong, in how many cells) of (rank, rows, columns) species and stored probabilities."""
    none = ids == NO_SPECIES
    # Ranks without a species come last: they count as less than nothing.
    falling = np.where(none, -1, chance.astype(np.int32))
    yield "a less probable species comes first", int((np.diff(falling, axis=0) > 0).any(axis=0).sum())
    sorted_ids = np.sort(np.where(none, -1 - np.arange(len(ids), dtype=np.int32)[:, None, None], ids.astype(np.int32)), axis=0)
    yield "a species comes twice", int((np.diff(sorted_ids, axis=0) == 0).any(axis=0).sum())
    yield "a species or its probability is missing", int((none != (chance == 255)).any(axis=0).sum())


@rule_of_values
def sensitive_species(inspection: Inspection) -> Iterator[Finding]:
    """A sensitive species has one value in each of its squares of 1 or 10 km, in its map and in the composition."""
    for version in inspection.versions("species"):
        table = inspection.table("species", version)
        sides = np.nan_to_num(np.asarray(table.get("sensitive_km", np.zeros(0)), float)).astype(int)
        sensitive_km = {str(name): int(km) for name, km in zip(table.get("scientific_name", []), sides, strict=False) if km > 0}
        group, composition = releases.group_of("species", version), releases.group_of("composition", version)
        names = [str(name) for name in np.asarray(inspection.cube.array(f"{group}/species")[:])]
        sensitive = [(index, name, sensitive_km[name]) for index, name in enumerate(names) if name in sensitive_km]
        has_ranks = inspection.cube.has(composition)
        for unit in inspection.cube.region.units() if sensitive else ():
            ids = read(inspection, f"{composition}/species_id", unit) if has_ranks else None
            chance = read(inspection, f"{composition}/probability", unit) if has_ranks else None
            for index, name, km in sensitive:
                values = read(inspection, f"{group}/occurrence", unit, slice(index, index + 1))[0]
                maps = [(f"{group}/occurrence", values, values != 255)]
                if ids is not None and chance is not None:
                    at = ids == index
                    maps.append((f"{composition}/probability", np.where(at, chance, 0).max(axis=0), at.any(axis=0)))
                for path, values_of_map, has_value in maps:
                    count = _leaks(values_of_map, has_value, km)
                    if count:
                        location, expected = f"{path} of {name} in unit {unit.name}", f"one value a square of {km} km"
                        fix = f"do not publish; {_repeat(version, unit)}"
                        yield Finding(location, expected, f"{count} squares with several", fix)


def _leaks(values: Array, has_value: NDArray[np.bool_], km: int) -> int:
    """Squares of `km` kilometres whose `has_value` cells differ."""
    step = km * 1000 // CELL
    shape = (values.shape[0] // step, step, values.shape[1] // step, step)
    blocks, block_has_value = values.astype(np.int64).reshape(shape), has_value.reshape(shape)
    low = np.where(block_has_value, blocks, np.iinfo(np.int64).max).min(axis=(1, 3))
    high = np.where(block_has_value, blocks, np.iinfo(np.int64).min).max(axis=(1, 3))
    return int((high > low).sum())


@rule_of_values
def indicator_bounds(inspection: Inspection) -> Iterator[Finding]:
    """The estimate of an indicator lies within its bounds, and bounds come in pairs and with an estimate alone."""
    for version in inspection.versions("indicators"):
        leaf = inspection.leaf(releases.group_of("indicators", version))
        for name, _ in leaf.maps() if leaf else ():
            assert leaf is not None
            fill = int(as_layer(leaf, name).fill)
            for unit in inspection.cube.region.units():
                three = read(inspection, f"{leaf.path}/{name}", unit).astype(np.int64)
                has_estimate, has_lower, has_upper = three != fill
                estimate, low, high = three
                beyond = has_estimate & has_lower & has_upper & ((estimate < low) | (estimate > high))
                unpaired = (has_lower != has_upper) | (has_lower & ~has_estimate)
                location, fix = f"{leaf.path}/{name} in unit {unit.name}", _repeat(version, unit)
                for what, wrong in (
                    ("the estimate lies beyond its bounds", beyond),
                    ("there is one bound alone, or bounds of nothing", unpaired),
                ):
                    yield from wrong_cells(location, wrong, "lower <= estimate <= upper", f"cells where {what}", fix)


@rule_of_values
def habitat_levels(inspection: Inspection) -> Iterator[Finding]:
    """Habitat classes belong to their level; a coarser class has the largest sum of probabilities, as far as stored ones tell."""
    for version in inspection.versions("habitats"):
        table = {name: [str(value) for value in column] for name, column in inspection.table("habitats", version).items()}
        if not table:
            continue
        row = {code: i for i, code in enumerate(table["code"])}
        parent = np.array([row.get(code, -1) for code in table.get("parent", [""] * len(row))])
        group = releases.group_of("habitats", version)
        leaf = inspection.leaf(group)
        if leaf is None:
            continue
        levels = [name for name in dict.fromkeys(table["level"]) if name in leaf.arrays]  # finest first, as in the table
        for unit in inspection.cube.region.units():
            maps = {name: read(inspection, f"{leaf.path}/{name}", unit).astype(np.int64) for name in levels}
            fix = _repeat(version, unit)
            for name, values in maps.items():
                strangers = ~np.isin(values, [i for i, level in enumerate(table["level"]) if level == name]) & (values != 65535)
                location = f"{group}/{name} in unit {unit.name}"
                yield from wrong_cells(location, strangers, f"classes of {name}", "cells of another level", fix)
            best = read(inspection, f"{leaf.path}/top3_class", unit).astype(np.int64)
            chance = read(inspection, f"{leaf.path}/top3_probability", unit).astype(np.int64)
            above = np.where((best != 65535) & (best < len(parent)), best, -1)
            for name in levels[1:]:
                above = np.where(above >= 0, parent[above], -1)
                wrong = (maps[levels[0]] != 65535) & _outweighed(maps[name], above, np.where(chance == 255, 0, chance))
                expected = "the class with the largest sum of probabilities"
                problem = "cells where the best three classes alone give another one more"
                yield from wrong_cells(f"{group}/{name} in unit {unit.name}", wrong, expected, problem, fix)
            expected, is_other_class = f"the class of {levels[0]} first", best[0] != maps[levels[0]]
            yield from wrong_cells(f"{group}/top3_class in unit {unit.name}", is_other_class, expected, "cells of others", fix)


def _outweighed(stored_values: Array, above: Array, chance: Array) -> NDArray[np.bool_]:
    """Cells (y, x) whose `stored_values` class another one outweighs whatever the classes beyond the best three are.

    above (3, y, x): row of each of the best three at this level, -1 = none; chance (3, y, x): their probabilities in steps.
    """
    # Each stored probability is off by half a step at most, and so is what they leave.
    unlisted_steps = np.maximum(PROBABILITY_STEPS - chance.sum(axis=0), 0) + 2 * len(chance)
    stored_sum = np.where(above == stored_values, chance, 0).sum(axis=0)
    largest = np.stack([np.where((above == row) & (row >= 0), chance, 0).sum(axis=0) for row in above]).max(axis=0)
    return np.asarray(largest > stored_sum + unlisted_steps)
