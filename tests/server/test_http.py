"""What the server promises over HTTP: catalogue, validators, errors as one sentence, queries, new releases."""

from __future__ import annotations

import http.client
import io
import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import morecantile
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient
from titiler.core.models.mapbox import TileJSON

from cube import grid
from cube.grid import Region
from cube.storage import releases
from cube.storage.store import CubeStore, create_cube
from server.main import ENVIRONMENT, app_from_environment, create_app
from server.operating.settings import Settings
from server.reading import snapshot as snapshots

CENTRE = (16.77, 49.02)
RICHNESS = "/layers/indicators.richness"


def tile_url(layer: str = RICHNESS, zoom: int = 11, place: tuple[float, float] = CENTRE) -> str:
    tile = morecantile.tms.get("WebMercatorQuad").tile(*place, zoom)
    return f"{layer}/tiles/WebMercatorQuad/{zoom}/{tile.x}/{tile.y}.png"


def test_catalogue_lists_products_in_order_and_pages(client: TestClient) -> None:
    whole = client.get("/layers", params={"limit": 1000}).json()
    assert [p["id"] for p in whole["products"]] == ["indicators", "habitats", "species", "inputs"]
    assert sum(p["count"] for p in whole["products"]) == whole["total"] == len(whole["layers"])
    ids = [layer["id"] for layer in whole["layers"]]
    assert ids[:3] == ["indicators.richness", "habitats.level3", "habitats.level1"]
    paged = [client.get("/layers", params={"limit": 7, "offset": n}).json()["layers"] for n in range(0, len(ids), 7)]
    assert [layer["id"] for page in paged for layer in page] == ids


@pytest.mark.parametrize("search", ["fag", "FAGUS syl", "beech", "european"])
def test_species_is_found_by_scientific_and_vernacular_name(client: TestClient, search: str) -> None:
    found = client.get("/layers", params={"search": search, "product": "species"}).json()["layers"]
    assert [layer["id"] for layer in found] == ["species.fagus_sylvatica"]


def test_layer_carries_range_status_and_versioned_tiles(client: TestClient) -> None:
    beech = client.get("/layers/species.fagus_sylvatica").json()
    assert beech["range"] == [0, 1.0]
    assert client.get("/layers/species.picea_abies").json()["range"] == [0, 0.8]
    rare = client.get("/layers/species.adonis_vernalis").json()
    assert rare["range"] == [0, 0.001]
    assert rare["status"] == {"iucn": "VU", "invasive": False, "protected": True, "endemic": False}
    assert "?v=r1" in rare["tiles"]
    west, south, east, north = rare["bounds"]
    assert west < CENTRE[0] < east
    assert south < CENTRE[1] < north


def test_bounds_of_an_indicator_are_layers_of_their_own_with_its_range(client: TestClient) -> None:
    own = client.get(RICHNESS).json()
    for bound in ("lower", "upper"):
        layer = client.get(f"{RICHNESS}.{bound}").json()
        assert layer["range"] == own["range"]


def test_legends_tell_values_and_colours(client: TestClient) -> None:
    stops = client.get(f"{RICHNESS}/legend.json").json()
    assert len(stops["stops"]) == 11
    assert stops["stops"][0][0] == stops["range"][0]
    assert stops["stops"][-1] == [stops["range"][1], "#fde724"]  # the last entry of rio-tiler's viridis
    classes = client.get("/layers/habitats.level3/legend.json").json()["classes"]
    assert classes[0] == {"value": 0, "label": "Beech forest", "code": "T17", "colour": "#2b8a3e"}
    for layer in ("habitats.level3", "indicators.richness"):
        assert client.get(f"/layers/{layer}/legend.png").content.startswith(b"\x89PNG")


def test_tilejson_is_valid_and_its_tiles_answer(client: TestClient) -> None:
    document = TileJSON(**client.get(f"{RICHNESS}/WebMercatorQuad/tilejson.json").json())
    assert document.minzoom <= 10 <= document.maxzoom
    tile = morecantile.tms.get("WebMercatorQuad").tile(*CENTRE, 11)
    url = document.tiles[0].format(z=11, x=tile.x, y=tile.y)
    answer = client.get(url)
    assert answer.status_code == 200
    assert "immutable" in answer.headers["cache-control"]


def test_tile_is_not_sent_again_and_is_immutable_only_under_its_version(client: TestClient) -> None:
    plain = client.get(tile_url())
    assert plain.headers["content-type"] == "image/png"
    assert "immutable" not in plain.headers["cache-control"]
    tag = plain.headers["etag"]
    assert not tag.startswith("W/")
    again = client.get(tile_url(), headers={"If-None-Match": tag})
    assert again.status_code == 304
    assert again.content == b""
    assert client.get(tile_url("/layers/habitats.level3")).headers["etag"] != tag
    token = client.get("/layers").json()["version"]
    assert "immutable" in client.get(f"{tile_url()}?v={token}").headers["cache-control"]
    for other in ("r1", "r0", f"{token[:-1]}x"):  # a name says nothing of the code that draws
        assert "immutable" not in client.get(f"{tile_url()}?v={other}").headers["cache-control"]
    slope = tile_url("/layers/inputs.elevation")  # inputs change without a release
    assert "immutable" not in client.get(f"{slope}?v={token}").headers["cache-control"]


def test_tags_differ_with_the_code_and_not_with_keys_or_the_order_of_parameters(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tag(query: str) -> str:
        return client.get(f"{tile_url()}?{query}").headers["etag"]

    one = tag("colormap_name=magma&rescale=0,100")
    assert tag("rescale=0,100&colormap_name=magma&api_key=abc") == one
    assert tag("rescale=0,200&colormap_name=magma") != one
    monkeypatch.setattr("server.dependencies.rendering_revision", lambda: "another")
    assert tag("colormap_name=magma&rescale=0,100") != one


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        (f"{tile_url()}?colourmap_name=magma", "did you mean colormap_name?"),
        ("/layers?serach=fagus", "did you mean search?"),
        ("/point/16.77,49.02?treshold=0.2", "did you mean threshold?"),
        (f"{RICHNESS}?bidx=1", "it takes release."),
        (f"{RICHNESS}/cog?levle=1", "did you mean level?"),
        ("/stac?limit=3", ""),
    ],
)
def test_an_unknown_parameter_is_refused_with_what_was_meant(client: TestClient, path: str, hint: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.json()["error"]) == (422, "invalid_parameter")
    assert hint in answer.json()["detail"]


def test_parameters_that_a_wmts_does_not_know_are_ignored_as_the_standard_says(client: TestClient) -> None:
    assert client.get("/wmts?SERVICE=WMTS&REQUEST=GetCapabilities&AcceptVersions=1.0.0&_=17").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/layers",
        RICHNESS,
        tile_url(),
        "/point/16.77,49.02",
        "/stac",
        "/about.json",
        "/healthz",
        f"{RICHNESS}/legend.png",
        "/wmts",
        "/cube/zarr.json",
        f"{RICHNESS}/cog?level=2",
    ],
)
def test_head_is_get_without_a_body(client: TestClient, path: str) -> None:
    whole, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-type", "etag", "cache-control"):
        assert head.headers.get(name) == whole.headers.get(name)


@pytest.mark.parametrize(
    "path", ["/healthz", "/", "/layers", f"{RICHNESS}/info", f"{RICHNESS}/tiles", "/openapi.json", "/page/js/app.js"]
)
def test_below_a_prefix_every_path_is_as_above_it(cube: CubeStore, path: str) -> None:
    """ASGI's `path` begins with its `root_path`; so uvicorn's `--root-path` has it."""
    app = create_app([cube.url], Settings(api_keys=("k",)))
    headers = {} if path == "/healthz" else {"X-API-Key": "k"}
    above, below = (
        TestClient(app).get(path, headers=headers),
        TestClient(app, root_path="/flora").get(f"/flora{path}", headers=headers),
    )
    assert (above.status_code, below.status_code) == (200, 200)
    assert below.headers.get("content-security-policy") == above.headers.get("content-security-policy")


def test_the_capabilities_of_a_server_below_a_prefix_name_it_once(cube: CubeStore) -> None:
    text = TestClient(create_app([cube.url]), root_path="/flora").get("/flora/wmts").text
    assert "http://testserver/flora/wmts" in text
    assert "/flora/flora" not in text


def test_a_connection_goes_on_after_a_head(address: str) -> None:
    """The HTTP server itself, which compares the length that an answer states with what it sends, knows a HEAD for one."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    for method, path in (("HEAD", "/layers"), ("HEAD", f"{RICHNESS}/info"), ("HEAD", "/cube/zarr.json"), ("GET", "/healthz")):
        connection.request(method, path)
        answer = connection.getresponse()
        assert (answer.status, bool(answer.read())) == (200, method == "GET")
        assert int(answer.headers["content-length"]) > 0
    connection.close()


def test_pages_say_what_they_may_load_and_who_may_frame_them(client: TestClient, cube: CubeStore) -> None:
    page = client.get("/")
    assert "frame-ancestors 'self'" in page.headers["content-security-policy"]
    assert "object-src 'none'" in page.headers["content-security-policy"]
    assert client.get("/page/js/app.js").headers["cache-control"] == "no-cache"
    assert {client.get(path).headers["x-content-type-options"] for path in ("/", "/layers", tile_url())} == {"nosniff"}
    framed = TestClient(create_app([cube.url], Settings(frame_ancestors="https://example.org")))
    assert "frame-ancestors https://example.org" in framed.get("/").headers["content-security-policy"]


def test_outside_the_data_there_is_no_content(client: TestClient) -> None:
    assert client.get(tile_url(place=(2.35, 48.85))).status_code == 204
    assert client.get(tile_url(place=(-150.0, -40.0), zoom=3)).status_code == 204


def test_any_origin_may_read(client: TestClient) -> None:
    answer = client.get(tile_url(), headers={"Origin": "https://example.org"})
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/layers/species.nobody", 404),
        ("/layers/species.nobody/legend.json", 404),
        ("/layers/species.nobody/tiles/WebMercatorQuad/3/4/2.png", 404),
        (f"{RICHNESS}/tiles/NoSuchSet/3/4/2.png", 404),
        (f"{RICHNESS}/tiles/WebMercatorQuad/99/0/0.png", 400),
        (f"{RICHNESS}/tiles/WebMercatorQuad/-1/0/0.png", 400),
        (f"{RICHNESS}/tiles/WebMercatorQuad/3/8/0.png", 404),
        (f"{RICHNESS}/tiles/WebMercatorQuad/3/-1/0.png", 404),
        (f"{RICHNESS}/tiles/WebMercatorQuad/3/1/0.tif", 404),
        (f"{RICHNESS}/tiles/WebMercatorQuad/3/1/..%2f..%2fetc%2fpasswd", 404),
        (f"{RICHNESS}/tiles/WebMercatorQuad/a/1/0.png", 422),
        (f"{RICHNESS}/tiles/WebMercatorQuad/11/1119/702.png?rescale=5,1", 400),
        (f"{RICHNESS}/tiles/WebMercatorQuad/11/1119/702.png?rescale=nan,1", 400),
        (f"{RICHNESS}/tiles/WebMercatorQuad/11/1119/702.png?colormap_name=neon", 400),
        ("/layers?limit=0", 422),
        ("/layers?limit=100000", 422),
        ("/layers?product=birds", 400),
        ("/point/nan,49.02", 400),
        ("/point/16.77,inf", 400),
        ("/point/400,49", 400),
        ("/point/16.77,north", 422),
        ("/point/2.35,48.85", 404),
        ("/point/16.77,49.02?threshold=7", 422),
        ("/point/16.77,49.02?threshold=nan", 422),
        ("/cube/../../../etc/passwd", 404),
        ("/cube/%2e%2e/%2e%2e/etc/passwd", 404),
        ("/cube/products/none", 404),
    ],
)
def test_a_wrong_request_is_told_so_in_one_sentence(client: TestClient, path: str, status: int) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    detail = answer.json()["detail"]
    assert isinstance(detail, str)
    assert "\n" not in detail


def test_point_equals_the_cube_at_that_cell(client: TestClient, cube: CubeStore) -> None:
    answer = client.get("/point/{},{}".format(*CENTRE), params={"threshold": 0}).json()
    row, col = (int(v) for v in cube.region.index(*grid.EUROPE.project(*CENTRE)))
    scale = np.asarray(cube.array("products/species/v1/0/scale")[:])
    truth = np.asarray(cube.array("products/species/v1/0/occurrence")[:, row, col]) * scale
    shown = {entry["name"]: entry["probability"] for entry in answer["species"]}
    names = [str(n) for n in cube.array("products/species/v1/0/species")[:]]
    assert set(shown) == set(names)
    # The composition layer stores probabilities in steps of 1/250.
    assert [shown[n] for n in names] == pytest.approx(list(truth), abs=0.5 / 250 + 1e-4)
    probabilities = [entry["probability"] for entry in answer["species"]]
    assert probabilities == sorted(probabilities, reverse=True)
    richness = np.asarray(cube.array("products/indicators/v1/0/richness")[:, row, col]) * 0.01
    shown_richness = answer["indicators"][0]
    assert [shown_richness[b] for b in ("estimate", "lower", "upper")] == pytest.approx(list(richness), abs=1e-3)
    assert [h["level"] for h in answer["habitats"]] == ["level3", "level1"]
    assert answer["habitat_top3"][0]["label"] == answer["habitats"][0]["label"]
    assert answer["inputs"]["surface"] == 0
    assert answer["cell"].startswith("50mE")


def test_point_lists_only_species_above_the_threshold(client: TestClient) -> None:
    few = client.get("/point/{},{}".format(*CENTRE), params={"threshold": 0.3}).json()["species"]
    assert few
    assert all(entry["probability"] >= 0.3 for entry in few)


def test_point_on_water_is_inside_and_empty(client: TestClient, cube: CubeStore) -> None:
    y, x = cube.region.coordinates()
    lon, lat = grid.EUROPE.unproject(x[350], y[230])
    answer = client.get(f"/point/{lon:.6f},{lat:.6f}").json()
    assert answer["inside"] is True
    assert answer["species"] == answer["indicators"] == answer["habitats"] == answer["habitat_top3"] == []
    assert answer["inputs"]["surface"] == 1


def test_store_is_served_by_ranges(client: TestClient, cube: CubeStore) -> None:
    whole = client.get("/cube/zarr.json").content
    assert whole == Path(cube.url, "zarr.json").read_bytes()
    part = client.get("/cube/zarr.json", headers={"Range": "bytes=0-9"})
    assert (part.status_code, part.content) == (206, whole[:10])
    tail = client.get("/cube/zarr.json", headers={"Range": "bytes=-7"})
    assert (tail.status_code, tail.content) == (206, whole[-7:])


def test_health_page_and_about_answer(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok", "cubes": 1, "release": "r1"}
    assert client.get("/").status_code == 200
    about = client.get("/about.json").json()
    assert about["title"] == "Synthetic"
    assert set(about["products"]) == set(releases.PRODUCTS)
    assert "/layers" in client.get("/openapi.json").json()["paths"]


def test_palette_and_range_can_be_asked_for(client: TestClient) -> None:
    own = client.get(tile_url()).content
    other = client.get(tile_url() + "?colormap_name=magma&rescale=0,10")
    assert other.status_code == 200
    assert other.content != own


def test_a_new_release_is_followed_without_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "POLL_SECONDS", 0.0)
    cube = create_cube(str(tmp_path / "small.zarr"), Region(4800, 2900, 4810, 2910, 10), "Small")
    for version, value in (("v1", 10), ("v2", 20)):
        _constant_indicator(cube, version, value)
    releases.write_release(cube, "first", {"indicators": "v1"}, {})
    releases.write_release(cube, "second", {"indicators": "v2"}, {})
    releases.publish(cube, "first")
    client = TestClient(create_app([cube.url]))
    lon, lat = (float(v) for v in grid.EUROPE.unproject(4_805_025.0, 2_905_025.0))

    def seen() -> tuple[str, float]:
        answer = client.get(f"/point/{lon},{lat}").json()
        return answer["release"], answer["indicators"][0]["estimate"]

    before = client.get(tile_url(place=(lon, lat)))
    assert seen() == ("first", 10)
    releases.publish(cube, "second")
    assert seen() == ("second", 20)
    after = client.get(tile_url(place=(lon, lat)), headers={"If-None-Match": before.headers["etag"]})
    assert after.status_code == 200
    releases.rollback(cube)
    assert seen() == ("first", 10)
    # A pointer to a release that is not there is a mistake elsewhere; readers keep what they had.
    cube.write_json("current.json", {"release": "lost"})
    assert seen() == ("first", 10)


def test_a_tile_may_be_asked_of_an_older_release_or_version(tmp_path: Path) -> None:
    cube = create_cube(str(tmp_path / "small.zarr"), Region(4800, 2900, 4810, 2910, 10), "Small")
    for version, value in (("v1", 10), ("v2", 20), ("v3", 30)):
        _constant_indicator(cube, version, value)
    releases.write_release(cube, "first", {"indicators": "v1"}, {})
    releases.write_release(cube, "second", {"indicators": "v2"}, {})
    releases.publish(cube, "second")
    client = TestClient(create_app([cube.url]))
    lon, lat = (float(v) for v in grid.EUROPE.unproject(4_805_025.0, 2_905_025.0))
    tile, fixed = tile_url(place=(lon, lat)), {"rescale": "0,254"}

    def shown(**parameters: str) -> tuple[list[int], bool]:
        answer = client.get(tile, params={**fixed, **parameters})
        assert answer.status_code == 200, answer.text
        values = np.unique(np.asarray(Image.open(io.BytesIO(answer.content))))
        return [int(v) - 1 for v in values if v], "immutable" in answer.headers["cache-control"]

    assert shown() == ([20], False)
    assert shown(v="first") == ([10], False)
    assert shown(v="second") == ([20], False)
    token = TestClient(create_app([cube.url])).get("/layers").json()["version"]
    assert shown(v=token) == ([20], True)
    assert shown(v="no-such-release") == ([20], False)
    assert shown(v="../../secret") == ([20], False)
    assert shown(version="v1") == ([10], False)
    # v3 is in the cube, but no release has it: it may be half written.
    for version in ("v3", "none", "../v1"):
        assert client.get(tile, params={**fixed, "version": version}).status_code == 404


def _constant_indicator(cube: CubeStore, version: str, value: float) -> None:
    from cube import layers

    group = releases.group_of("indicators", version)
    layer = layers.indicator("richness", group, "Richness", "1", 0.01, 600.0, "viridis")
    cube.ensure_group(group, [layer])
    cube.array(f"{group}/richness")[...] = layer.encode(np.full((3, *cube.region.shape()), value))


def test_several_cubes_have_prefixes_and_workers_find_them_in_the_environment(
    cube: CubeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENVIRONMENT, f"{cube.url},{cube.url}")
    client = TestClient(app_from_environment())
    assert client.get("/healthz").json()["cubes"] == 2
    layer = client.get("/cubes/synthetic/layers/indicators.richness").json()
    assert layer["tiles"].startswith("/cubes/synthetic/layers/")
    assert client.get(tile_url(f"/cubes/synthetic{RICHNESS}")).status_code == 200


def test_server_imports_neither_torch_nor_transformers_nor_inference() -> None:
    code = (
        "import sys, json, server.main;"
        "print(json.dumps([m for m in ('torch', 'transformers', 'inference', 'matplotlib') if m in sys.modules]))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
