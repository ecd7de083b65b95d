"""Who knows titiler finds the way: the requests that its documentation shows, asked of a layer, and what they answer.

The endpoints are those of titiler's page "Tiler factories" (TilerFactory, TMSFactory, AlgorithmFactory, ColorMapFactory).
"""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from cube import grid
from cube.storage.store import CubeStore
from server import palettes
from server.drawing.tms import tile_matrix_set

LAYER = "/layers/indicators.richness"
CENTRE = (16.77, 49.02)
TILE = tile_matrix_set("WebMercatorQuad").tile(*CENTRE, 11)
AT = f"WebMercatorQuad/11/{TILE.x}/{TILE.y}"
BOX = "16.7,48.98,16.8,49.05"
FEATURE = {
    "type": "Feature",
    "properties": {},
    "geometry": {"type": "Polygon", "coordinates": [[[16.7, 49.0], [16.8, 49.0], [16.8, 49.05], [16.7, 49.0]]]},
}
JSON, PNG, HTML = "application/json", "image/png", "text/html; charset=utf-8"


@pytest.mark.parametrize(
    ("path", "media"),
    [
        ("/info", JSON),
        ("/info.geojson", "application/geo+json"),
        ("/statistics", JSON),
        ("/tiles", JSON),
        ("/tiles?f=html", HTML),
        ("/tiles/WebMercatorQuad", JSON),
        ("/tiles/WebMercatorQuad?f=html", HTML),
        (f"/tiles/{AT}", PNG),
        (f"/tiles/{AT}.png", PNG),
        (f"/tiles/{AT}.webp", "image/webp"),
        (f"/tiles/{AT}.jpeg", "image/jpeg"),
        (f"/tiles/{AT}.tif", "image/tiff; application=geotiff"),
        (f"/tiles/{AT}.npy", "application/x-binary"),
        (f"/tiles/{AT}.png?tilesize=512", PNG),
        (f"/tiles/{AT}.png?tilesize=300", PNG),
        (f"/tiles/{AT}.png?buffer=1&padding=2", PNG),
        ("/WebMercatorQuad/tilejson.json", JSON),
        pytest.param("/WebMercatorQuad/map.html", HTML, marks=pytest.mark.filterwarnings("ignore:You will likely lose")),
        (f"/point/{CENTRE[0]},{CENTRE[1]}", JSON),
        ("/preview", PNG),
        ("/preview.png?max_size=100", PNG),
        ("/preview/60x40.jpeg", "image/jpeg"),
        (f"/bbox/{BOX}.png", PNG),
        (f"/bbox/{BOX}/80x60.webp", "image/webp"),
    ],
)
def test_every_documented_endpoint_of_a_layer_answers(client: TestClient, path: str, media: str) -> None:
    answer = client.get(f"{LAYER}{path}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, media), answer.text[:300]
    assert answer.content
    again = client.get(f"{LAYER}{path}", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["/statistics", "/feature", "/feature.png", "/feature/50x40.png"])
def test_every_documented_endpoint_of_a_feature_answers(client: TestClient, path: str) -> None:
    answer = client.post(f"{LAYER}{path}", json=FEATURE)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("path", "name"), [("/tileMatrixSets", "FloracubeGrid"), ("/algorithms", "hillshade"), ("/colorMaps", "batlow")]
)
def test_what_is_common_to_all_layers_is_listed_and_described(client: TestClient, path: str, name: str) -> None:
    (listed,) = client.get(path).json().values()
    assert name in [entry["id"] for entry in listed]
    link = next(entry for entry in listed if entry["id"] == name)["links"][0]["href"]
    assert client.get(link).status_code == 200
    assert client.get(f"{path}?f=html").headers["content-type"] == HTML


def pixels(client: TestClient, query: str) -> NDArray[np.uint8]:
    answer = client.get(f"{LAYER}/tiles/{AT}.png?{query}")
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA"))


def bands_at_centre(cube: CubeStore) -> NDArray[np.float64]:
    row, col = (int(v) for v in cube.region.index(*grid.EUROPE.project(*CENTRE)))
    return np.asarray(cube.array("products/indicators/v1/0/richness")[:, row, col]) * 0.01


def test_bounds_are_bands_and_expressions_compute_with_them(client: TestClient, cube: CubeStore) -> None:
    estimate, lower, upper = bands_at_centre(cube)

    def values(query: str, layer: str = LAYER) -> Any:
        answer = client.get(f"{layer}/point/{CENTRE[0]},{CENTRE[1]}?{query}")
        assert answer.status_code == 200, answer.text
        return answer.json()["values"]

    info = client.get(f"{LAYER}/info").json()
    assert info["count"] == 3
    assert [band[1]["layer"].rpartition(".")[2] for band in info["band_metadata"]] == ["richness", "lower", "upper"]
    assert values("") == pytest.approx([estimate], abs=1e-4)
    assert values("", f"{LAYER}.upper") == pytest.approx([upper], abs=1e-4)
    assert values("bidx=1&bidx=3") == pytest.approx([estimate, upper], abs=1e-4)
    assert values("expression=b3-b2") == pytest.approx([upper - lower], abs=1e-4)
    assert values("expression=b3-b2;b1*2") == pytest.approx([upper - lower, 2 * estimate], abs=1e-4)
    array = np.asarray(cube.array("products/indicators/v1/0/richness")[:], np.float64)
    width = np.where(array[0] == cube.array("products/indicators/v1/0/richness").fill_value, np.nan, (array[2] - array[1]) * 0.01)
    found = client.get(f"{LAYER}/statistics?expression=b3-b2").json()
    (statistics,) = found.values()
    assert statistics["mean"] == pytest.approx(np.nanmean(width), rel=1e-4)
    assert statistics["max"] == pytest.approx(np.nanmax(width), rel=1e-4)


def test_bands_of_an_input_are_bands(client: TestClient) -> None:
    layers = client.get("/layers?product=inputs&search=sentinel2").json()["layers"]
    names = [layer["id"] for layer in layers]
    second = client.get(f"/layers/{names[1]}/point/{CENTRE[0]},{CENTRE[1]}").json()
    assert second["band_names"] == ["b2"]
    both = client.get(f"/layers/{names[0]}/point/{CENTRE[0]},{CENTRE[1]}?bidx=2").json()
    assert both["values"] == second["values"]
    red, near = client.get(f"/layers/{names[0]}/point/{CENTRE[0]},{CENTRE[1]}?bidx=3&bidx=4").json()["values"]
    index = client.get(f"/layers/{names[0]}/point/{CENTRE[0]},{CENTRE[1]}", params={"expression": "(b4-b3)/(b4+b3)"}).json()
    assert index["values"] == pytest.approx([(near - red) / (near + red)], rel=1e-5)


def test_parameters_of_drawing_are_titilers(client: TestClient) -> None:
    own = pixels(client, "")
    reds = pixels(client, "colormap_name=reds&rescale=0,50")
    table = {tuple(colour) for colour in palettes.table("reds").tolist()}
    assert {tuple(colour) for colour in reds[reds[..., 3] > 0][:, :3].tolist()} <= table
    assert (own != reds).any()
    two = json.dumps({"0": "#ff0000", "1": "#0000ff"})
    mask = pixels(client, f"expression=where(b1>20,1,0)&rescale=0,255&colormap={two}&resampling=nearest".replace("#", "%23"))
    assert {tuple(c) for c in mask[mask[..., 3] > 0].tolist()} <= {(255, 0, 0, 255), (0, 0, 255, 255)}
    rgb = pixels(client, "bidx=1&bidx=2&bidx=3&rescale=0,40&rescale=0,40&rescale=0,40")
    seen = rgb[rgb[..., 3] > 0]
    assert (seen[:, 1] <= seen[:, 0]).all()  # lower bound, estimate, upper bound
    assert (seen[:, 0] <= seen[:, 2]).all()
    assert (pixels(client, "resampling=cubic&reproject=cubic") != own).any()
    assert pixels(client, "tilesize=512").shape[:2] == (512, 512)


def test_a_value_can_stand_for_no_data(client: TestClient) -> None:
    habitats = "/layers/habitats.level3/preview.tif?max_size=200"

    def classes(query: str) -> set[int]:
        with rasterio.MemoryFile(client.get(f"{habitats}{query}").content) as memory, memory.open() as file:
            return set(file.read(1)[file.read_masks(1) > 0].tolist())

    assert classes("") == {0, 1, 2}
    assert classes("&nodata=1") == {0, 2}


@pytest.mark.parametrize(
    ("path", "status", "hint"),
    [
        (f"/tiles/{AT}.png?bidx=9", 400, "bands are 1 to 3"),
        (f"/tiles/{AT}.png?expression=b9&rescale=0,1", 400, "bands are 1 to 3"),
        (f"/tiles/{AT}.png?expression=__import__('os')&rescale=0,1", 400, ""),
        (f"/tiles/{AT}.png?expression=b1%2B&rescale=0,1", 400, "Invalid expression syntax"),
        (f"/tiles/{AT}.png?expression=b3-b2", 400, "rescale=low,high"),
        (f"/tiles/{AT}.png?colormap={{", 400, "colormap"),
        ("/preview?colormap=1.5", 400, "colormap takes an object"),
        (f"/tiles/{AT}.png?colormap_nam=magma", 422, "did you mean colormap_name?"),
        (f"/tiles/{AT}.png?url=https://example.org/a.tif", 422, "no parameter 'url'"),
        (f"/tiles/{AT}.png?above=3&bidx=1", 400, "above is drawn alone"),
        (f"/tiles/{AT}.gif", 422, "format"),
        ("/tiles/WebMercatorQuad/12/0/0.tif", 404, "outside"),
        ("/point/0,0", 404, "outside"),
        ("/tiles/NoSuchSet", 422, "tileMatrixSetId"),
        ("/nothing", 404, ""),
    ],
)
def test_mistakes_are_refused_as_titiler_refuses_them(client: TestClient, path: str, status: int, hint: str) -> None:
    answer = client.get(f"{LAYER}{path}")
    assert (answer.status_code, answer.json()["status"]) == (status, status), answer.text
    assert hint in answer.json()["detail"]


def test_tilejson_leads_to_tiles_in_the_style_that_was_asked_for(client: TestClient) -> None:
    query = "colormap_name=magma&rescale=0,30&tilesize=512&tile_format=webp&minzoom=6&maxzoom=9"
    document = client.get(f"{LAYER}/WebMercatorQuad/tilejson.json?{query}").json()
    assert (document["minzoom"], document["maxzoom"]) == (6, 9)
    assert document["name"] == client.get(LAYER).json()["title"]
    address = document["tiles"][0].format(z=11, x=TILE.x, y=TILE.y)
    for part in (".webp", "colormap_name=magma", "rescale=0%2C30", "tilesize=512", "v=r1-"):
        assert part in address
    answer = client.get(address)
    assert answer.headers["content-type"] == "image/webp"
    assert "immutable" in answer.headers["cache-control"]
    assert client.get(document["legend"]).status_code == 200


def test_the_openapi_document_allows_templates_of_tiles_and_tiles_of_nothing(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert "format" not in document["components"]["schemas"]["Link"]["properties"]["href"]
    for ending in ("", ".{format}"):
        tile = document["paths"]["/layers/{layer_id}/tiles/{tileMatrixSetId}/{z}/{x}/{y}" + ending]["get"]
        assert "204" in tile["responses"]


def test_the_openapi_document_has_titilers_parameters_and_ours(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    tile = paths["/layers/{layer_id}/tiles/{tileMatrixSetId}/{z}/{x}/{y}.{format}"]["get"]
    named = {parameter["name"] for parameter in tile["parameters"]}
    assert named >= {
        "bidx",
        "expression",
        "nodata",
        "resampling",
        "reproject",
        "algorithm",
        "algorithm_params",
        "rescale",
        "color_formula",
        "colormap",
        "colormap_name",
        "return_mask",
        "buffer",
        "padding",
        "tilesize",
        "layer_id",
        "v",
        "release",
        "version",
        "time",
        "above",
    }
    for below in (
        "info",
        "info.geojson",
        "statistics",
        "tiles",
        "preview",
        "point/{lon},{lat}",
        "feature",
        "bbox/{minx},{miny},{maxx},{maxy}.{format}",
        "{tileMatrixSetId}/tilejson.json",
        "{tileMatrixSetId}/map.html",
        "cog",
        "legend.json",
    ):
        assert f"/layers/{{layer_id}}/{below}" in paths
    assert {"/tileMatrixSets", "/algorithms", "/colorMaps", "/conformance", "/layers", "/area", "/wmts", "/"} <= paths.keys()
    assert not [path for path in paths if path.startswith("/cubes/")]
    operations = [operation["operationId"] for methods in paths.values() for operation in methods.values()]
    assert len(operations) == len(set(operations))
