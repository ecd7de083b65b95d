"""The fact sheet of a species: what the tables, the maps and the documents of the model in the cube know of it."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request, Response

from cube.grid import CELL
from cube.layers.ids import slug
from cube.pyramids.figures import THRESHOLDS
from cube.storage import model_card, releases
from server.dependencies import RequestedSnapshot
from server.errors import NotFoundError
from server.queries.area import CELL_KM2, cube_text, rounded
from server.queries.gate import queried
from server.queries.point import traits_of
from server.queries.sheet_models import (
    Importance,
    ModelSummary,
    ResponseCurve,
    Share,
    Skill,
    SpeciesOnMap,
    SpeciesSheet,
    TrainingRows,
)
from server.queries.tally import Tally, tally
from server.reading.catalogue import species_status, text
from server.reading.layers import MapLayer
from server.reading.snapshot import Snapshot

CHANNELS: Final = 8  # single inputs whose importance is told, beside all modalities
_PROBABILITY: Final = (
    "A probability is that of finding the species in one plot of the reference area; the mean over the map is the share of"
    " such plots that are expected to hold it, not the share of the land that it covers."
)
_SKILL: Final = (
    "Skill was measured by training itself: each member of the model that made these maps was judged on surveys of the spatial"
    " blocks that it did not learn from."
)
_CURVES: Final = (
    "A response curve is the model's mean probability at surveyed places along one input, everything else as it is there; it says"
    " what the model uses, not what causes the species to grow."
)
_IMPORTANCE: Final = (
    "Importance is that for all species together: how much the log loss on held-out blocks grows with an input taken from other"
    " places."
)


router: Final = APIRouter(tags=["sheets"])


@router.get("/species/{name}", summary="Fact sheet of a species", response_model=SpeciesSheet)
async def sheet(
    request: Request,
    snapshot: RequestedSnapshot,
    name: Annotated[str, Path(max_length=200, description="A scientific name, or a layer id such as `species.fagus_sylvatica`.")],
) -> Response:
    """Status, distribution, skill on held-out blocks, response curves and importance; null where nothing was measured."""
    layer = find(snapshot, name)
    return await queried(snapshot, request, lambda: describe(snapshot, layer))


def find(snapshot: Snapshot, name: str) -> MapLayer:
    """The map of a species by its scientific name or the id of its layer; raises `NotFoundError`."""
    key = slug(name.removeprefix("species."))
    layer = snapshot.catalogue.species_by_name.get(name) or snapshot.catalogue.by_id.get(f"species.{key}")
    if layer is None:
        raise NotFoundError(
            f"There is no species '{name[:80]}' in release {snapshot.release}; see /layers?product=species&search=."
        )
    return layer


def describe(snapshot: Snapshot, layer: MapLayer) -> SpeciesSheet:
    """The sheet of the species that a layer shows."""
    version, table = snapshot.products["species"], snapshot.catalogue.species
    rows = {str(name): row for row, name in enumerate(table.get("scientific_name", ()))}
    row = rows.get(layer.title)
    cube = snapshot.reader.cube
    card = model_card.read_card(cube, version)
    record = None if card is None else model_card.read_species(cube, version, layer.lead[0])
    attributes = dict(cube.group(releases.group_of("species", version)).attrs)
    with model_card.reading(cube, version):
        responses, importance = _responses(card, record), _importance(card)
        skill, model = _skill(card, record), _model(card)
    notes = [
        _PROBABILITY,
        *([_SKILL] if skill else []),
        *([_CURVES] if responses else []),
        *([_IMPORTANCE] if importance else []),
    ]
    if row is not None and float(table["sensitive_km"][row] if "sensitive_km" in table else 0) > 0:
        notes.insert(0, f"A sensitive species: its probabilities are means over squares of {table['sensitive_km'][row]:g} km.")
    return SpeciesSheet(
        id=layer.id,
        name=layer.title,
        vernacular="" if row is None else text(table, "vernacular_name", row),
        traits={} if row is None else traits_of(table, row),
        **({} if row is None else species_status(table, row)),
        release=snapshot.release,
        version=version,
        reference_area_m2=_number(attributes.get("reference_area_m2")),
        reference_year=None if (year := _number(attributes.get("reference_year"))) is None else int(year),
        region=_on_map(snapshot, layer),
        learned=None if record is None else TrainingRows(surveys=record.get("surveys"), records=record.get("records")),
        skill=skill,
        responses=responses,
        importance=importance,
        model=model,
        notes=[*notes, *([layer.note] if layer.note else [])],
        attribution=layer.attribution or cube_text(snapshot, "attribution"),
        license=layer.license or cube_text(snapshot, "license"),
    )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _on_map(snapshot: Snapshot, layer: MapLayer) -> SpeciesOnMap | None:
    """The species over the whole map; None where nothing is mapped."""
    result, (index,) = tally(snapshot, None, species=layer.lead, products=("species", "composition")), layer.lead
    figures = {name: int(values[index]) for name, values in result.figures["species"].items()}
    count = figures["cells"]
    if not count:
        return None
    names = [str(name) for name in snapshot.catalogue.species.get("scientific_name", ())]
    lists = result.figures.get("composition", {}).get("listed")
    has_cells = result.exact and "applicable_cells" in figures
    return SpeciesOnMap(
        **about_cells(result, count),
        mean_probability=rounded(figures["steps"] * layer.scale / count),
        highest_probability=rounded(figures["highest"] * layer.scale),
        listed=None if lists is None or not result.exact else rounded(int(lists[names.index(layer.title)]) / count),
        shares=[Share(least=threshold, share=rounded(figures[f"at_least_{threshold}"] / count)) for threshold in THRESHOLDS],
        applicable=rounded(figures["applicable_cells"] / count) if has_cells else None,
        applicable_occurrences=rounded(figures["applicable_steps"] / figures["steps"])
        if has_cells and figures["steps"]
        else None,
    )


def about_cells(result: Tally, count: int) -> dict[str, Any]:
    """What cells the figures of a whole map are of, for `Read`."""
    level = result.edge.level
    return {"level": level, "cell_m": CELL * 2**level, "cells": count, "km2": rounded(count * CELL_KM2)}


def _skill(card: dict[str, Any] | None, record: dict[str, Any] | None) -> Skill | None:
    scores = None if record is None else record.get("held_out")
    if card is None or scores is None or scores.get("present") is None:
        return None
    metrics = card.get("metrics", {})
    return Skill(surveys=metrics["held_out_surveys"], blocks=metrics.get("held_out_blocks"), **scores)


def _responses(card: dict[str, Any] | None, record: dict[str, Any] | None) -> list[ResponseCurve]:
    lines = None if record is None else record.get("responses")
    if card is None or lines is None:
        return []
    return [
        ResponseCurve(**entry, **dict(zip(model_card.CURVE, three, strict=True)))
        for entry, three in zip(card["responses"], lines, strict=True)
    ]


def _model(card: dict[str, Any] | None) -> ModelSummary | None:
    if card is None:
        return None
    return ModelSummary(
        model=str(card["model"]),
        statement=str(card["statement"]),
        members=int(card["members"]),
        modalities=[str(modality["title"]) for modality in card["modalities"]],
        metrics=card["metrics"],
    )


def _importance(card: dict[str, Any] | None) -> list[Importance]:
    """All modalities, then the inputs of the greatest importance."""
    rows = [Importance(**row) for row in (card or {}).get("importance") or ()]
    return [*(r for r in rows if not r.channel), *[r for r in rows if r.channel][:CHANNELS]]
