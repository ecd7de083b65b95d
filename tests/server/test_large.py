"""The server on a cube of the size that servers meet: names that clash, twelve releases, holes, stores far away and broken."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from urllib.parse import quote

import numpy as np
import pytest
import xarray as xr
from prometheus_client import REGISTRY
from pyproj import Transformer
from starlette.testclient import TestClient

from cube import grid
from cube.check.rules import check
from cube.layers.ids import species_ids
from cube.storage import releases
from cube.storage.store import CubeStore
from server.main import create_app
from tests.support import folder_s3
from tests.support.large_cube import CLASHING, HOLE, REGION, RELEASES, SPECIES, species_names

TILES = tuple(f"tiles/WebMercatorQuad/12/{x}/{y}.png" for x in range(2236, 2241) for y in range(1402, 1407))


@pytest.fixture(scope="module")
def client(large_cube: CubeStore) -> TestClient:
    return TestClient(create_app([large_cube.url]))


@pytest.fixture(scope="module")
def store(large_cube: CubeStore) -> Iterator[folder_s3.FolderStore]:
    """The cube on a store with 20 ms a request."""
    with folder_s3.served(large_cube, 0.02) as store:
        yield store


@pytest.fixture(scope="module")
def places(large_cube: CubeStore) -> list[tuple[float, float]]:
    """Longitude and latitude of a land cell in each of the units that are no hole, but for the last."""
    surface = np.asarray(large_cube.array("inputs/50m/surface")[:])
    to_degrees = Transformer.from_crs(grid.EUROPE.epsg, 4326, always_xy=True)
    out = []
    for unit in list(REGION.units())[: HOLE - 1]:
        rows, cols = REGION.square(unit).slices
        row, col = np.argwhere(surface[rows, cols] == 0)[-1]
        lon, lat = to_degrees.transform(unit.west + 50 * col + 25, unit.north - 50 * row - 25)
        out.append((round(lon, 5), round(lat, 5)))
    return out


@cache
def opened(url: str, group: str) -> xr.Dataset:
    return xr.open_zarr(f"{url}/{group}", chunks=None)


def cell_at(cube: CubeStore, group: str, lon: float, lat: float) -> xr.Dataset:
    """What xarray reads of the cell that holds a place."""
    x, y = Transformer.from_crs(4326, grid.EUROPE.epsg, always_xy=True).transform(lon, lat)
    return opened(cube.url, group).sel(x=x, y=y, method="nearest")


@pytest.mark.slow
def test_the_cube_keeps_every_promise_that_check_asks_for(large_cube: CubeStore) -> None:
    document = check(large_cube.url, values=True)
    assert [promise["name"] for promise in document["promises"] if not promise["kept"]] == []


def test_each_release_answers_with_its_own_names_values_and_tag(
    client: TestClient, large_cube: CubeStore, places: list[tuple[float, float]]
) -> None:
    tags, answers = set(), set()
    assert len(RELEASES) == 12
    asked = (1, 4, 5, 11, 12)
    for number in asked:
        version = RELEASES[number - 1]
        names = large_cube.read_table(releases.table_path("composition", version))["scientific_name"]
        for lon, lat in places[:2]:
            cell = cell_at(large_cube, f"products/composition/{version}", lon, lat)[["species_id", "probability"]].load()
            likely = cell.probability.values >= 0.05
            pairs = zip(cell.species_id.values[likely], cell.probability.values[likely], strict=True)
            truth = {str(names[int(row)]): float(p) for row, p in pairs}
            richness = cell_at(large_cube, f"products/indicators/{version}/0", lon, lat)["richness"].sel(bound="estimate")
            answer = client.get(f"/point/{lon},{lat}", params={"release": f"r{number:02d}"})
            found = {entry["name"]: entry["probability"] for entry in answer.json()["species"]}
            assert found == pytest.approx(truth, abs=1e-4)
            assert found
            by_id = {entry["id"]: entry["estimate"] for entry in answer.json()["indicators"]}
            assert by_id["indicators.richness"] == pytest.approx(float(richness), rel=1e-4)
            tags.add(answer.headers["etag"])
            answers.add((version, lon, tuple(found), by_id["indicators.richness"]))
    assert len(tags) == 2 * len(asked)
    assert len(answers) == 2 * len(set(RELEASES))  # versions differ, or this test could not fail


def test_species_of_clashing_names_are_told_apart_by_id_sheet_and_value(
    client: TestClient, large_cube: CubeStore, places: list[tuple[float, float]]
) -> None:
    lon, lat = places[1]
    for release, version in (("r12", "v1"), ("r04", "v2")):
        names = species_names(version)
        ids = species_ids(names)
        occurrence = cell_at(large_cube, f"products/species/{version}/0", lon, lat)
        for name in CLASHING:
            row = names.index(name)
            truth = float(occurrence["occurrence"].isel(species=row)) * float(occurrence["scale"][row])
            answer = client.get(f"/layers/{ids[row]}/cell/{lon},{lat}", params={"release": release}).json()
            assert answer["value"] == pytest.approx(truth, rel=1e-4)
            sheet = client.get(f"/species/{quote(name)}", params={"release": release}).json()
            assert (sheet["name"], sheet["id"]) == (name, ids[row])
    found = client.get("/layers", params={"search": "salix fragilis"}).json()["layers"]
    assert {layer["title"] for layer in found} == set(CLASHING)
    assert client.get("/layers", params={"product": "species"}).json()["total"] == SPECIES


def test_a_hole_that_receipts_know_is_no_data_and_nothing_else(client: TestClient) -> None:
    hole = list(REGION.units())[HOLE]
    to_degrees = Transformer.from_crs(grid.EUROPE.epsg, 4326, always_xy=True)
    lon, lat = to_degrees.transform(hole.west + 3_000, hole.north - 3_000)
    answer = client.get(f"/point/{lon},{lat}")
    assert answer.status_code == 200
    assert (answer.json()["species"], answer.json()["indicators"]) == ([], [])
    assert client.get(f"/layers/species.salix_fragilis/cell/{lon},{lat}").json()["value"] is None


def test_tiles_of_a_store_that_goes_away_or_breaks_are_right_or_503_and_right_again_afterwards(
    client: TestClient, store: folder_s3.FolderStore
) -> None:
    layers = ("species.carex_planta_0010", "species.salix_x_fragilis", "indicators.shannon", "habitats.level3")
    paths = [f"/layers/{layer}/{tile}" for layer in layers for tile in TILES]
    truth = {path: client.get(path) for path in paths}
    assert {answer.status_code for answer in truth.values()} == {200, 204}
    with folder_s3.in_this_process(store) as url:
        far = TestClient(create_app([url]))
        statuses: dict[str, list[int]] = {}
        # Another quarter of the tiles for each state: what is in memory asks no store.
        for state, part in (("away", 0), ("flaky", 1), ("down", 2)):
            store.switch(state)
            statuses[state] = []
            for path in paths[part::4]:
                answer = far.get(path)
                statuses[state].append(answer.status_code)
                if answer.status_code != 503:
                    assert (answer.status_code, answer.content) == (truth[path].status_code, truth[path].content), (state, path)
        store.switch("up")
        for path in paths:
            answer = far.get(path)
            assert (answer.status_code, answer.content) == (truth[path].status_code, truth[path].content), path
    assert 503 in statuses["away"]
    assert 503 in statuses["down"]
    assert 200 in statuses["flaky"]


def test_one_value_of_one_of_2000_species_takes_an_index_and_a_chunk(
    store: folder_s3.FolderStore, places: list[tuple[float, float]]
) -> None:
    with folder_s3.in_this_process(store) as url:
        far = TestClient(create_app([url]))
        before = REGISTRY.get_sample_value("floracube_store_reads_total")
        lon, lat = places[0]
        assert far.get(f"/layers/species.carex_planta_1010/cell/{lon},{lat}").json()["value"] is not None
        assert REGISTRY.get_sample_value("floracube_store_reads_total") - before == 2


def test_the_catalogue_of_an_older_release_is_its_own_and_links_to_itself(client: TestClient, large_cube: CubeStore) -> None:
    release = f"r{RELEASES.index('v2') + 1:02d}"
    (name,) = set(species_names("v2")) - set(species_names("v1"))
    assert client.get("/layers", params={"search": name}).json()["total"] == 0
    document = client.get("/layers", params={"search": name, "release": release}).json()
    (layer,) = document["layers"]
    assert (document["release"], layer["title"]) == (release, name)
    assert client.get(f"/layers/{layer['id']}").status_code == 404
    assert client.get(f"/layers/{layer['id']}?release={release}").json() == layer
    for link in ("legend", "tilejson", "tilesets"):
        answer = client.get(layer[link])
        assert answer.status_code == 200, link
    assert client.get("/about.json", params={"release": release}).json()["release"] == release
    assert client.get("/layers?release=r99").status_code == 404


def test_a_tile_asked_for_again_is_that_of_its_own_release(large_cube: CubeStore, client: TestClient) -> None:
    """Species stand at other rows in v2 and v3, and at another probability: the same address but for the release."""
    name = "species.fagus_sylvatica"
    paths = [
        f"/layers/{name}/{tile}?rescale=0,1&release={release}"
        for tile in TILES[10:14]
        for release in ("r01", "r04", "r11", "r12")
    ]
    first = [client.get(path).content for path in paths]
    assert [client.get(path).content for path in paths] == first
    for path, body in zip(paths, first, strict=True):  # a server that has drawn nothing else
        assert TestClient(create_app([large_cube.url])).get(path).content == body
    assert len({body for body in first if body}) > 4
