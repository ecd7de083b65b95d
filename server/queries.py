"""The routes of one cube that answer with something else than a tile, put together from their files."""

from __future__ import annotations

from fastapi import APIRouter

from server import point, tilejson
from server.snapshot import ServedCube


def queries_router(cube: ServedCube, root: str) -> APIRouter:
    """Point, area, windows, the store, and what other programs read of a cube; `root` is `""` or `/cubes/{slug}`."""
    routes = APIRouter()
    for part in (point.router(cube), tilejson.router(cube, root)):
        routes.include_router(part)
    return routes
