"""Everything known of one 50 m cell: a chunk of each array, read together; the composition layer ranks its species."""

from __future__ import annotations

import math
from typing import Annotated, Any, Final

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from cube import grid
from cube.layers import BOUNDS, NO_SPECIES, PROBABILITY_STEPS
from cube.square_names import eea_name
from cube.storage import releases
from server.dependencies import LatParameter, LonParameter, RequestedSnapshot, json_answer
from server.errors import NotFoundError, WrongRequestError
from server.reading.catalogue import Table, species_status, text
from server.reading.chunk_batches import Cell, remember_cells
from server.reading.layers import MapLayer
from server.reading.snapshot import Snapshot

# Columns of the species table that an answer shows by another name, or that say nothing of the plant.
_NO_TRAITS: Final = frozenset(
    {
        "species_id",
        "scientific_name",
        "vernacular_name",
        "iucn",
        "invasive",
        "protected",
        "endemic",
        "sensitive",
        "species",
    }
)
TOP3: Final = ("top3_class", "top3_probability")


class Status(BaseModel):
    """Red list category and yes-or-no statuses of a species, as far as the species table has them."""

    iucn: str | None = Field(None, description="Red list category, such as VU.")
    invasive: bool = Field(False, description="Invasive alien species of Union concern.")
    protected: bool = Field(False, description="Annexes of the Habitats Directive.")
    endemic: bool = False


class PointSpecies(Status):
    """A species of the cell. The cube keeps intervals of indicators, not of single species."""

    name: str
    vernacular: str
    probability: float = Field(description="Of occurrence in a plot, calibrated, in steps of 1/250.")
    in_set: bool = Field(description="Among the species that maximise the expected F1 of the cell's list.")
    id: str | None = Field(description="Its layer, if this release maps it.")
    traits: dict[str, float | int | str | bool] = Field({}, description="Further columns of the species table.")


class Estimate(BaseModel):
    """An indicator in its units, with the lower and upper end of its interval where there is one."""

    id: str
    title: str
    units: str
    estimate: float
    lower: float | None
    upper: float | None


class Habitat(BaseModel):
    """The habitat of one level of the scheme."""

    level: str
    value: str | int
    label: str
    colour: str


class RankedHabitat(BaseModel):
    """One of the most probable habitats of the most detailed level."""

    code: str
    label: str
    probability: float


class PointReport(BaseModel):
    """Everything known of the 50 m cell that holds a point."""

    lon: float
    lat: float
    cell: str = Field(description="Name of the cell, as the EEA names squares, such as 50mE479012N290034.")
    release: str
    inside: bool
    species: list[PointSpecies]
    set_size: int | None = Field(description="How many species the most likely list of the cell holds.")
    complete: bool = Field(description="False where more species may reach the threshold than the cube ranks per cell (64).")
    indicators: list[Estimate]
    habitats: list[Habitat]
    habitat_probability: float | None
    habitat_entropy: float | None
    habitat_top3: list[RankedHabitat]
    inputs: dict[str, float]


router: Final = APIRouter(tags=["queries"])


@router.get("/point/{lon},{lat}", summary="Everything known of a cell", response_model=PointReport)
def at_point(
    request: Request,
    snapshot: RequestedSnapshot,
    lon: LonParameter,
    lat: LatParameter,
    threshold: Annotated[float, Query(ge=0, le=1, description="Least probability of a listed species.")] = 0.05,
) -> Response:
    """Species above the threshold, indicators with intervals, habitats with the three best, and the inputs behind them."""
    return json_answer(snapshot, request, describe(snapshot, lon, lat, threshold).model_dump())


def cell_of(snapshot: Snapshot, lon: float, lat: float) -> tuple[int, int, str]:
    """(row, column, name as the EEA names squares) of the cell that holds a point in degrees, WGS 84.

    Raises `WrongRequestError` for what is no place on Earth and `NotFoundError` outside the cube's region.
    """
    if not (math.isfinite(lon) and math.isfinite(lat)):
        raise WrongRequestError("Longitude and latitude must be finite numbers in degrees.")
    if not (-180 <= lon <= 180 and -90 <= lat <= 90):
        raise WrongRequestError("Longitude must lie in -180 to 180 and latitude in -90 to 90 degrees; longitude comes first.")
    region = snapshot.reader.cube.region
    x, y = region.grid.project(lon, lat)
    if not region.contains(x, y):
        raise NotFoundError(f"The point {lon}, {lat} (longitude, latitude) lies outside the cube; longitude comes first.")
    row, col = region.index(x, y)
    return int(row), int(col), eea_name(grid.CELL, float(x), float(y))


def describe(snapshot: Snapshot, lon: float, lat: float, threshold: float) -> PointReport:
    """Species above `threshold` (probability), indicators with bounds, habitats and inputs of the cell."""
    row, col, name = cell_of(snapshot, lon, lat)
    remember_cells(snapshot.reader, _cells_to_read(snapshot, row, col))
    return PointReport(
        lon=lon,
        lat=lat,
        cell=name,
        release=snapshot.release,
        inside=True,
        **_species(snapshot, row, col, threshold),
        indicators=_indicators(snapshot, row, col),
        **_habitats(snapshot, row, col),
        inputs=_inputs(snapshot, row, col),
    )


def _cells_to_read(snapshot: Snapshot, row: int, col: int) -> list[Cell]:
    """All that is told of a cell, to be read at once."""
    out: list[Cell] = []
    for product, names in (("composition", ("species_id", "probability", "set_size")), ("habitats", TOP3)):
        base = releases.group_of(product, snapshot.products[product]) if product in snapshot.products else ""
        out += [(f"{base}/{name}", None, row, col) for name in names if base and snapshot.reader.has(f"{base}/{name}")]
    for layer in snapshot.catalogue.layers:
        if (layer.product in ("indicators", "habitats") and layer.minus is None) or _is_input(layer):
            factor = max(1, layer.resolution // grid.CELL)
            out.append((layer.paths[0], layer.lead, row // factor, col // factor))
    return out


def _is_input(layer: MapLayer) -> bool:
    """Whether it is an input, or a band of one, but no series of times and nothing finer than a cell."""
    return layer.product == "inputs" and layer.in_catalogue and len(layer.lead) < 2 and layer.resolution >= grid.CELL


def traits_of(table: Table, row: int) -> dict[str, float | int | str | bool]:
    """What else the species table says of a species; empty cells are left out."""
    traits: dict[str, float | int | str | bool] = {}
    for name, column in table.items():
        value = column[row].item() if isinstance(column[row], np.generic) else column[row]
        if name in _NO_TRAITS or value in ("", None) or (isinstance(value, float) and not math.isfinite(value)):
            continue
        traits[name] = float(f"{value:.6g}") if isinstance(value, float) else value if isinstance(value, int) else str(value)
    return traits


def _species(snapshot: Snapshot, row: int, col: int, threshold: float) -> dict[str, Any]:
    version = snapshot.products.get("composition")
    if version is None:
        return {"species": [], "set_size": None, "complete": False}
    base = releases.group_of("composition", version)
    reader, catalogue = snapshot.reader, snapshot.catalogue
    ids = reader.cell(f"{base}/species_id", row, col)
    steps = reader.cell(f"{base}/probability", row, col)
    step = float(reader.array(f"{base}/probability").attrs.get("scale_factor", 1 / PROBABILITY_STEPS))  # type: ignore[arg-type]
    size = int(reader.cell(f"{base}/set_size", row, col))
    size = 0 if size == NO_SPECIES else size
    species: list[PointSpecies] = []
    last = 0.0
    for rank, (index, value) in enumerate(zip(ids.tolist(), steps.tolist(), strict=True)):
        probability = last = 0.0 if index == NO_SPECIES or value == 255 else round(value * step, 4)
        if index != NO_SPECIES and value != 255 and probability >= threshold:
            species.append(_species_at(catalogue.species, catalogue.species_by_name, index, probability, rank < size))
    species.sort(key=lambda entry: -entry.probability)
    # The least probable of the ranked species bounds all that are not ranked.
    complete = len(catalogue.species.get("scientific_name", ())) <= len(ids) or last < threshold
    return {"species": species, "set_size": size or None, "complete": complete}


def _species_at(table: Table, layers: dict[str, MapLayer], index: int, probability: float, in_set: bool) -> PointSpecies:
    in_table = index < len(table.get("scientific_name", ()))
    name = text(table, "scientific_name", index) if in_table else f"species {index}"
    layer = layers.get(name)
    return PointSpecies(
        name=name,
        vernacular=text(table, "vernacular_name", index) if in_table else "",
        probability=probability,
        in_set=in_set,
        id=None if layer is None else layer.id,
        traits=traits_of(table, index) if in_table else {},
        **(species_status(table, index) if in_table else {}),
    )


def _indicators(snapshot: Snapshot, row: int, col: int) -> list[Estimate]:
    estimates = []
    for layer in snapshot.catalogue.find(product="indicators"):
        bounds = [snapshot.catalogue.by_id.get(f"{layer.id}{suffix}") for suffix in ("", ".lower", ".upper")]
        values = {
            bound: None if part is None else snapshot.value(part, row, col) for bound, part in zip(BOUNDS, bounds, strict=True)
        }
        if values["estimate"] is not None:
            estimates.append(Estimate(id=layer.id, title=layer.title, units=layer.units, **values))
    return estimates


def _habitats(snapshot: Snapshot, row: int, col: int) -> dict[str, Any]:
    answer: dict[str, Any] = {"habitats": [], "habitat_probability": None, "habitat_entropy": None}
    for layer in snapshot.catalogue.find(product="habitats"):
        level = layer.id.removeprefix("habitats.")
        value = snapshot.value(layer, row, col)
        if layer.kind != "class":
            if level in ("probability", "entropy"):
                answer[f"habitat_{level}"] = value
            continue
        answer["habitats"] += [
            Habitat(level=level, value=entry.code or entry.value, label=entry.label, colour=entry.colour)
            for entry in layer.classes
            if entry.value == value
        ]
    return {**answer, "habitat_top3": _top3(snapshot, row, col)}


def _top3(snapshot: Snapshot, row: int, col: int) -> list[RankedHabitat]:
    version = snapshot.products.get("habitats")
    base = "" if version is None else releases.group_of("habitats", version)
    if not base or not snapshot.reader.has(f"{base}/top3_class"):
        return []
    reader, table = snapshot.reader, snapshot.catalogue.habitats
    classes = reader.array(f"{base}/top3_class")
    shares = reader.array(f"{base}/top3_probability")
    step = float(shares.attrs.get("scale_factor", 1 / PROBABILITY_STEPS))  # type: ignore[arg-type]
    rows = len(table.get("name", ()))
    return [
        RankedHabitat(
            code=text(table, "code", value) if value < rows else "",
            label=text(table, "name", value) if value < rows else f"class {value}",
            probability=round(share * step, 4),
        )
        for value, share in zip(
            reader.cell(f"{base}/top3_class", row, col).tolist(),
            reader.cell(f"{base}/top3_probability", row, col).tolist(),
            strict=True,
        )
        if value != classes.fill_value and share != shares.fill_value
    ]


def _inputs(snapshot: Snapshot, row: int, col: int) -> dict[str, float]:
    inputs = {}
    for layer in snapshot.catalogue.find(product="inputs"):
        if _is_input(layer) and (value := snapshot.value(layer, row, col)) is not None:
            inputs[layer.id.removeprefix("inputs.")] = value
    return inputs
