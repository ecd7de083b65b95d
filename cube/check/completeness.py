"""Promises that nothing is missing and nothing is left over: receipts, overviews, consolidated metadata, tables, releases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from cube import standing
from cube.check.house import House
from cube.check.promise import Finding, promise
from cube.grid import RESOLUTIONS, Region
from cube.pyramids.squares import Square, tree
from cube.storage import backends, releases
from cube.storage.ledger import digest, mark

BUILD: Final = "run `floracube build` until it ends well"
PREDICT: Final = "run `floracube predict` again with that --version"


def stages(house: House) -> Iterator[tuple[standing.Stage, Region, str]]:
    """(stage, region that it covers, what to run) of every stage of inputs and of every version of the products."""
    for stage in standing.input_stages(house.cube):
        yield stage, house.cube.region, BUILD
    for version in sorted({v for product in releases.PRODUCTS for v in house.versions(product)}):
        yield standing.Stage(house.cube, f"predict/{version}"), standing.predicted_region(house.cube, version), PREDICT


def receipts_of(house: House, path: str) -> dict[str, Mapping[str, Any]]:
    """Whole receipts of a stage by unit or square; a truncated one is none."""
    return dict(house.cube.read_folder(f"ledger/{path}"))


@promise
def consolidated(house: House) -> Iterator[Finding]:
    """Leaf groups are consolidated, and what is consolidated is what their arrays say."""
    mend = "run the command that writes the group again, or `zarr.consolidate_metadata`"
    for leaf in house.leaves:
        held = (leaf.document.get("consolidated_metadata") or {}).get("metadata")
        if held is None:
            yield Finding(leaf.path, "consolidated metadata", "none", mend)
            continue
        for name in sorted(set(held) ^ set(leaf.arrays)):
            found = "it is not listed" if name in leaf.arrays else "it is listed and not there"
            yield Finding(f"{leaf.path}/{name}", "listed in the consolidated metadata of its group as it is there", found, mend)
        for name in sorted(set(held) & set(leaf.arrays)):
            if _same(held[name]) != _same(leaf.arrays[name]):
                yield Finding(f"{leaf.path}/{name}", "the same metadata as consolidated", "another", mend)


def _same(document: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != "consolidated_metadata" and value not in (None, [], {})}


@promise
def receipts(house: House) -> Iterator[Finding]:
    """Every layer and every version has a receipt for each of its units."""
    by_layer = standing.stages_by_layer(house.cube)
    for name in standing.held_inputs(house.cube):
        if name not in by_layer:
            yield Finding(f"ledger/inputs (layer {name})", "receipts of a stage that writes it", "none", BUILD)
    for stage, region, mend in stages(house):
        held = receipts_of(house, stage.path)
        for unit in region.units():
            if unit.name not in held:
                yield Finding(f"ledger/{stage.path}/{unit.name}.json", "a receipt", "none, or half of one", mend)


@promise
def stale_receipts(house: House) -> Iterator[Finding]:
    """All units of a stage were made from the same sources and settings, and overviews from the units as they are now."""
    for stage, region, mend in stages(house):
        held = receipts_of(house, stage.path)
        hashes = Counter(str(receipt.get("inputs")) for receipt in held.values())
        if not hashes:
            continue
        common = hashes.most_common(1)[0][0]
        for name, receipt in held.items():
            if receipt.get("inputs") != common:
                found = str(receipt.get("inputs"))
                yield Finding(f"ledger/{stage.path}/{name}.json", f"inputs {common} as most units of the stage", found, mend)
        yield from _stale_squares(house, stage.path, region, {name: mark(receipt) for name, receipt in held.items()}, mend)


def _stale_squares(house: House, path: str, region: Region, marks: dict[str, str], mend: str) -> Iterator[Finding]:
    squares = receipts_of(house, f"{path}/overviews")
    units = list(region.units())
    asked = {unit.name for unit in units} | {square.name for square in tree(house.cube.region, units)}
    for square in tree(house.cube.region, units):
        children = [name for name in square.children() if name in asked]
        if square.name not in squares or any(name not in marks for name in children):
            continue  # missing: that is another promise
        wanted = digest([(name, marks[name]) for name in children])
        found = str(squares[square.name].get("inputs"))
        # What stands above is judged by what this one says, or one stale square would be told at every level.
        marks[square.name] = found
        if found != wanted:
            expected = "to be made from the units and squares below as they are"
            yield Finding(f"ledger/{path}/overviews/{square.name}.json", expected, "others", mend)


@promise
def overviews(house: House) -> Iterator[Finding]:
    """Every layer has all its overviews, and every square of them a receipt."""
    levels = range(1, house.cube.region.levels() + 1)
    for name in RESOLUTIONS:
        yield from _levels(house, f"inputs/{name}", f"inputs/overviews/{name}", levels, BUILD)
    for product in ("species", "indicators", "habitats"):
        for version in house.versions(product):
            base = f"products/{product}/{version}"
            yield from _levels(house, f"{base}/0", base, levels, PREDICT)
    for stage, region, mend in stages(house):
        held = receipts_of(house, f"{stage.path}/overviews")
        for square in tree(house.cube.region, region.units()):
            if square.name not in held:
                yield Finding(f"ledger/{stage.path}/overviews/{square.name}.json", "a receipt", "none, or half of one", mend)


def _levels(house: House, source: str, base: str, levels: range, mend: str) -> Iterator[Finding]:
    finest = house.leaf(source)
    if finest is None:
        return
    for level in levels:
        leaf = house.leaf(f"{base}/{level}")
        held = set(leaf.arrays) if leaf else set()
        for name, _ in finest.maps():
            if name not in held and not name.startswith("top3_"):
                yield Finding(f"{base}/{level}/{name}", "the overview of a layer", "nothing", mend)


@promise
def leftovers(house: House) -> Iterator[Finding]:
    """Nothing half written is left over."""
    folder = backends.local_path(house.cube.url)
    if folder is None:
        return  # an object appears whole or not at all
    # What is not of the release that is asked of may be written right now.
    named = ["inputs", *(f"products/{product}/{version}" for product, version in house.products.items())]
    for orphan in (file for part in ([""] if house.release is None else named) for file in (folder / part).rglob("*.partial")):
        yield Finding(str(orphan.relative_to(folder)), "nothing", "a file of a write that was cut off", "remove it")


@promise
def tables(house: House) -> Iterator[Finding]:
    """The species table numbers and names the species of the maps, and the habitat table their classes."""
    held = house.products
    if "species" in held:
        leaf = house.leaf(releases.group_of("species", held["species"]))
        table = house.table("species")
        ids = np.asarray(table.get("species_id", []))
        if not np.array_equal(ids, np.arange(len(ids))):
            yield Finding("tables/species/species_id", "0, 1, 2, ... in order", str(ids[:6])[:60], PREDICT)
        if leaf is not None:
            names = [str(name) for name in np.asarray(house.cube.array(f"{leaf.path}/species")[:])]
            if names != [str(name) for name in table.get("scientific_name", [])]:
                expected = f"the {len(names)} species of {leaf.path} in their order"
                yield Finding("tables/species/scientific_name", expected, f"{len(ids)} others", PREDICT)
    if "habitats" in held:
        leaf = house.leaf(releases.group_of("habitats", held["habitats"]))
        table = house.table("habitats")
        codes = [str(code) for code in table.get("code", [])]
        for name, array in leaf.maps() if leaf else ():
            attrs = array.get("attributes", {})
            meanings = str(attrs.get("flag_meanings", "")).split()
            for value, meaning in zip(attrs.get("flag_values", []), meanings, strict=False):
                code = codes[value].replace(" ", "_") if value < len(codes) else None
                # A name may follow the code; a flat scheme's codes are names, with spaces of their own.
                if code is None or not (meaning == code or meaning.startswith(f"{code}_")):
                    found = codes[value] if value < len(codes) else "nothing"
                    yield Finding(f"tables/habitats, row {value}", f"{meaning} as in {name}", found, PREDICT)


@promise
def releases_and_current(house: House) -> Iterator[Finding]:
    """Releases name versions that are there, and readers follow a release that is there."""
    names = house.cube.list_json("releases")
    for name in names if house.release is None else [house.release]:
        release = house.cube.read_json(f"releases/{name}.json") or {}
        for product, version in release.get("products", {}).items():
            if not house.cube.has(releases.group_of(product, version)):
                mend = "write that version again, or remove the release"
                yield Finding(f"releases/{name}.json", f"products/{product}/{version}", "nothing there", mend)
    pointer = house.cube.read_json(releases.CURRENT)
    if pointer is not None and pointer.get("release") not in names:
        found = f"'{pointer.get('release')}'"
        yield Finding(
            releases.CURRENT, f"one of {', '.join(names) or 'no releases'}", found, "`floracube publish` a release that is there"
        )


def squares_with_receipts(house: House, path: str, region: Region) -> list[Square]:
    """The squares of a stage that claim to be complete."""
    held = receipts_of(house, f"{path}/overviews")
    return [square for square in tree(house.cube.region, region.units()) if square.name in held]
