"""What the store does not find is no data only where a receipt says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from cube import grid
from cube.layers.inputs import INPUTS
from cube.storage.ledger import Ledger
from cube.storage.store import CubeStore, open_cube
from server.errors import StoreError
from server.main import create_app
from server.reading import io
from server.reading.io import ChunkCache, Reader
from tests.support.good_cube import REGION, copy_of

LON, LAT = (float(v) for v in grid.EUROPE.unproject(4_805_025.0, 2_897_025.0))


@pytest.fixture
def cube(good_cube: CubeStore, tmp_path: Path) -> CubeStore:
    return copy_of(good_cube, tmp_path)


def shards_of(cube: CubeStore, path: str) -> list[Path]:
    return sorted(file for file in (Path(cube.url) / path / "c").rglob("*") if file.is_file())


@pytest.mark.parametrize(
    ("array", "address"),
    [
        ("products/indicators/v1/0/richness", f"/layers/indicators.richness/cell/{LON},{LAT}"),
        ("products/species/v1/0/occurrence", f"/layers/species.fagus_sylvatica/cell/{LON},{LAT}"),
        ("products/indicators/v1/1/richness", "/layers/indicators.richness/cog?level=1"),
        ("products/habitats/v1/0/level3", "/layers/habitats.level3/cog"),
        ("products/composition/v1/species_id", f"/point/{LON},{LAT}"),
        ("products/indicators/v1/0/richness", "/cube/products/indicators/v1/0/richness/c/0/0/0"),
        ("inputs/50m/elevation", f"/layers/inputs.elevation/cell/{LON},{LAT}"),
    ],
)
def test_a_shard_that_is_lost_for_a_moment_is_an_error_and_is_not_remembered(cube: CubeStore, array: str, address: str) -> None:
    client = TestClient(create_app([cube.url]))
    files = shards_of(cube, array)
    assert files
    for file in files:
        file.rename(file.with_name(f"{file.name}.away"))
    lost = client.get(address)
    assert (lost.status_code, lost.json()["error"]) == (503, "store_unavailable")
    assert lost.headers["cache-control"] == "no-store"
    for file in files:
        file.with_name(f"{file.name}.away").rename(file)
    back = client.get(address)
    assert back.status_code == 200
    assert back.content == TestClient(create_app([cube.url])).get(address).content


@pytest.mark.parametrize(
    ("path", "lead"),
    [("products/indicators/v1/0/richness", (0,)), ("products/indicators/v1/1/richness", (0,)), ("inputs/50m/elevation", ())],
)
def test_a_store_that_finds_nothing_when_first_asked_for_receipts_is_not_believed(
    cube: CubeStore, path: str, lead: tuple[int, ...]
) -> None:
    """Neither then nor later: that the cube says nothing of the version must not be remembered."""
    reader, folder = Reader(open_cube(cube.url), "t", ChunkCache()), Path(cube.url)
    assert reader.source(path)
    folder.rename(folder.with_name("away"))
    with pytest.raises(StoreError):
        reader.window(path, lead, 1, (0, 150), (0, 150))
    folder.with_name("away").rename(folder)
    for file in (files := shards_of(cube, path)):
        file.rename(file.with_name(f"{file.name}.away"))
    with pytest.raises(StoreError, match="its receipt says that it was written"):
        reader.window(path, lead, 1, (0, 150), (0, 150))
    for file in files:
        file.with_name(f"{file.name}.away").rename(file)
    assert (reader.window(path, lead, 1, (0, 150), (0, 150)) != reader.array(path).fill_value).any()


def test_a_version_without_a_receipt_of_the_unit_is_an_error_and_inputs_that_are_not_built_are_no_data(cube: CubeStore) -> None:
    name = next(REGION.units()).name
    for stage, array in (("predict/v1", "products/indicators/v1/0/richness"), ("inputs/elevation", "inputs/50m/elevation")):
        Ledger(cube, stage, None).withdraw(name)
        for file in shards_of(cube, array):
            file.unlink()
    reader = Reader(open_cube(cube.url), "t", ChunkCache())
    with pytest.raises(StoreError, match="has no receipt of"):
        reader.window("products/indicators/v1/0/richness", (0,), 1, (0, 1), (0, 1))
    elevation = reader.window("inputs/50m/elevation", (), 1, (0, 1), (0, 1))
    assert elevation[0, 0] == reader.array("inputs/50m/elevation").fill_value


def test_a_shard_of_fill_that_its_receipt_counts_as_such_is_no_data(cube: CubeStore) -> None:
    unit, path = next(REGION.units()), "products/indicators/v1/0/richness"
    array = cube.array(path)
    receipt = dict(Ledger(cube, "predict/v1", None).any(unit.name) or {})
    rows, cols = cube.region.square(unit).slices
    sizes = cube.write(path, (..., rows, cols), np.full((3, 200, 200), array.fill_value, array.dtype))
    Ledger(cube, "predict/v1", None).leave(unit.name, {**receipt, "sizes": {**receipt["sizes"], **sizes}})
    reader = Reader(open_cube(cube.url), "t", ChunkCache())
    assert (reader.window(path, (0,), 1, (0, 200), (0, 200)) == array.fill_value).all()


def test_a_shard_that_was_written_anew_is_read_by_its_new_index(cube: CubeStore) -> None:
    unit, path = next(REGION.units()), "inputs/50m/elevation"
    reader = Reader(open_cube(cube.url), "t", ChunkCache())
    before = reader.window(path, (), 1, (0, 1), (0, 1))
    key = next(k for k in reader.cache._values if "index" in k)
    stale = reader.cache.get(key)
    assert stale is not None
    values = np.random.default_rng(0).integers(0, 900, (200, 200)).astype(cube.array(path).dtype)
    cube.write_unit(path, unit, values)
    reader.cache.clear()
    reader.cache.put(key, stale)  # of the shard as it was: other offsets, other bytes behind them
    assert (reader.window(path, (), 1, (0, 200), (0, 200)) == values).all()
    assert before.shape == (1, 1)


def test_inputs_are_read_anew_after_a_minute(cube: CubeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(io, "input_period", lambda: 7)
    client = TestClient(create_app([cube.url]))
    address = f"/layers/inputs.elevation/cell/{LON},{LAT}"
    first = client.get(address)
    unit = next(REGION.units())
    cube.write_unit("inputs/50m/elevation", unit, np.full((200, 200), 77, cube.array("inputs/50m/elevation").dtype))
    assert client.get(address).json() == first.json()
    monkeypatch.setattr(io, "input_period", lambda: 8)
    again = client.get(address, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.json()["value"]) == (200, 77 * INPUTS["elevation"].scale)


def test_files_of_a_cube_that_is_away_are_an_error_and_chunks_of_fill_are_not_found(cube: CubeStore) -> None:
    client = TestClient(create_app([cube.url]))
    beyond = "/cube/products/indicators/v1/0/richness/c/0/9/9"
    assert client.get(beyond).status_code == 404
    assert client.get("/cube/products/none/zarr.json").status_code == 404
    folder = Path(cube.url)
    folder.rename(folder.with_name("away"))
    for name in ("zarr.json", "products/indicators/v1/0/zarr.json", "products/indicators/v1/0/richness/c/0/0/0"):
        answer = client.get(f"/cube/{name}")
        assert (answer.status_code, answer.json()["error"]) == (503, "store_unavailable")
    folder.with_name("away").rename(folder)
    assert client.get("/cube/zarr.json").status_code == 200


def test_a_store_that_fails_is_not_asked_twice(cube: CubeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, asked = Reader(open_cube(cube.url), "t", ChunkCache()), []

    def failing(store: object, wanted: object) -> list[bytes | None]:
        asked.append(wanted)
        raise StoreError("away")

    monkeypatch.setattr("server.reading.chunk_batches.fetch", failing)
    with pytest.raises(StoreError, match="away"):
        reader.window("products/indicators/v1/0/richness", (0,), 1, (0, 1), (0, 1))
    assert len(asked) == 1
