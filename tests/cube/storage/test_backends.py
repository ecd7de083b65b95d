"""Stores behind URLs: failures are errors and never holes, the fast ways give the values of the plain one."""

from __future__ import annotations

from pathlib import Path

import fsspec
import numpy as np
import pytest
import s3fs
from hypothesis import given, settings
from hypothesis import strategies as st

from cube.errors import CubeError
from cube.grid import Region
from cube.layers import Layer
from cube.layers.inputs import INPUTS
from cube.storage import backends
from cube.storage.store import CubeStore, create_cube, open_cube
from tests.support.s3 import FaultyS3
from tests.support.web import served

REGION = Region(4460, 2660, 4470, 2680, 10)
PATH = "inputs/50m/slope"


def filled(url: str) -> CubeStore:
    """A cube of two units, slope in the first of them."""
    cube = create_cube(url, REGION, "t")
    cube.ensure_group("inputs/50m", [INPUTS["slope"]])
    cube.write_unit(PATH, next(REGION.units()), np.arange(200 * 200, dtype=np.uint16).reshape(200, 200))
    return cube


def expected() -> np.ndarray:
    out = np.full((400, 200), 65535, np.uint16)
    out[:200] = np.arange(200 * 200).reshape(200, 200)
    return out


@pytest.mark.slow
def test_a_chunk_that_cannot_be_read_is_an_error_that_names_it_and_not_a_hole(
    s3: FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 2)
    monkeypatch.setitem(fsspec.config.conf, "s3", {"config_kwargs": {"read_timeout": 0.3}})
    array = filled(f"{s3.url}/cube.zarr").array(PATH)
    np.testing.assert_array_equal(array[:], expected())
    for fault, how in (
        ("status", {"status": 500}),
        ("status", {"status": 403}),
        ("drop", {}),
        ("truncate", {}),
        ("delay", {"seconds": 0.5}),
    ):
        s3.fix()
        s3.inject(fault, method="GET", path=f"{PATH}/c/", **how)
        with pytest.raises(OSError, match=f"{PATH}/c/0/0: "):
            array[:200]


@pytest.mark.slow
def test_passing_failures_of_every_kind_end_in_the_right_values(s3: FaultyS3) -> None:
    url = f"{s3.url}/cube.zarr"
    faults = [
        s3.inject("status", method="PUT", path="slope", status=500, every=2, times=2),
        s3.inject("lost", method="PUT", path="/c/0/0", times=1),
        s3.inject("status", method="GET", path="slope", status=503, every=3, times=2),
        s3.inject("drop", method="GET", path="/c/", times=1),
        s3.inject("truncate", method="GET", path="/c/", times=1),
        s3.inject("slow", method="GET", path="/c/", seconds=0.3, times=1),
    ]
    np.testing.assert_array_equal(filled(url).array(PATH)[:], expected())
    assert all(fault.struck for fault in faults)


@pytest.mark.slow
def test_two_openings_see_each_others_groups(s3: FaultyS3) -> None:
    url = f"{s3.url}/cube.zarr"
    writer = filled(url)
    reader = open_cube(url)
    assert reader.groups("inputs") == ["50m"]
    writer.ensure_group("inputs/1km", [INPUTS["bioclim"]], 1000)
    assert reader.groups("inputs") == ["1km", "50m"]
    assert reader.has("inputs/1km/bioclim")


def test_a_store_that_cannot_be_reached_is_one_sentence(s3: FaultyS3, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(f"{s3.url}/cube.zarr")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3.inject("status", status=403)
    for attempt in (lambda: open_cube(f"{s3.url}/cube.zarr"), lambda: create_cube(f"{s3.url}/other.zarr", REGION, "t")):
        with pytest.raises(CubeError, match="check the URL, the credentials and your permissions"):
            attempt()


def test_a_truncated_shard_is_an_error(tmp_path: Path) -> None:
    array = filled(str(tmp_path)).array(PATH)
    shard = tmp_path / PATH / "c/0/0"
    for size in (0, 7, shard.stat().st_size - 1):
        shard.write_bytes(shard.read_bytes()[:size])
        with pytest.raises(Exception, match=r".+"):
            array[:200]


def test_a_cube_on_a_web_server_is_read_with_part_requests_and_written_nowhere(tmp_path: Path) -> None:
    filled(str(tmp_path / "cube.zarr"))
    with served(tmp_path) as url:
        cube = open_cube(f"{url}/cube.zarr")
        np.testing.assert_array_equal(cube.array(PATH)[:], expected())
        assert not cube.has("inputs/10m")
        assert cube.read_json("current.json") is None
        for refused in (
            lambda: open_cube(f"{url}/cube.zarr", writable=True),
            lambda: create_cube(f"{url}/new.zarr", REGION, "t"),
            lambda: cube.write_json("current.json", 1),
            lambda: cube.remove_json("current.json"),
        ):
            with pytest.raises(CubeError, match="can only be read"):
                refused()
        with pytest.raises(CubeError, match="lists no 'ledger/x'"):
            cube.list_json("ledger/x")


def test_a_web_server_without_part_requests_is_named(tmp_path: Path) -> None:
    cube = create_cube(str(tmp_path / "cube.zarr"), REGION, "t")
    cube.ensure_group("inputs/1km", [INPUTS["bioclim"]], 1000)
    cube.write_unit("inputs/1km/bioclim", next(REGION.units()), np.ones((19, 10, 10), np.float32), 1000)
    with served(tmp_path, ranges=False) as url, pytest.raises(OSError, match="must answer range requests"):
        open_cube(f"{url}/cube.zarr").array("inputs/1km/bioclim")[3, 4, 4]


@pytest.mark.slow
def test_a_web_server_that_fails_for_the_moment_is_asked_again_and_one_that_fails_for_good_is_no_hole(s3: FaultyS3) -> None:
    filled(f"{s3.url}/cube.zarr").write_json("current.json", {"release": "v1"})
    cube = open_cube(f"{s3.endpoint}/{s3.bucket}/cube.zarr")
    faults = [
        s3.inject("status", method="GET", path="/c/0/0", status=503, times=2),
        s3.inject("drop", method="GET", path="current", times=1),
    ]
    np.testing.assert_array_equal(cube.array(PATH)[:], expected())
    assert cube.read_json("current.json") == {"release": "v1"}
    assert [fault.struck for fault in faults] == [2, 1]
    s3.inject("status", method="GET", path="/c/0/0", status=403)
    with pytest.raises(OSError, match=f"{PATH}/c/0/0"):
        cube.array(PATH)[:]


@pytest.mark.parametrize(
    ("url", "words"),
    [("gs://b/c.zarr", "gcsfs"), ("az://b/c.zarr", "adlfs"), ("ftpx://b/c.zarr", "is no protocol of a cube")],
)
def test_a_missing_package_and_an_unknown_protocol_are_named(url: str, words: str) -> None:
    with pytest.raises(CubeError, match=words):
        open_cube(url)


def test_the_way_is_chosen_by_one_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLORACUBE_IO", raising=False)
    urls = ("/a", "s3://a/b", "https://a/b", "memory://a")
    assert [backends.io_backend(url) for url in urls] == ["zarrs", "plain", "plain", "plain"]
    monkeypatch.setenv("FLORACUBE_IO", "obstore+zarrs")
    assert [backends.io_backend(u) for u in ("/a", "s3://a/b", "https://a/b", "memory://a")] == [
        "zarrs",
        "obstore+zarrs",
        "obstore",
        "plain",
    ]
    monkeypatch.setenv("FLORACUBE_IO", "plain")
    assert backends.io_backend("/a") == "plain"
    monkeypatch.setenv("FLORACUBE_IO", "fast")
    with pytest.raises(CubeError, match="FLORACUBE_IO is 'fast'"):
        backends.io_backend("/a")


DTYPES = {"uint8": 255, "uint16": 65535, "int16": -32768, "float32": float("nan")}


@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_rust_codecs_read_and_write_what_the_plain_ones_do(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Any type, whole shards and parts of them, written by one and read by the other, empty shards included."""
    dtype = data.draw(st.sampled_from(sorted(DTYPES)))
    layer = Layer("value", "", dtype, DTYPES[dtype], "x", "1", ("species",))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    values = rng.integers(0, 200, (5, 400, 200)).astype(dtype)
    if data.draw(st.booleans()):
        values[:, :200] = DTYPES[dtype]
    rows = slice(*sorted(data.draw(st.lists(st.integers(0, 400), min_size=2, max_size=2, unique=True))))
    cols = slice(*sorted(data.draw(st.lists(st.integers(0, 200), min_size=2, max_size=2, unique=True))))
    species = data.draw(st.sampled_from([slice(None), slice(1, 3), 2, [0, 3]]))
    folder = tmp_path_factory.mktemp("ways")
    ways = ("plain", "zarrs")
    with pytest.MonkeyPatch.context() as patch:
        for writer in ways:
            patch.setenv("FLORACUBE_IO", writer)
            cube = create_cube(str(folder / writer), REGION, "t")
            cube.ensure_group("g", [layer], labels={"species": np.arange(5).astype(str).astype(object)})
            array = cube.array("g/value")
            array[:] = values
            array[1, rows, cols] = values[3, rows, cols]
        truth = values.copy()
        truth[1, rows, cols] = values[3, rows, cols]
        for writer in ways:
            for reader in ways:
                patch.setenv("FLORACUBE_IO", reader)
                cube = open_cube(str(folder / writer))
                np.testing.assert_array_equal(cube.array("g/value")[species, rows, cols], truth[species, rows, cols])
                np.testing.assert_array_equal(cube.array("g/value")[..., rows, cols], truth[..., rows, cols])
                assert [str(s) for s in cube.array("g/species")[:]] == list("01234")


@pytest.mark.parametrize("way", ["obstore", "obstore+zarrs"])
def test_rust_object_stores_give_the_values_of_the_plain_one(s3: FaultyS3, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    monkeypatch.setenv("FLORACUBE_IO", way)
    url = f"{s3.url}/cube.zarr"
    cube = filled(url)
    np.testing.assert_array_equal(cube.array(PATH)[:], expected())
    np.testing.assert_array_equal(
        open_cube(f"{s3.endpoint}/{s3.bucket}/cube.zarr").array(PATH)[150:250, 3:9], expected()[150:250, 3:9]
    )
    monkeypatch.setenv("FLORACUBE_IO", "plain")
    np.testing.assert_array_equal(open_cube(url).array(PATH)[:], expected())
    monkeypatch.setenv("FLORACUBE_IO", way)
    s3.inject("status", method="GET", path="/c/0/0", status=403)
    with pytest.raises(Exception, match=r"(?i)forbidden|denied|403"):
        cube.array(PATH)[:]
