"""The routes of one cube: catalogue, legends and tiles; what else it answers is put together in `server.asking.queries`.

titiler's TilerFactory opens the dataset that a `url` parameter names; ours serves the cube it was given, no other.
The shape of the paths is titiler's, whose own factory stands at `/titiler` over the same layers (`server.asking.explore`).
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from server.asking.queries import queries_router
from server.dependencies import (
    LayerParameter,
    json_answer,
    unchanged,
    validators,
)
from server.drawing import legend, tileroute
from server.drawing.zooms import opening_zoom, zooms
from server.errors import WrongRequestError
from server.reading.catalogue import TITLES
from server.reading.layers import MapLayer
from server.reading.snapshot import ServedCube, Snapshot


def layer_document(snapshot: Snapshot, layer: MapLayer, root: str) -> dict[str, Any]:
    """A layer of the catalogue as the page reads it; URLs begin with `root`."""
    least, most = zooms(snapshot, layer)
    base = f"{root}/layers/{layer.id}"
    document = {
        "id": layer.id,
        "product": layer.product,
        "title": layer.title,
        "subtitle": layer.subtitle,
        "units": layer.units,
        "kind": layer.kind,
        "range": None if layer.kind == "class" else list(snapshot.range_of(layer)),
        "bounds": list(snapshot.bounds),
        "minzoom": least,
        "maxzoom": most,
        "palette": layer.palette,
        "interval": layer.interval,
        "legend": f"{base}/legend.json",
        "tiles": f"{base}/tiles/WebMercatorQuad/{{z}}/{{x}}/{{y}}.png?v={snapshot.token}",
        "tilejson": f"{base}/WebMercatorQuad/tilejson.json",
        "attribution": layer.attribution,
        "license": layer.license,
        "note": layer.note,
    }
    return {**document, "status": dict(layer.status)} if layer.status else document


def cube_router(cube: ServedCube, root: str = "") -> APIRouter:
    """Routes of one cube below `root` (`""` or `/cubes/{slug}`)."""
    router = APIRouter(prefix=root)

    @router.get("/layers", summary="The catalogue, searchable and paged", tags=["catalogue"])
    def layers(
        request: Request,
        search: Annotated[str, Query(max_length=100, description="Words of a scientific or vernacular name.")] = "",
        product: Annotated[str, Query(max_length=40)] = "",
        limit: Annotated[int, Query(ge=1, le=1000)] = 50,
        offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
    ) -> Response:
        snapshot = cube.snapshot()
        if product and product not in TITLES:
            raise WrongRequestError(f"There is no product '{product}'; known are {', '.join(TITLES)}.")
        found = snapshot.catalogue.find(search, product)
        listed = [layer.product for layer in snapshot.catalogue.layers if layer.listed]
        document = {
            "total": len(found),
            "limit": limit,
            "offset": offset,
            "release": snapshot.release,
            "version": snapshot.token,
            "products": [
                {"id": name, "title": title, "count": listed.count(name)} for name, title in TITLES.items() if name in listed
            ],
            "layers": [layer_document(snapshot, layer, root) for layer in found[offset : offset + limit]],
        }
        return json_answer(snapshot, request, document)

    @router.get("/layers/{layer_id}", summary="One layer", tags=["catalogue"])
    def layer(request: Request, layer_id: LayerParameter) -> Response:
        snapshot = cube.snapshot()
        return json_answer(snapshot, request, layer_document(snapshot, snapshot.layer(layer_id), root))

    @router.get("/layers/{layer_id}/legend.json", summary="Legend of a layer", tags=["catalogue"])
    def legend_json(request: Request, layer_id: LayerParameter) -> Response:
        snapshot = cube.snapshot()
        return json_answer(snapshot, request, legend.legend(snapshot, snapshot.layer(layer_id)))

    @router.get("/layers/{layer_id}/legend.png", summary="Legend of a layer as a picture", tags=["catalogue"],
                response_class=Response, responses={200: {"content": {"image/png": {}}}})  # fmt: skip
    def legend_png(request: Request, layer_id: LayerParameter) -> Response:
        snapshot = cube.snapshot()
        headers = validators(snapshot, request)
        return unchanged(request, headers) or Response(
            legend.legend_png(snapshot.layer(layer_id)), media_type="image/png", headers=headers
        )

    @router.get("/about.json", summary="The cube in a few words", tags=["catalogue"])
    def about(request: Request) -> Response:
        snapshot = cube.snapshot()
        west, south, east, north = snapshot.bounds
        attributes = {**snapshot.reader.cube.root.attrs}
        document = {
            "title": cube.title,
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

    router.include_router(tileroute.router(cube))
    router.include_router(queries_router(cube, root))
    return router
