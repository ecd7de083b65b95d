"""What a layer says of its tiles: TileJSON, and the tile sets of OGC API Tiles (OGC 20-057) and OGC 17-083r4."""

from __future__ import annotations

from typing import Any, Final

from server.drawing.tiles import MEDIA
from server.drawing.tms import tile_matrix_set
from server.drawing.zooms import limits_of, zooms_in
from server.reading.layers import MapLayer
from server.reading.snapshot import Snapshot

_SCHEME: Final = "http://www.opengis.net/def/rel/ogc/1.0/tiling-scheme"
_FORMATS: Final = {**MEDIA, "jpeg": "image/jpeg", "tif": "image/tiff; application=geotiff"}
Document = dict[str, Any]


def tilejson(snapshot: Snapshot, layer: MapLayer, tms: str) -> Document:
    """TileJSON 3.0 of `layer` in the tile matrix set `tms`, but for addresses."""
    min_zoom, max_zoom = zooms_in(snapshot, layer, tms)
    west, south, east, north = snapshot.bounds
    return {
        "name": layer.title,
        "description": layer.note or layer.subtitle or None,
        "attribution": layer.attribution or None,
        "minzoom": min_zoom,
        "maxzoom": max_zoom,
        "bounds": list(snapshot.bounds),
        "center": ((west + east) / 2, (south + north) / 2, min(min_zoom + 2, max_zoom)),
    }


def tileset(snapshot: Snapshot, layer: MapLayer, tms: str, links: dict[str, str], query: str) -> Document:
    """A tile set. `links`: `self`, `definition` of the tile matrix set, `map`, and `tiles` with {z}, {x}, {y}."""
    matrix_set = tile_matrix_set(tms)
    west, south, east, north = snapshot.bounds
    suffix = f"?{query}" if query else ""
    template = links["tiles"].replace("{z}", "{tileMatrix}").replace("{x}", "{tileCol}").replace("{y}", "{tileRow}")
    version = f"?v={snapshot.token}" + (f"&{query}" if query else "")
    document = {
        "title": f"{layer.title}: {tms}",
        "description": layer.note or layer.subtitle or None,
        "dataType": "map",
        "crs": matrix_set.crs.model_dump(mode="json"),
        "tileMatrixSetURI": str(matrix_set.uri) if matrix_set.uri else None,
        "boundingBox": {
            "lowerLeft": [west, south],
            "upperRight": [east, north],
            "crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84",
        },
        "attribution": layer.attribution or None,
        "license": layer.license or None,
        "version": snapshot.release,
        "created": snapshot.created or None,
        "links": [
            {"rel": "self", "href": links["self"] + suffix, "type": "application/json", "title": f"Tile set in {tms}"},
            # The standard's relation and names, then titiler's.
            *(
                {
                    "rel": "item",
                    "href": f"{template}.{form}{version}",
                    "type": media,
                    "templated": True,
                    "title": f"Tiles as {form.upper()}",
                }
                for form, media in _FORMATS.items()
            ),
            {"rel": "tile", "href": f"{links['tiles']}{version}", "type": "image/png", "templated": True, "title": "Tiles"},
            {"rel": _SCHEME, "href": links["definition"], "type": "application/json", "title": f"Definition of {tms}"},
            {"rel": "data", "href": links["map"] + suffix, "type": "text/html", "title": f"A map in {tms}"},
        ],
    }
    return {key: value for key, value in document.items() if value is not None}


def matrix_limits(snapshot: Snapshot, layer: MapLayer, tms: str) -> list[Document]:
    """First and last row and column of the tiles that a layer reaches, for each zoom that is worth a tile."""
    min_zoom, max_zoom = zooms_in(snapshot, layer, tms)
    return [
        {"tileMatrix": str(zoom), "minTileRow": row0, "maxTileRow": row1, "minTileCol": col0, "maxTileCol": col1}
        for zoom, (row0, row1, col0, col1) in limits_of(snapshot, tms).items()
        if min_zoom <= zoom <= max_zoom
    ]
