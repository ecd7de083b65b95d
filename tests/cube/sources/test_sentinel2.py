"""Sentinel-2 composites against a median worked out by hand: clouds masked per scene, offsets removed, nothing silent."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import rasterio

from cube.config import StacSearch
from cube.errors import SourceError
from cube.grid import Region
from cube.sources.sentinel2 import added_offset, composite, find_scenes

REGION = Region(4700, 2850, 4710, 2860, 10)
SIDE = 1000
SEARCH = StacSearch(catalog="catalog.json", start="2020-01-01", end="2021-12-31", months=(6, 7))
FOOTPRINT = {"type": "Polygon", "coordinates": [[[14, 48], [17, 48], [17, 50], [14, 50], [14, 48]]]}
DAYS = [
    (datetime.datetime(2020, 6, 1, tzinfo=datetime.UTC), "03.01"),
    (datetime.datetime(2020, 7, 1, tzinfo=datetime.UTC), "04.00"),
    (datetime.datetime(2021, 7, 1, tzinfo=datetime.UTC), "05.09"),
    (datetime.datetime(2021, 12, 1, tzinfo=datetime.UTC), "05.09"),  # not a month that is asked for
]


def write(path: Path, values: np.ndarray[Any, Any], size: int) -> None:
    with rasterio.open(path, "w", driver="GTiff", height=values.shape[0], width=values.shape[1], count=1, dtype="uint16",
                       crs="EPSG:3035", transform=REGION.transform(size), nodata=0) as target:  # fmt: skip
        target.write(values.astype(np.uint16), 1)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """(catalog, reflectance x 10,000 of each scene (4, 4, y, x), SCL at 10 m (4, y, x))."""
    folder = tmp_path_factory.mktemp("stac")
    rng = np.random.default_rng(0)
    truth = rng.integers(100, 5000, (4, 4, SIDE, SIDE))
    scl = rng.choice([4, 5, 3, 8, 9, 10], (4, SIDE // 2, SIDE // 2), p=[0.4, 0.2, 0.1, 0.1, 0.1, 0.1])
    scl[:, 0, 0] = 8
    root = pystac.Catalog("test", "test")
    collection = pystac.Collection(
        "sentinel-2-l2a", "test", pystac.Extent(pystac.SpatialExtent([[14, 48, 17, 50]]), pystac.TemporalExtent([[None, None]]))
    )
    root.add_child(collection)
    for i, (day, baseline) in enumerate(DAYS):
        item = pystac.Item(
            f"scene{i}",
            FOOTPRINT,
            [14.0, 48.0, 17.0, 50.0],
            day,
            {"s2:processing_baseline": baseline, "eo:cloud_cover": 30.0},
        )
        offset = 1000 if baseline >= "04.00" else 0
        for band, name in enumerate(("red", "green", "blue", "nir")):
            write(folder / f"{i}-{name}.tif", truth[i, band] + offset, 10)
            item.add_asset(name, pystac.Asset(str(folder / f"{i}-{name}.tif")))
        write(folder / f"{i}-scl.tif", scl[i], 20)
        item.add_asset("scl", pystac.Asset(str(folder / f"{i}-scl.tif")))
        collection.add_item(item)
    root.normalize_and_save(str(folder), pystac.CatalogType.ABSOLUTE_PUBLISHED)
    return folder / "catalog.json", truth, scl.repeat(2, 1).repeat(2, 2)


def test_the_composite_is_the_median_of_the_clear_pixels_without_offset(
    catalog: tuple[Path, np.ndarray[Any, Any], np.ndarray[Any, Any]],
) -> None:
    path, truth, scl = catalog
    scenes = find_scenes(SEARCH, str(path), REGION)
    assert [s.id for s in scenes] == ["scene0", "scene1", "scene2"]
    seen, count = composite(scenes, SEARCH, next(REGION.units()))
    clear = np.isin(scl[:3], (4, 5))
    masked = np.ma.masked_array(truth[:3], ~np.broadcast_to(clear[:, None], truth[:3].shape))
    expected = np.ma.filled(np.ma.median(masked, axis=0), 65535)
    np.testing.assert_array_equal(count, clear.sum(axis=0))
    assert (seen[:, 0, 0] == 65535).all()
    known = seen != 65535
    assert (known == (count > 0)).all()
    assert np.abs(seen.astype(float) - expected)[known].max() <= 0.5


def test_a_scene_that_cannot_be_read_is_named_and_not_a_hole(
    catalog: tuple[Path, np.ndarray[Any, Any], np.ndarray[Any, Any]],
) -> None:
    scenes = [s.clone() for s in find_scenes(SEARCH, str(catalog[0]), REGION)]
    scenes[1].assets["nir"].href = "/nowhere/lost.tif"
    with pytest.raises(SourceError, match=r"lost\.tif"):
        composite(scenes, SEARCH, next(REGION.units()))


def test_a_search_without_scenes_or_assets_says_what_to_change(
    catalog: tuple[Path, np.ndarray[Any, Any], np.ndarray[Any, Any]],
) -> None:
    with pytest.raises(SourceError, match=r"stac\.months"):
        find_scenes(SEARCH.model_copy(update={"months": (1,)}), str(catalog[0]), REGION)
    with pytest.raises(SourceError, match=r"no asset 'B08'.*nir"):
        find_scenes(SEARCH.model_copy(update={"assets": {"nir": "B08"}}), str(catalog[0]), REGION)
    with pytest.raises(SourceError, match="cannot be read as a STAC catalogue"):
        find_scenes(SEARCH, "/nowhere/catalog.json", REGION)


@pytest.mark.parametrize(
    ("properties", "offset"),
    [
        ({"s2:processing_baseline": "02.14"}, 0),
        ({"s2:processing_baseline": "04.00"}, 1000),
        ({"s2:processing_baseline": "05.09"}, 1000),
        ({"s2:processing_baseline": "05.09", "earthsearch:boa_offset_applied": True}, 0),
        ({}, 0),
    ],
)
def test_the_offset_follows_the_processing_baseline(properties: dict[str, Any], offset: int) -> None:
    assert added_offset(pystac.Item("x", None, None, DAYS[0][0], properties)) == offset
