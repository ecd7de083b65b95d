"""The fact sheet of a habitat: its place in the scheme, where it is on the map, and the species that tell it from the others."""

from __future__ import annotations

from typing import Annotated, Any, Final

import numpy as np
from fastapi import APIRouter, Depends, Path, Request, Response

from cube import model_card
from cube.grid import CELL
from cube.storage import releases
from server.asking import whole_map
from server.asking.area import rounded, said
from server.asking.fidelity import fidelity
from server.asking.gate import HEAVY
from server.asking.requested import release_of
from server.asking.sheet_models import HabitatName, HabitatOnMap, HabitatSheet, TellingSpecies
from server.asking.tally import Cells
from server.dependencies import json_answer, unchanged, validators
from server.errors import NotFoundError
from server.reading.catalogue import Table, text
from server.reading.layers import HabitatClass, MapLayer, slug
from server.reading.snapshot import ServedCube, Snapshot

TELLING: Final = 25  # species of a sheet
_SHARE: Final = "The share is that of classified cells in which this is the most probable habitat of its level."
_SPECIES: Final = (
    "Species are ranked by their fidelity to the habitat on this map (phi of expected occurrences, Chytry et al. 2002): the map's"
    " own account, not that of vegetation plots."
)
_PARENTS: Final = "The levels above are sums of this scheme's finest level."


def router(cube: ServedCube) -> APIRouter:
    """`/habitats/{code}` of one cube."""
    routes = APIRouter(tags=["sheets"])
    requested = Depends(release_of(cube))

    @routes.get("/habitats/{code:path}", summary="Fact sheet of a habitat", response_model=HabitatSheet)
    async def sheet(
        request: Request,
        code: Annotated[
            str, Path(max_length=200, description="The code of a class, or its name where it has none, such as `R22`.")
        ],
        snapshot: Snapshot = requested,
    ) -> Response:
        """Name, parents, share of the map, mean probability and the species that most say it."""
        layer, entry = find(snapshot, code)
        if (cached := unchanged(request, validators(snapshot, request))) is not None:
            return cached
        answer = await HEAVY.run(lambda: describe(snapshot, layer, entry))
        return json_answer(snapshot, request, answer.model_dump())

    return routes


def code_of(entry: HabitatClass) -> str:
    """What a class is asked for by: its code, or its name where the scheme has none."""
    return entry.code or entry.label


def find(snapshot: Snapshot, code: str) -> tuple[MapLayer, HabitatClass]:
    """The layer and the class called `code`, in any letters, at the finest level that has it; raises `NotFoundError`."""
    wanted = code.strip().casefold()
    layers = [layer for layer in snapshot.catalogue.find(product="habitats") if layer.kind == "class"]
    for layer in layers:
        for entry in layer.classes:
            if wanted in (code_of(entry).casefold(), slug(code_of(entry))):
                return layer, entry
    known = [code_of(entry) for layer in layers for entry in layer.classes]
    more = f", ... ({len(known)} in all)" if len(known) > 12 else ""
    hint = f"; known are {', '.join(known[:12])}{more}" if known else ": it maps no habitats"
    raise NotFoundError(f"There is no habitat '{code[:80]}' in release {snapshot.release}{hint}.")


def describe(snapshot: Snapshot, layer: MapLayer, entry: HabitatClass) -> HabitatSheet:
    """The sheet of one class of one level."""
    table, level = snapshot.catalogue.habitats, layer.id.removeprefix("habitats.")
    code = code_of(entry)
    region = whole_map.once(snapshot, f"sheet {layer.id} {entry.value}", lambda: _on_map(snapshot, layer, entry))
    version = snapshot.products.get("species")
    card = None if version is None else model_card.read_card(snapshot.reader.cube, version)
    parents = _parents(table, code)
    species = _species(snapshot, layer, entry) if region is not None and region.share > 0 else []
    return HabitatSheet(
        code=code,
        label=entry.label,
        level=level,
        colour=entry.colour,
        id=layer.id,
        title=layer.title,
        release=snapshot.release,
        version=snapshot.products["habitats"],
        parents=parents,
        children=[_name(table, row) for row, up in enumerate(table.get("parent", ())) if code and str(up) == code],
        region=region,
        species=species,
        metrics=None if card is None else card.get("habitats"),
        notes=[_SHARE, *([_PARENTS] if parents else []), *([_SPECIES] if species else []), *([layer.note] if layer.note else [])],
        attribution=layer.attribution or said(snapshot, "attribution"),
        license=layer.license or said(snapshot, "license"),
    )


def _name(table: Table, row: int) -> HabitatName:
    code, name = text(table, "code", row), text(table, "name", row)
    return HabitatName(code=code or name, label=name, level=text(table, "level", row), colour=text(table, "colour", row))


def _parents(table: Table, code: str) -> list[HabitatName]:
    """The classes above, the nearest first, by the codes that the table names."""
    rows = {text(table, "code", row): row for row in range(len(table.get("code", ())))}
    found: list[HabitatName] = []
    seen = {code}
    while code in rows and (up := text(table, "parent", rows[code])) in rows and up not in seen:
        found.append(_name(table, rows[up]))
        seen.add(up)
        code = up
    return found


def _on_map(snapshot: Snapshot, layer: MapLayer, entry: HabitatClass) -> HabitatOnMap | None:
    """The class over the whole map; None where nothing is classified."""
    cells = whole_map.cells_of(snapshot)
    held = whole_map.stored(snapshot, layer, cells)[cells.mask].astype(np.int64)
    known, here = held != int(layer.fill), held == entry.value
    count, own = int(known.sum()), int(here.sum())
    if not count:
        return None
    km2 = (CELL * 2**cells.level / 1000) ** 2
    mean = None
    finest = next(level for level in snapshot.catalogue.find(product="habitats") if level.kind == "class")
    probability = snapshot.catalogue.by_id.get("habitats.probability")
    if probability is not None and layer is finest and own:  # it is that of the finest level's class
        p = whole_map.values(snapshot, probability, cells)[here]
        mean = rounded(float(p[np.isfinite(p)].mean())) if np.isfinite(p).any() else None
    return HabitatOnMap(
        level=cells.level,
        cell_m=cells.cell_m,
        cells=count,
        km2=rounded(count * km2),
        share=rounded(own / count),
        habitat_km2=rounded(own * km2),
        mean_probability=mean,
        among_three=_among_three(snapshot, entry, cells, count) if layer is finest else None,
    )


def _among_three(snapshot: Snapshot, entry: HabitatClass, cells: Cells, count: int) -> float | None:
    """Share of the classified cells that have the class among their three best; None at coarser levels."""
    base = releases.group_of("habitats", snapshot.products["habitats"])
    if cells.level or not snapshot.reader.cube.has(f"{base}/top3_class"):
        return None
    rows, cols = cells.mask.shape
    found = np.zeros(cells.count, bool)
    for rank in range(snapshot.reader.source(f"{base}/top3_class").shape[0]):
        window: Any = snapshot.reader.window(
            f"{base}/top3_class", (rank,), 1, (cells.row, cells.row + rows), (cells.col, cells.col + cols)
        )
        found |= window[cells.mask] == entry.value
    return rounded(float(found.sum()) / count)


def _species(snapshot: Snapshot, layer: MapLayer, entry: HabitatClass) -> list[TellingSpecies]:
    """The species of the greatest fidelity to the class, none that is as common elsewhere."""
    maps = snapshot.catalogue.find(product="species")
    if not maps:
        return []
    told = whole_map.once(
        snapshot, f"fidelity {layer.id}", lambda: fidelity(snapshot, layer, maps[0], whole_map.cells_of(snapshot, len(maps)))
    )
    row = int(np.flatnonzero(told.classes == entry.value)[0])
    phi, inside, outside = told.phi(row), told.inside(row), told.outside(row)
    by_index = {own.lead[0]: own for own in maps}
    found = []
    for index in np.argsort(-phi, kind="stable")[:TELLING].tolist():
        own = by_index.get(index)
        if own is not None and phi[index] > 0:
            found.append(TellingSpecies(
                id=own.id, name=own.title, vernacular=own.subtitle, inside=rounded(inside[index]),
                outside=rounded(outside[index]), fidelity=rounded(phi[index]),
            ))  # fmt: skip
    return found
