"""TileJSON 3.0 of a layer, for MapLibre, Leaflet and GDAL."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel

from server.asking.requested import release_of
from server.dependencies import LayerParameter, TmsParameter
from server.describing.links import absolute_answer, base_url
from server.drawing.tms import tile_matrix_set
from server.drawing.zooms import zooms
from server.reading.layers import MapLayer
from server.reading.snapshot import ServedCube, Snapshot


class TileJSON(BaseModel):
    """The fields of TileJSON 3.0 that a raster layer has, as titiler answers them (whose model costs two seconds to import)."""

    tilejson: str = "3.0.0"
    name: str
    description: str | None = None
    version: str = "1.0.0"
    attribution: str | None = None
    legend: str
    scheme: str = "xyz"
    tiles: list[str]
    minzoom: int
    maxzoom: int
    bounds: list[float]
    center: list[float]


def router(cube: ServedCube, root: str) -> APIRouter:
    """`/layers/{id}/{tms}/tilejson.json` of one cube below `root`."""
    routes = APIRouter(tags=["tiles"])
    requested = Depends(release_of(cube))

    @routes.get("/layers/{layer_id}/{tms}/tilejson.json", summary="TileJSON of a layer", response_model=TileJSON)
    def tilejson(request: Request, layer_id: LayerParameter, tms: TmsParameter, snapshot: Snapshot = requested) -> Response:
        """Where the tiles of a layer are, at which zooms, and what must be said beside them."""
        document = describe(snapshot, snapshot.layer(layer_id), tms, base_url(request) + root)
        return absolute_answer(snapshot, request, document.model_dump_json(exclude_none=True), "application/json")

    return routes


def describe(snapshot: Snapshot, layer: MapLayer, tms: str, base: str) -> TileJSON:
    """The TileJSON of `layer` in the tile matrix set `tms`; URLs begin with `base`. Raises `NotFoundError`."""
    matrix_set = tile_matrix_set(tms)
    # Zooms of other sets count differently; all of them are served.
    least, most = zooms(snapshot, layer) if tms == "WebMercatorQuad" else (matrix_set.minzoom, matrix_set.maxzoom)
    west, south, east, north = snapshot.bounds
    own = f"{base}/layers/{layer.id}"
    return TileJSON(
        name=layer.title,
        description=layer.note or layer.subtitle or None,
        attribution=layer.attribution or None,
        legend=f"{own}/legend.png",
        tiles=[f"{own}/tiles/{tms}/{{z}}/{{x}}/{{y}}.png?v={snapshot.token}"],
        minzoom=least,
        maxzoom=most,
        bounds=list(snapshot.bounds),
        center=[(west + east) / 2, (south + north) / 2, min(least + 2, most)],
    )
