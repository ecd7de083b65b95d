"""Catalogues of every kind, footprints, and what is said of scenes that cannot be used."""

from __future__ import annotations

import json
import pickle
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import shapely
from affine import Affine

from cube.config import StacSearch
from cube.errors import ConfigError, SourceError
from cube.grid import Region
from cube.sources import stack
from cube.sources.sentinel2 import SENTINEL2, composite
from cube.sources.stac import PLANETARY_COMPUTER, Scene, _address, _client
from cube.storage.transient import is_transient
from tests.support.scenes import Scenes, needs_stackstac, open_scenes

REGION = Region(4700, 2850, 4720, 2860, 10)
BANDS = ("red", "green", "blue", "nir")
SEARCH: dict[str, Any] = {"start": "2020-01-01", "end": "2020-12-31"}


def little(scenes: Scenes, name: str, west: float, day: str = "2020-06-01", **properties: Any) -> pystac.Item:
    """A scene of one kilometre that begins `west` m from the corner of the region."""
    ones = np.ones((50, 50))
    corner = Affine(20, 0, 4_700_000 + west, 0, -20, 2_855_000)
    return scenes.add(name, day, "EPSG:3035", corner, dict.fromkeys(BANDS, ones * 500), ("scl", ones * 4, 0), **properties)


@pytest.fixture
def two(tmp_path: Path) -> Scenes:
    """A scene in each of the region's two units."""
    scenes = Scenes(tmp_path, "sentinel-2-l2a")
    little(scenes, "in-the-west", 4_000)
    little(scenes, "in-the-east", 14_000)
    return scenes


class Handler(BaseHTTPRequestHandler):
    """A STAC API that answers landing page and searches, and the files of a folder; what it is asked is written down."""

    items: tuple[pystac.Item, ...] = ()
    folder = Path()
    asked: tuple[dict[str, Any], ...] = ()
    failures = 0

    def _answer(self, document: Any) -> None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        first, last = 0, len(body) - 1
        if "Range" in self.headers:
            start, _, end = self.headers["Range"].removeprefix("bytes=").partition("-")
            first, last = int(start), min(int(end or last), last)
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(body)}")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[first : last + 1])

    def do_GET(self) -> None:
        kind, root = type(self), f"http://127.0.0.1:{self.server.server_address[1]}"
        if self.path.startswith("/files/"):
            file = kind.folder / Path(self.path).name
            if kind.failures:
                kind.failures -= 1
                self.send_error(503)
            elif file.is_file():
                self._answer(file.read_bytes())
            else:
                self.send_error(404)
            return
        links = [
            {"rel": "self", "href": f"{root}/"},
            {"rel": "root", "href": f"{root}/"},
            {"rel": "search", "href": f"{root}/search", "type": "application/geo+json", "method": "POST"},
        ]
        standards = [f"https://api.stacspec.org/v1.0.0/{name}" for name in ("core", "item-search")]
        self._answer(
            {
                "type": "Catalog",
                "id": "api",
                "stac_version": "1.0.0",
                "description": "",
                "links": links,
                "conformsTo": [*standards, "https://api.stacspec.org/v1.0.0/item-search#query"],
            }
        )

    do_HEAD = do_GET  # noqa: N815  http.server asks for these names

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).asked = (*type(self).asked, asked)
        west, south, east, north = asked["bbox"]
        found = [
            i for i in type(self).items if i.bbox[0] <= east and i.bbox[2] >= west and i.bbox[1] <= north and i.bbox[3] >= south
        ]
        self._answer({"type": "FeatureCollection", "features": [{**item.to_dict(), "links": []} for item in found], "links": []})

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def api(tmp_path: Path) -> Iterator[tuple[type[Handler], str]]:
    class Own(Handler):
        pass

    Own.folder = tmp_path
    server = ThreadingHTTPServer(("127.0.0.1", 0), Own)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Own, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_unit_gets_the_scenes_that_touch_it(two: Scenes) -> None:
    catalogue = open_scenes(two.save(), SENTINEL2, REGION, **SEARCH)
    west, east = REGION.units()
    assert [scene.id for scene in catalogue.touching(west)] == ["in-the-west"]
    assert [scene.id for scene in catalogue.touching(east)] == ["in-the-east"]


def test_a_slanted_footprint_is_not_its_box() -> None:
    """A swath's edge from north-west to south-east: the lower left unit is in its box and not in it."""
    ring = [[4_700_000, 2_900_000], [4_800_000, 2_900_000], [4_800_000, 2_800_000], [4_700_000, 2_900_000]]
    scene = Scene("s", None, {}, shapely.Polygon(ring), None)  # type: ignore[arg-type]
    assert not scene.touches((4_700_000, 2_800_000, 4_710_000, 2_810_000))
    assert scene.touches((4_790_000, 2_890_000, 4_800_000, 2_900_000))
    assert scene.touches((4_745_000, 2_845_000, 4_755_000, 2_855_000))
    assert not scene.touches((4_900_000, 2_800_000, 4_910_000, 2_810_000))


def test_scenes_travel_without_their_catalogue(two: Scenes) -> None:
    catalogue = open_scenes(two.save(), SENTINEL2, REGION, **SEARCH)
    assert len(pickle.dumps(catalogue.scenes)) < 2_000 * len(catalogue.scenes or ())
    assert pickle.loads(pickle.dumps(catalogue)) == catalogue


def test_a_collection_and_a_saved_search_are_catalogues_too(two: Scenes, tmp_path: Path) -> None:
    two.save()
    expected = open_scenes(str(tmp_path / "catalog.json"), SENTINEL2, REGION, **SEARCH).scenes
    assert expected
    assert open_scenes(str(tmp_path / "sentinel-2-l2a/collection.json"), SENTINEL2, REGION, **SEARCH).scenes == expected
    found = pystac.ItemCollection(list(two.collection.get_items())).to_dict()
    for item in found["features"]:
        for asset in item["assets"].values():
            asset["href"] = f"./{Path(asset['href']).name}"
    (tmp_path / "search.json").write_text(json.dumps(found))
    assert open_scenes(str(tmp_path / "search.json"), SENTINEL2, REGION, **SEARCH).scenes == expected


def test_an_api_is_asked_for_each_unit(two: Scenes, api: tuple[type[Handler], str]) -> None:
    handler, url = api
    handler.items = tuple(two.collection.get_items())
    catalogue = open_scenes(url, SENTINEL2, REGION, **SEARCH, max_cloud_cover=60)
    assert catalogue.scenes is None
    west, east = REGION.units()
    assert [scene.id for scene in catalogue.touching(west)] == ["in-the-west"]
    assert [scene.id for scene in pickle.loads(pickle.dumps(catalogue)).touching(east)] == ["in-the-east"]
    assert handler.asked[-1]["collections"] == ["sentinel-2-l2a"]
    assert handler.asked[-1]["query"] == {"eo:cloud_cover": {"lte": 60.0}}
    assert handler.asked[-1]["datetime"].startswith("2020-01-01T00:00:00Z/2020-12-31T23:59:59")
    assert handler.asked[-1]["bbox"][0] > handler.asked[-2]["bbox"][0]


def test_an_api_that_goes_away_is_an_error_that_passes(two: Scenes, api: tuple[type[Handler], str]) -> None:
    handler, url = api
    handler.items = tuple(two.collection.get_items())
    catalogue = open_scenes(url, SENTINEL2, REGION, **SEARCH)
    gone = open_scenes(url, SENTINEL2, REGION, **SEARCH)
    object.__setattr__(gone, "url", "http://127.0.0.1:9/")
    _client.cache_clear()
    assert catalogue.touching(next(REGION.units()))
    with pytest.raises(SourceError, match=r"127\.0\.0\.1:9/: cannot be read as a STAC catalogue") as told:
        gone.touching(next(REGION.units()))
    assert is_transient(told.value)


def test_the_search_filters_whatever_the_catalogue_holds(two: Scenes) -> None:
    little(two, "cloudy", 4_000, **{"eo:cloud_cover": 90.0})
    little(two, "too-early", 4_000, "2019-12-31")
    little(two, "last-day", 4_000, "2020-12-31T23:30:00")
    little(two, "no-such-month", 4_000, "2020-03-01")
    path = two.save()
    unit = next(REGION.units())
    found = open_scenes(path, SENTINEL2, REGION, **SEARCH, months=(6, 12)).touching(unit)
    assert [scene.id for scene in found] == ["in-the-west", "last-day"]
    with pytest.raises(SourceError, match=r"no scene of 'elsewhere' between 2020-01-01.*widen stac\.start"):
        open_scenes(path, SENTINEL2, REGION, **SEARCH, collection="elsewhere")


def test_a_scene_without_its_asset_is_named_where_it_is_needed(two: Scenes) -> None:
    item = next(item for item in two.collection.get_items() if item.id == "in-the-east")
    del item.assets["nir"]
    catalogue = open_scenes(two.save(), SENTINEL2, REGION, **SEARCH)
    west, east = REGION.units()
    assert catalogue.touching(west)
    with pytest.raises(
        SourceError, match=r"scene in-the-east has no asset 'nir or B08 or B08_10m' \(it has blue, green, red, scl\)"
    ):
        catalogue.touching(east)


def test_mistakes_in_the_search_stop_before_any_work(two: Scenes) -> None:
    path = two.save()
    with pytest.raises(SourceError, match=r"no asset 'B8A'.*set stac\.assets\.nir"):
        open_scenes(path, SENTINEL2, REGION, **SEARCH, assets={"nir": "B8A"})
    with pytest.raises(ConfigError, match="no band 'swir1' in this layer; its bands are red, green"):
        open_scenes(path, SENTINEL2, REGION, **SEARCH, assets={"swir1": "B11"})
    with pytest.raises(SourceError, match="cannot be read as a STAC catalogue"):
        open_scenes("/nowhere/catalog.json", SENTINEL2, REGION, **SEARCH)
    for wrong, words in (
        ({"months": (0,)}, "from 1 to 12"),
        ({"end": "2019-01-01"}, "lies after"),
        ({"start": "June"}, "valid date"),
    ):
        with pytest.raises(ValueError, match=words):
            StacSearch.model_validate({"catalog": path, **SEARCH, **wrong})


@needs_stackstac
def test_a_file_that_is_lost_or_broken_is_named_with_its_scene(two: Scenes, tmp_path: Path) -> None:
    path = two.save()
    west, east = REGION.units()
    catalogue = open_scenes(path, SENTINEL2, REGION, **SEARCH)
    (tmp_path / "in-the-west-nir.tif").unlink()
    with pytest.raises(SourceError, match=r"scene in-the-west: .*in-the-west-nir\.tif cannot be read") as told:
        composite(catalogue.touching(west), west)
    assert not is_transient(told.value)
    whole = (tmp_path / "in-the-east-blue.tif").read_bytes()
    (tmp_path / "in-the-east-blue.tif").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match=r"scene in-the-east: .*in-the-east-blue\.tif cannot be read") as told:
        composite(catalogue.touching(east), east)
    assert not is_transient(told.value)
    assert told.value.__cause__ is not None


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    env = stack._gdal().updated(always={"GDAL_HTTP_MAX_RETRY": 1, "GDAL_HTTP_RETRY_DELAY": 0.1})
    monkeypatch.setattr(stack, "_gdal", lambda: env)


@needs_stackstac
@pytest.mark.usefixtures("impatient")
def test_a_server_that_fails_passes_and_one_that_lacks_a_file_does_not(
    two: Scenes, api: tuple[type[Handler], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    handler, url = api
    monkeypatch.setattr(stack, "threads", lambda addresses=(): 1)
    unit = next(REGION.units())
    local = open_scenes(two.save(), SENTINEL2, REGION, **SEARCH).touching(unit)
    expected = composite(local, unit)
    served = [_moved(scene, f"{url}/files") for scene in local]
    handler.failures = 1  # GDAL tries again by itself
    for ours, theirs in zip(composite(served, unit), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    # Other addresses, since GDAL remembers what it has read.
    served = [_moved(scene, f"{url}/files/others") for scene in local]
    handler.failures = 1_000
    with pytest.raises(SourceError, match=r"scene in-the-west: http://.*503") as told:
        composite(served, unit)
    assert is_transient(told.value)
    assert told.value.__cause__ is not None
    handler.failures = 0  # and the next try of the same process is not answered out of GDAL's memory of the failure
    for ours, theirs in zip(composite(served, unit), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    lost = [replace(scene, assets={**scene.assets, "red": f"{url}/files/none.tif"}) for scene in served]
    with pytest.raises(SourceError, match=r"scene in-the-west: .*none\.tif cannot be read \(.*404") as told:
        composite(lost, unit)
    assert not is_transient(told.value)


def _moved(scene: Scene, root: str) -> Scene:
    return replace(scene, assets={band: f"{root}/{Path(address).name}" for band, address in scene.assets.items()})


def test_the_planetary_computers_files_are_signed_by_gdal() -> None:
    blob = "https://landsateuwest.blob.core.windows.net/landsat-c2/x_SR_B4.TIF"
    signed = _address(blob, f"https://{PLANETARY_COMPUTER}/api/stac/v1", "landsat-c2-l2")
    assert signed == f"/vsicurl?pc_url_signing=yes&pc_collection=landsat-c2-l2&url={blob}"
    assert _address(blob, "https://earth-search.aws.element84.com/v1", "landsat-c2-l2") == blob


def test_only_the_scenes_of_a_unit_travel_with_it(tmp_path: Path) -> None:
    scenes = Scenes(tmp_path, "sentinel-2-l2a")
    for i, west in enumerate((2000, 5000, 12000)):
        little(scenes, f"s{i}", west)
    catalogue = open_scenes(scenes.save(), SENTINEL2, REGION)
    units = list(REGION.units())
    assert [[scene.id for scene in catalogue.near(unit).scenes or ()] for unit in units] == [["s0", "s1"], ["s2"]]
    for unit in units:
        assert catalogue.near(unit).touching(unit) == catalogue.touching(unit)
