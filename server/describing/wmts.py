"""WMTS 1.0.0 (OGC 07-057r7): the capabilities by which QGIS, GDAL and other programs find tiles, and tiles by query.

The document is the template `wmts.xml`. Its tiles have the addresses of `server.tileroute`, which answers queries, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Final

import jinja2
import morecantile
from fastapi import APIRouter, HTTPException, Query, Request, Response
from morecantile.utils import meters_per_unit

from cube.grid import EUROPE
from server import tileroute
from server.dependencies import LayerParameter, RequestedSnapshot, TmsParameter, path_of, root_of
from server.describing.links import absolute_answer, base_url
from server.drawing.tiles import MEDIA
from server.drawing.tms import own_name, tile_matrix_set
from server.drawing.zooms import limits_of, zooms_in
from server.errors import RequestError, StoreError
from server.reading.layers import MapLayer
from server.reading.snapshot import Snapshot

MAX_LAYERS: Final = 100  # that one request may name
_MEDIA: Final = "application/xml"
_PIXEL: Final = 0.00028  # m, of OGC's standardised rendering
_OF_A_TILE: Final = ("LAYER", "STYLE", "FORMAT", "TILEMATRIXSET", "TILEMATRIX", "TILEROW", "TILECOL")
# What the tile's own sentences begin with.
_TILE_ERRORS: Final = {
    "Tile ": ("TileOutOfRange", "TILEROW"),
    "Zoom ": ("InvalidParameterValue", "TILEMATRIX"),
    "There is no tile matrix set": ("InvalidParameterValue", "TILEMATRIXSET"),
    "There": ("InvalidParameterValue", "LAYER"),
}
_ANSWER: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {_MEDIA: {"schema": {"type": "string"}}}, "description": "WMTS 1.0.0 capabilities."}
}
_REPORT: Final = {"content": {_MEDIA: {"schema": {"type": "string"}}}, "description": "An ExceptionReport."}
_OF_QUERIES: Final = {**_ANSWER, 400: _REPORT}


class ServiceError(Exception):
    """What a query of a WMTS is refused with (400): a code of the standard, the parameter meant, one sentence."""

    def __init__(self, code: str, locator: str, text: str) -> None:
        """See the table of exceptions of the operation in OGC 07-057r7, 7."""
        super().__init__(text)
        self.code, self.locator = code, locator


router: Final = APIRouter(tags=["tiles"])


@router.get("/layers/{layer_id}/WMTSCapabilities.xml", summary="WMTS of one layer", responses=_ANSWER, response_class=Response)
def of_layer(request: Request, snapshot: RequestedSnapshot, layer_id: LayerParameter) -> Response:
    """Capabilities with one layer in the tile matrix sets of the whole service."""
    return _answer(snapshot, request, [snapshot.layer(layer_id)], _sets(snapshot))


@router.get(
    "/layers/{layer_id}/{tms}/WMTSCapabilities.xml",
    summary="WMTS of one layer in one tile matrix set",
    responses=_ANSWER,
    response_class=Response,
)
def of_layer_in(request: Request, snapshot: RequestedSnapshot, layer_id: LayerParameter, tms: TmsParameter) -> Response:
    """Capabilities with one layer in one tile matrix set."""
    tile_matrix_set(tms)
    return _answer(snapshot, request, [snapshot.layer(layer_id)], [tms])


@router.get(
    "/wmts", summary="WMTS of indicators and habitats, or of the layers named", responses=_OF_QUERIES, response_class=Response
)
async def of_cube(
    request: Request,
    snapshot: RequestedSnapshot,
    layers: Annotated[
        str, Query(max_length=4000, description="Layer ids, comma-separated, such as species.fagus_sylvatica.")
    ] = "",
    service: Annotated[str, Query(max_length=20, description="WMTS, in any letters.")] = "WMTS",
    operation: Annotated[
        str, Query(alias="request", max_length=40, description="GetCapabilities or GetTile.")
    ] = "GetCapabilities",
) -> Response:
    """Keys may be written in any letters, as OGC clients do (`?SERVICE=WMTS&REQUEST=GetCapabilities`).

    `REQUEST=GetTile` takes LAYER, STYLE=default, FORMAT, TILEMATRIXSET, TILEMATRIX, TILEROW and TILECOL, and refuses with
    an ExceptionReport. QGIS asks every plain address for the capabilities of a WMS and reads what comes, so that question
    is answered too.
    """
    parameters = {key.upper(): value for key, value in request.query_params.items()}
    try:
        if parameters.get("SERVICE", service).upper() not in ("WMTS", "WMS"):
            raise ServiceError("InvalidParameterValue", "SERVICE", "This is a WMTS: service must be WMTS.")
        operation_name = parameters.get("REQUEST", operation).lower()
        if operation_name == "gettile":
            return await _tile(request, parameters)
        if operation_name != "getcapabilities":
            raise ServiceError("OperationNotSupported", "REQUEST", "request is GetCapabilities or GetTile here.")
    except ServiceError as error:
        body = _template().get_template("exception.xml").render(error=error)
        return Response(body, 400, {"Cache-Control": "no-store"}, _MEDIA)
    names = [name.strip() for name in parameters.get("LAYERS", layers).split(",") if name.strip()]
    if len(names) > MAX_LAYERS:
        raise HTTPException(413, f"{len(names)} layers are named; one document holds at most {MAX_LAYERS}.")
    map_layers = [snapshot.layer(name) for name in dict.fromkeys(names)] or [
        layer for product in ("indicators", "habitats") for layer in snapshot.catalogue.find(product=product)
    ]
    return await asyncio.to_thread(_answer, snapshot, request, map_layers, _sets(snapshot))


async def _tile(request: Request, parameters: dict[str, str]) -> Response:
    """A tile by query; raises `ServiceError`."""
    for name in _OF_A_TILE:
        if not parameters.get(name):
            raise ServiceError("MissingParameterValue", name, f"GetTile takes {', '.join(_OF_A_TILE)}; {name} is missing.")
    if parameters["STYLE"] != "default":
        raise ServiceError("InvalidParameterValue", "STYLE", "There is one style, default.")
    form = next((form for form, media in MEDIA.items() if media == parameters["FORMAT"]), None)
    if form is None:
        raise ServiceError("InvalidParameterValue", "FORMAT", f"FORMAT is {' or '.join(MEDIA.values())}.")
    place = (parameters[name] for name in ("LAYER", "TILEMATRIXSET", "TILEMATRIX", "TILECOL"))
    layer_id, tms, zoom, col = place
    # VERSION is of the standard here, not of the layer's product.
    query = {name: parameters[name.upper()] for name in tileroute.LONGEST if name.upper() in parameters and name != "version"}
    try:
        return await tileroute.answer(request, layer_id, tms, zoom, col, f"{parameters['TILEROW']}.{form}", query)
    except StoreError:
        raise
    except RequestError as error:
        code_and_locator = next(
            (entry for start, entry in _TILE_ERRORS.items() if str(error).startswith(start)), _TILE_ERRORS["There"]
        )
        raise ServiceError(*code_and_locator, str(error)) from None


def _sets(snapshot: Snapshot) -> tuple[str, ...]:
    """The tile matrix sets of a cube: the web's, Europe's where it lies there, and that of its own cells."""
    grid = snapshot.region.grid
    return ("WebMercatorQuad", *(("EuropeanETRS89_LAEAQuad",) if grid == EUROPE else ()), own_name(grid))


def _answer(snapshot: Snapshot, request: Request, layers: Sequence[MapLayer], sets: Sequence[str]) -> Response:
    base = base_url(request)
    document = capabilities(snapshot, layers, sets, base + root_of(request), base + path_of(request.scope))
    return absolute_answer(snapshot, request, document, _MEDIA)


@lru_cache(maxsize=1)
def _template() -> jinja2.Environment:
    folder = Path(__file__).parent / "templates"
    return jinja2.Environment(autoescape=True, loader=jinja2.FileSystemLoader(folder), trim_blocks=True, lstrip_blocks=True)


def capabilities(snapshot: Snapshot, layers: Sequence[MapLayer], sets: Sequence[str], base: str, address: str) -> str:
    """The XML document; tile URLs begin with `base`, the document itself lies at `address`."""
    title = str(snapshot.reader.cube.attributes.get("title") or "floracube")
    limits = {name: limits_of(snapshot, name) for name in sets}
    zooms_of = {layer.id: {name: zooms_in(snapshot, layer, name) for name in sets} for layer in layers}
    return (
        _template()
        .get_template("wmts.xml")
        .render(
            title=title,
            layers=layers,
            limits=limits,
            reached=zooms_of,
            base=base,
            address=address,
            bounds=snapshot.bounds,
            token=snapshot.token,
            license=next((layer.license for layer in layers if layer.license), "none"),
            formats=MEDIA,
            sets={name: (_urn(tile_matrix_set(name)), _matrices(tile_matrix_set(name), limits[name])) for name in sets},
        )
    )


def _matrices(tms: morecantile.TileMatrixSet, zooms: Iterable[int]) -> list[tuple[int, str, str, morecantile.models.TileMatrix]]:
    """Zoom, scale denominator, top left corner and the rest of each tile matrix."""
    # From the cell size, since rounded denominators shift far tiles by metres.
    unit = meters_per_unit(tms.crs._pyproj_crs) / _PIXEL
    matrices = []
    for zoom in zooms:
        matrix = tms.matrix(zoom)
        corner = " ".join(repr(float(v)) for v in matrix.pointOfOrigin)
        matrices.append((zoom, repr(matrix.cellSize * unit), corner, matrix))
    return matrices


def _urn(tms: morecantile.TileMatrixSet) -> str:
    """The CRS as WMTS 1.0 names it: `http://www.opengis.net/def/crs/EPSG/0/3035` is `urn:ogc:def:crs:EPSG::3035`."""
    root = str(tms.crs.root)
    if root.startswith("urn:"):
        return root
    authority, version, code = root.rsplit("/", 3)[-3:]
    return f"urn:ogc:def:crs:{authority}:{'' if version == '0' else version}:{code}"
