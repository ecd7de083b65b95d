"""A server that is asked for older releases reads documents first and opens what answers, one at a time."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from cube import layers
from cube.errors import CubeError
from cube.grid import Region
from cube.storage import releases
from cube.storage.store import CubeStore, create_cube
from server.errors import BusyError
from server.main import create_app
from server.reading import catalogue, chunk_batches, snapshot
from server.reading.io import ChunkCache
from server.reading.snapshot import ServedCube, Snapshot
from tests.support.good_cube import copy_of

RELEASES = 12


def add_version(cube: CubeStore, version: str, value: float) -> None:
    group = releases.group_of("indicators", version)
    layer = layers.indicator("richness", group, "Richness", "1", 0.01, 600.0, "viridis")
    cube.ensure_group(group, [layer])
    cube.array(f"{group}/richness")[...] = layer.encode(np.full((3, *cube.region.shape()), value))


@pytest.fixture(scope="module")
def many_releases(tmp_path_factory: pytest.TempPathFactory) -> CubeStore:
    """Twelve releases, of which the last is the current one; each has a version of its own."""
    cube = create_cube(str(tmp_path_factory.mktemp("many") / "cube.zarr"), Region(4800, 2900, 4810, 2910, 10), "Many")
    for number in range(RELEASES):
        add_version(cube, f"v{number}", 10.0 + number)
        releases.write_release(cube, f"r{number}", {"indicators": f"v{number}"}, {})
    releases.publish(cube, f"r{RELEASES - 1}")
    return cube


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the releases whose catalogue was made."""
    names: list[str] = []
    build = ServedCube._build

    def noted(self: ServedCube, release: dict[str, Any], held: Snapshot | None) -> Snapshot:
        snapshot = build(self, release, held)
        names.append(snapshot.release)
        return snapshot

    monkeypatch.setattr(ServedCube, "_build", noted)
    return names


def test_a_version_opens_the_one_release_that_answers(many_releases: CubeStore, opened: list[str]) -> None:
    served = ServedCube(many_releases.url, ChunkCache())
    assert served.of_address(None, "v3", "indicators").release == "r3"
    assert served.of_address(None, "v3", "indicators").release == "r3"
    assert opened == [f"r{RELEASES - 1}", "r3"]


def test_a_token_opens_the_release_that_it_names_and_nothing_else(many_releases: CubeStore, opened: list[str]) -> None:
    served = ServedCube(many_releases.url, ChunkCache())
    for token in ("nothing", f"r{RELEASES - 1}-00000000", "r99-12345678"):
        assert served.of_address(token).release == f"r{RELEASES - 1}"
    assert opened == [f"r{RELEASES - 1}"]
    assert served.of_address("r3-00000000").release == "r3"  # of older code
    assert served.of_address(served.of_address("r3").token).release == "r3"
    assert opened == [f"r{RELEASES - 1}", "r3"]


def test_requests_for_other_releases_never_keep_the_current_one_waiting(
    many_releases: CubeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = ServedCube(many_releases.url, ChunkCache())
    inside, leave = threading.Event(), threading.Event()
    build = ServedCube._build

    def slow(self: ServedCube, release: dict[str, Any], held: Snapshot | None) -> Snapshot:
        if held is None:  # another release; a look at the current one, due each second, has it open
            inside.set()
            assert leave.wait(30)
        return build(self, release, held)

    monkeypatch.setattr(ServedCube, "_build", slow)
    with ThreadPoolExecutor(34) as pool:
        try:
            first = pool.submit(served.by_name, "r1")
            assert inside.wait(30)
            others = [pool.submit(served.of_address, None, f"v{n % 11}", "indicators") for n in range(33)]
            assert served.of_address(None).release == f"r{RELEASES - 1}"
            while sum(other.done() for other in others) < 33 - 7:  # one is being opened, seven more may wait
                leave.wait(0.01)
            assert all(isinstance(other.exception(), BusyError) for other in others if other.done())
        finally:
            leave.set()
        assert first.result(30).release == "r1"


def test_the_value_of_one_species_reads_one_chunk(cube: CubeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    client = TestClient(create_app([cube.url]))
    assert client.get("/layers/species.fagus_sylvatica").status_code == 200
    fetch, wanted = chunk_batches.fetch, []

    def counted(store: Any, ranges: Any) -> Any:
        wanted.extend(key for key, _ in ranges)
        return fetch(store, ranges)

    monkeypatch.setattr(chunk_batches, "fetch", counted)
    answer = client.get("/layers/species.fagus_sylvatica/cell/16.77,49.02")
    assert answer.json()["inside"]
    assert len(wanted) <= 2  # the index of one shard, one chunk of it


def test_a_pointer_that_is_not_found_for_a_moment_is_no_cube_without_a_release(
    many_releases: CubeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store comes back between the reading of `current.json` and that of the rest."""
    served = ServedCube(many_releases.url, ChunkCache())
    with monkeypatch.context() as patch:
        patch.setattr(CubeStore, "read_json", lambda self, name: None)
        served._last_check = float("-inf")
        assert served.snapshot().release == f"r{RELEASES - 1}"
        assert served.snapshot().catalogue.by_id["indicators.richness"]


def test_probes_of_liveness_alone_find_a_new_release_and_wait_for_no_store(
    good_cube: CubeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cube = copy_of(good_cube, tmp_path)
    client = TestClient(create_app([cube.url]))
    assert client.get("/healthz").json()["release"] == "first"
    releases.write_release(cube, "second", {"species": "v1"}, {})
    releases.publish(cube, "second")
    monkeypatch.setattr(snapshot, "POLL_SECONDS", 0.0)
    monkeypatch.setattr("server.main.PROBE_SECONDS", 30.0)
    assert client.get("/healthz").json()["release"] == "second"
    leave = threading.Event()
    monkeypatch.setattr("server.main.PROBE_SECONDS", 0.01)
    monkeypatch.setattr(ServedCube, "_read", lambda self, before: leave.wait(30) and before)
    assert client.get("/healthz").json()["release"] == "second"
    assert not leave.is_set()
    leave.set()


@pytest.mark.parametrize("lost", ["scale", "species"])
def test_names_and_scales_that_are_not_found_are_no_species_of_nothing(good_cube: CubeStore, tmp_path: Path, lost: str) -> None:
    """Zarr takes them for zeros and empty names: every map would be one of probability 0, or of another address."""
    cube = copy_of(good_cube, tmp_path)
    shutil.rmtree(Path(cube.url) / f"products/species/v1/0/{lost}/c")
    with pytest.raises(CubeError, match="species without a name or a scale"):
        ServedCube(cube.url, ChunkCache())


def test_a_store_that_goes_away_while_a_release_is_opened_gives_no_part_of_it(
    good_cube: CubeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cube, inputs = copy_of(good_cube, tmp_path), catalogue._inputs

    def away(asked: CubeStore) -> Any:
        Path(cube.url).rename(tmp_path / "away")
        return inputs(asked)

    monkeypatch.setattr(catalogue, "_inputs", away)
    with pytest.raises(CubeError, match="see whether the store is mounted"):
        ServedCube(cube.url, ChunkCache())
