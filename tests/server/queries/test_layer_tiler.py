"""titiler over the cube: its values are the cube's, its tiles ours, nothing but a layer can be named, and it comes late."""

from __future__ import annotations

import gc
import io
import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from fastapi.params import Param
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from cube import grid
from cube.storage.store import CubeStore
from server.drawing.tiles import TileRequest, choose_level, class_tile, read_cells, value_tile
from server.drawing.tms import tile_matrix_set
from server.drawing.warp import warp_grid
from server.main import create_app
from server.operating.settings import Settings
from server.queries.layer_reader import LayerReader
from server.reading.io import ChunkCache, Reader
from server.reading.snapshot import ServedCube, Snapshot

ROOT = Path(__file__).parents[3]
RICHNESS, LEVEL3 = "/layers/indicators.richness", "/layers/habitats.level3"
CENTRE = (16.77, 49.02)  # degrees, near the middle of the synthetic region
CODE = "EPSG:3035"


@pytest.fixture(scope="module")
def snapshot(cube: CubeStore) -> Snapshot:
    return ServedCube(cube.url, ChunkCache()).snapshot()


def values_of(cube: CubeStore, name: str) -> NDArray[np.float64]:
    """A layer of level 0 as NumPy reads it: NaN where there is no data."""
    array = cube.array({"richness": "products/indicators/v1/0/richness", "level3": "products/habitats/v1/0/level3"}[name])
    stored = np.asarray(array[0] if array.ndim == 3 else array[:])
    return np.where(stored == array.fill_value, np.nan, stored * float(array.attrs.get("scale_factor", 1)))


def tile_at(tms: str, z: int) -> TileRequest:
    tile = tile_matrix_set(tms).tile(*CENTRE, z)
    return TileRequest(tms, z, tile.x, tile.y)


def inner(index: NDArray[np.uint16]) -> NDArray[np.bool_]:
    """Pixels whose eight neighbours are of their own class."""
    around = np.lib.stride_tricks.sliding_window_view(np.pad(index, 1, mode="edge"), (3, 3))
    same: NDArray[np.bool_] = (around == index[..., None, None]).all(axis=(2, 3))
    return same


def address(layer: str, request: TileRequest, form: str) -> str:
    return f"{layer}/tiles/{request.tms}/{request.z}/{request.x}/{request.y}.{form}"


def box_feature(west: float, south: float, east: float, north: float) -> dict[str, Any]:
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}


def test_point_has_the_value_of_the_cube(client: TestClient, cube: CubeStore) -> None:
    for name, layer in (("richness", RICHNESS), ("level3", LEVEL3)):
        values = values_of(cube, name)
        for row, col in np.random.default_rng(1).integers((0, 0), values.shape, (12, 2)):
            x, y = 4_800_000 + 50 * col + 20, 2_910_000 - 50 * row - 20
            lon, lat = grid.EUROPE.unproject(x, y)
            for place, crs in (((lon, lat), "EPSG:4326"), ((x, y), CODE)):
                answer = client.get(f"{layer}/point/{place[0]},{place[1]}", params={"coord_crs": crs}).json()
                wanted = values[row, col]
                assert answer["values"] == ([None] if np.isnan(wanted) else [pytest.approx(wanted, rel=1e-6)])
    assert client.get(f"{RICHNESS}/point/0,0").json()["error"] == "not_found"


# At zooms 8 and 9 of this small, rough field rio-tiler's kernel leaves it 5 and 1.04 steps from ours: it shrinks otherwise.
@pytest.mark.parametrize(
    ("tms", "z"),
    [("WebMercatorQuad", 10), ("WebMercatorQuad", 11), ("WebMercatorQuad", 14), ("WorldCRS84Quad", 10), ("FloracubeGrid", 9)],
)
def test_tiles_are_those_of_our_own_reader(client: TestClient, snapshot: Snapshot, tms: str, z: int) -> None:
    request = tile_at(tms, z)
    for name in (LEVEL3, RICHNESS):
        layer = snapshot.layer(name.rpartition("/")[2])
        cells = read_cells(snapshot, layer, request)
        assert cells is not None
        answer = client.get(address(name, request, "npy"))
        assert answer.status_code == 200, answer.text
        theirs, mask = np.load(io.BytesIO(answer.content))
        if layer.kind == "class":
            index = class_tile(layer, cells)
            assert ((mask > 0) == (index > 0)).mean() > 0.99
            both = (mask > 0) & (index > 0) & inner(index)
            assert both.any()
            assert (layer.class_lookup[0][theirs[both].astype(int)] == index[both]).mean() > 0.99
            # Its own picture, too: what our route does not know goes to titiler's.
            answer = client.get(address(name, request, "png"), params={"resampling": "nearest"})
            picture = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA"))
            assert (picture == layer.class_lookup[1][index]).all(axis=-1)[inner(index)].mean() > 0.99
        else:
            ours = value_tile(layer, cells)
            assert ((mask > 0) == np.isfinite(ours)).mean() > 0.99
            both = (mask > 0) & np.isfinite(ours)
            step = (snapshot.range_of(layer)[1] - snapshot.range_of(layer)[0]) / 254
            assert np.abs(theirs[both] - ours[both]).mean() < step


def test_statistics_of_a_box_are_those_of_its_cells(client: TestClient, cube: CubeStore) -> None:
    values = values_of(cube, "richness")[100:220, 150:350]
    box = 4_800_000 + 50 * 150, 2_910_000 - 50 * 220, 4_800_000 + 50 * 350, 2_910_000 - 50 * 100
    image = client.get(f"{RICHNESS}/bbox/{','.join(map(str, box))}.npy", params={"coord_crs": CODE, "dst_crs": CODE})
    band, mask = np.load(io.BytesIO(image.content))
    np.testing.assert_array_equal(mask > 0, np.isfinite(values))
    np.testing.assert_allclose(band[mask > 0], values[np.isfinite(values)], rtol=1e-6)
    # A metre within the outer cells: whatever touches the edge from without is not meant.
    feature = box_feature(box[0] + 1, box[1] + 1, box[2] - 1, box[3] - 1)
    answer = client.post(f"{RICHNESS}/statistics", params={"coord_crs": CODE, "dst_crs": CODE}, json=feature)
    found = answer.json()["properties"]["statistics"]["b1"]
    seen = values[np.isfinite(values)]
    assert found["valid_pixels"] == seen.size
    for key, wanted in (
        ("min", seen.min()),
        ("max", seen.max()),
        ("mean", seen.mean()),
        ("std", seen.std()),
        ("count", seen.size),
    ):
        assert found[key] == pytest.approx(wanted, rel=1e-4)


def test_a_feature_is_masked_outside_and_a_preview_shows_the_whole(client: TestClient, cube: CubeStore) -> None:
    triangle = {
        "type": "Feature",
        "properties": {},
        "geometry": {"type": "Polygon", "coordinates": [[[16.7, 49.0], [16.8, 49.0], [16.7, 49.05], [16.7, 49.0]]]},
    }
    answer = client.post(f"{LEVEL3}/feature/100x80.npy", json=triangle)
    _, mask = np.load(io.BytesIO(answer.content))
    assert mask.shape == (80, 100)
    assert not mask[:35, 55:].any()
    assert mask[50:, :30].mean() > 200
    with rasterio.MemoryFile(client.get(f"{LEVEL3}/preview.tif").content) as memory, memory.open() as file:
        values = values_of(cube, "level3")
        assert file.crs.to_epsg() == 3035
        np.testing.assert_array_equal(file.read(1)[np.isfinite(values)], values[np.isfinite(values)])


def test_the_level_is_the_one_that_the_pixels_ask_for(
    client: TestClient, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    window = Reader.window
    monkeypatch.setattr(Reader, "window", lambda self, path, *rest: (seen.append(path), window(self, path, *rest))[1])
    layer = snapshot.layer("indicators.richness")
    for z in (8, 9, 10, 12):
        request = tile_at("WebMercatorQuad", z)
        assert client.get(address(RICHNESS, request, "npy")).status_code == 200
        assert seen.pop() == choose_level(layer, warp_grid(request.tms, z, request.x, request.y, 256, 3035).pixel).path
    client.get(f"{RICHNESS}/preview.png", params={"max_size": 150})
    client.get(f"{RICHNESS}/preview.png")
    assert seen == [layer.paths[2], layer.paths[0]]


def test_info_and_tilejson_lead_on(client: TestClient) -> None:
    info = client.get(f"{LEVEL3}/info").json()
    assert info["bounds"] == [4_800_000, 2_890_000, 4_830_000, 2_910_000]
    assert info["crs"].endswith("/EPSG/0/3035")
    assert info["band_descriptions"] == [["b1", "EUNIS level 3"]]
    document = client.get(f"{LEVEL3}/WebMercatorQuad/tilejson.json").json()
    assert (document["minzoom"], document["maxzoom"]) == (7, 15)
    tile = tile_at("WebMercatorQuad", 12)
    asked = document["tiles"][0].format(z=tile.z, x=tile.x, y=tile.y)
    assert client.get(asked).headers["content-type"].startswith("image/")
    assert 'route="/layers/{layer_id}/info",status="200"' in client.get("/metrics").text


def test_palettes_ranges_and_algorithms_are_titilers(client: TestClient) -> None:
    request = tile_at("WebMercatorQuad", 12)

    def picture(layer: str, **query: str) -> NDArray[np.uint8]:
        answer = client.get(address(f"/layers/{layer}", request, "png"), params=query)
        assert answer.status_code == 200, answer.text
        return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"))

    own = picture("inputs.elevation")
    assert (own != picture("inputs.elevation", colormap_name="vik")).any()
    assert (own != picture("inputs.elevation", rescale="0,5000")).any()
    shade = picture("inputs.elevation", algorithm="hillshade", buffer="3")
    assert shade.shape == (256, 256, 3)
    assert (shade[..., 0] == shade[..., 1]).all()  # grey: the layer's palette is not laid over it


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/layers/indicators.nothing/info", {}, 404),
        ("/layers/%2Fetc%2Fpasswd/info", {}, 404),
        ("info", {"release": "r9"}, 404),
        ("info", {"url": "/etc/passwd"}, 422),
        ("info", {"bidx": "1"}, 422),
        ("nothing", {}, 404),
        ("tiles/WebMercatorQuad/12/0/0.npy", {}, 404),
        ("tiles/WebMercatorQuad/3/99/99.npy", {}, 404),
        ("tiles/WebMercatorQuad/99999/0/0.npy", {}, 404),
        ("tiles/WebMercatorQuad/9/279/175.png", {"tilesize": "100000"}, 400),
        ("tiles/WebMercatorQuad/9/279/175.png", {"buffer": "1e9"}, 400),
        ("tiles/WebMercatorQuad/9/279/175.png", {"resampling": "cubic", "layer": "habitats.level3"}, 400),
        ("tiles/WebMercatorQuad/9/279/175.png", {"algorithm": "hillshade", "algorithm_params": "[1]"}, 400),
        ("bbox/1,1,2,2.png", {}, 404),
        ("bbox/17,49,16,50.png", {}, 400),
        ("bbox/nan,49,16,50.png", {}, 400),
        ("bbox/16,48,19,51.png", {}, 400),
        ("bbox/16.7,49,16.8,90.png", {}, 400),
        ("bbox/-180,-90,180,90.png", {}, 400),
        ("preview/100000x100000.png", {}, 400),
        ("/colorMaps/matter", {"width": "442780998", "f": "jpg"}, 400),
        ("/colorMaps/matter", {"height": "-5", "f": "png"}, 400),
        ("statistics", {"max_size": "0"}, 400),
        ("statistics", {"histogram_bins": "1000000000"}, 400),
    ],
)
def test_what_cannot_be_is_told_in_json(client: TestClient, path: str, query: dict[str, str], status: int) -> None:
    layer = query.pop("layer", "indicators.richness")
    answer = client.get(path if path.startswith("/") else f"/layers/{layer}/{path}", params=query)
    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("value", ["9" * 400, "-1e31"])
def test_a_number_beyond_what_an_image_holds_is_refused_by_name(client: TestClient, value: str) -> None:
    """Every number of every route of a layer, in its address and behind it, but for those of a tile (404, tested below)."""
    place = {
        "layer_id": "indicators.richness",
        "tileMatrixSetId": "WebMercatorQuad",
        "z": "9",
        "x": "279",
        "y": "175",
        "format": "npy",
        "lon": "16.7",
        "lat": "49",
        "minx": "16.7",
        "miny": "49",
        "maxx": "16.8",
        "maxy": "49.05",
        "width": "60",
        "height": "40",
    }
    refused = set()
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        tags = [tag for operation in methods.values() for tag in operation.get("tags", ())]
        for method, operation in methods.items() if "layers, as titiler" in tags else ():
            for parameter in operation.get("parameters", ()):
                name, schema = parameter["name"], json.dumps(parameter["schema"])
                numeric = '"number"' in schema or '"integer"' in schema or name in ("rescale", "histogram_range")
                if not numeric or name in ("z", "x", "y"):
                    continue
                at = place | ({name: value} if parameter["in"] == "path" else {})
                query = {name: f"0,{value}" if name in ("rescale", "histogram_range") else value}
                answer = client.request(method, path.format(**at), params=query if parameter["in"] == "query" else None)
                assert answer.status_code in (400, 422), (method, path, name)
                assert name in answer.json()["detail"], (method, path)
                refused.add(name)
    assert refused >= {"nodata", "buffer", "padding", "tilesize", "rescale", "p", "c", "max_size", "width", "minx", "lon", "bidx"}


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("b1*2**2**9", "power"),  # 9**9**9 would hold up every thread of the server for hours
        ("b1*abs(3)**abs(4)", "power"),
        ("b1**(2**9)", "power"),
        ("b1+('a'*9>'b')", "texts"),
        ("b1*1j", "imaginary"),
        ("-" * 3000 + "b1", "nested"),
    ],
)
def test_an_expression_that_costs_without_limit_is_refused_unread(client: TestClient, expression: str, reason: str) -> None:
    answer = client.get(f"{RICHNESS}/point/16.7,49", params={"expression": expression})
    assert (answer.status_code, answer.json()["error"]) == (400, "wrong_request")
    assert reason in answer.json()["detail"]


def test_powers_of_bands_are_computed(client: TestClient) -> None:
    one, squared, raised = (
        client.get(f"{RICHNESS}/point/16.7,49", params={"expression": text}).json()["values"][0]
        for text in ("b1", "b1**2", "2**(b1/10)")
    )
    assert squared == pytest.approx(one**2, rel=1e-6)
    assert raised == pytest.approx(2 ** (one / 10), rel=1e-6)


@pytest.mark.parametrize("said", [[-180, -90, 180, 90], [14, 47, 19, 51], [16.7, 49.0, 0, 16.75, 49.03, 900], [0, 0, 1, 1]])
def test_a_box_that_a_geometry_says_of_itself_changes_nothing(client: TestClient, said: list[float]) -> None:
    """RFC 7946, 5: any geometry may have a bbox, of six numbers where positions have heights; nobody checks that it is right."""
    plain, boxed = box_feature(16.7, 49.0, 16.75, 49.03), box_feature(16.7, 49.0, 16.75, 49.03)
    boxed["geometry"]["bbox"] = said
    answers = [client.post(f"{RICHNESS}/feature.npy", json=feature) for feature in (plain, boxed)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].content == answers[1].content


def test_many_features_are_too_much_for_one_request(client: TestClient) -> None:
    feature = box_feature(16.7, 49.0, 16.701, 49.001)
    answer = client.post(f"{RICHNESS}/statistics", json={"type": "FeatureCollection", "features": [feature] * 200})
    assert answer.json()["error"] == "too_large"


@pytest.mark.parametrize(
    "geometry",
    [
        None,
        {"type": "MultiLineString", "coordinates": []},
        {"type": "Polygon", "coordinates": [[]]},
        {"type": "Point", "coordinates": [16.7, 49.0]},
        {"type": "Point", "coordinates": [16.7, 49.0], "bbox": [1, 2, 3, 4, 5, 6]},
        {"type": "LineString", "coordinates": [[16.7, 49.0, 1.0], [16.8, 49.1, 2.0]], "bbox": [0]},
        {"type": "GeometryCollection", "geometries": []},
    ],
)
def test_a_feature_that_encloses_nothing_is_refused(client: TestClient, geometry: Any) -> None:
    feature = {"type": "Feature", "properties": None, "geometry": geometry}
    for route in ("feature.png", "feature/10x10.tif", "statistics"):
        answer = client.post(f"{RICHNESS}/{route}", json=feature)
        assert answer.status_code in (400, 404, 422) or (answer.status_code == 200 and "Line" in geometry["type"])


@pytest.mark.parametrize("value", ["0", "11", "-3", "1_1", "1e9", "ten", ""])
def test_pixels_are_cut_into_few_parts(client: TestClient, value: str) -> None:
    """titiler takes any number, and memory grows with its square."""
    feature = box_feature(16.7, 49.0, 16.75, 49.03)
    answer = client.post(f"{RICHNESS}/statistics", params={"cover_scale": value}, json=feature)
    assert (answer.status_code, answer.json()["error"]) == (400, "wrong_request")
    assert client.post(f"{RICHNESS}/statistics", params={"cover_scale": "10"}, json=feature).status_code == 200


def test_requests_leave_nothing_of_their_dependencies_behind(client: TestClient) -> None:
    """Overridden dependencies are built anew with every request, closures and all, and FastAPI remembers thousands of them."""

    def count() -> int:
        gc.collect()
        return sum(issubclass(type(one), Param) for one in gc.get_objects())

    client.get(f"{RICHNESS}/preview.png")
    before = count()
    for _ in range(20):
        assert client.get(f"{RICHNESS}/preview.png", params={"max_size": 16}).status_code == 200
    assert count() == before


@pytest.mark.parametrize("mistake", [TypeError, KeyError, ValueError, AssertionError])
def test_a_mistake_of_ours_is_no_mistake_of_who_asks(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, mistake: type[Exception]
) -> None:
    def fail(*_: object) -> None:
        raise mistake("a mistake")

    wrong = {"algorithm": "contours", "algorithm_params": '{"increment": "wide"}'}
    assert client.get(f"{RICHNESS}/preview.png", params=wrong).status_code in (400, 422)
    monkeypatch.setattr(LayerReader, "_values", fail)
    answer = client.get(f"{RICHNESS}/preview.png")
    assert (answer.status_code, answer.json()["error"]) == (500, "internal_error")
    assert caplog.records[-1].exc_info is not None


def test_no_parameter_reaches_a_file_or_a_host(client: TestClient, tmp_path: Path) -> None:
    """GDAL opens what it is given as a reference system: a file, or an address."""
    (tmp_path / "grid.prj").write_text(
        'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257]],'
        'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]]'
    )
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(0.1)
        there = f"http://127.0.0.1:{listener.getsockname()[1]}/x.tif"
        assert client.get(f"{RICHNESS}/info", params={"url": there}).status_code == 422
        for name in ("dst_crs", "coord_crs"):
            for value in (there, str(tmp_path / "grid.prj"), f"/vsicurl/{there}", "+proj=latlong +nadgrids=/etc/passwd", ""):
                answer = client.get(f"{RICHNESS}/bbox/16.7,49,16.8,49.05.png", params={name: value})
                assert (answer.status_code, answer.json()["error"]) == (400, "wrong_request")
        assert client.get(f"{RICHNESS}/info.geojson", params={"crs": there}).status_code == 400
        with pytest.raises(TimeoutError):
            listener.accept()


def test_keys_stand_around_it_and_every_cube_has_its_own(cube: CubeStore) -> None:
    client = TestClient(create_app([cube.url], Settings(api_keys=("s3cret",))))
    assert client.get(f"{RICHNESS}/info").status_code == 401
    answer = client.get(f"/cubes/synthetic{RICHNESS}/WebMercatorQuad/tilejson.json", params={"api_key": "s3cret"})
    assert f"/cubes/synthetic{RICHNESS}/tiles/" in answer.json()["tiles"][0]


@pytest.mark.slow
def test_titiler_is_imported_with_the_first_request_that_asks_for_it(cube: CubeStore) -> None:
    code = (
        "import sys, json; from starlette.testclient import TestClient; from server.main import create_app;"
        "client = TestClient(create_app([sys.argv[1]]));"
        "heavy = lambda: [m for m in ('titiler', 'rio_tiler', 'rasterio') if m in sys.modules];"
        "client.get('/layers'); client.get('/conformance'); client.get('/wmts'); before = heavy();"
        "status = client.get('/layers/indicators.richness/info').status_code;"
        "print(json.dumps([before, status, heavy()]))"
    )
    done = subprocess.run([sys.executable, "-c", code, cube.url], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[], 200, ["titiler", "rio_tiler", "rasterio"]]
