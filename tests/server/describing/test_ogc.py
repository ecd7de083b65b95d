"""OGC API Tiles (20-057), Common (19-072) and Two Dimensional Tile Matrix Set (17-083r4): requirement by requirement."""

from __future__ import annotations

import io
from typing import Any

import jsonschema
import pytest
import rasterio
from PIL import Image
from starlette.testclient import TestClient

from server.drawing.tms import NAMES

LAYER = "/layers/habitats.level3"
SCHEME = "http://www.opengis.net/def/rel/ogc/1.0/tiling-scheme"
_URI = {"type": "string", "pattern": "^https?://"}
_LINK = {
    "type": "object",
    "required": ["rel", "href"],
    "properties": {
        "rel": {"type": "string"},
        "href": _URI,
        "type": {"type": "string", "pattern": "^[a-z]+/"},
        "templated": {"const": True},
    },
}
_CRS = {
    "oneOf": [
        _URI,
        {"type": "object", "required": ["uri"]},
        {"type": "object", "required": ["wkt"]},
        {"type": "string", "pattern": "^urn:ogc:def:crs:"},
    ]
}
_NUMBER = {"type": "integer", "minimum": 0}
_POINT = {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "number"}}
# In our own words after the tables of the standards: what a tile set and a tile matrix set must have.
TILESET_ITEM = {
    "type": "object",
    "required": ["dataType", "crs", "links"],
    "properties": {
        "dataType": {"enum": ["map", "vector", "coverage"]},
        "crs": _CRS,
        "tileMatrixSetURI": _URI,
        "links": {"type": "array", "minItems": 1, "items": _LINK},
    },
}
TILESET = {
    **TILESET_ITEM,
    "properties": {
        **TILESET_ITEM["properties"],  # type: ignore[dict-item]
        "tileMatrixSetLimits": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["tileMatrix", "minTileRow", "maxTileRow", "minTileCol", "maxTileCol"],
                "properties": {
                    "tileMatrix": {"type": "string"},
                    "minTileRow": _NUMBER,
                    "maxTileRow": _NUMBER,
                    "minTileCol": _NUMBER,
                    "maxTileCol": _NUMBER,
                },
            },
        },
        "boundingBox": {
            "type": "object",
            "required": ["lowerLeft", "upperRight"],
            "properties": {"lowerLeft": _POINT, "upperRight": _POINT, "crs": _CRS},
        },
        "accessConstraints": {"enum": ["unclassified", "restricted", "confidential", "secret", "topSecret"]},
    },
}
MATRIX_SET = {
    "type": "object",
    "required": ["crs", "tileMatrices"],
    "properties": {
        "crs": _CRS,
        "id": {"type": "string"},
        "uri": _URI,
        "tileMatrices": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": [
                    "id",
                    "scaleDenominator",
                    "cellSize",
                    "pointOfOrigin",
                    "tileWidth",
                    "tileHeight",
                    "matrixWidth",
                    "matrixHeight",
                ],
                "properties": {
                    "id": {"type": "string"},
                    "pointOfOrigin": _POINT,
                    "cornerOfOrigin": {"enum": ["topLeft", "bottomLeft"]},
                    "tileWidth": {"minimum": 1},
                    "matrixWidth": {"minimum": 1},
                },
            },
        },
    },
}


def links(document: dict[str, Any], rel: str) -> list[dict[str, Any]]:
    found = [link for link in document["links"] if link["rel"] == rel]
    assert found, f"no link {rel}"
    return found


def checked(client: TestClient, path: str, schema: dict[str, Any]) -> dict[str, Any]:
    answer = client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    document: dict[str, Any] = answer.json()
    jsonschema.validate(document, schema)
    return document


def test_the_landing_page_leads_to_everything(client: TestClient) -> None:
    """/req/landing-page: links to the API, its documentation and its conformance; each of them answers."""
    page = client.get("/", headers={"Accept": "application/json"}).json()
    assert page == client.get("/?f=json").json()
    assert client.get("/", headers={"Accept": "text/html,*/*"}).headers["content-type"].startswith("text/html")
    for rel in ("self", "service-desc", "service-doc", "conformance", "data", f"{SCHEME}s"):
        (link,) = links(page, rel)
        assert client.get(link["href"]).status_code == 200
    declared = client.get(links(page, "conformance")[0]["href"]).json()["conformsTo"]
    tiles = "http://www.opengis.net/spec/ogcapi-tiles-1/1.0/conf"
    assert {f"{tiles}/{name}" for name in ("core", "tileset", "tilesets-list", "png", "jpeg", "tiff")} <= set(declared)


def test_the_list_of_tile_sets_has_one_for_each_tile_matrix_set(client: TestClient) -> None:
    """/req/tilesets-list/tileset-links."""
    found = checked(
        client,
        f"{LAYER}/tiles",
        {"type": "object", "required": ["tilesets"], "properties": {"tilesets": {"type": "array", "items": TILESET_ITEM}}},
    )["tilesets"]
    assert {links(item, "self")[0]["href"].rpartition("/")[2] for item in found} == set(NAMES)
    for item in found:
        links(item, SCHEME)


@pytest.mark.parametrize("name", NAMES)
def test_a_tile_set_says_where_its_tiles_are(client: TestClient, name: str) -> None:
    """/req/tileset/description, /req/core/tc-success, /req/core/tc-error, and the definition of the tile matrix set."""
    document = checked(client, f"{LAYER}/tiles/{name}", TILESET)
    definition = checked(client, links(document, SCHEME)[0]["href"], MATRIX_SET)
    assert definition["id"] == name
    assert document["crs"] == definition["crs"]
    assert document.get("tileMatrixSetURI") == definition.get("uri")
    matrices = {matrix["id"]: matrix for matrix in definition["tileMatrices"]}
    items = {link["type"]: link for link in links(document, "item")}
    assert items.keys() == {"image/png", "image/webp", "image/jpeg", "image/tiff; application=geotiff"}
    for link in items.values():
        assert link["templated"] is True
        assert all(variable in link["href"] for variable in ("{tileMatrix}", "{tileRow}", "{tileCol}"))
    limits = document["tileMatrixSetLimits"]
    assert limits
    for limit in limits:
        matrix = matrices[limit["tileMatrix"]]
        assert 0 <= limit["minTileRow"] <= limit["maxTileRow"] < matrix["matrixHeight"]
        assert 0 <= limit["minTileCol"] <= limit["maxTileCol"] < matrix["matrixWidth"]
    limit = limits[min(len(limits) - 1, 8)]
    place = {"tileMatrix": limit["tileMatrix"], "tileRow": limit["minTileRow"], "tileCol": limit["minTileCol"]}
    answer = client.get(items["image/png"]["href"].format(**place))
    assert answer.status_code in (200, 204)
    if answer.status_code == 200:
        matrix = matrices[limit["tileMatrix"]]
        assert Image.open(io.BytesIO(answer.content)).size == (matrix["tileWidth"], matrix["tileHeight"])
    for wrong in ({"tileRow": 10**8}, {"tileCol": 10**8}, {"tileMatrix": 99}, {"tileMatrix": "x"}):
        assert client.get(items["image/png"]["href"].format(**{**place, **wrong})).status_code in (400, 404, 422)


def test_each_format_of_a_tile_is_what_its_type_says(client: TestClient) -> None:
    """/req/png/content, /req/jpeg/content, /req/tiff/content."""
    document = client.get(f"{LAYER}/tiles/WebMercatorQuad").json()
    limit = next(limit for limit in document["tileMatrixSetLimits"] if limit["tileMatrix"] == "11")
    place = {"tileMatrix": "11", "tileRow": limit["maxTileRow"], "tileCol": limit["minTileCol"] + 1}
    sizes = set()
    for link in links(document, "item"):
        answer = client.get(link["href"].format(**place))
        assert (answer.status_code, answer.headers["content-type"]) == (200, link["type"])
        with rasterio.MemoryFile(answer.content) as memory, memory.open() as file:
            assert file.driver in {"image/png": "PNG", "image/webp": "WEBP", "image/jpeg": "JPEG"}.get(link["type"], "GTiff")
            sizes.add(file.shape)
    assert sizes == {(256, 256)}
