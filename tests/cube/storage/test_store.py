"""Cubes: what is written comes back, opens in plain xarray and rioxarray, and refuses what it cannot be."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import rioxarray  # noqa: F401  (the accessor)
import xarray as xr
import zarr
from zarr.core.buffer import Buffer
from zarr.core.sync import sync

from cube.errors import CubeError
from cube.grid import Region, Window
from cube.layers import Layer, occurrence
from cube.layers.conventions import MULTISCALES, PROJ, SPATIAL
from cube.layers.inputs import INPUTS
from cube.storage import whole_shards
from cube.storage.backends import RemoteStore
from cube.storage.store import CubeStore, create_cube, open_cube, resolution_of

REGION = Region(4455, 2663, 4468, 2680, 10)


@pytest.fixture
def cube(tmp_path: Path) -> CubeStore:
    cube = create_cube(str(tmp_path / "cube.zarr"), REGION, "test")
    for layer in INPUTS.values():
        cube.ensure_group(layer.group, [layer], resolution_of(layer))
    return cube


def test_every_input_group_opens_in_plain_xarray_with_coordinates_and_crs(cube: CubeStore) -> None:
    for group, size in (("10m", 10), ("50m", 50), ("1km", 1000)):
        data = xr.open_zarr(f"{cube.url}/inputs/{group}")
        assert data.sizes["y"] == REGION.shape(size)[0]
        for variable in data.data_vars.values():
            assert variable.rio.crs.to_epsg() == 3035
            assert variable.rio.transform() == REGION.transform(size)


def test_the_whole_cube_opens_as_one_datatree(cube: CubeStore) -> None:
    tree = xr.open_datatree(cube.url, engine="zarr", consolidated=False)
    assert {"/inputs/10m", "/inputs/50m", "/inputs/1km"} <= {node.path for node in tree.subtree}


def test_a_unit_written_comes_back_decoded_by_xarray_at_its_coordinates(cube: CubeStore) -> None:
    unit = list(REGION.units())[3]
    layer = INPUTS["elevation"]
    values = np.linspace(-10, 3000, unit.cells**2, dtype=np.float32).reshape(unit.cells, unit.cells)
    values[0, 0] = np.nan
    cube.write_unit(layer.path, unit, layer.encode(values))
    data = xr.open_zarr(f"{cube.url}/inputs/50m").elevation
    w, s, e, n = unit.bounds
    seen = data.sel(x=slice(w, e), y=slice(n, s))
    np.testing.assert_allclose(seen.values, values, atol=0.126)
    assert np.isnan(data.sel(x=slice(None, w)).values).all()


@pytest.mark.parametrize("layer", INPUTS.values(), ids=lambda layer: layer.name)
def test_encoding_is_inverted_by_decoding_within_half_a_step(layer: Layer) -> None:
    low, high = layer.valid_range or (0.0, 100.0)
    values = np.linspace(low, high, 1001)
    if not layer.dtype.startswith("float"):
        info = np.iinfo(layer.dtype)
        top = (info.max - (layer.fill == info.max)) * layer.scale + layer.offset
        values = values[values <= top]
    back = layer.decode(layer.encode(values))
    np.testing.assert_allclose(back, values, atol=layer.scale / 2 * 1.001 + 1e-4)
    assert np.isnan(layer.decode(layer.encode(np.array([np.nan]))))[0]


@pytest.mark.parametrize("left", [0, 3, 500])
def test_a_shard_at_the_edge_of_an_array_is_written_over_what_a_kill_cut_off(cube: CubeStore, left: int) -> None:
    values = np.arange(75 * 90, dtype=np.float32).reshape(75, 90)
    group = zarr.open_group(cube.url, path="inputs/50m", mode="r+")
    group.create_array("edge", shape=values.shape, dtype="f4", chunks=(50, 50), shards=(100, 100), fill_value=-1)
    everything = (slice(0, 75), slice(0, 90))
    cube.write("inputs/50m/edge", everything, values)
    shard = Path(cube.url, "inputs/50m/edge/c/0/0")
    shard.write_bytes(shard.read_bytes()[:left])
    cube.write("inputs/50m/edge", everything, values)
    np.testing.assert_array_equal(cube.array("inputs/50m/edge")[:], values)


def test_a_bucket_gets_the_shards_of_a_disk_and_loses_one_of_fill(tmp_path: Path) -> None:
    layer, region = INPUTS["surface"], Region(4700, 2850, 4710, 2860, 10)
    unit, key = next(region.units()), f"{layer.path}/c/0/0"
    values = np.arange(40_000, dtype=np.uint8).reshape(200, 200)
    disk, bucket = (
        create_cube(url, region, "one unit") for url in (str(tmp_path / "cube.zarr"), f"memory:/{tmp_path}/cube.zarr")
    )
    for cube in (disk, bucket):
        cube.ensure_group(layer.group, [layer])
    assert bucket.write_unit(layer.path, unit, values) == disk.write_unit(layer.path, unit, values)
    np.testing.assert_array_equal(bucket.array(layer.path)[:], values)
    assert bucket.write_unit(layer.path, unit, np.full_like(values, layer.fill)) == {key: 0}
    assert "c/0/0" not in bucket.sizes(layer.path)
    np.testing.assert_array_equal(bucket.array(layer.path)[:], layer.fill)


def _bucket_of_three_units(folder: Path) -> tuple[CubeStore, np.ndarray]:
    """A cube in memory and the values of its `surface`, which are three shards."""
    layer, region = INPUTS["surface"], Region(4700, 2850, 4730, 2860, 10)
    bucket = create_cube(f"memory:/{folder}/cube.zarr", region, "three units")
    bucket.ensure_group(layer.group, [layer])
    values = np.ones((200, 600), np.uint8)
    bucket.write(layer.path, (slice(0, 200), slice(0, 600)), values)
    return bucket, values


def test_after_a_write_to_a_bucket_that_failed_no_shard_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of the shards is gone by then: what is no longer there must not pass for fill."""
    bucket, values = _bucket_of_three_units(tmp_path)
    path, tries = INPUTS["surface"].path, list[str]()

    async def fail(self: RemoteStore, key: str, value: Buffer, byte_range: tuple[int, int] | None = None) -> None:
        tries.append(key)
        if len(tries) == 1:
            raise OSError("injected")
        await asyncio.sleep(0.5)  # until the caller has its error

    async def wait_for_all() -> None:
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)

    monkeypatch.setattr(RemoteStore, "set", fail)
    with zarr.config.set({"async.concurrency": 1}), pytest.raises(OSError, match="injected"):
        bucket.write(path, (slice(0, 200), slice(0, 600)), values + 1)
    sync(wait_for_all())
    np.testing.assert_array_equal(bucket.array(path)[:], values)


@pytest.mark.parametrize("fault", ["no folder", "full"])
def test_shards_go_to_a_bucket_where_the_temporary_folder_takes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    bucket, values = _bucket_of_three_units(tmp_path)
    path = INPUTS["surface"].path

    def refuse(*_: object, **__: object) -> None:
        if fault == "full":
            raise RuntimeError("No space left on device (os error 28)")
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(*((whole_shards, "_encode") if fault == "full" else (tempfile, "gettempdir")), refuse)
    sizes = bucket.write(path, (slice(0, 200), slice(0, 600)), values + 1)
    assert min(sizes.values()) > 0
    np.testing.assert_array_equal(bucket.array(path)[:], values + 1)


def test_fill_value_and_its_attribute_agree(cube: CubeStore) -> None:
    for layer in INPUTS.values():
        document = json.loads((Path(cube.url) / layer.path / "zarr.json").read_text())
        fill, attribute = document["fill_value"], document["attributes"]["_FillValue"]
        if not layer.dtype.startswith("float"):
            assert fill == attribute == layer.fill


def test_conventions_are_named_by_their_uuids(cube: CubeStore) -> None:
    attrs = json.loads((Path(cube.url) / "inputs/50m/zarr.json").read_text())["attributes"]
    named = {c["uuid"] for c in attrs["zarr_conventions"]}
    assert named == {PROJ["uuid"], SPATIAL["uuid"]}
    assert PROJ["uuid"] == "f17cb550-5864-4468-aeb7-f3180cfb622f"
    assert SPATIAL["uuid"] == "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4"
    assert MULTISCALES["uuid"] == "d35379db-88df-4056-af3a-620245f8e347"
    assert attrs["spatial:transform"] == [50, 0, 4450000, 0, -50, 2680000]


def test_shards_are_units_and_chunks_are_what_a_tile_reads(cube: CubeStore) -> None:
    names = np.asarray([f"Planta {i}" for i in range(300)], object)
    cube.ensure_group("products/species/v1/0", [occurrence("", 100)], labels={"species": names})
    array = cube.array("products/species/v1/0/occurrence")
    assert array.shards == (192, 200, 200)
    assert array.chunks == (1, 200, 200)
    big = create_cube("memory://big.zarr", Region(4400, 2600, 4500, 2700, 40), "big")
    big.ensure_group("products/species/v1/0", [occurrence("", 100)], labels={"species": names})
    assert big.array("products/species/v1/0/occurrence").chunks == (1, 400, 400)


def test_a_window_beyond_the_edge_is_fill(cube: CubeStore) -> None:
    unit = next(REGION.units())
    cube.write_unit("inputs/50m/surface", unit, np.ones((200, 200), np.uint8))
    seen = cube.read_window("inputs/50m/surface", Window(-2, -3, 5, 6))
    expected = np.full((5, 6), 255, np.uint8)
    expected[2:, 3:] = 1
    np.testing.assert_array_equal(seen, expected)


def test_another_region_at_the_same_url_is_refused(cube: CubeStore) -> None:
    with pytest.raises(CubeError, match="choose another cube URL"):
        create_cube(cube.url, Region(4455, 2663, 4469, 2680, 10), "other")


def test_what_is_no_cube_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(CubeError, match="there is no cube here"):
        open_cube(str(tmp_path / "nothing.zarr"))


def test_a_newer_format_is_refused(cube: CubeStore) -> None:
    path = Path(cube.url) / "zarr.json"
    document = json.loads(path.read_text())
    document["attributes"]["floracube"]["format"] = 99
    path.write_text(json.dumps(document))
    with pytest.raises(CubeError, match="newer than"):
        open_cube(cube.url)


ANOTHER_THREAD_ENDS_ITS_FILTERS = """
import sys, warnings
import numpy as np, zarr
from cube.storage.store import open_cube

cube = open_cube(sys.argv[1], writable=True)
of_another_thread = warnings.catch_warnings()
of_another_thread.__enter__()
create_group = zarr.Group.create_group

def while_the_other_ends(self, *args, **options):
    of_another_thread.__exit__(None, None, None)
    return create_group(self, *args, **options)

zarr.Group.create_group = while_the_other_ends
cube.write_table("tables/t", {"name": np.array(["Quercus robur"], object)}, "species")
"""


def test_what_zarr_warns_of_our_format_stays_silent_beside_other_threads(cube: CubeStore) -> None:
    script = [sys.executable, "-c", ANOTHER_THREAD_ENDS_ITS_FILTERS, cube.url]
    assert subprocess.run(script, capture_output=True, text=True, check=True).stderr == ""
