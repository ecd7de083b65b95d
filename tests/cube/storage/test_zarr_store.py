"""Our Zarr store keeps the contract of zarr-python's own tests, in memory and on S3."""

from __future__ import annotations

import functools
import inspect
import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from zarr.core.buffer import Buffer, cpu
from zarr.core.sync import sync
from zarr.testing.store import StoreTests

from cube.grid import Region
from cube.layers.inputs import INPUTS
from cube.storage import backends
from cube.storage.backends import RemoteStore
from cube.storage.store import create_cube
from cube.storage.whole_shards import with_metadata_once


def in_loop(test: Callable[..., Any]) -> Callable[..., Any]:
    """An asynchronous test run where Zarr itself runs stores, so that connections stay with one event loop."""

    @functools.wraps(test)
    def run(*arguments: Any, **fixtures: Any) -> None:
        sync(test(*arguments, **fixtures))

    return run


class _Contract(StoreTests[RemoteStore, cpu.Buffer]):
    store_cls = RemoteStore
    buffer_cls = cpu.Buffer

    @pytest.fixture
    def url(self) -> str:
        raise NotImplementedError

    @pytest.fixture
    def store_kwargs(self, url: str) -> dict[str, Any]:
        store = backends.zarr_store(url, read_only=False)
        assert isinstance(store, RemoteStore)
        return {"fs": store.fs, "path": store.path}

    @pytest.fixture
    def store(self, store_kwargs: dict[str, Any]) -> RemoteStore:
        return RemoteStore(**store_kwargs)

    @pytest.fixture
    def store_not_open(self, store_kwargs: dict[str, Any]) -> RemoteStore:
        return RemoteStore(**store_kwargs)

    def _filesystem(self, store: RemoteStore) -> Any:
        return fsspec.filesystem(store.fs.protocol if isinstance(store.fs.protocol, str) else store.fs.protocol[0])

    async def set(self, store: RemoteStore, key: str, value: Buffer) -> None:
        self._filesystem(store).pipe_file(f"{store.path}/{key}", value.to_bytes())

    async def get(self, store: RemoteStore, key: str) -> Buffer:
        return self.buffer_cls.from_bytes(self._filesystem(store).cat_file(f"{store.path}/{key}"))

    def test_serializable_store(self, store: RemoteStore) -> None:  # type: ignore[override]
        """As zarr's own, but unpickled in this thread: filesystems of fsspec are equal within one."""
        other: RemoteStore = pickle.loads(pickle.dumps(store))
        assert other == store
        assert other.read_only == store.read_only
        sync(other.set("foo", self.buffer_cls.from_bytes(b"1234")))
        assert sync(self.get(store, "foo")).to_bytes() == b"1234"

    def test_store_repr(self, store: RemoteStore) -> None:
        assert store.path in repr(store)

    def test_store_supports_writes(self, store: RemoteStore) -> None:
        assert store.supports_writes

    def test_store_supports_listing(self, store: RemoteStore) -> None:
        assert store.supports_listing


for name, body in inspect.getmembers(StoreTests, inspect.iscoroutinefunction):
    if name.startswith("test_") and name not in vars(_Contract):
        setattr(_Contract, name, in_loop(body))


class TestInMemory(_Contract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"memory://{tmp_path.name}/c.zarr"


@pytest.mark.slow
class TestOnS3(_Contract):
    @pytest.fixture
    def url(self, s3: Any) -> str:
        return f"{s3.url}/c.zarr"


def test_metadata_labels_and_folders_are_asked_for_once_and_values_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    cube = create_cube("memory://once.zarr", Region(4800, 2890, 4810, 2900, 10), "Once")
    cube.ensure_group("inputs/10m", [INPUTS["sentinel2"]], 10)
    path, unit = INPUTS["sentinel2"].path, next(cube.region.units())
    ones = np.ones(cube.array(path).shape, cube.array(path).dtype)
    cube.write_unit(path, unit, ones, 10)
    groups, layers, document = cube.groups("inputs"), cube.layers(), cube.read_json("inputs/10m/zarr.json")
    asked: list[str] = []

    def noted(method: Any) -> Any:
        def call(self: RemoteStore, key: str, *arguments: Any, **named: Any) -> Any:
            asked.append(f"{method.__name__} {key}")
            return method(self, key, *arguments, **named)

        return call

    for name in ("get", "list_dir"):
        monkeypatch.setattr(RemoteStore, name, noted(getattr(RemoteStore, name)))
    seen = with_metadata_once(cube)
    for _ in range(3):
        assert seen.groups("inputs") == groups
        assert seen.layers() == layers
        assert not seen.has("products/species")
        assert seen.metadata(["inputs/10m", "products"]) == [document, None]
    assert "get inputs/10m/sentinel2_band/c/0" in asked
    assert max(Counter(asked).values()) == 1
    for times in (1, 2):
        cube.write_unit(path, unit, times * ones, 10)
        np.testing.assert_array_equal(seen.array(path)[:], times * ones)
