"""The STAC catalogue of a release, as publishing wrote it into the cube (`cube.export.stac`), at addresses of this server.

What is not published has none in the cube: it is made anew. Items get what a server knows: how layers are drawn, and their tiles.
"""

from __future__ import annotations

import json
import posixpath
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request, Response

from cube.storage import shapes
from server.dependencies import RequestedSnapshot, root_of
from server.describing.links import absolute_answer, base_url
from server.drawing.zooms import zooms
from server.errors import NotFoundError
from server.reading.layers import MapLayer
from server.reading.snapshot import Snapshot

RENDER: Final = "https://stac-extensions.github.io/render/v2.0.0/schema.json"
WEB_MAP_LINKS: Final = "https://stac-extensions.github.io/web-map-links/v1.2.0/schema.json"
MAX_LAYERS: Final = 100  # with links of their own in an item; the catalogue of layers names the others
_JSON, _GEOJSON = "application/json", "application/geo+json"
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The item.", "content": {_GEOJSON: {"schema": {"type": "object"}}}},
    404: {"description": "No such item."},
}
Document = dict[str, Any]
router: Final = APIRouter(tags=["stac"])


@router.get("/stac", summary="The cube as a STAC catalogue", response_model=Document)
def of_cube(request: Request, snapshot: RequestedSnapshot) -> Response:
    """Its one child is the collection of the cube."""
    return _answer(snapshot, request, "catalog")


@router.get("/stac/collection", summary="The cube as a STAC collection", response_model=Document)
def of_collection(request: Request, snapshot: RequestedSnapshot) -> Response:
    """Dimensions and variables of the whole cube, the model behind its products, and its items."""
    return _answer(snapshot, request, "collection")


@router.get(
    "/stac/items/{item_id}",
    summary="A version of a product, or inputs, as a STAC item",
    response_class=Response,
    responses=_ANSWERS,
)
def of_item(
    request: Request,
    snapshot: RequestedSnapshot,
    item_id: Annotated[str, Path(max_length=200, pattern=r"^[\w.-]+$", description="Such as indicators.v1 or inputs.50m.")],
) -> Response:
    """Assets are the Zarr groups of the store; links lead to tiles, TileJSON and WMTS of its layers."""
    return _answer(snapshot, request, f"items/{item_id}", _GEOJSON)


def _answer(snapshot: Snapshot, request: Request, name: str, media: str = _JSON) -> Response:
    base, document = base_url(request) + root_of(request), _document(snapshot, f"{name}.json")
    folder = posixpath.dirname(f"/stac/{snapshot.release}/{name}")
    query = f"?release={snapshot.release}" if "release" in request.query_params else ""  # else links follow the current one

    def address(href: str) -> str:
        path = posixpath.normpath(posixpath.join(folder, href)).removeprefix(f"/stac/{snapshot.release}/")
        if path.startswith("/"):
            return f"{base}/cube{path}".rstrip("/")
        return f"{base}/stac/{path.removesuffix('.json')}".removesuffix("/catalog") + query

    where = f"{snapshot.reader.cube.url}/stac/{snapshot.release}/{name}.json"
    with shapes.reading(where, f"run `floracube publish` {snapshot.release} again"):
        for link in document["links"]:
            link["href"] = address(link["href"])
        for asset in document.get("assets", {}).values():
            asset["href"] = address(asset["href"])
        document["links"].insert(0, {"rel": "self", "href": address(posixpath.basename(name)), "type": media})
        if media == _GEOJSON:
            _show(snapshot, document, base, query)
    body = json.dumps(document, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return absolute_answer(snapshot, request, body.encode(), media)


def _document(snapshot: Snapshot, file: str) -> Document:
    cube = snapshot.reader.cube
    document = cube.read_json(f"stac/{snapshot.release}/{file}") if snapshot.products else None
    if document is None:
        from cube.export import stac  # pystac is a fifth of a second to import

        documents = stac.documents(cube, snapshot.document)
        if file not in documents:
            raise NotFoundError(f"There is no item '{posixpath.basename(file)[:80]}'; see /stac/collection.")
        document = documents[file]
    return document if isinstance(document, dict) else {}


def _show(snapshot: Snapshot, item: Document, base: str, query: str) -> None:
    """Add how an item's layers are drawn (render extension), and their tiles, TileJSON and WMTS (web-map-links extension)."""
    product, group = item["id"].split(".")[0], item["assets"]["data"]["href"].removeprefix(f"{base}/cube/")
    layers = [layer for layer in snapshot.catalogue.find(product=product) if layer.paths[0].startswith(f"{group}/")][:MAX_LAYERS]
    if layers:
        item["stac_extensions"] += [RENDER, WEB_MAP_LINKS]
        item["properties"]["renders"] = {layer.id: render(snapshot, layer) for layer in layers}
    links = item["links"]
    for layer in layers:
        address = f"{base}/layers/{layer.id}"
        links += [
            {
                "rel": "xyz",
                "href": f"{address}/tiles/WebMercatorQuad/{{z}}/{{x}}/{{y}}.png?v={snapshot.token}",
                "type": "image/png",
                "title": layer.title,
                "render": layer.id,
            },
            {"rel": "tilejson", "href": f"{address}/WebMercatorQuad/tilejson.json{query}", "type": _JSON, "title": layer.title},
        ]
    if product in ("indicators", "habitats") and layers:
        ids = [layer.id for layer in layers]
        links.append({"rel": "wmts", "href": f"{base}/wmts{query}", "type": "application/xml", "wmts:layer": ids})
    if layers:
        links.append({"rel": "related", "href": f"{base}/layers?product={product}", "type": _JSON, "title": "All its layers"})


def render(snapshot: Snapshot, layer: MapLayer) -> Document:
    """How a layer is drawn, as the render extension tells it."""
    min_zoom, max_zoom = zooms(snapshot, layer)
    properties: Document = {
        "title": layer.title,
        "assets": ["data"],
        "minmax_zoom": [min_zoom, max_zoom],
        "resampling": "nearest" if layer.kind == "class" else "bilinear",
    }
    if layer.kind == "class":
        return {**properties, "colormap": {str(entry.value): entry.colour for entry in layer.classes}}
    return {**properties, "colormap_name": layer.palette, "rescale": [list(snapshot.range_of(layer))]}
