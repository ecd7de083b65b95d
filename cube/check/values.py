"""Rules on all values: checksums of receipts, pyramids and facts, the surface, ranges and legends; read unit by unit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from cube.check.completeness import BUILD, PREDICT, fix_of
from cube.check.inspection import Inspection, as_layer, blocks, read, write_again
from cube.check.receipts import is_in_stage
from cube.check.rules import Finding, rule_of_values, wrong_cells
from cube.grid import CELL, Unit
from cube.layers.inputs import SURFACE
from cube.pyramids.coarsen import valid_cells
from cube.pyramids.facts import Facts, all_facts, measured, of_square, stored_figures
from cube.pyramids.figures import APPLICABLE, Figures
from cube.pyramids.pyramid import Pyramid, square_values
from cube.pyramids.squares import Square, tree
from cube.sources.coverage import inside
from cube.storage import releases
from cube.storage.ledger import checksum, receipts
from cube.storage.progress import Stage
from cube.storage.store import CubeStore
from cube.storage.whole_shards import OpenArrays


@rule_of_values
def checksums(inspection: Inspection) -> Iterator[Finding]:
    """Values are those that the receipts vouch for, of the products that are there."""
    for stage in inspection.stages:
        units = {unit.name: unit for unit in stage.region.units()}
        for unit, receipt in ((units[name], receipt) for name, receipt in receipts(inspection.cube, stage.path) if name in units):
            for key, checksum_of_receipt in receipt.get("checksums", {}).items():
                for path, lead in _with_checksum(inspection, stage.path, key, receipt["checksums"]):
                    if not is_in_stage(stage, path):
                        continue
                    try:
                        checksum_of_values = str(checksum(read(inspection, path, unit, lead)))
                    except (RuntimeError, ValueError) as error:  # how codecs refuse a damaged shard
                        checksum_of_values = f"a shard that cannot be decoded ({error})"
                    if checksum_of_values != str(checksum_of_receipt):
                        yield Finding(
                            f"{path} in unit {unit.name}",
                            f"checksum {checksum_of_receipt}",
                            checksum_of_values,
                            write_again(fix_of(stage), stage.path, unit.name),
                        )


def _with_checksum(inspection: Inspection, stage: str, key: str, all_keys: Any) -> Iterator[tuple[str, slice | None]]:
    """(path, block of the first axis) of the values behind one checksum of a receipt."""
    if stage.startswith("inputs/"):
        if key in inspection.layers:
            yield inspection.layers[key].path, None
        return
    product, _, name = key.partition(" ")
    version = stage.removeprefix("predict/")
    if product == "species":
        # Species are written in blocks, each with its own checksum, named by its first species.
        starts = sorted(int(k.split()[1]) for k in all_keys if k.startswith("species "))
        following = [start for start in starts if start > int(name)]
        yield f"{releases.group_of(product, version)}/occurrence", slice(int(name), following[0] if following else None)
    elif product in releases.PRODUCTS:
        yield f"{releases.group_of(product, version)}/{name}", None


@rule_of_values
def pyramids(inspection: Inspection) -> Iterator[Finding]:
    """Overviews are the means of the valid cells of level 0, and its majorities."""
    arrays = OpenArrays(inspection.cube)
    for progress in inspection.progress:
        stage, stage_pyramids = progress.stage, list(_pyramids(inspection, progress.stage))
        for square in tree(inspection.cube.region, progress.units):
            if progress.squares[square.name] == "missing":
                continue
            for pyramid in stage_pyramids:
                for layer in pyramid.layers:
                    for path, selection, expected in square_values(arrays, pyramid, layer, square):
                        stored_values = np.asarray(inspection.cube.array(path)[selection])
                        both_nan = (stored_values != stored_values) & (expected != expected)
                        differ = (stored_values != expected) & ~both_nan
                        fix = write_again(fix_of(stage), f"{stage.path}/overviews", square.name)
                        problem = f"of {stored_values.size} pixels that differ"
                        yield from wrong_cells(f"{path} in square {square.name}", differ, "what level 0 gives", problem, fix)


def _pyramids(inspection: Inspection, stage: Stage) -> Iterator[Pyramid]:
    """The pyramids that stand on a stage, as the cube holds them."""
    if stage.path.startswith("inputs/"):
        for leaf in inspection.leaves:
            if leaf.product == "inputs" and leaf.level == 0:
                layers = [as_layer(leaf, name) for name in stage.layers if name in leaf.arrays]
                resolution = leaf.path.removeprefix("inputs/")
                if layers and inspection.leaf(f"inputs/overviews/{resolution}/1"):
                    yield Pyramid.of_inputs(resolution, layers)
        return
    version = stage.path.removeprefix("predict/")
    for product in ("species", "indicators", "habitats"):
        finest, coarser = inspection.leaf(f"products/{product}/{version}/0"), inspection.leaf(f"products/{product}/{version}/1")
        if finest and coarser:
            yield Pyramid.of_product(product, version, [as_layer(finest, name) for name, _ in coarser.maps()])


@rule_of_values
def surface(inspection: Inspection) -> Iterator[Finding]:
    """The surface says land, water or sealed within the region and nothing outside."""
    if not inspection.cube.has(SURFACE):
        return
    for unit in inspection.cube.region.units():
        values = read(inspection, SURFACE, unit)
        within = inside(inspection.cube.region, unit, CELL)
        for location, wrong, expected in (
            (within, values == 255, "land, water or sealed"),
            (~within, values != 255, "255 outside the region"),
        ):
            path, fix = f"{SURFACE} in unit {unit.name}", write_again(BUILD, "inputs/surface", unit.name)
            yield from wrong_cells(path, location & wrong, expected, "cells that are not", fix)


@rule_of_values
def valid_values(inspection: Inspection) -> Iterator[Finding]:
    """Stored values lie in their valid range, and classes in their legend."""
    for leaf in inspection.leaves:
        if leaf.level:
            continue
        for name, array in leaf.maps():
            attrs, layer = array.get("attributes", {}), as_layer(leaf, name)
            flag_values, limits = attrs.get("flag_values"), attrs.get("valid_range")
            if not flag_values and not limits:
                continue
            fix = "fix the source or the range, and write it again"
            for unit in inspection.cube.region.units():
                for values in blocks(inspection, leaf, name, unit):
                    valid = values[valid_cells(values, layer.fill)]
                    wrong = ~np.isin(valid, flag_values) if flag_values else (valid < limits[0]) | (valid > limits[1])
                    if wrong.any():
                        expected = "a class of its legend" if flag_values else f"stored values {limits[0]} to {limits[1]}"
                        problem = f"{int(wrong.sum())} values such as {valid[wrong][0]}"
                        yield Finding(f"{leaf.path}/{name} in unit {unit.name}", expected, problem, fix)


@rule_of_values
def facts(inspection: Inspection) -> Iterator[Finding]:
    """The facts of a unit are what its maps give, those of a square what the facts below it give."""
    for progress in inspection.progress:
        cube, stage = inspection.cube, progress.stage
        version = stage.path.removeprefix("predict/")
        every = all_facts(cube, dict.fromkeys(stage.layers, version)) if version != stage.path else ()
        if not every:
            continue
        for unit in progress.units:
            if unit.name in progress.index.fingerprints:
                figures = measured(cube, every, unit).figures()
                if "indicators" not in stage.layers:  # taken by `gc`, and what they say of applicability with them
                    figures = {
                        product_facts.product: figures[product_facts.product][_without_applicability(product_facts)]
                        for product_facts in every
                    }
                yield from _differing(cube, stage.path, every, unit, figures)
        for square in tree(cube.region, progress.units):
            if progress.squares[square.name] == "valid":
                figures = {product_facts.product: of_square(cube, product_facts, square) for product_facts in every}
                yield from _differing(cube, f"{stage.path}/overviews", every, square, figures)


def _without_applicability(facts: Facts) -> list[int]:
    """Rows of the statistics that the maps of the product alone give; those of applicability are the last ones."""
    return [row for row, name in enumerate(facts.statistics) if name not in APPLICABLE]


def _differing(
    cube: CubeStore, stage: str, every: tuple[Facts, ...], place: Unit | Square, figures: Mapping[str, Figures]
) -> Iterator[Finding]:
    for product_facts in every:
        expected_figures = figures[product_facts.product]
        differ = int((stored_figures(cube, product_facts, place)[: len(expected_figures)] != expected_figures).sum())
        if differ:
            fix = write_again(PREDICT, stage, place.name)
            yield Finding(f"{product_facts.path} of {place.name}", "what the maps give", f"{differ} figures that differ", fix)
