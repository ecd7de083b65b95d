"""The published conformance stores of GeoZarr are read with the values of their manifest, or refused for their fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from pyproj import CRS

from cube import grid
from cube.errors import CubeError
from cube.grid import CELL, Region
from cube.layers.conventions import multiscale_attributes, spatial_attributes
from cube.layers.georeference import Georeference, read_georeference

REGION = Region(4450, 2650, 4460, 2660, 10)


def document(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "zarr.json").read_text())
    return found


def read(store: Path) -> dict[str, Georeference]:
    """The root and every array below it, arrays with the CRS of their group."""
    root = read_georeference(str(store), document(store)["attributes"])
    arrays = {p.parent for p in store.rglob("zarr.json") if document(p.parent)["node_type"] == "array"}
    return {"": root} | {
        a.relative_to(store).as_posix(): read_georeference(str(a), document(a)["attributes"], root) for a in sorted(arrays)
    }


def facts(store: Path) -> dict[str, Any]:
    """What a store says, by the keys of the manifest."""
    found = read(store)
    name = next(name for name in found if name)
    one, array = found[name], zarr.open_group(str(store), mode="r")[name]
    assert isinstance(array, zarr.Array)
    return {
        "crs": one.crs and one.crs.to_string(),
        **{f"{name}_crs": other.crs and other.crs.to_string() for name, other in found.items()},
        "has_projjson": one.crs == CRS(3857),
        "has_wkt2": one.crs is not None and one.crs.to_epsg() == 32610,
        "level_count": len(found[""].levels),
        "level_shapes": {level: document(store / level / "ar")["shape"] for level in found[""].levels},
        "nodata": "NaN" if np.isnan(array.fill_value) else None,
        "dtype": str(array.dtype),
        "shape": list(array.shape),
        "spatial_shape": list(one.shape or ()),
        "bands": array.shape[0],
        "band_origins": np.asarray(array[..., 0, 0]).tolist(),
        "transform": list(one.transform or ())[:6],
        "bbox": list(one.bbox or ()),
        "registration": one.registration,
        "registration_absent": one.registration == "pixel",
        "has_sharding": array.shards is not None,
        "inner_chunk_shape": list(array.chunks),
    }


def test_every_conformance_store_is_as_its_manifest_says(real_data: Path) -> None:
    folder = real_data / "formats/geozarr-conformance"
    entries = json.loads((folder / "manifest.json").read_text())["datasets"]
    assert len(entries) == 18
    for entry in entries:
        if entry["valid"]:
            found = facts(folder / entry["path"])
            assert {key: found[key] for key in entry["expected"]} == entry["expected"], entry["path"]
        else:
            with pytest.raises(CubeError, match=r"; write this attribute as its convention says\.$"):
                read(folder / entry["path"])


@pytest.mark.parametrize("resolution", [10, 50, 1000])
def test_our_own_nodes_are_read_as_the_grid_that_they_were_written_for(resolution: int) -> None:
    found = read_georeference("g", spatial_attributes(REGION, resolution, 1))
    assert found.crs == grid.EUROPE.crs
    assert (found.dimensions, found.registration, found.shape) == (("y", "x"), "pixel", REGION.shape(resolution, 1))
    for ours, theirs in zip(found.centres(), REGION.coordinates(resolution, 1), strict=True):
        assert (ours == theirs).all()
    assert read_georeference("g", multiscale_attributes(REGION, {CELL: ["0", "1"]})).levels == ("0", "1")


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"proj:code": "epsg:3035"}, "proj:code is 'epsg:3035'"),
        ({"proj:code": "EPSG:999999"}, "proj:code is no CRS that PROJ knows"),
        ({"spatial:dimensions": []}, "spatial:dimensions must name"),
        ({"spatial:transform": [1.0] * 4}, "spatial:transform has 4 numbers"),
        ({"spatial:registration": "centre"}, "spatial:registration is 'centre'"),
        ({"multiscales": {"layout": [{"asset": "1", "derived_from": "0"}]}}, "multiscales has the level"),
    ],
)
def test_what_breaks_a_convention_is_named(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(CubeError, match=f"^c.zarr/inputs: {fault}.*; write this attribute as its convention says.$"):
        read_georeference("c.zarr/inputs", {**spatial_attributes(REGION, CELL), **changes})
