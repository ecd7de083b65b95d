"""What catalogues say of a scene's processing, in all their spellings: offsets of real items, one scene per acquisition."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pystac
import pytest
import shapely.geometry

from cube.config import StacSearch
from cube.errors import SourceError
from cube.grid import Region
from cube.sources import landsat, sentinel2
from cube.sources.processing import added_offset, baseline_of, scale_and_offset, tile_of
from cube.sources.stac import Scene, _scenes, one_per_acquisition

BEFORE = datetime.datetime(2020, 7, 1, 10, tzinfo=datetime.UTC)
AFTER = datetime.datetime(2023, 7, 1, 10, tzinfo=datetime.UTC)
EUROPE = Region(2600, 1400, 6600, 5400, 40)
WORLD = SimpleNamespace(degrees=(-180.0, -90.0, 180.0, 90.0), grid=EUROPE.grid)


def search(**keys: Any) -> StacSearch:
    return StacSearch.model_validate(
        {"catalog": "c.json", "start": "2000-01-01", "end": "2025-12-31", "max_cloud_cover": 100, **keys}
    )


@pytest.mark.parametrize(
    ("value", "baseline"),
    [
        ("02.14", (2, 14)),
        ("N0301", (3, 1)),
        ("05.09-rc1", (5, 9)),
        ("3.01", (3, 1)),
        (2.14, (2, 14)),
        (4.0, (4, 0)),
        ("0509", (5, 9)),
        ("N05.10", (5, 10)),
        ("5", (5, 0)),
        (5, (5, 0)),
        ("1.0.0", None),
        ("unknown", None),
        ("", None),
    ],
)
def test_a_baseline_is_major_and_minor_however_it_is_written(value: Any, baseline: tuple[int, int] | None) -> None:
    assert baseline_of({"s2:processing_baseline": value}, "an item") == baseline
    assert baseline_of({"sentinel:processing_baseline": value}, "an item") == baseline


@pytest.mark.parametrize(
    ("properties", "assets", "offset"),
    [
        ({"s2:processing_baseline": "02.14"}, {}, 0),
        ({"s2:processing_baseline": "04.00"}, {}, 1000),
        ({"sentinel:processing_baseline": "N0509"}, {}, 1000),
        ({"s2:processing_baseline": "05.09", "earthsearch:boa_offset_applied": True}, {}, 0),
        ({"s2:processing_baseline": "05.09", "earthsearch:boa_offset_applied": "True"}, {}, 0),
        ({"s2:processing_baseline": "05.09", "earthsearch:boa_offset_applied": "false"}, {}, 1000),
        ({"s2:processing_baseline": "05.09", "earthsearch:boa_offset_applied": False}, {}, 1000),
        ({"s2:processing_baseline": "05.09", "sentinel:boa_offset_applied": "true"}, {}, 0),
        ({"processing:version": "05.11"}, {}, 1000),
        # The offset that the item gives is used.
        ({"s2:processing_baseline": "02.14"}, {"raster:bands": [{"scale": 0.0001, "offset": -0.1}]}, 1000),
        ({"s2:processing_baseline": "05.00"}, {"raster:bands": [{"scale": 0.0001, "offset": 0}]}, 0),
        ({}, {"raster:scale": 0.0001, "raster:offset": -0.1}, 1000),
        ({}, {"bands": [{"name": "B04", "raster:scale": "0.0001", "raster:offset": "-0.1"}]}, 1000),
        ({}, {"raster:bands": [{"offset": -1000}]}, 1000),
        ({"earthsearch:boa_offset_applied": True}, {"raster:bands": [{"scale": 0.0001, "offset": -0.1}]}, 0),
        # Names and days.
        ({"s2:product_uri": "S2A_MSIL2A_20200305T103021_N0500_R108_T32TMT_20230630T022413.SAFE"}, {}, 1000),
        ({"s2:product_uri": "S2A_MSIL2A_20200305T103021_N0214_R108_T32TMT_20200305T132101.SAFE"}, {}, 0),
        ({"s2:generation_time": "2020-07-02T00:00:00Z"}, {}, 0),
        ({"s2:generation_time": "2023-07-02T00:00:00Z"}, {}, 1000),
        ({"created": "2020-07-02T00:00:00Z"}, {}, 0),
        # Sen2Cor of a user's own: its number says nothing, an early day does.
        ({"s2:processing_baseline": "99.99", "s2:generation_time": "2020-07-02T00:00:00Z"}, {}, 0),
        ({"s2:processing_baseline": "99.99"}, {"raster:offset": -0.1}, 1000),
    ],
)
def test_what_was_added_is_what_the_item_says(properties: dict[str, Any], assets: dict[str, Any], offset: int) -> None:
    assert added_offset("an item", BEFORE, properties, [assets] * 4) == offset


def test_without_any_word_the_day_decides_or_the_configuration_or_the_scene_is_refused() -> None:
    assert added_offset("an item", AFTER, {}, [{}]) == 1000
    assert added_offset("an item", BEFORE, {}, [{}], 1000) == 1000
    with pytest.raises(ValueError, match=r"neither offset nor processing baseline.*stac\.offset"):
        added_offset("an item", BEFORE, {}, [{}])
    own = {"s2:product_uri": "S2A_MSIL2A_20200305T103021_N9999_R108_T32TMT_20230630T022413.SAFE"}
    assert added_offset("an item", AFTER, own, [{}]) == 1000
    with pytest.raises(ValueError, match=r"neither offset nor processing baseline.*stac\.offset"):
        added_offset("an item", BEFORE, own, [{}])
    with pytest.raises(ValueError, match=r"several offsets"):
        added_offset("an item", BEFORE, {}, [{"raster:offset": 0}, {"raster:offset": -0.1}])
    with pytest.raises(ValueError, match=r"scale 0\.0002"):
        added_offset("an item", BEFORE, {"s2:processing_baseline": "02.14"}, [{"raster:scale": 0.0002}])
    with pytest.raises(ValueError, match=r"offset 0\.1"):
        added_offset("an item", BEFORE, {}, [{"raster:offset": 0.1}])


def real_scenes(folder: Path, pattern: str, wanted: Any, place: Any = WORLD, **keys: Any) -> tuple[Scene, ...]:
    documents = []
    for path in sorted(folder.glob(pattern)):
        found = json.loads(path.read_text())
        documents += found if isinstance(found, list) else found.get("features", [found])
    items = [pystac.Item.from_dict(document) for document in documents if document.get("type") == "Feature"]
    for item in items:
        item.collection_id = None
    return _scenes(items, "c.json", search(**keys), wanted, place)  # type: ignore[arg-type]


def test_offsets_of_real_items_of_four_catalogues(real_data: Path) -> None:
    """CDSE gives -0.1 in STAC 1.1's words, Earth Search took it out and says so, the others say baselines and names."""
    folder = real_data / "formats/stac"
    found = {scene.id: scene.added_offset for scene in real_scenes(folder, "cdse_*.json", sentinel2.SENTINEL2, EUROPE)}
    assert found
    assert set(found.values()) == {1000}
    both = real_scenes(folder, "earthsearch_*.json", sentinel2.SENTINEL2, EUROPE)
    assert {scene.added_offset for scene in both} == {0}
    old = {scene.id: scene for scene in real_scenes(folder, "odcstac_S2*.json", sentinel2.SENTINEL2)}
    assert old["S2A_28QCH_20200714_0_L2A"].added_offset == 0  # N0214, in sentinel:product_id alone
    assert old["S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531"].added_offset == 0  # 02.12


def test_of_a_reprocessed_pair_the_newest_is_read_and_repeated_items_once(real_data: Path) -> None:
    folder = real_data / "formats/stac"
    found = real_scenes(folder, "earthsearch_*.json", sentinel2.SENTINEL2, EUROPE)
    assert sorted(scene.id for scene in found) == ["S2A_32TMT_20200305_1_L2A", "S2A_32TNT_20200305_1_L2A"]
    assert sorted(one_per_acquisition([*found, *found, *found]), key=lambda s: s.id) == sorted(found, key=lambda s: s.id)
    neighbours = real_scenes(folder, "cdse_S2B*.json", sentinel2.SENTINEL2, EUROPE)
    assert len(neighbours) == 2  # two tiles of one moment


def test_landsat_items_keep_usgs_numbers_or_are_refused(real_data: Path) -> None:
    found = real_scenes(real_data / "formats/stac", "pc_landsat*.json", landsat.LANDSAT)
    assert found
    assert {scene.flaw for scene in found} == {""}
    item = pystac.Item("L", {"type": "Point", "coordinates": [10, 50]}, [10, 50, 10, 50], AFTER, {"platform": "landsat-8"})
    for band, names in landsat.asset_names(item.properties).items():
        fields = {"raster:bands": [{"scale": 0.0001, "offset": 0}]} if band == "red" else {}
        item.add_asset(names[0], pystac.Asset("x.tif", extra_fields=fields))
    (scene,) = _scenes([item], "c.json", search(), landsat.LANDSAT, EUROPE)
    assert "scene L: its bands have the scale 0.0001" in scene.flaw


def square(west: float, south: float, side: float) -> dict[str, Any]:
    ring = [[west, south], [west + side, south], [west + side, south + side], [west, south + side], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def scene(name: str, seconds: float, outline: dict[str, Any], newness: int = 0, tile: str = "32TMT", flaw: str = "") -> Scene:
    moment = BEFORE + datetime.timedelta(seconds=seconds)
    return Scene(name, moment, {}, shapely.geometry.shape(outline), 32632, 0, flaw, ("sentinel-2a", tile), (newness,))


def test_a_tile_cut_in_two_by_its_downlinks_is_two_scenes_and_a_flawed_processing_yields() -> None:
    whole, north, south = square(0, 0, 100), square(0, 80, 100), square(0, -20, 60)
    halves = [scene("n", 0, north), scene("s", 0.5, south)]
    assert len(one_per_acquisition(halves)) == 2
    days = [scene("a", 0, whole), scene("b", 86_400, whole)]
    assert len(one_per_acquisition(days)) == 2
    assert [s.id for s in one_per_acquisition([scene("old", 0, whole, 1), scene("new", 0.001, whole, 2)])] == ["new"]
    assert [s.id for s in one_per_acquisition([scene("new", 0.001, whole, 2, flaw="x"), scene("old", 0, whole, 1)])] == ["old"]
    assert len(one_per_acquisition([scene("a", 0, whole), scene("b", 0, whole, tile="33TUM")])) == 2


def test_a_scene_that_says_nothing_is_named_when_it_is_read() -> None:
    item = pystac.Item("S2X_mystery", square(10, 50, 1), [10, 50, 11, 51], BEFORE, {})
    for band, names in sentinel2.asset_names({}).items():
        item.add_asset(names[0], pystac.Asset(f"{band}.tif"))
    (found,) = _scenes([item], "c.json", search(), sentinel2.SENTINEL2, EUROPE)
    assert found.flaw.startswith("c.json: scene S2X_mystery: neither offset nor processing baseline")
    (settled,) = _scenes([item], "c.json", search(offset=0), sentinel2.SENTINEL2, EUROPE)
    assert (settled.flaw, settled.added_offset) == ("", 0)
    assert isinstance(SourceError(found.flaw), Exception)


def test_tiles_and_scales_are_read_from_every_spelling() -> None:
    assert tile_of({"grid:code": "MGRS-6VVN"}, "x") == "06VVN"
    assert tile_of({"mgrs:utm_zone": 6, "mgrs:latitude_band": "V", "mgrs:grid_square": "VN"}, "x") == "06VVN"
    assert tile_of({}, "S2A_MSIL2A_20200305T103021_N0214_R108_T32TMT_20200305T132101") == "32TMT"
    assert tile_of({}, "LC08_L2SP_028030_20200114_20200824_02_T1_SR") == "028030"
    assert scale_and_offset({"raster:bands": [{"scale": 1e-4}], "raster:offset": -0.1}) == (1e-4, -0.1)
    assert scale_and_offset({}) == (None, None)
