"""The static STAC catalogue of a release: valid, walked from the disk it lies on, and gone with its release."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import zarr
from pystac.extensions.projection import ProjectionExtension
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from cube import layers
from cube.check import publishing
from cube.export import stac
from cube.grid import Region
from cube.storage import releases
from cube.storage.store import CubeStore, create_cube
from tests.support.stac_schemas import SCHEMAS

REGION = Region(4800, 2900, 4830, 2920, 10)


def with_release(cube: CubeStore, name: str) -> None:
    for level in range(2):
        group = releases.group_of("indicators", name, level)
        layer = layers.indicator("richness", group, "Richness", "1", 0.01, 600.0, "viridis")
        cube.ensure_group(group, [layer], level=level, attributes={"reference_year": 2019})
        cube.array(f"{group}/richness")[...] = 100
    releases.write_release(cube, name, {"indicators": name}, {"region_km": [4803, 2902, 4827, 2918]})


@pytest.fixture
def cube(tmp_path: Path) -> CubeStore:
    made = create_cube(str(tmp_path / "small.zarr"), REGION, "Small")
    with_release(made, "r1")
    return made


def test_it_is_walked_from_the_disk_and_its_assets_are_the_groups_of_the_cube(cube: CubeStore) -> None:
    stac.write(cube, "r1")
    root = pystac.Catalog.from_file(f"{cube.url}/stac/r1/catalog.json")
    (collection,) = root.get_children()
    (item,) = root.get_items(recursive=True)
    assert (item.id, item.get_parent().id) == ("indicators.r1", collection.id)
    validator = JsonSchemaSTACValidator()
    validator.schema_cache |= SCHEMAS
    for one in (root, collection, item):
        one.validate(validator)
    west, south, *_ = item.bbox
    assert (west, south) < (collection.extent.spatial.bboxes[0][2], collection.extent.spatial.bboxes[0][3])
    for level, name in enumerate(("data", "overview1")):
        asset = item.assets[name]
        array = zarr.open_group(asset.get_absolute_href(), mode="r")["richness"]
        assert list(array.shape[-2:]) == ProjectionExtension.ext(asset).shape == list(REGION.shape(level=level))
        np.testing.assert_array_equal(array[0, :3, :3], 100)
    zarr.open_group(collection.assets["zarr"].get_absolute_href(), mode="r")


def test_the_same_release_gives_the_same_documents(cube: CubeStore) -> None:
    release = releases.read(cube, "r1")
    assert stac.documents(cube, release) == stac.documents(cube, release)


def test_publishing_writes_it_before_readers_follow_and_forgetting_removes_it(
    cube: CubeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "inspect", lambda *_, **__: {"kept": True})
    seen: list[Any] = []
    follow = releases.publish
    monkeypatch.setattr(releases, "publish", lambda *a: seen.append(cube.read_json(f"stac/{a[1]}/catalog.json")) or follow(*a))
    for name in ("r1", "r2", "r3"):
        if name != "r1":
            with_release(cube, name)
        publishing.publish(cube.url, name)
    assert all(document["type"] == "Catalog" for document in seen)
    releases.forget(cube, "r1")
    assert cube.read_json("stac/r1/catalog.json") is None
    assert cube.read_json("stac/r2/catalog.json") is not None
