"""One layer's value in one cell: what a reader of the map hears under the crosshair."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from server.dependencies import LatParameter, LayerParameter, LonParameter, RequestedSnapshot, json_answer
from server.errors import NotFoundError
from server.queries.point import cell_of
from server.reading.snapshot import Snapshot


class Reading(BaseModel):
    """The value of a layer in the 50 m cell that holds a point, from the layer's finest level."""

    id: str
    units: str
    inside: bool = Field(description="Whether the point lies in the mapped region; without, there is no cell and no value.")
    cell: str | None = Field(description="Name of the cell, as the EEA names squares.")
    value: float | None = Field(description="In the layer's units, of classes the stored number; null where it has no data.")
    label: str | None = Field(description="Of classes, the name.")


router: Final = APIRouter(tags=["queries"])


@router.get("/layers/{layer_id}/cell/{lon},{lat}", summary="One layer's value in a cell", response_model=Reading)
def at_point(
    request: Request,
    snapshot: RequestedSnapshot,
    layer_id: LayerParameter,
    lon: LonParameter,
    lat: LatParameter,
) -> Response:
    """The value of the cell that holds the point; outside the region the answer says so, since it is no mistake to ask."""
    return json_answer(snapshot, request, read(snapshot, layer_id, lon, lat).model_dump())


def read(snapshot: Snapshot, layer_id: str, lon: float, lat: float) -> Reading:
    """The value of a layer at a place in degrees; raises `NotFoundError` for an unknown layer, `WrongRequestError`."""
    layer = snapshot.layer(layer_id)
    try:
        row, col, cell = cell_of(snapshot, lon, lat)
    except NotFoundError:
        return Reading(id=layer.id, units=layer.units, inside=False, cell=None, value=None, label=None)
    value = snapshot.value(layer, row, col)
    names = [f"{c.code} {c.label}".strip() for c in layer.classes if c.value == value]
    return Reading(id=layer.id, units=layer.units, inside=True, cell=cell, value=value, label=names[0] if names else None)
