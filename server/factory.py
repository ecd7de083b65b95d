"""The catalogue of one cube and its legends; what else it answers is put together in `server.main`.

Tiles are `server.tileroute`'s, and titiler's other routes of a layer those of `server.queries.layer_tiler`.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response

from server.dependencies import LayerParameter, RequestedSnapshot, cube_of, json_answer, root_of, unchanged, validators
from server.drawing import legend
from server.drawing.zooms import opening_zoom, zooms
from server.errors import WrongRequestError
from server.reading.catalogue import TITLES
from server.reading.layers import MapLayer
from server.reading.snapshot import Snapshot


def layer_document(snapshot: Snapshot, layer: MapLayer, request: Request) -> dict[str, Any]:
    """A layer of the catalogue as the page reads it; its URLs name the release that `request` does."""
    min_zoom, max_zoom = zooms(snapshot, layer)
    base = f"{root_of(request)}/layers/{layer.id}"
    release = f"?release={snapshot.release}" if "release" in request.query_params else ""
    document = {
        "id": layer.id,
        "product": layer.product,
        "title": layer.title,
        "subtitle": layer.subtitle,
        "units": layer.units,
        "kind": layer.kind,
        "range": None if layer.kind == "class" else list(snapshot.range_of(layer)),
        "bounds": list(snapshot.bounds),
        "minzoom": min_zoom,
        "maxzoom": max_zoom,
        "palette": layer.palette,
        "interval": layer.interval,
        "legend": f"{base}/legend.json{release}",
        "tiles": f"{base}/tiles/WebMercatorQuad/{{z}}/{{x}}/{{y}}.png?v={snapshot.token}",
        "tilejson": f"{base}/WebMercatorQuad/tilejson.json{release}",
        "tilesets": f"{base}/tiles{release}",
        "attribution": layer.attribution,
        "license": layer.license,
        "note": layer.note,
    }
    return {**document, "status": dict(layer.status)} if layer.status else document


router: Final = APIRouter(tags=["catalogue"])


@router.get("/layers", summary="The catalogue, searchable and paged")
def layers(
    request: Request,
    snapshot: RequestedSnapshot,
    search: Annotated[str, Query(max_length=100, description="Words of a scientific or vernacular name.")] = "",
    product: Annotated[str, Query(max_length=40)] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
) -> Response:
    """Layers whose names hold every word of `search`, a page at a time."""
    if product and product not in TITLES:
        raise WrongRequestError(f"There is no product '{product}'; known are {', '.join(TITLES)}.")
    matches = snapshot.catalogue.find(search, product)
    products = [layer.product for layer in snapshot.catalogue.layers if layer.in_catalogue]
    document = {
        "total": len(matches),
        "limit": limit,
        "offset": offset,
        "release": snapshot.release,
        "version": snapshot.token,
        "products": [
            {"id": name, "title": title, "count": products.count(name)} for name, title in TITLES.items() if name in products
        ],
        "layers": [layer_document(snapshot, layer, request) for layer in matches[offset : offset + limit]],
    }
    return json_answer(snapshot, request, document)


@router.get("/layers/{layer_id}", summary="One layer")
def layer(request: Request, snapshot: RequestedSnapshot, layer_id: LayerParameter) -> Response:
    """What the catalogue says of one layer."""
    return json_answer(snapshot, request, layer_document(snapshot, snapshot.layer(layer_id), request))


@router.get("/layers/{layer_id}/legend.json", summary="Legend of a layer")
def legend_json(request: Request, snapshot: RequestedSnapshot, layer_id: LayerParameter) -> Response:
    """Colours and what they stand for."""
    return json_answer(snapshot, request, legend.legend(snapshot, snapshot.layer(layer_id)))


@router.get(
    "/layers/{layer_id}/legend.png",
    summary="Legend of a layer as a picture",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}},
)
def legend_png(request: Request, snapshot: RequestedSnapshot, layer_id: LayerParameter) -> Response:
    """The same as a small picture."""
    headers = validators(snapshot, request)
    return unchanged(request, headers) or Response(
        legend.legend_png(snapshot.layer(layer_id)), media_type="image/png", headers=headers
    )


@router.get("/about.json", summary="The cube in a few words")
def cube_summary(request: Request, snapshot: RequestedSnapshot) -> Response:
    """Title, bounds, release and licence of the cube."""
    west, south, east, north = snapshot.bounds
    attributes = {**snapshot.reader.cube.root.attrs}
    document = {
        "title": cube_of(request).title,
        "bounds": list(snapshot.bounds),
        "outline": snapshot.outline,
        "center": [round((west + east) / 2, 6), round((south + north) / 2, 6)],
        "zoom": opening_zoom(snapshot),
        "release": snapshot.release,
        "attribution": str(attributes.get("attribution", "")),
        "note": str(attributes.get("note", "")),
        "products": sorted(snapshot.products),
    }
    return json_answer(snapshot, request, document)
