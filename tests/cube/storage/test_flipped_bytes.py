"""One flipped byte of a stored array is an error of whoever reads it, never another value; cubes without checksums are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ShardingCodec, ZstdCodec

from cube.errors import CubeError
from cube.grid import Region
from cube.layers.inputs import INPUTS
from cube.storage.leaves import compressors
from cube.storage.store import CubeStore, create_cube, open_cube
from server.errors import StoreError
from server.reading.shards import Shards, fetch

REGION = Region(4460, 2660, 4470, 2670, 10)
PATH = "inputs/50m/slope"
VALUES = np.random.default_rng(0).integers(0, 9000, (200, 200)).astype(np.uint16)


@pytest.fixture
def cube(tmp_path: Path) -> CubeStore:
    made = create_cube(str(tmp_path / "cube.zarr"), REGION, "t")
    made.ensure_group("inputs/50m", [INPUTS["slope"]])
    made.write_unit(PATH, next(REGION.units()), VALUES)
    return made


def flip(file: Path, place: float) -> None:
    data = bytearray(file.read_bytes())
    data[int(len(data) * place)] ^= 1
    file.write_bytes(data)


def served(shards: Shards, row: int) -> NDArray[Any]:
    """The inner chunk at `row` of the first shard, as the server reads it."""
    (tail,) = fetch(shards.store, [shards.index_request((0, 0))])
    request = shards.chunk_request((0, 0), shards.index_of((0, 0), tail), row)
    assert request is not None
    (data,) = fetch(shards.store, [request])
    return shards.decode(data, request[0])


def test_chunks_of_layers_coordinates_and_tables_carry_a_crc32c(cube: CubeStore) -> None:
    cube.write_table("products/species/v1/table", {"name": np.asarray(["Poa annua"], object)}, "species")
    sharding = cube.array(PATH).metadata.codecs[0]
    assert isinstance(sharding, ShardingCodec)
    assert [type(codec) for codec in sharding.codecs[1:]] == [ZstdCodec, Crc32cCodec]
    for path in ("inputs/50m/x", "products/species/v1/table/name"):
        assert Crc32cCodec in [type(codec) for codec in cube.array(path).metadata.codecs], path


@pytest.mark.parametrize("way", ["plain", "zarrs"])
@pytest.mark.parametrize("place", [0.02, 0.3, 0.7, 0.97, 0.9999])  # the last two lie in the index of the shard
def test_a_flipped_byte_is_an_error_of_every_way_to_read(
    cube: CubeStore, monkeypatch: pytest.MonkeyPatch, way: str, place: float
) -> None:
    monkeypatch.setenv("FLORACUBE_IO", way)
    np.testing.assert_array_equal(open_cube(cube.url).array(PATH)[...], VALUES)
    flip(Path(cube.url) / PATH / "c/0/0", place)
    with pytest.raises((ValueError, RuntimeError)):
        open_cube(cube.url).array(PATH)[...]
    shards = Shards.from_array(zarr.open_array(Path(cube.url) / PATH, mode="r"))
    assert shards is not None
    with pytest.raises(StoreError, match=r"c/0/0: .* of this shard is damaged"):
        served(shards, 0)


@pytest.mark.parametrize("old", [None, ZstdCodec(level=3), compressors(3), (Crc32cCodec(),)])
def test_layouts_with_and_without_checksums_are_read_alike(tmp_path: Path, old: object) -> None:
    """A cube of an earlier version has no checksums; what the server reads is what Zarr and its Rust codecs read."""
    array = zarr.create_array(
        zarr.storage.LocalStore(tmp_path),
        name="layer",
        shape=(200, 200),
        chunks=(100, 100),
        shards=(200, 200),
        dtype="u2",
        compressors=old,  # type: ignore[arg-type]
    )
    array[...] = VALUES
    shards = Shards.from_array(array)
    assert shards is not None
    np.testing.assert_array_equal(served(shards, 3), VALUES[100:, 100:])


def test_a_resumed_run_leaves_the_codecs_of_an_older_cube(tmp_path: Path) -> None:
    cube = create_cube(str(tmp_path / "cube.zarr"), REGION, "t")
    cube.ensure_group("inputs/50m", [INPUTS["slope"]])
    document = cube.read_json(f"{PATH}/zarr.json")
    inner = document["codecs"][0]["configuration"]["codecs"]
    document["codecs"][0]["configuration"]["codecs"] = [codec for codec in inner if codec["name"] != "crc32c"]
    cube.write_json(f"{PATH}/zarr.json", document)
    cube = open_cube(cube.url, writable=True)
    cube.ensure_group("inputs/50m", [INPUTS["slope"]])
    cube.write_unit(PATH, next(REGION.units()), VALUES)
    np.testing.assert_array_equal(open_cube(cube.url).array(PATH)[...], VALUES)


def test_a_write_returns_the_bytes_of_its_shards(cube: CubeStore) -> None:
    unit = next(REGION.units())
    shard = Path(cube.url) / PATH / "c/0/0"
    assert cube.write_unit(PATH, unit, VALUES) == {f"{PATH}/c/0/0": shard.stat().st_size}
    empty = np.full_like(VALUES, 65535)
    assert cube.write_unit(PATH, unit, empty) == {f"{PATH}/c/0/0": shard.stat().st_size if shard.exists() else 0}


def test_sizes_of_a_bucket_are_those_of_its_objects() -> None:
    cube = create_cube("memory://sizes.zarr", REGION, "t")
    cube.ensure_group("inputs/50m", [INPUTS["slope"]])
    written = cube.write_unit(PATH, next(REGION.units()), VALUES)
    assert written == {f"{PATH}/c/0/0": cube.sizes(f"{PATH}/c")["0/0"]}


@pytest.mark.parametrize("damage", ["truncated", "empty", "no JSON", "no shape", "codec", "type", "list"])
def test_unreadable_metadata_are_one_sentence_and_no_missing_layer(cube: CubeStore, damage: str) -> None:
    file = Path(cube.url) / PATH / "zarr.json"
    text = file.read_text()
    damaged = {
        "truncated": text[: len(text) // 2],
        "empty": "",
        "no JSON": text.replace(":", ";", 1),
        "list": "[]",
        "no shape": text.replace('"shape"', '"shap"'),
        "codec": text.replace('"zstd"', '"zste"'),
        "type": text.replace('"uint16"', '"uint17"'),
    }
    file.write_text(damaged[damage])
    opened = open_cube(cube.url)
    for ask in (opened.array, opened.has):
        with pytest.raises(CubeError, match=r"inputs/50m/slope/zarr\.json: is no metadata of a Zarr array or group"):
            ask(PATH)
    assert not opened.has("inputs/50m/none")


def test_a_damaged_column_of_a_table_is_one_sentence(cube: CubeStore) -> None:
    cube.write_table("products/species/v1/table", {"name": np.asarray(["Poa annua", "Poa alpina"], object)}, "species")
    flip(Path(cube.url) / "products/species/v1/table/name/c/0", 0.5)
    with pytest.raises(CubeError, match=r"products/species/v1/table: this table is damaged .*; restore it, or run the command"):
        cube.read_table("products/species/v1/table")
