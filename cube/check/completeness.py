"""Rules that nothing is missing and nothing is left over: receipts and what they count, overviews, tables, releases."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

import numpy as np

from cube.check.inspection import Inspection, write_again
from cube.check.rules import Finding, rule
from cube.grid import RESOLUTIONS
from cube.sources.coverage import MINIMUM, Coverage, coverage_of
from cube.storage import backends, model_card, releases
from cube.storage.ledger import summaries
from cube.storage.progress import MADE_FROM, Progress, Stage

BUILD: Final = "run `floracube build` until it ends well"
NO_SOURCE: Final = "name it in `sources` (or `derive`) of the configuration and run `floracube build`, or remove the array"
PREDICT: Final = "run `floracube predict` again with that --version"


def fix_of(stage: Stage) -> str:
    """What to run so that a stage becomes complete."""
    if stage.inputs is None and stage.path.startswith("inputs/"):
        return NO_SOURCE
    return BUILD if stage.path.startswith("inputs/") else PREDICT


@rule
def consolidated(inspection: Inspection) -> Iterator[Finding]:
    """Leaf groups are consolidated, and what is consolidated is what their arrays say."""
    fix = "run the command that writes the group again, or `zarr.consolidate_metadata`"
    for leaf in (leaf for leaf in inspection.leaves if not leaf.from_consolidated):
        consolidated_nodes = (leaf.document.get("consolidated_metadata") or {}).get("metadata")
        if consolidated_nodes is None:
            yield Finding(leaf.path, "consolidated metadata", "none", fix)
            continue
        # The table and the facts of a composition lie below its maps; whether they are listed with them does not matter.
        consolidated_nodes = {
            name: document for name, document in consolidated_nodes.items() if name.partition("/")[0] not in ("table", "facts")
        }
        for name in sorted(set(consolidated_nodes) ^ set(leaf.arrays)):
            problem = "it is not listed" if name in leaf.arrays else "it is listed and not there"
            yield Finding(f"{leaf.path}/{name}", "listed in the consolidated metadata of its group as it is there", problem, fix)
        for name in sorted(set(consolidated_nodes) & set(leaf.arrays)):
            if _same(consolidated_nodes[name]) != _same(leaf.arrays[name]):
                yield Finding(f"{leaf.path}/{name}", "the same metadata as consolidated", "another", fix)


def _same(document: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != "consolidated_metadata" and value not in (None, [], {})}


@rule
def receipts(inspection: Inspection) -> Iterator[Finding]:
    """Every layer belongs to a stage, and every unit of every stage has a receipt."""
    for progress in inspection.progress:
        stage = progress.stage
        if stage.inputs is None:
            location = inspection.layers[stage.layers[0]].path if stage.path.startswith("inputs/") else stage.path
            yield Finding(f"{location}, {MADE_FROM}", "what its values are made from", "nothing", fix_of(stage))
            continue
        yield from _unlisted_receipts(
            inspection, stage, stage.path, [name for name in progress.missing if name not in progress.index.stale]
        )


def _unlisted_receipts(inspection: Inspection, stage: Stage, path: str, names: Collection[str]) -> Iterator[Finding]:
    """Findings of receipts that are none; one that a memo still has needs another in its place, or no run looks at it."""
    summary_units = {name for _, units, _ in summaries(inspection.cube, path) for name in units} if names else set()
    for name in names:
        fix = write_again(fix_of(stage), path, name) if name in summary_units else fix_of(stage)
        yield Finding(f"ledger/{path}/{name}.json", "a receipt", "none, or half of one", fix)


@rule
def stored_shards(inspection: Inspection) -> Iterator[Finding]:
    """Every shard that a receipt lists, of a product that is there, is stored with the size that it was written with."""
    for progress in inspection.changed_stages:
        fix = fix_of(progress.stage)
        for wrong_size in inspection.receipts[progress.stage.path].wrong_sizes:
            expected = f"{wrong_size.receipt_bytes} bytes" if wrong_size.receipt_bytes else "no file, since it holds only fill"
            stored_text = f"{wrong_size.stored_bytes} bytes" if wrong_size.stored_bytes else "no file"
            yield Finding(wrong_size.key, expected, stored_text, write_again(fix, wrong_size.stage, wrong_size.unit))


@rule
def stale_receipts(inspection: Inspection) -> Iterator[Finding]:
    """All units of a stage were made from what it is to be made from now, and overviews from the units as they are."""
    for progress in inspection.progress:
        stage = progress.stage
        for unit in sorted(progress.index.stale) if stage.inputs is not None else ():
            yield Finding(f"ledger/{stage.path}/{unit}.json", f"inputs {stage.inputs}", "others", fix_of(stage))
        for square, state in progress.squares.items():
            if state == "stale":
                expected = "to be made from the units and squares below as they are"
                yield Finding(f"ledger/{stage.path}/overviews/{square}.json", expected, "others", fix_of(stage))


@rule
def overviews(inspection: Inspection) -> Iterator[Finding]:
    """Every layer has all its overviews, and every square of them a receipt."""
    levels = range(1, inspection.cube.region.levels() + 1)
    for name in RESOLUTIONS:
        yield from _levels(inspection, f"inputs/{name}", f"inputs/overviews/{name}", levels, BUILD)
    for product in ("species", "indicators", "habitats"):
        for version in inspection.versions(product):
            base = f"products/{product}/{version}"
            yield from _levels(inspection, f"{base}/0", base, levels, PREDICT)
    for progress in inspection.progress:
        if progress.stage.inputs is not None:
            missing = [square for square, state in progress.squares.items() if state == "missing"]
            yield from _unlisted_receipts(inspection, progress.stage, f"{progress.stage.path}/overviews", missing)


def _levels(inspection: Inspection, source: str, base: str, levels: range, fix: str) -> Iterator[Finding]:
    finest = inspection.leaf(source)
    if finest is None:
        return
    for level in levels:
        leaf = inspection.leaf(f"{base}/{level}")
        names = set(leaf.arrays) if leaf else set()
        for name, _ in finest.maps():
            if name not in names and not name.startswith("top3_"):
                yield Finding(f"{base}/{level}/{name}", "the overview of a layer", "nothing", fix)


@rule
def leftovers(inspection: Inspection) -> Iterator[Finding]:
    """Nothing half written is left over."""
    folder = backends.local_path(inspection.cube.url)
    if folder is None:
        return  # an object appears whole or not at all
    # What is not of the release that is asked of may be written right now.
    folders = ["inputs", *(f"products/{product}/{version}" for product, version in inspection.products.items())]
    for orphan in (
        file for part in ([""] if inspection.release is None else folders) for file in (folder / part).rglob("*.partial")
    ):
        yield Finding(str(orphan.relative_to(folder)), "nothing", "a file of a write that was cut off", "remove it")


@rule
def tables(inspection: Inspection) -> Iterator[Finding]:
    """Every version of species, composition and habitats has its table, which numbers and names what its maps show."""
    for product in releases.TABLE_ROWS:
        for version in inspection.versions(product):
            path, table = releases.table_path(product, version), inspection.table(product, version)
            if not table:
                yield Finding(path, f"the table of this version of {product}", "none", PREDICT)
            elif product == "habitats":
                yield from _habitat_table(inspection, path, version, table)
            else:
                species_version = inspection.products.get("species") if version == inspection.products.get(product) else None
                yield from _species_table(inspection, path, version if product == "species" else species_version, table)


def _species_table(inspection: Inspection, path: str, maps: str | None, table: Mapping[str, Any]) -> Iterator[Finding]:
    """Ids that count from 0 and the names of the species of version `maps`, in their order."""
    ids = np.asarray(table.get("species_id", []))
    if not np.array_equal(ids, np.arange(len(ids))):
        yield Finding(f"{path}/species_id", "0, 1, 2, ... in order", str(ids[:6])[:60], PREDICT)
    leaf = inspection.leaf(releases.group_of("species", maps)) if maps else None
    if leaf is not None:
        names = [str(name) for name in inspection.values(leaf, "species")]
        if names != [str(name) for name in table.get("scientific_name", [])]:
            expected = f"the {len(names)} species of {leaf.path} in their order"
            yield Finding(f"{path}/scientific_name", expected, f"{len(ids)} others", PREDICT)


def _habitat_table(inspection: Inspection, path: str, version: str, table: Mapping[str, Any]) -> Iterator[Finding]:
    """A row for each class of the maps, at its number and of its code."""
    leaf = inspection.leaf(releases.group_of("habitats", version))
    codes = [str(code) for code in table.get("code", [])]
    for name, array in leaf.maps() if leaf else ():
        attrs = array.get("attributes", {})
        meanings = str(attrs.get("flag_meanings", "")).split()
        for value, meaning in zip(attrs.get("flag_values", []), meanings, strict=False):
            code = codes[value].replace(" ", "_") if value < len(codes) else None
            # A name may follow the code; a flat scheme's codes are names, with spaces of their own.
            if code is None or not (meaning == code or meaning.startswith(f"{code}_")):
                row = codes[value] if value < len(codes) else "nothing"
                yield Finding(f"{path}, row {value}", f"{meaning} as in {name}", row, PREDICT)


@rule
def releases_and_current(inspection: Inspection) -> Iterator[Finding]:
    """Releases name versions that are there, and readers follow, and may go back to, a release that is there."""
    names = inspection.cube.list_json("releases")
    for name in names if inspection.release is None else [inspection.release]:
        release = releases.read_document(inspection.cube, name) or {}
        for product, version in release.get("products", {}).items():
            if not inspection.cube.has(releases.group_of(product, version)):
                fix = "write that version again, or remove the release"
                yield Finding(f"releases/{name}.json", f"products/{product}/{version}", "nothing there", fix)
    if inspection.release is not None:
        return  # publishing it replaces the pointer
    pointer = releases.read_pointer(inspection.cube) or {}
    for role in ("release", "previous"):
        release_name = pointer.get(role)
        if release_name is not None and release_name not in names:
            expected = f"one of {', '.join(names) or 'no releases'}"
            fix = "`floracube publish` a release that is there"
            yield Finding(f"{releases.CURRENT}, {role}", expected, f"'{release_name}'", fix)
        elif role == "release" and pointer.get("content", {}) not in (
            {},
            inspection.cube.read_json(f"releases/{release_name}.json"),
        ):
            expected = f"what releases/{release_name}.json says"
            yield Finding(f"{releases.CURRENT}, content", expected, "something else", f"`floracube publish` {release_name} again")
    cube_attributes = {key: value for key, value in inspection.cube.attributes.items() if key in ("crs", "region_km", "unit_km")}
    if releases.ABOUT in pointer and not cube_attributes.items() <= pointer[releases.ABOUT].items():
        expected = "what the root says"
        yield Finding(f"{releases.CURRENT}, {releases.ABOUT}", expected, "something else", "`floracube publish` a release again")


@rule
def model_documents(inspection: Inspection) -> Iterator[Finding]:
    """Where a version of the species says what model made it, it says so of every species of its maps, in their order."""
    for version in inspection.versions("species"):
        card = model_card.read_card(inspection.cube, version)
        leaf = inspection.leaf(releases.group_of("species", version))
        if card is None or leaf is None:
            continue  # made before there were such documents
        names = [str(name) for name in inspection.values(leaf, "species")]
        if card.get("species") != len(names):
            yield Finding(model_card.card_path(version), f"a card of {len(names)} species", f"of {card.get('species')}", PREDICT)
        for first in range(0, len(names), model_card.BLOCK):
            path, block_names = model_card.block_path(version, first), names[first : first + model_card.BLOCK]
            document = model_card.read_block(inspection.cube, path)
            if document is None:
                yield Finding(path, f"the documents of {len(block_names)} species", "nothing", PREDICT)
            elif [entry.get("name") for entry in document["species"]] != block_names:
                yield Finding(path, f"the species of {leaf.path} in their order", "others", PREDICT)


def coverages(inspection: Inspection) -> list[Coverage]:
    """Of every input layer whose receipts count pixels."""
    return [row for progress in _inputs(inspection) for row in coverage_of(progress.index.counts)]


def _inputs(inspection: Inspection) -> list[Progress]:
    return [progress for progress in inspection.progress if progress.stage.path.startswith("inputs/")]


@rule
def coverage(inspection: Inspection) -> Iterator[Finding]:
    """Counts of receipts add up, and each input has values in as much of the region as its source asks for."""
    for progress in _inputs(inspection):
        stage = progress.stage
        for unit, row in inspection.receipts[stage.path].uneven if progress in inspection.changed_stages else ():
            counts_text = f"{row.used} used + {row.no_data} no data + {row.refused} refused"
            expected = f"counts of {row.layer} that add up to {row.pixels} pixels"
            yield Finding(f"ledger/{stage.path}/{unit}.json", expected, counts_text, BUILD)
        name = stage.path.removeprefix("inputs/")
        if progress.missing:
            continue  # units are missing still: that is another rule
        minimum = _minimum(inspection, name)
        for row in coverage_of(progress.index.counts):
            shortfall = row.shortfall(minimum) if row.layer == name else None
            if shortfall is not None:
                yield Finding(inspection.layers[name].path, "values in the region", shortfall, "fix the source and build again")


def _minimum(inspection: Inspection, name: str) -> float | None:
    leaf = inspection.leaf(inspection.layers[name].group)
    attributes: Mapping[str, Any] = leaf.arrays[name].get("attributes", {}) if leaf and name in leaf.arrays else {}
    minimum = attributes.get(MINIMUM)
    return None if minimum is None else float(minimum)
