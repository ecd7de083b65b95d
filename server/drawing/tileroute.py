"""The route of a map tile. It reads its own parameters and draws in threads of its own.

FastAPI's way costs as much as drawing: a tile has a millisecond or two, and checking ten declared parameters takes one.
What it would have written into the OpenAPI document stands in a table here instead.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from fastapi import APIRouter, Request, Response

from server.dependencies import MAX_ZOOM, StyleParameters, tile_request, unchanged, validators
from server.drawing import palettes, tiles
from server.drawing.tms import NAMES
from server.errors import InvalidParameterError
from server.reading.io import NotHeldError
from server.reading.layers import MapLayer
from server.reading.snapshot import ServedCube, Snapshot

T = TypeVar("T")
# Tiles wait for a processor in the order in which they came: more threads would only take turns, and each would be late.
_DRAWERS: Final = ThreadPoolExecutor(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 4, "floracube-draw")
# Those that wait for the store wait elsewhere: while it is slow or down, what is in memory is drawn as ever.
_READERS: Final = ThreadPoolExecutor(32, "floracube-read")
_INTEGER: Final = re.compile(r"-?\d{1,9}")
_LONGEST: Final = {"colormap": 40, "rescale": 60, "above": 30, "v": 140, "version": 100, "time": 20}


def _parameter(name: str, place: str, description: str, **schema: Any) -> dict[str, Any]:
    kind = {"type": "string", **schema}
    return {"name": name, "in": place, "required": place == "path", "description": description, "schema": kind}


_PARAMETERS: Final = [
    _parameter("layer_id", "path", "Layer id, `product.name`.", maxLength=200),
    _parameter("tms", "path", "Tile matrix set.", enum=list(NAMES)),
    _parameter("z", "path", "Zoom.", type="integer", minimum=0, maximum=MAX_ZOOM),
    _parameter("x", "path", "Column, from the west.", type="integer", minimum=0),
    _parameter("y", "path", "Row, from the north, and format: `351.png`, `351@2x.png`, `351.webp` (lossless).",
               pattern=r"^\d{1,9}(@2x)?\.(png|webp)$"),
    _parameter("colormap", "query", "Another palette, for continuous layers.", enum=list(palettes.NAMES)),
    _parameter("rescale", "query", "Another range, `low,high` in the layer's units.", maxLength=_LONGEST["rescale"]),
    _parameter("above", "query", "Only what exceeds this value, hatched, to lie over others.", maxLength=_LONGEST["above"]),
    _parameter("v", "query", "A release, or its token: the answer then never changes.", maxLength=_LONGEST["v"]),
    _parameter("version", "query", "A published version of the layer's product.", maxLength=_LONGEST["version"]),
    _parameter("time", "query", "Of a series of inputs: 2019Q3, 2018-07.", maxLength=_LONGEST["time"]),
]  # fmt: skip
_PICTURES: Final = {media: {"schema": {"type": "string", "format": "binary"}} for media in tiles.MEDIA.values()}
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The tile.", "content": _PICTURES},
    204: {"description": "No pixel of the tile has data."},
    304: {"description": "The client holds this tile already."},
    400: {"description": "A parameter outside what it may be."},
    404: {"description": "No such layer, release, tile matrix set or tile."},
    422: {"description": "A parameter that does not read as what it is."},
    503: {"description": "The store behind the cube does not answer; try again."},
}


def router(cube: ServedCube) -> APIRouter:
    """`/layers/{id}/tiles/{tms}/{z}/{x}/{y}` of one cube."""
    routes = APIRouter(tags=["tiles"])

    @routes.get(
        "/layers/{layer_id}/tiles/{tms}/{z}/{x}/{y}",
        summary="A map tile",
        response_class=Response,
        responses=_ANSWERS,
        openapi_extra={"parameters": _PARAMETERS},
    )
    async def tile(request: Request) -> Response:
        """A tile of any layer, at any zoom of any tile matrix set, from the pyramid level that fits."""
        path, query = request.path_params, {name: _text(request, name) for name in _LONGEST}
        product = path["layer_id"].partition(".")[0]
        snapshot = cube.ready(query["v"], query["version"], product)
        if snapshot is None:  # the release itself has to be read
            snapshot = await _in(_READERS, lambda: cube.asked(query["v"], query["version"], product))
        layer = snapshot.layer(path["layer_id"], query["time"])
        wanted, form = tile_request(path["tms"], _integer(path, "z"), _integer(path, "x"), path["y"])
        style = StyleParameters(query["colormap"], query["rescale"], query["above"])
        style.check(layer)
        headers = validators(snapshot, request)
        if (cached := unchanged(request, headers)) is not None:
            return cached
        body = await _render(snapshot, layer, wanted, form, style)
        if body is None:
            return Response(status_code=204, headers=headers)
        return Response(body, media_type=tiles.MEDIA[form], headers=headers)

    return routes


async def _render(
    snapshot: Snapshot, layer: MapLayer, wanted: tiles.TileRequest, form: str, style: StyleParameters
) -> bytes | None:
    """The tile, drawn at once from what is in memory, or as soon as it has been read."""

    def from_memory() -> bytes | None:
        if layer.kind == "continuous" and not snapshot.knows_range(layer):
            raise NotHeldError(layer.id)
        cells = tiles.read_cells(snapshot, layer, wanted, held_only=True)
        return None if cells is None else tiles.draw(layer, cells, form, style.style(snapshot, layer))

    def read() -> tuple[tiles.Cells | None, tiles.Style | None]:
        return tiles.read_cells(snapshot, layer, wanted), style.style(snapshot, layer)

    try:
        return await _in(_DRAWERS, from_memory)
    except NotHeldError:
        cells, drawn = await _in(_READERS, read)
        return None if cells is None else await _in(_DRAWERS, lambda: tiles.draw(layer, cells, form, drawn))


async def _in(pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(pool, work)


def _text(request: Request, name: str) -> str | None:
    text = request.query_params.get(name)
    if text is not None and len(text) > _LONGEST[name]:
        raise InvalidParameterError(f"Parameter '{name}' is longer than {_LONGEST[name]} characters.")
    return text


def _integer(path: dict[str, Any], name: str) -> int:
    if _INTEGER.fullmatch(path[name]) is None:
        raise InvalidParameterError(f"Parameter '{name}' must be a whole number.")
    return int(path[name])
