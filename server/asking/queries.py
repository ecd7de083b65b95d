"""The routes of one cube that answer with something else than a tile, put together from their files."""

from __future__ import annotations

from fastapi import APIRouter

from server.asking import area, cog, habitat_sheet, point, reading, regions, species_sheet, store
from server.describing import qgis, stac, tilejson, wmts
from server.reading.snapshot import ServedCube


def queries_router(cube: ServedCube, root: str) -> APIRouter:
    """Point, area, windows, the store, and what other programs read of a cube; `root` is `""` or `/cubes/{slug}`."""
    routes = APIRouter()
    named = regions.from_environment()
    parts = (
        point.router(cube),
        reading.router(cube),
        area.router(cube, named),
        regions.router(cube, named),
        species_sheet.router(cube),
        habitat_sheet.router(cube),
        tilejson.router(cube, root),
        wmts.router(cube, root),
        qgis.router(cube, root),
        cog.router(cube),
        stac.router(cube, root),
        store.router(cube),
    )
    for part in parts:
        routes.include_router(part)
    return routes
