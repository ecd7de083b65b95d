"""WMTS, TileJSON and QGIS files: other programs open them, and see the very pixels of the tiles."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from xml.etree import ElementTree

import httpx
import morecantile
import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from PIL import Image
from pyproj import CRS, Transformer
from rasterio.windows import Window
from starlette.testclient import TestClient

from cube.storage.store import CubeStore
from server.drawing.tms import NAMES, tile_matrix_set
from server.main import create_app
from server.operating.settings import Settings

CENTRE = (16.77, 49.02)
SPACES = {"w": "http://www.opengis.net/wmts/1.0", "o": "http://www.opengis.net/ows/1.1"}
ETRS = "EuropeanETRS89_LAEAQuad"


def pixels(content: bytes) -> NDArray[np.uint8]:
    """(4, rows, columns) RGBA of a picture."""
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGBA")).transpose(2, 0, 1)


def compare(source: rasterio.DatasetReader, tms: str, tile: morecantile.Tile, content: bytes) -> None:
    """What GDAL reads where a tile lies, as far as the region reaches, is the very tile."""
    box = tile_matrix_set(tms).xy_bounds(tile)
    position = ~source.transform @ (box.left, box.top)
    left, top = (round(p) for p in position)
    assert position == pytest.approx((left, top), abs=1e-3)
    first_col, first_row = max(left, 0), max(top, 0)
    end_col, end_row = min(left + 256, source.width), min(top + 256, source.height)
    assert end_col - first_col > 100
    assert end_row - first_row > 100
    seen = source.read(window=Window(first_col, first_row, end_col - first_col, end_row - first_row))
    own = pixels(content)[:, first_row - top : end_row - top, first_col - left : end_col - left]
    assert (own[3] == 255).any()
    np.testing.assert_array_equal(seen, own)


def titles(document: bytes) -> list[str]:
    found = ElementTree.fromstring(document).findall("w:Contents/w:Layer/o:Identifier", SPACES)
    return [str(element.text) for element in found]


def test_one_document_holds_indicators_and_habitats_and_species_on_request(client: TestClient) -> None:
    whole = titles(client.get("/wmts").content)
    assert whole == ["indicators.richness", "habitats.level3", "habitats.level1", "habitats.probability", "habitats.entropy"]
    some = client.get("/wmts", params={"SERVICE": "wmts", "Request": "GetCapabilities", "LAYERS": "species.fagus_sylvatica"})
    assert titles(some.content) == ["species.fagus_sylvatica"]
    assert some.headers["content-type"] == "application/xml"
    # What QGIS asks of an address that does not say WMTS.
    assert titles(client.get("/wmts?SERVICE=WMS&REQUEST=GetCapabilities").content) == whole
    assert client.get("/wmts?layers=species.nobody").status_code == 404
    assert client.get("/wmts?layers=" + ",".join(f"a{i}" for i in range(200))).status_code == 413


def test_tiles_are_answered_by_query(client: TestClient) -> None:
    """OGC 07-057r7, 7.2 and 8: the addresses are those of OperationsMetadata, and refusals are exception reports."""
    document = ElementTree.fromstring(client.get("/wmts").content)
    operations = {element.get("name"): element for element in document.iterfind("o:OperationsMetadata/o:Operation", SPACES)}
    assert operations.keys() == {"GetCapabilities", "GetTile"}
    get = operations["GetTile"].find("o:DCP/o:HTTP/o:Get", SPACES)
    assert get is not None
    address = get.get("{http://www.w3.org/1999/xlink}href", "")
    tile = tile_matrix_set(ETRS).tile(*CENTRE, 9)
    asked = {
        "SERVICE": "WMTS",
        "REQUEST": "GetTile",
        "VERSION": "1.0.0",
        "LAYER": "indicators.richness",
        "STYLE": "default",
        "FORMAT": "image/png",
        "TILEMATRIXSET": ETRS,
        "TILEMATRIX": "9",
        "TILEROW": str(tile.y),
        "TILECOL": str(tile.x),
    }
    answer = client.get(address, params=asked)
    assert answer.headers["content-type"] == "image/png"
    assert answer.content == client.get(f"/layers/indicators.richness/tiles/{ETRS}/9/{tile.x}/{tile.y}.png").content
    assert (
        client.get(address, params={**asked, "format": "image/webp", "FORMAT": "image/webp"}).headers["content-type"]
        == "image/webp"
    )
    assert client.get(address, params={key.lower(): value for key, value in asked.items()}).content == answer.content
    refused = [
        ({"TILEROW": ""}, "MissingParameterValue", "TILEROW"),
        ({"LAYER": "indicators.nothing"}, "InvalidParameterValue", "LAYER"),
        ({"STYLE": "night"}, "InvalidParameterValue", "STYLE"),
        ({"FORMAT": "image/gif"}, "InvalidParameterValue", "FORMAT"),
        ({"TILEMATRIXSET": "NoSuchSet"}, "InvalidParameterValue", "TILEMATRIXSET"),
        ({"TILEMATRIX": "99"}, "InvalidParameterValue", "TILEMATRIX"),
        ({"TILEROW": "9999999"}, "TileOutOfRange", "TILEROW"),
        ({"REQUEST": "GetFeatureInfo"}, "OperationNotSupported", "REQUEST"),
        ({"SERVICE": "WFS"}, "InvalidParameterValue", "SERVICE"),
    ]
    for change, code, locator in refused:
        answer = client.get(address, params={**asked, **change})
        report = ElementTree.fromstring(answer.content).find("o:Exception", SPACES)
        assert report is not None
        assert (answer.status_code, report.get("exceptionCode"), report.get("locator")) == (400, code, locator)


@pytest.mark.parametrize("tms", NAMES)
def test_capabilities_name_existing_tiles_in_every_tile_matrix_set(client: TestClient, tms: str) -> None:
    document = ElementTree.fromstring(client.get(f"/layers/indicators.richness/{tms}/WMTSCapabilities.xml").content)
    matrices = document.findall("w:Contents/w:TileMatrixSet/w:TileMatrix", SPACES)
    assert len(matrices) > 10
    held = tile_matrix_set(tms)
    for element in matrices:
        own = held.matrix(int(element.findtext("o:Identifier", "", SPACES)))
        if tms in ("WebMercatorQuad", ETRS, "WorldCRS84Quad"):  # some others publish denominators of another pixel than OGC's
            assert float(element.findtext("w:ScaleDenominator", "", SPACES)) == pytest.approx(own.scaleDenominator, rel=1e-6)
        assert element.findtext("w:MatrixWidth", "", SPACES) == str(own.matrixWidth)
        assert element.findtext("w:MatrixHeight", "", SPACES) == str(own.matrixHeight)
    crs = document.findtext("w:Contents/w:TileMatrixSet/o:SupportedCRS", "", SPACES)
    assert CRS.from_user_input(crs).equals(CRS.from_wkt(held.crs.to_wkt()), ignore_axis_order=False)
    for limit in document.iterfind("w:Contents/w:Layer//w:TileMatrixLimits", SPACES):
        low, high = (int(limit.findtext(f"w:{end}TileRow", "", SPACES)) for end in ("Min", "Max"))
        assert 0 <= low <= high


@pytest.mark.slow
@pytest.mark.parametrize(("tms", "zoom"), [("WebMercatorQuad", 11), ("WebMercatorQuad", 13), (ETRS, 8), (ETRS, 10)])
def test_gdal_reads_the_pixels_of_the_tiles_through_wmts(address: str, tms: str, zoom: int) -> None:
    url = f"{address}/layers/indicators.richness/{tms}/WMTSCapabilities.xml"
    tile = tile_matrix_set(tms).tile(*CENTRE, zoom)
    name = f"WMTS:{url},layer=indicators.richness,tilematrixset={tms},tilematrix={zoom}"
    with rasterio.open(name) as source:
        assert source.crs.to_epsg() == (3857 if tms == "WebMercatorQuad" else 3035)
        own = httpx.get(f"{address}/layers/indicators.richness/tiles/{tms}/{zoom}/{tile.x}/{tile.y}.png", timeout=60).content
        compare(source, tms, tile, own)


def test_gdal_reads_the_pixels_of_the_tiles_through_xyz(address: str) -> None:
    zoom = 12
    tile = morecantile.tms.get("WebMercatorQuad").tile(*CENTRE, zoom)
    document = httpx.get(f"{address}/layers/habitats.level3/WebMercatorQuad/tilejson.json", timeout=60).json()
    assert document["tilejson"] == "3.0.0"
    template = re.sub(r"\{([xyz])\}", r"${\1}", document["tiles"][0]).replace("&", "&amp;")
    mercator = 20037508.342789244
    service = f"""<GDAL_WMS><Service name="TMS"><ServerUrl>{template}</ServerUrl></Service><DataWindow>
      <UpperLeftX>-{mercator}</UpperLeftX><UpperLeftY>{mercator}</UpperLeftY><LowerRightX>{mercator}</LowerRightX>
      <LowerRightY>-{mercator}</LowerRightY><TileLevel>{zoom}</TileLevel><TileCountX>1</TileCountX><TileCountY>1</TileCountY>
      <YOrigin>top</YOrigin></DataWindow><Projection>EPSG:3857</Projection><BlockSizeX>256</BlockSizeX>
      <BlockSizeY>256</BlockSizeY><BandsCount>4</BandsCount><ZeroBlockHttpCodes>204,404</ZeroBlockHttpCodes></GDAL_WMS>"""
    with rasterio.open(service) as source:
        own = httpx.get(document["tiles"][0].format(z=zoom, x=tile.x, y=tile.y), timeout=60).content
        compare(source, "WebMercatorQuad", tile, own)


@pytest.mark.skipif(shutil.which("gdalinfo") is None, reason="GDAL's command line is not installed")
def test_gdalinfo_lists_and_opens_the_layers(address: str) -> None:
    listed = subprocess.run(["gdalinfo", f"WMTS:{address}/wmts"], capture_output=True, text=True, check=True).stdout
    assert "habitats.level3" in listed
    assert ETRS in listed
    one = f"WMTS:{address}/wmts?layers=species.fagus_sylvatica,layer=species.fagus_sylvatica,tilematrixset={ETRS}"
    opened = subprocess.run(["gdalinfo", one], capture_output=True, text=True, check=True).stdout
    assert "ETRS89" in opened
    west, north = Transformer.from_crs(4326, 3035, always_xy=True).transform(*CENTRE)
    corner = re.search(r"Upper Left\s+\(\s*([\d.]+),\s*([\d.]+)\)", opened)
    assert corner is not None
    assert abs(float(corner[1]) - west) < 30_000
    assert abs(float(corner[2]) - north) < 30_000


def test_qgis_file_names_every_map_by_an_address_that_answers(client: TestClient) -> None:
    answer = client.get("/qgis?layers=species.fagus_sylvatica,habitats.level3")
    assert answer.headers["content-type"] == "application/xml"
    assert "floracube-qgis.xml" in answer.headers["content-disposition"]
    assert answer.content.startswith(b"<!DOCTYPE connections>")
    root = ElementTree.fromstring(answer.content)
    assert root.tag == "qgsXYZTilesConnections"
    assert next(e.get("name") for e in root) == "Synthetic: Expected richness of vascular plants"
    assert len({e.get("url") for e in root}) == len(root) == 6
    for entry in root:
        least, most = int(entry.get("zmin", "")), int(entry.get("zmax", ""))
        for zoom in (least, most):
            tile = morecantile.tms.get("WebMercatorQuad").tile(*CENTRE, zoom)
            assert client.get(entry.get("url", "").format(z=zoom, x=tile.x, y=tile.y)).status_code == 200


def test_the_qgis_style_of_a_layer_has_the_classes_and_the_range_of_its_map(client: TestClient) -> None:
    answer = client.get("/layers/habitats.level3/style.qml")
    assert answer.headers["content-type"] == "application/xml"
    assert 'filename="habitats.level3.0.qml"' in answer.headers["content-disposition"]  # the name of the file of /cog
    entries = ElementTree.fromstring(answer.content).iter("paletteEntry")
    legend = client.get("/layers/habitats.level3/legend.json").json()["classes"]
    assert [(int(e.get("value", "")), e.get("color")) for e in entries] == [(c["value"], c["colour"]) for c in legend]
    style = ElementTree.fromstring(client.get("/layers/inputs.elevation/style.qml").content)
    items = list(style.iter("item"))
    low, high = client.get("/layers/inputs.elevation").json()["range"]
    assert (float(items[0].get("value", "")), float(items[-1].get("value", ""))) == (low, high)
    assert items[-1].get("label") == f"{high:g} m"
    assert client.get("/layers/inputs.nothing/style.qml").status_code == 404
    again = client.get("/layers/habitats.level3/style.qml", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


def test_addresses_are_those_by_which_the_client_reached_us(client: TestClient, cube: CubeStore) -> None:
    path = "/layers/indicators.richness/WebMercatorQuad/tilejson.json"
    trusting = TestClient(create_app([cube.url], Settings(forwarded=True)))
    proxied = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "maps.example.org", "X-Forwarded-Prefix": "/flora/"}

    def tiles(of: TestClient = client, **headers: str) -> tuple[str, str]:
        answer = of.get(path, headers=headers)
        return answer.json()["tiles"][0].split("/layers")[0], answer.headers["etag"]

    plain = tiles(Host="here:81")
    assert plain[0] == "http://here:81"
    # Anyone may write these headers where no proxy overwrites them.
    assert tiles(**proxied)[0] == "http://testserver"
    behind = tiles(trusting, **proxied)
    assert behind[0] == "https://maps.example.org/flora"
    assert behind[1] != plain[1]
    assert (
        tiles(trusting, **{**proxied, "X-Forwarded-Host": 'evil"/><script>', "X-Forwarded-Prefix": "//evil"})[0]
        == "https://testserver"
    )
    assert tiles(Host="[::1")[0] == "http://testserver"
    below = TestClient(client.app, root_path="/flora")
    assert below.get(path).json()["tiles"][0].startswith("http://testserver/flora/layers/")
    assert b"http://testserver/flora/wmts" in below.get("/wmts").content
