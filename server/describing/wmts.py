"""WMTS 1.0.0 capabilities, by which QGIS, GDAL and other programs find the tiles of layers.

The tiles themselves are the XYZ tiles of `server.factory`, named by a resource template; there is no GetTile by query.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any, Final
from xml.etree.ElementTree import Element, SubElement, register_namespace, tostring

import morecantile
import numpy as np
from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from morecantile.utils import meters_per_unit
from numpy.typing import NDArray
from pyproj import Transformer

from server.asking.requested import release_of
from server.dependencies import MAX_ZOOM, LayerParameter, TmsParameter
from server.describing.links import absolute_answer, base_url
from server.drawing.tms import OWN, tile_matrix_set
from server.drawing.zooms import zooms
from server.errors import WrongRequestError
from server.reading.layers import MapLayer
from server.reading.snapshot import ServedCube, Snapshot

SETS: Final = ("WebMercatorQuad", "EuropeanETRS89_LAEAQuad", OWN)
MAX_LAYERS: Final = 100  # that one request may name
_MEDIA: Final = "application/xml"
_WMTS, _OWS, _XLINK = "http://www.opengis.net/wmts/1.0", "http://www.opengis.net/ows/1.1", "http://www.w3.org/1999/xlink"
for _prefix, _space in (("", _WMTS), ("ows", _OWS), ("xlink", _XLINK)):
    register_namespace(_prefix, _space)
_PIXEL: Final = 0.00028  # m, of OGC's standardised rendering
_ANSWER: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {_MEDIA: {"schema": {"type": "string"}}}, "description": "WMTS 1.0.0 capabilities."}
}


def router(cube: ServedCube, root: str) -> APIRouter:
    """`/wmts` and the capabilities of single layers of one cube below `root`."""
    routes = APIRouter(tags=["tiles"])
    requested = Depends(release_of(cube))

    @routes.get("/layers/{layer_id}/{tms}/WMTSCapabilities.xml", summary="WMTS of one layer", responses=_ANSWER,
                response_class=Response)  # fmt: skip
    def of_layer(request: Request, layer_id: LayerParameter, tms: TmsParameter, snapshot: Snapshot = requested) -> Response:
        """Capabilities with one layer in one tile matrix set."""
        tile_matrix_set(tms)
        return _answer(snapshot, request, [snapshot.layer(layer_id)], [tms], root, request.scope["path"])

    @routes.get("/wmts", summary="WMTS of indicators and habitats, or of the layers named", responses=_ANSWER,
                response_class=Response)  # fmt: skip
    def of_cube(
        request: Request,
        layers: Annotated[
            str, Query(max_length=4000, description="Layer ids, comma-separated, such as species.fagus_sylvatica.")
        ] = "",
        service: Annotated[str, Query(max_length=20, description="WMTS, in any letters.")] = "WMTS",
        operation: Annotated[str, Query(alias="request", max_length=40, description="GetCapabilities.")] = "GetCapabilities",
        snapshot: Snapshot = requested,
    ) -> Response:
        """One document; keys may be written in any letters, as OGC clients do (`?SERVICE=WMTS&REQUEST=GetCapabilities`).

        QGIS asks every plain address for the capabilities of a WMS and reads what comes, so that question is answered too.
        """
        asked = {key.lower(): value for key, value in request.query_params.items()}
        if asked.get("service", service).upper() not in ("WMTS", "WMS"):
            raise WrongRequestError("This is a WMTS: service must be WMTS.")
        if asked.get("request", operation).lower() != "getcapabilities":
            raise WrongRequestError("Only GetCapabilities is answered by query; tiles have the addresses that it names.")
        names = [name.strip() for name in asked.get("layers", layers).split(",") if name.strip()]
        if len(names) > MAX_LAYERS:
            raise HTTPException(413, f"{len(names)} layers are named; one document holds at most {MAX_LAYERS}.")
        found = [snapshot.layer(name) for name in dict.fromkeys(names)] or [
            layer for product in ("indicators", "habitats") for layer in snapshot.catalogue.find(product=product)
        ]
        return _answer(snapshot, request, found, SETS, root, request.scope["path"])

    return routes


def _answer(snapshot: Snapshot, request: Request, layers: Sequence[MapLayer], sets: Sequence[str], root: str,
            path: str) -> Response:  # fmt: skip
    base = base_url(request)
    document = capabilities(snapshot, layers, sets, base + root, base + path)
    return absolute_answer(snapshot, request, document, _MEDIA)


def _add(parent: Element, name: str, text: str | None = None, space: str = _WMTS, **attributes: str) -> Element:
    child = SubElement(parent, f"{{{space}}}{name}", attributes)
    child.text = text
    return child


def capabilities(snapshot: Snapshot, layers: Sequence[MapLayer], sets: Sequence[str], base: str, own: str) -> bytes:
    """The XML document; tile URLs begin with `base`, the document itself lies at `own`. OGC 07-057r7."""
    top = Element(f"{{{_WMTS}}}Capabilities", {"version": "1.0.0"})
    service = _add(top, "ServiceIdentification", space=_OWS)
    _add(service, "Title", str(snapshot.reader.cube.attributes.get("title") or "floracube"), _OWS)
    _add(service, "ServiceType", "OGC WMTS", _OWS)
    _add(service, "ServiceTypeVersion", "1.0.0", _OWS)
    _add(service, "Fees", "none", _OWS)
    _add(service, "AccessConstraints", next((layer.license for layer in layers if layer.license), "none"), _OWS)
    contents = _add(top, "Contents")
    boxes = {name: _limits(snapshot, tile_matrix_set(name)) for name in sets}
    for layer in layers:
        _layer(contents, snapshot, layer, boxes, base)
    for name in sets:
        _matrix_set(contents, name, tile_matrix_set(name))
    _add(top, "ServiceMetadataURL").set(f"{{{_XLINK}}}href", own)
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(top, encoding="utf-8")


Limits = dict[int, tuple[int, int, int, int]]  # zoom -> first and last row, first and last column


def _limits(snapshot: Snapshot, tms: morecantile.TileMatrixSet) -> Limits:
    """The tiles that the region touches at each zoom, so that no client asks for the others."""
    x, y = _transformer(tms.crs.to_wkt()).transform(*np.array(snapshot.outline).T)
    found: Limits = {}
    for zoom in _zooms(tms):
        matrix, first = tms.matrix(zoom), tms.xy_bounds(morecantile.Tile(0, 0, zoom))
        rows = _span((first.top - y) / (first.top - first.bottom), matrix.matrixHeight - 1)
        cols = _span((x - first.left) / (first.right - first.left), matrix.matrixWidth - 1)
        found[zoom] = (*rows, *cols)
    return found


@lru_cache(maxsize=16)
def _transformer(crs: str) -> Transformer:
    return Transformer.from_crs(4326, crs, always_xy=True)


def _span(at: NDArray[np.float64], last: int) -> tuple[int, int]:
    """First and last of the tiles that hold the positions; all of them where a projection has no such place."""
    if not np.isfinite(at).all():
        return 0, last
    return int(np.clip(at.min(), 0, last)), int(np.clip(at.max(), 0, last))


def _zooms(tms: morecantile.TileMatrixSet) -> range:
    return range(tms.minzoom, min(tms.maxzoom, MAX_ZOOM) + 1)


def _layer(parent: Element, snapshot: Snapshot, layer: MapLayer, boxes: dict[str, Limits], base: str) -> None:
    west, south, east, north = snapshot.bounds
    own = f"{base}/layers/{layer.id}"
    element = _add(parent, "Layer")
    _add(element, "Title", layer.title, _OWS)
    _add(element, "Abstract", " ".join(part for part in (layer.subtitle, layer.note, layer.attribution) if part), _OWS)
    box = _add(element, "WGS84BoundingBox", space=_OWS)
    _add(box, "LowerCorner", f"{west} {south}", _OWS)
    _add(box, "UpperCorner", f"{east} {north}", _OWS)
    _add(element, "Identifier", layer.id, _OWS)
    style = _add(element, "Style", isDefault="true")
    _add(style, "Identifier", "default", _OWS)
    _add(style, "LegendURL", format="image/png").set(f"{{{_XLINK}}}href", f"{own}/legend.png")
    _add(element, "Format", "image/png")
    for name, limits in boxes.items():
        least, most = zooms(snapshot, layer) if name == "WebMercatorQuad" else (min(limits), max(limits))
        link = _add(element, "TileMatrixSetLink")
        _add(link, "TileMatrixSet", name)
        bounds = _add(link, "TileMatrixSetLimits")
        for zoom, (row0, row1, col0, col1) in limits.items():
            if least <= zoom <= most:
                limit = _add(bounds, "TileMatrixLimits")
                for key, value in (("TileMatrix", zoom), ("MinTileRow", row0), ("MaxTileRow", row1), ("MinTileCol", col0),
                                   ("MaxTileCol", col1)):  # fmt: skip
                    _add(limit, key, str(value))
    template = f"{own}/tiles/{{TileMatrixSet}}/{{TileMatrix}}/{{TileCol}}/{{TileRow}}.png?v={snapshot.token}"
    _add(element, "ResourceURL", format="image/png", resourceType="tile", template=template)


def _matrix_set(parent: Element, name: str, tms: morecantile.TileMatrixSet) -> None:
    element = _add(parent, "TileMatrixSet")
    _add(element, "Identifier", name, _OWS)
    _add(element, "SupportedCRS", _urn(tms), _OWS)
    for zoom in _zooms(tms):
        matrix = tms.matrix(zoom)
        entry = _add(element, "TileMatrix")
        _add(entry, "Identifier", str(zoom), _OWS)
        # From the cell size, since rounded denominators shift far tiles by metres.
        _add(entry, "ScaleDenominator", repr(matrix.cellSize * meters_per_unit(tms.crs._pyproj_crs) / _PIXEL))
        _add(entry, "TopLeftCorner", " ".join(repr(float(v)) for v in matrix.pointOfOrigin))
        for key, value in (("TileWidth", matrix.tileWidth), ("TileHeight", matrix.tileHeight),
                           ("MatrixWidth", matrix.matrixWidth), ("MatrixHeight", matrix.matrixHeight)):  # fmt: skip
            _add(entry, key, str(value))


def _urn(tms: morecantile.TileMatrixSet) -> str:
    """The CRS as WMTS 1.0 names it: `http://www.opengis.net/def/crs/EPSG/0/3035` is `urn:ogc:def:crs:EPSG::3035`."""
    root = str(tms.crs.root)
    if root.startswith("urn:"):
        return root
    authority, version, code = root.rsplit("/", 3)[-3:]
    return f"urn:ogc:def:crs:{authority}:{'' if version == '0' else version}:{code}"
