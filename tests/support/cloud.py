"""Google's store without Google: `gs://` by obstore's memory store, which keeps conditions of a write as the clouds do."""

from __future__ import annotations

from typing import Any

import pytest
from fsspec.registry import _registry
from obstore.fsspec import FsspecStore
from obstore.store import MemoryStore

from cube.storage import backends


class Folder:
    """What `cube.storage.conditional` asks of obstore, below a folder of a bucket."""

    def __init__(self, store: MemoryStore, folder: str) -> None:
        self.store, self.folder = store, folder

    def get(self, name: str) -> Any:
        return self.store.get(f"{self.folder}/{name}")

    def put(self, name: str, data: bytes, **options: Any) -> Any:
        return self.store.put(f"{self.folder}/{name}", data, **options)


@pytest.fixture
def gs(monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of an empty cube at `gs://`."""
    store = MemoryStore()

    class Filesystem(FsspecStore):
        protocol = "gs"
        cachable = False

        def _construct_store(self, bucket: str) -> Any:
            return store

    monkeypatch.setitem(_registry, "gs", Filesystem)
    monkeypatch.setattr(backends, "object_store", lambda url: Folder(store, url.removeprefix("gs://bucket/")))
    return "gs://bucket/cube.zarr"
