"""A cube in a folder as a bucket of S3 that is far away, breaks or is not there, without a copy of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks import tile_web
from benchmarks.ports import free_port
from cube.storage.store import CubeStore


@dataclass(frozen=True)
class FolderStore:
    """The URL of the cube, what a process needs to find its store, and the switch of the store."""

    url: str
    environment: dict[str, str]
    address: str

    def switch(self, state: str) -> None:
        """`up`, `down` (503), `away` (nothing is found) or `flaky` (of seven requests one 503 and one broken off)."""
        tile_web.switch(self.address, state)


@contextmanager
def served(cube: CubeStore, delay: float) -> Iterator[FolderStore]:
    """The cube behind a server that answers `delay` seconds late."""
    place = Path(cube.url)
    with tile_web.serve(place.parents[1], free_port(), delay) as address:
        environment = {
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": address,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "2",
        }
        yield FolderStore(f"s3://{place.parent.name}/{place.name}", environment, address)


@contextmanager
def in_this_process(store: FolderStore) -> Iterator[str]:
    """The URL, with the environment of this process set so that it is found."""
    import s3fs

    with pytest.MonkeyPatch.context() as patch:
        for name, value in store.environment.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()  # a filesystem of an earlier test has another endpoint
        yield store.url
    s3fs.S3FileSystem.clear_instance_cache()
