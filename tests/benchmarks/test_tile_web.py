"""The stand-in for S3 takes what its clients send: objects in parts, and the removal of many at once."""

from __future__ import annotations

import os
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store
from s3fs import S3FileSystem

from benchmarks import tile_web
from benchmarks.ports import free_port
from cube.storage import backends


def test_objects_come_in_parts_and_go_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bucket").mkdir()
    data = os.urandom(11 * 2**20)
    with tile_web.serve(tmp_path, free_port(), 0.0) as address:
        for name, value in tile_web.s3_environment(address).items():
            monkeypatch.setenv(name, value)
        obstore.put(S3Store("bucket", client_options={"allow_http": True}), "a/of obstore & more", data, chunk_size=5 * 2**20)
        S3FileSystem.clear_instance_cache()  # a filesystem of an earlier test has another endpoint
        filesystem, base = backends.filesystem("s3://bucket/a")
        filesystem.pipe_file(f"{base}/of s3fs", data, chunksize=5 * 2**20)
        for name in ("of obstore & more", "of s3fs"):
            assert (tmp_path / "bucket" / "a" / name).read_bytes() == data
        filesystem.rm([f"{base}/of obstore & more", f"{base}/of s3fs"])
        assert not any((tmp_path / "bucket" / "a").iterdir())
        counts = tile_web.counts(address)
        S3FileSystem.clear_instance_cache()
    assert counts["POST"] == 5  # begin and end of each, and the removal
    assert counts["PUT"] == 6  # three parts each
