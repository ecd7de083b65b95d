"""What QGIS imports: a file of XYZ tile connections, and the style by which it draws a layer's GeoTIFF as the map does."""

from __future__ import annotations

from typing import Annotated, Final
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from fastapi import APIRouter, HTTPException, Query, Request, Response

from cube.export import qgis
from server.dependencies import LayerParameter, RequestedSnapshot, cube_of, root_of, unchanged, validators
from server.describing.links import absolute_answer, base_url
from server.describing.wmts import MAX_LAYERS
from server.drawing.zooms import zooms

FILE_NAME: Final = "floracube-qgis.xml"


router: Final = APIRouter(tags=["tiles"])


@router.get(
    "/qgis",
    summary="XYZ connections for QGIS",
    response_class=Response,
    responses={
        200: {
            "content": {"application/xml": {"schema": {"type": "string"}}},
            "description": "A file for Browser, XYZ Tiles, Load Connections.",
        }
    },
)
def connections(
    request: Request,
    snapshot: RequestedSnapshot,
    layers: Annotated[str, Query(max_length=4000, description="Layer ids to add, comma-separated.")] = "",
) -> Response:
    """Layers follow the current release: their addresses name no version, so a saved project stays up to date."""
    names = [name.strip() for name in layers.split(",") if name.strip()]
    if len(names) > MAX_LAYERS:
        raise HTTPException(413, f"{len(names)} layers are named; one file holds at most {MAX_LAYERS}.")
    default_layers = [layer for product in ("indicators", "habitats") for layer in snapshot.catalogue.find(product=product)]
    map_layers = [
        *default_layers,
        *(snapshot.layer(name) for name in dict.fromkeys(names) if name not in {layer.id for layer in default_layers}),
    ]
    title, base = cube_of(request).title, base_url(request) + root_of(request)
    top = Element("qgsXYZTilesConnections", {"version": "1.0"})
    for layer in map_layers:
        min_zoom, max_zoom = zooms(snapshot, layer)
        url = f"{base}/layers/{layer.id}/tiles/WebMercatorQuad/{{z}}/{{x}}/{{y}}.png"
        SubElement(
            top,
            "xyztiles",
            {
                "name": f"{title}: {layer.title}",
                "url": url,
                "zmin": str(min_zoom),
                "zmax": str(max_zoom),
                "tilePixelRatio": "1",
                "authcfg": "",
                "username": "",
                "password": "",
                "referer": "",
            },
        )
    indent(top)
    body = b"<!DOCTYPE connections>\n" + tostring(top, encoding="utf-8") + b"\n"
    disposition = {"Content-Disposition": f'attachment; filename="{FILE_NAME}"'}
    return absolute_answer(snapshot, request, body, "application/xml", disposition)


@router.get(
    "/layers/{layer_id}/style.qml",
    summary="QGIS style of a layer",
    response_class=Response,
    responses={
        200: {
            "content": {"application/xml": {"schema": {"type": "string"}}},
            "description": "Lies beside a GeoTIFF of the layer by its name, .qml for .tif.",
        }
    },
)
def style(request: Request, snapshot: RequestedSnapshot, layer_id: LayerParameter) -> Response:
    """Colours and range of the map, for a window from `/layers/{id}/cog`; `floracube export` writes it by itself."""
    layer, headers = snapshot.layer(layer_id), validators(snapshot, request)
    headers["Content-Disposition"] = f'attachment; filename="{layer.id}.0.qml"'
    if (not_modified := unchanged(request, headers)) is not None:
        return not_modified
    if layer.kind == "class":
        body = qgis.classes((entry.value, f"{entry.code} {entry.label}".strip(), entry.colour) for entry in layer.classes)
    else:
        body = qgis.continuous(layer.palette, snapshot.range_of(layer), layer.units)
    return Response(body, media_type="application/xml", headers=headers)
