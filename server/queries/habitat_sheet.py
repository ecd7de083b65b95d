"""The fact sheet of a habitat: its place in the scheme, where it is on the map, and the species that tell it from the others."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path, Request, Response

from cube.layers.ids import slug
from cube.storage import model_card
from server.dependencies import RequestedSnapshot
from server.errors import NotFoundError
from server.queries.area import CELL_KM2, cube_text, rounded
from server.queries.gate import queried
from server.queries.sheet_models import HabitatName, HabitatOnMap, HabitatSheet, TellingSpecies
from server.queries.species_sheet import about_cells
from server.queries.tally import tally
from server.reading.catalogue import Table, text
from server.reading.layers import HabitatClass, MapLayer
from server.reading.snapshot import Snapshot

_SHARE: Final = "The share is that of classified cells in which this is the most probable habitat of its level."
_SPECIES: Final = (
    "Species are ranked by their fidelity to the habitat on this map (phi of expected occurrences, Chytry et al. 2002): the map's"
    " own account, not that of vegetation plots."
)
_OLDER: Final = (
    "This release was made without the species that tell its habitats; predict anew with `floracube predict` to add them."
)
_PARENTS: Final = "The levels above are sums of this scheme's finest level."


router: Final = APIRouter(tags=["sheets"])


@router.get("/habitats/{code:path}", summary="Fact sheet of a habitat", response_model=HabitatSheet)
async def sheet(
    request: Request,
    snapshot: RequestedSnapshot,
    code: Annotated[str, Path(max_length=200, description="The code of a class, or its name where it has none, such as `R22`.")],
) -> Response:
    """Name, parents, share of the map, mean probability and the species that most say it."""
    layer, entry = find(snapshot, code)
    return await queried(snapshot, request, lambda: describe(snapshot, layer, entry))


def code_of(entry: HabitatClass) -> str:
    """What a class is asked for by: its code, or its name where the scheme has none."""
    return entry.code or entry.label


def find(snapshot: Snapshot, code: str) -> tuple[MapLayer, HabitatClass]:
    """The layer and the class called `code`, in any letters, at the finest level that has it; raises `NotFoundError`."""
    lower_code = code.strip().casefold()
    layers = [layer for layer in snapshot.catalogue.find(product="habitats") if layer.kind == "class"]
    for layer in layers:
        for entry in layer.classes:
            if lower_code in (code_of(entry).casefold(), slug(code_of(entry))):
                return layer, entry
    codes = [code_of(entry) for layer in layers for entry in layer.classes]
    more = f", ... ({len(codes)} in all)" if len(codes) > 12 else ""
    hint = f"; known are {', '.join(codes[:12])}{more}" if codes else ": it maps no habitats"
    raise NotFoundError(f"There is no habitat '{code[:80]}' in release {snapshot.release}{hint}.")


def describe(snapshot: Snapshot, layer: MapLayer, entry: HabitatClass) -> HabitatSheet:
    """The sheet of one class of one level."""
    table, level = snapshot.catalogue.habitats, layer.id.removeprefix("habitats.")
    code = code_of(entry)
    region = _on_map(snapshot, layer, entry)
    version = snapshot.products.get("species")
    card = None if version is None else model_card.read_card(snapshot.reader.cube, version)
    metrics = None if card is None else card.get("habitats")
    parents = _parents(table, code)
    species = _species(snapshot, entry)
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
        metrics=metrics if isinstance(metrics, dict) else None,
        notes=[
            _SHARE,
            *([_PARENTS] if parents else []),
            *([_SPECIES] if species else []),
            *([_OLDER] if snapshot.facts.telling_species is None and "species" in snapshot.products else []),
            *([layer.note] if layer.note else []),
        ],
        attribution=layer.attribution or cube_text(snapshot, "attribution"),
        license=layer.license or cube_text(snapshot, "license"),
    )


def _name(table: Table, row: int) -> HabitatName:
    code, name = text(table, "code", row), text(table, "name", row)
    return HabitatName(code=code or name, label=name, level=text(table, "level", row), colour=text(table, "colour", row))


def _parents(table: Table, code: str) -> list[HabitatName]:
    """The classes above, the nearest first, by the codes that the table names."""
    rows = {text(table, "code", row): row for row in range(len(table.get("code", ())))}
    parents: list[HabitatName] = []
    codes = {code}
    while code in rows and (up := text(table, "parent", rows[code])) in rows and up not in codes:
        parents.append(_name(table, rows[up]))
        codes.add(up)
        code = up
    return parents


def _on_map(snapshot: Snapshot, layer: MapLayer, entry: HabitatClass) -> HabitatOnMap | None:
    """The class over the whole map; None where nothing is classified."""
    result = tally(snapshot, None, products=("habitats",))
    figures, level = result.figures["habitats"], layer.id.removeprefix("habitats.")
    count, class_cells = int(figures[level].sum()), int(figures[level][entry.value])
    if not count:
        return None
    finest = level == snapshot.facts.layouts["habitats"].levels[0]
    certain = int(figures["probability_cells"][entry.value])  # of the finest level's class
    step = snapshot.catalogue.by_id["habitats.probability"].scale if "habitats.probability" in snapshot.catalogue.by_id else 0.0
    return HabitatOnMap(
        **about_cells(result, count),
        share=rounded(class_cells / count),
        habitat_km2=rounded(class_cells * CELL_KM2),
        mean_probability=rounded(figures["probability_steps"][entry.value] * step / certain) if finest and certain else None,
        among_three=rounded(figures["among_three"][entry.value] / count) if finest and result.exact else None,
    )


def _species(snapshot: Snapshot, entry: HabitatClass) -> list[TellingSpecies]:
    """The species of the greatest fidelity to the class, as the release was made with them."""
    by_index = {layer.lead[0]: layer for layer in snapshot.catalogue.find(product="species")}
    out = []
    for index, inside, outside, phi in (snapshot.facts.telling_species or {}).get(str(entry.value), ()):
        layer = by_index[int(index)]
        out.append(
            TellingSpecies(
                id=layer.id,
                name=layer.title,
                vernacular=layer.subtitle,
                inside=inside,
                outside=outside,
                fidelity=phi,
            )
        )
    return out
