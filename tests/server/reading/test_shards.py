"""Chunks read straight from their shards are what Zarr reads, whatever lies in them; what is damaged is an error, not a hole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.codecs import BytesCodec, ZstdCodec

from cube.errors import CubeError
from server.errors import StoreError
from server.reading.shards import Shards, fetch


def read(shards: Shards, chunk: tuple[int, ...]) -> np.ndarray | None:
    shard, row = shards.place(chunk)
    (tail,) = fetch(shards.store, [shards.index_request(shard)])
    request = shards.chunk_request(shard, shards.index_of(shard, tail), row)
    return None if request is None else shards.decode(fetch(shards.store, [request])[0], request[0])


@settings(max_examples=25, deadline=None)
@given(
    dtype=st.sampled_from(["uint8", "uint16", "int16", "float32"]),
    compressed=st.booleans(),
    lead=st.integers(1, 5),
    counts=st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 3)),
    extent=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    seed=st.integers(0, 1000),
)
def test_every_chunk_equals_what_zarr_reads(
    tmp_path_factory: pytest.TempPathFactory,
    dtype: str,
    compressed: bool,
    lead: int,
    counts: tuple[int, int, int],
    extent: tuple[int, int],
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    chunk = (1, 7, 6)
    array = zarr.create_array(
        zarr.storage.LocalStore(tmp_path_factory.mktemp("shards")),
        name="deep/layer",
        shape=(lead, *extent),
        dtype=dtype,
        chunks=chunk,
        shards=tuple(c * n for c, n in zip(chunk, counts, strict=True)),
        fill_value=3,
        compressors=ZstdCodec(level=3) if compressed else None,
    )
    values = rng.integers(0, 9, array.shape).astype(dtype)
    values[rng.random(array.shape[0]) < 0.5] = 3  # some chunks and shards are not written
    array[...] = values
    shards = Shards.from_array(array)
    for place in np.ndindex(*(-(-n // c) for n, c in zip(array.shape, chunk, strict=True))):
        parts = tuple(slice(i * c, min((i + 1) * c, n)) for i, c, n in zip(place, chunk, array.shape, strict=True))
        found = read(shards, place)
        shown = np.full(chunk, 3, dtype) if found is None else found
        np.testing.assert_array_equal(shown[tuple(slice(0, p.stop - p.start) for p in parts)], values[parts])


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({}, "not sharded"),
        ({"shards": (8, 8), "serializer": BytesCodec(endian="big")}, "not those"),
        ({"shards": {"shape": (8, 8), "index_location": "start"}}, "not those"),
        ({"shards": (8, 8), "chunk_key_encoding": {"name": "v2", "separator": "."}}, "not those"),
    ],
)
def test_another_layout_is_refused(tmp_path: Path, more: dict[str, Any], told: str) -> None:
    array = zarr.create_array(zarr.storage.LocalStore(tmp_path), name="other", shape=(8, 8), chunks=(4, 4), dtype="u2", **more)
    with pytest.raises(CubeError, match=told):
        Shards.from_array(array)


@pytest.mark.parametrize("damage", ["index", "chunk", "truncated"])
def test_damage_is_an_error_and_not_a_hole(tmp_path: Path, damage: str) -> None:
    array = zarr.create_array(
        zarr.storage.LocalStore(tmp_path), name="layer", shape=(8, 8), chunks=(4, 4), shards=(8, 8), dtype="u1"
    )
    array[...] = np.arange(64, dtype="u1").reshape(8, 8)
    file = tmp_path / "layer/c/0/0"
    data = bytearray(file.read_bytes())
    if damage == "index":
        data[-10] ^= 255
    elif damage == "chunk":
        data[0] ^= 255
    file.write_bytes(bytes(data[:-7] if damage == "truncated" else data))
    shards = Shards.from_array(array)
    with pytest.raises(StoreError, match="damaged"):
        read(shards, (0, 0))
