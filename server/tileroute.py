"""The route of a map tile, as plain as Starlette's routes are. It reads its own parameters and draws in threads of its own.

FastAPI's way costs as much as drawing: a tile has a millisecond or two, and checking ten declared parameters takes one.
What it takes stands in the OpenAPI document of titiler's route of the same address (`server.queries.layer_tiler`), which
answers whatever this one leaves to it: expressions, algorithms, other sizes and formats.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, TypeVar
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from server.dependencies import KEY, StyleParameters, cube_of, tile_request, unchanged, validators
from server.drawing import tiles
from server.errors import InvalidParameterError
from server.reading.io import NotCachedError
from server.reading.layers import MapLayer
from server.reading.snapshot import Snapshot

T = TypeVar("T")
# Tiles wait for a processor in the order in which they came: more threads would only take turns, and each would be late.
_DRAWERS: Final = ThreadPoolExecutor(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 4, "floracube-draw")
# Those that wait for the store wait elsewhere: while it is slow or down, what is in memory is drawn as ever.
_READERS: Final = ThreadPoolExecutor(32, "floracube-read")
_INTEGER: Final = re.compile(r"-?\d{1,9}")
# Parameters and the characters that their values may have.
LONGEST: Final = {
    "colormap_name": 40,
    "rescale": 60,
    "above": 30,
    "tilesize": 4,
    "v": 140,
    "release": 100,
    "version": 100,
    "time": 20,
}
_SIZES: Final = (None, "256", "512")
_QUERY: Final = "floracube.query"


class TileRoute(Route):
    """`/layers/{id}/tiles/{tileMatrixSetId}/{z}/{x}/{y}` below a prefix, with or without `.png` and `.webp`."""

    def __init__(self, prefix: str) -> None:
        """Below `prefix`, `""` or that of another cube."""
        super().__init__(f"{prefix}/layers/{{layer_id}}/tiles/{{tileMatrixSetId}}/{{z}}/{{x}}/{{y}}", _tile, methods=["GET"])

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As any route, but only what is drawn here: each parameter once, a size and a format of ours."""
        match, child = super().matches(scope)
        if match is not Match.FULL:
            return match, child
        parameters = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        query = dict(parameters)
        _, dot, form = child["path_params"]["y"].rpartition(".")
        is_plain = len(query) == len(parameters) and not query.keys() - LONGEST.keys() - {KEY} and query.get("tilesize") in _SIZES
        if not is_plain or (dot and form not in tiles.MEDIA):
            return Match.NONE, {}
        return match, {**child, "route": self, _QUERY: query}


async def _tile(request: Request) -> Response:
    path = request.path_params
    return await answer(
        request, path["layer_id"], path["tileMatrixSetId"], path["z"], path["x"], path["y"], request.scope[_QUERY]
    )


async def answer(request: Request, layer_id: str, tms: str, z: str, x: str, y: str, query: Mapping[str, str]) -> Response:
    """A tile of any layer, at any zoom of any tile matrix set, from the pyramid level that fits."""
    parameters = {name: _text(query, name) for name in LONGEST}
    cube, product = cube_of(request), layer_id.partition(".")[0]
    release, token, version = parameters["release"], parameters["v"], parameters["version"]
    snapshot = None if release else cube.ready(token, version, product)
    if snapshot is None:  # the release itself has to be read
        snapshot = await _in(_READERS, lambda: cube.by_name(release) if release else cube.of_address(token, version, product))
    layer = snapshot.layer(layer_id, parameters["time"])
    size = parameters["tilesize"]
    tile, form = tile_request(tms, _integer(z, "z"), _integer(x, "x"), y, _integer(size, "tilesize") if size else None)
    style = StyleParameters(parameters["colormap_name"], parameters["rescale"], parameters["above"])
    style.check(layer)
    headers = validators(snapshot, request)
    if (not_modified := unchanged(request, headers)) is not None:
        return not_modified
    body = cube.tiles.get(headers["ETag"])
    if body is None:
        body = await _render(snapshot, layer, tile, form, style)
        if body is None:
            return Response(status_code=204, headers=headers)
        with suppress(ValueError):  # larger than all that is kept
            cube.tiles[headers["ETag"]] = body
    return Response(body, media_type=tiles.MEDIA[form], headers=headers)


async def _render(
    snapshot: Snapshot, layer: MapLayer, tile: tiles.TileRequest, form: str, style: StyleParameters
) -> bytes | None:
    """The tile, drawn at once from what is in memory, or as soon as it has been read."""

    def from_memory() -> bytes | None:
        if layer.kind == "continuous" and not snapshot.knows_range(layer):
            raise NotCachedError(layer.id)
        cells = tiles.read_cells(snapshot, layer, tile, cached_only=True)
        return None if cells is None else tiles.draw(layer, cells, form, style.style(snapshot, layer))

    def read() -> tuple[tiles.Cells | None, tiles.Style | None]:
        return tiles.read_cells(snapshot, layer, tile), style.style(snapshot, layer)

    try:
        return await _in(_DRAWERS, from_memory)
    except NotCachedError:
        cells, draw = await _in(_READERS, read)
        return None if cells is None else await _in(_DRAWERS, lambda: tiles.draw(layer, cells, form, draw))


async def _in(pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(pool, work)


def _text(query: Mapping[str, str], name: str) -> str | None:
    text = query.get(name)
    if text is not None and len(text) > LONGEST[name]:
        raise InvalidParameterError(f"Parameter '{name}' is longer than {LONGEST[name]} characters; shorten it.")
    return text


def _integer(text: str, name: str) -> int:
    if _INTEGER.fullmatch(text) is None:
        raise InvalidParameterError(f"Parameter '{name}' must be a whole number.")
    return int(text)
