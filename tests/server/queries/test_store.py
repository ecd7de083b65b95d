"""The Zarr store over HTTP: what readers of Zarr ask for, and nothing else that lies in the folder."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import httpx
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from cube.storage.store import CubeStore
from server.errors import NotFoundError
from server.main import create_app
from server.queries.ranges import byte_range
from server.queries.store import ServedStore, StoreFile

METADATA = "/cube/products/species/v1/0/zarr.json"
CHUNK = "products/species/v1/0/occurrence/c/0/0/0"


def test_xarray_opens_the_served_store_and_reads_the_same_cells(address: str, cube: CubeStore) -> None:
    for group in ("products/species/v1/0", "products/indicators/v1/1", "inputs/1km", "products/species/v1/table"):
        served = xr.open_zarr(f"{address}/cube/{group}", consolidated=True)
        held = xr.open_zarr(f"{cube.url}/{group}", consolidated=True)
        xr.testing.assert_identical(served.load(), held.load())


def test_absent_chunks_are_not_found_and_read_as_fill(address: str, cube: CubeStore, tmp_path: Path) -> None:
    assert httpx.get(f"{address}/cube/{CHUNK[:-1]}99").status_code == 404
    served = xr.open_zarr(f"{address}/cube/products/species/v1/0", mask_and_scale=False)["occurrence"]
    assert (served[:, -1, -1] == 255).all()


def test_whole_ranges_and_suffixes_equal_the_file(client: TestClient, cube: CubeStore) -> None:
    whole = Path(cube.url, CHUNK).read_bytes()
    answer = client.get(f"/cube/{CHUNK}")
    assert (answer.status_code, answer.content, answer.headers["accept-ranges"]) == (200, whole, "bytes")
    for header, part in (
        ("bytes=0-9", whole[:10]),
        ("bytes=100-", whole[100:]),
        ("bytes=-7", whole[-7:]),
        ("bytes=5-99999999999", whole[5:]),
        ("bytes=-99999999999", whole),
    ):
        answer = client.get(f"/cube/{CHUNK}", headers={"Range": header, "Accept-Encoding": "gzip"})
        assert (answer.status_code, answer.content) == (206, part)
        assert answer.headers["content-range"].endswith(f"/{len(whole)}")
    beyond = client.get(f"/cube/{CHUNK}", headers={"Range": f"bytes={len(whole)}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(whole)}")


def test_head_tells_the_size_and_the_tag_spares_the_body(client: TestClient, cube: CubeStore) -> None:
    head, whole = client.head(METADATA), client.get(METADATA)
    assert head.content == b""
    assert int(head.headers["content-length"]) == len(whole.content) == Path(cube.url, METADATA[6:]).stat().st_size
    assert head.headers["etag"] == whole.headers["etag"]
    assert client.get(METADATA, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304
    changed = client.get(METADATA, headers={"Range": "bytes=0-3", "If-Range": '"another"'})
    assert (changed.status_code, changed.content) == (200, whole.content)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 40))
def test_a_range_is_that_of_python_slices(first: int, last: int, size: int) -> None:
    data = bytes(range(size))
    if last < first:
        assert byte_range(f"bytes={first}-{last}", size) is None
    elif first >= size:
        with pytest.raises(ValueError, match="bytes="):
            byte_range(f"bytes={first}-{last}", size)
    else:
        found = byte_range(f"bytes={first}-{last}", size)
        assert found is not None
        assert data[slice(*found)] == data[first : last + 1]


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "/",
        "zarr.json/",
        "products",
        "products/species",
        "products/x/v1/",
        "ledger/inputs/elevation/x.json",
        "../zarr.json",
        "products/../zarr.json",
        "products//zarr.json",
        "/zarr.json",
        "products/.hidden/zarr.json",
        "products/species\\..\\zarr.json",
        "products/species/v1/0/zarr.json\n",
        "products/species/\x00/zarr.json",
        ".zarr.json.partial",
        "products/species/v1/0/occurrence/c/../zarr.json",
        "releases/../current.json",
        "releases",
        "file:///etc/passwd",
        "http://127.0.0.1/zarr.json",
        "products/species/v1/0/occurrence/c/0/0/0/0/0/0/0/0/0/0",
        "a" * 500 + "/zarr.json",
    ],
)
def test_what_is_neither_metadata_nor_chunk_has_no_name(cube: CubeStore, name: str) -> None:
    Path(cube.url, "ledger", "inputs", "elevation").mkdir(parents=True, exist_ok=True)
    Path(cube.url, "ledger", "inputs", "elevation", "x.json").write_text("{}")
    with pytest.raises(NotFoundError):
        ServedStore(cube.url).find(name)


@pytest.mark.parametrize(
    "path", ["%2e%2e/secret/zarr.json", "..%2fsecret%2fzarr.json", "x%2f..%2f..%2fsecret/zarr.json", "link/zarr.json"]
)
def test_nothing_beside_the_cube_is_served_not_even_through_a_link(cube: CubeStore, tmp_path: Path, path: str) -> None:
    held = tmp_path / "held.zarr"
    held.mkdir()
    (held / "zarr.json").write_bytes(Path(cube.url, "zarr.json").read_bytes())
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "zarr.json").write_text('"secret"')
    os.symlink(secret, held / "link")
    client = TestClient(create_app([str(held)]))
    assert client.get("/cube/zarr.json").status_code == 200
    answer = client.get(f"/cube/{path}")
    assert answer.status_code == 404
    assert "secret" not in answer.text


def test_a_remote_store_is_passed_on(cube: CubeStore) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(cube.url, "/served.zarr", recursive=True)
    try:
        client = TestClient(create_app(["memory://served.zarr"]))
        whole = Path(cube.url, CHUNK).read_bytes()
        assert client.get(f"/cube/{CHUNK}").content == whole
        assert client.get(f"/cube/{CHUNK}", headers={"Range": "bytes=-16"}).content == whole[-16:]
        assert client.head(f"/cube/{CHUNK}").headers["content-length"] == str(len(whole))
        assert client.get("/cube/products/species/v1/0").status_code == 404
    finally:
        memory.rm("/served.zarr", recursive=True)


def test_each_of_several_cubes_has_its_store(cube: CubeStore, tmp_path: Path) -> None:
    client = TestClient(create_app([cube.url, cube.url]))
    whole = Path(cube.url, "zarr.json").read_bytes()
    for root in ("", "/cubes/synthetic", "/cubes/synthetic_"):
        assert client.get(f"{root}/cube/zarr.json").content == whole
    assert np.all([client.get(f"{root}/cube/").status_code == 404 for root in ("", "/cubes/synthetic")])


def test_files_of_the_store_wait_for_each_other_and_nobody_for_them(
    client: TestClient, cube: CubeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, leave = threading.Event(), threading.Event()
    found = ServedStore.find

    def slow(self: ServedStore, name: str) -> StoreFile:
        inside.set()
        assert leave.wait(30)
        return found(self, name)

    monkeypatch.setattr(ServedStore, "find", slow)
    with client, ThreadPoolExecutor(100) as pool:
        try:
            answers = [pool.submit(client.get, "/cube/zarr.json") for _ in range(80)]
            assert inside.wait(30)
            while sum(answer.done() for answer in answers) < 80 - 64:  # 16 are read, 48 wait
                leave.wait(0.01)
            assert client.get(f"/point/{16.77},{49.02}").status_code == 200
        finally:
            leave.set()
        statuses = sorted(answer.result().status_code for answer in answers)
    assert statuses == [200] * 64 + [503] * 16
