"""Every route below a cube, but for tiles and what titiler answers, put together from their files."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter

from server import factory
from server.asking import area, cog, habitat_sheet, point, reading, regions, species_sheet, store
from server.describing import qgis, stac, wmts

router: Final = APIRouter()
_PARTS: Final = (factory, point, reading, area, regions, species_sheet, habitat_sheet, wmts, qgis, cog, stac, store)
for _part in _PARTS:
    router.include_router(_part.router)
