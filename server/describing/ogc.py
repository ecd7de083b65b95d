"""What the server says of itself to clients of OGC APIs: the landing page in JSON, and the standards that it follows."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request

from server.dependencies import cube_of
from server.describing.links import base_url

_RELATIONS: Final = "http://www.opengis.net/def/rel/ogc/1.0"
_STANDARDS: Final = {
    "ogcapi-common-1/1.0": ("core", "landing-page", "json", "html"),
    "ogcapi-tiles-1/1.0": ("core", "tileset", "tilesets-list", "png", "jpeg", "tiff"),
    "tms/2.0": (
        "tilematrixset",
        "json-tilematrixset",
        "tilematrixsetlimits",
        "json-tilematrixsetlimits",
        "tilesetmetadata",
        "json-tilesetmetadata",
    ),
}
CONFORMS_TO: Final = [f"http://www.opengis.net/spec/{name}/conf/{part}" for name, parts in _STANDARDS.items() for part in parts]
router: Final = APIRouter(tags=["operations"])


@router.get("/conformance", summary="The standards that the server follows")
def conformance() -> dict[str, list[str]]:
    """OGC API Common and Tiles, and Two Dimensional Tile Matrix Set."""
    return {"conformsTo": CONFORMS_TO}


def landing_page(request: Request) -> dict[str, Any]:
    """The landing page of OGC API Common (19-072): where all else is."""
    base, json = base_url(request), "application/json"
    links = (
        ("self", "/?f=json", json, "This document"),
        ("alternate", "/", "text/html", "The map"),
        ("service-desc", "/openapi.json", "application/vnd.oai.openapi+json;version=3.1", "The API, as OpenAPI"),
        ("service-doc", "/docs", "text/html", "The API, to try out"),
        ("conformance", "/conformance", json, "The standards that the server follows"),
        ("data", "/layers", json, "The layers; the tile sets of each are at /layers/{id}/tiles"),
        (f"{_RELATIONS}/tiling-schemes", "/tileMatrixSets", json, "Tile matrix sets"),
    )
    link_objects = [{"rel": rel, "href": base + path, "type": media, "title": title} for rel, path, media, title in links]
    return {"title": cube_of(request).title, "links": link_objects}
