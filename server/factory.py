"""The routes of one cube: catalogue, legends, tiles, TileJSON, point.

titiler's TilerFactory opens the dataset that a `url` parameter names; ours serves the cube it was given, no other.
The shape of the paths, TileJSON's model and the errors are titiler's.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from titiler.core.models.mapbox import TileJSON

from server import legend, point, tiles
from server.catalogue import TITLES
from server.dependencies import (
    LayerParameter,
    StyleParameters,
    TmsParameter,
    json_answer,
    tile_matrix_set,
    tile_request,
    unchanged,
    validators,
)
from server.errors import WrongRequestError
from server.io import MAX_CHUNKS
from server.layers import MapLayer
from server.snapshot import ServedCube, Snapshot

_EQUATOR_PIXEL = 156_543.0339  # m, Web Mercator pixel of 256-pixel tiles at zoom 0
_OVERZOOM = 3  # zooms beyond the native one that are worth a tile of their own: cell edges stay sharp


def zooms(snapshot: Snapshot, layer: MapLayer) -> tuple[int, int]:
    """(minzoom, maxzoom) in Web Mercator: from where the region spans 32 pixels to a few beyond the cells' own size."""
    _, south, _, north = snapshot.bounds
    ground = _EQUATOR_PIXEL * math.cos(math.radians((south + north) / 2))
    edges = snapshot.region.bounds
    span = max(edges[2] - edges[0], edges[3] - edges[1])
    least = max(0, math.floor(math.log2(ground * 32 / span)))
    if len(layer.paths) == 1:
        least = max(least, _readable(snapshot, layer, ground))
    native = math.ceil(math.log2(ground / layer.resolution))
    return least, max(least, native + _OVERZOOM)


def _readable(snapshot: Snapshot, layer: MapLayer, ground: float) -> int:
    """The lowest zoom at which a tile of a layer without overviews stays within the chunks it may read."""
    array = snapshot.reader.array(layer.paths[0])
    zoom = 0
    while zoom < 14:
        # A tile is turned against the grid, so its box is wider than itself.
        cells = 1.4 * 256 * ground / 2**zoom / layer.resolution
        counts = [min(-(-n // chunk), cells / chunk + 2) for n, chunk in zip(array.shape[-2:], array.chunks[-2:], strict=True)]
        if counts[0] * counts[1] <= MAX_CHUNKS:
            break
        zoom += 1
    return zoom


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

    @router.get("/layers/{layer_id}/legend.png", summary="Legend of a layer as a picture", tags=["catalogue"])
    def legend_png(request: Request, layer_id: LayerParameter) -> Response:
        snapshot = cube.snapshot()
        headers = validators(snapshot, request)
        return unchanged(request, headers) or Response(
            legend.legend_png(snapshot.layer(layer_id)), media_type="image/png", headers=headers
        )

    @router.get("/layers/{layer_id}/tiles/{tms}/{z}/{x}/{y}", summary="A map tile", tags=["tiles"])
    def tile(
        request: Request,
        layer_id: LayerParameter,
        tms: TmsParameter,
        z: int,
        x: int,
        y: str,
        parameters: Annotated[StyleParameters, Depends()],
    ) -> Response:
        snapshot = cube.snapshot()
        shown = snapshot.layer(layer_id)
        wanted, form = tile_request(tms, z, x, y)
        if form == "webp" and shown.kind == "class":
            raise WrongRequestError("Classes are not served in a lossy format; ask for .png.")
        style = parameters.style(snapshot, shown)
        headers = validators(snapshot, request)
        if (cached := unchanged(request, headers)) is not None:
            return cached
        body = tiles.render(snapshot, shown, wanted, form, style)
        if body is None:
            return Response(status_code=204, headers=headers)
        return Response(body, media_type=tiles.MEDIA[form], headers=headers)

    @router.get("/layers/{layer_id}/{tms}/tilejson.json", summary="TileJSON of a layer", tags=["tiles"])
    def tilejson(request: Request, layer_id: LayerParameter, tms: TmsParameter) -> Response:
        snapshot = cube.snapshot()
        shown, matrix_set = snapshot.layer(layer_id), tile_matrix_set(tms)
        least, most = zooms(snapshot, shown)
        if tms != "WebMercatorQuad":
            # Zooms of other sets count differently; all of them are served.
            least, most = 0, matrix_set.maxzoom
        west, south, east, north = snapshot.bounds
        base = f"{str(request.base_url).rstrip('/')}{root}/layers/{shown.id}"
        document = TileJSON(
            name=shown.title,
            description=shown.note or shown.subtitle or None,
            attribution=shown.attribution or None,
            legend=f"{base}/legend.png",
            tiles=[f"{base}/tiles/{tms}/{{z}}/{{x}}/{{y}}.png?v={snapshot.token}"],
            minzoom=least,
            maxzoom=most,
            bounds=list(snapshot.bounds),
            center=((west + east) / 2, (south + north) / 2, min(least + 2, most)),
        )
        return json_answer(snapshot, request, document.model_dump(exclude_none=True))

    @router.get("/point/{lon},{lat}", summary="Everything known of a cell", tags=["queries"])
    def at_point(
        request: Request,
        lon: float,
        lat: float,
        threshold: Annotated[float, Query(ge=0, le=1, description="Least probability of a listed species.")] = 0.05,
    ) -> Response:
        snapshot = cube.snapshot()
        return json_answer(snapshot, request, point.describe(snapshot, lon, lat, threshold))

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
            "zoom": _opening_zoom(snapshot),
            "release": snapshot.release,
            "attribution": str(attributes.get("attribution", "")),
            "note": str(attributes.get("note", "")),
            "products": sorted(snapshot.products),
        }
        return json_answer(snapshot, request, document)

    return router


def _opening_zoom(snapshot: Snapshot) -> int:
    """The Web Mercator zoom at which the region fills about 800 pixels."""
    _, south, _, north = snapshot.bounds
    edges = snapshot.reader.cube.region.bounds
    ground = _EQUATOR_PIXEL * math.cos(math.radians((south + north) / 2))
    span = max(edges[2] - edges[0], edges[3] - edges[1])
    return max(0, math.floor(math.log2(ground * 800 / span)))
