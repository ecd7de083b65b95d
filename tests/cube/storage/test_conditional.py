"""Of two writers that read the same state exactly one replaces it, on every store."""

from __future__ import annotations

import json
import multiprocessing
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from obstore.store import AzureStore, GCSStore

from cube.storage import backends, conditional, local_files
from cube.storage.documents import Documents
from tests.support import cloud_server
from tests.support.s3 import FaultyS3

WRITERS = 4


@pytest.fixture(params=["local", "memory", "s3", "gs"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param in ("s3", "gs"):
        store = request.getfixturevalue(request.param)
        return store if isinstance(store, str) else f"{store.url}/cube.zarr"
    return str(tmp_path / "c.zarr") if request.param == "local" else f"memory://{tmp_path.name}.zarr"


def at_once(write: Callable[[int], bool]) -> list[bool]:
    """What each of some threads gave."""
    results: dict[int, bool] = {}
    threads = [threading.Thread(target=lambda n=n: results.update({n: write(n)})) for n in range(WRITERS)]  # type: ignore[misc]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results[n] for n in range(WRITERS)]


@pytest.mark.parametrize("first", [None, {"release": "v1"}])
def test_one_of_those_that_read_the_same_state_replaces_it(url: str, first: Any) -> None:
    if first is not None:
        Documents(url).write_json("current.json", first)
    barrier = threading.Barrier(WRITERS)

    def write(number: int) -> bool:
        before = conditional.read(url, "current.json")
        barrier.wait()  # everybody has read before anybody writes
        return conditional.replace(url, "current.json", before, json.dumps(number).encode())

    written = at_once(write)
    assert sum(written) == 1
    assert Documents(url).read_json("current.json") == written.index(True)


def test_no_change_of_many_at_once_is_lost(url: str) -> None:
    def add(number: int) -> bool:
        return bool(Documents(url).update_json("current.json", lambda before: [*(before or []), number]))

    at_once(add)
    assert sorted(Documents(url).read_json("current.json")) == list(range(WRITERS))


def _replace(folder: str, number: int, barrier: Any, results: Any) -> None:
    before = conditional.read(folder, "current.json")
    barrier.wait()
    results.put((number, conditional.replace(folder, "current.json", before, json.dumps(number).encode())))


@pytest.mark.slow
@pytest.mark.parametrize("first", [None, 9])
def test_one_of_two_processes_that_read_the_same_state_replaces_it(tmp_path: Path, first: int | None) -> None:
    if first is not None:
        Documents(str(tmp_path)).write_json("current.json", first)
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    processes = [context.Process(target=_replace, args=(str(tmp_path), n, barrier, results)) for n in range(2)]
    for process in processes:
        process.start()
    written = dict(results.get(timeout=60) for _ in processes)
    for process in processes:
        process.join()
    assert sorted(written.values()) == [False, True]
    assert written[Documents(str(tmp_path)).read_json("current.json")]
    assert [path.name for path in tmp_path.iterdir()] == ["current.json"]


def test_on_a_disk_nobody_writes_between_compare_and_replace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The window is held open: a rival that begins meanwhile waits, finds another state and writes nothing."""
    documents = Documents(str(tmp_path))
    documents.write_json("current.json", "first")
    before, rival = conditional.read(str(tmp_path), "current.json"), []
    begun, write = threading.Event(), local_files.write_file

    def compete() -> None:
        begun.set()
        rival.append(conditional.replace(str(tmp_path), "current.json", before, b'"rival"'))

    thread = threading.Thread(target=compete)

    def held_open(target: Path, data: bytes) -> None:
        if not begun.is_set():  # compared, not yet written
            thread.start()
            begun.wait()
            thread.join(0.2)
            assert rival == []
        write(target, data)

    monkeypatch.setattr(conditional, "write_file", held_open)
    assert conditional.replace(str(tmp_path), "current.json", before, b'"mine"')
    thread.join()
    assert rival == [False]
    assert documents.read_json("current.json") == "mine"


def test_a_replacement_whose_answer_got_lost_is_not_made_twice(s3: FaultyS3) -> None:
    documents = Documents(s3.url)
    documents.write_json("current.json", [2, 1])
    fault = s3.inject("lost", method="PUT", path="current", times=1)
    assert documents.update_json("current.json", lambda before: before[::-1]) == [1, 2]
    assert documents.read_json("current.json") == [1, 2]
    assert fault.struck == 1


def test_an_account_of_azure_is_read_from_its_connection_string(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "DefaultEndpointsProtocol=https;AccountName=flora;AccountKey=Zm9vZg==;EndpointSuffix=core.windows.net"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
    store = backends.object_store("az://container/cube.zarr")
    assert (store.config["account_name"], store.config["account_key"]) == ("flora", "Zm9vZg==")
    assert store.prefix == "cube.zarr"


@pytest.mark.parametrize("cloud", ["gs", "az"])
def test_the_conditions_of_google_and_azure_go_over_the_wire(cloud: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through obstore's own clients, against a server that keeps their conditions as they are documented."""
    with cloud_server.served() as server:
        endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        plain = {"client_options": {"allow_http": True}}
        stores = {
            "gs": lambda: GCSStore(
                "bucket",
                prefix="c.zarr",
                base_url=endpoint,
                credential_provider=lambda: {"token": "t", "expires_at": None},
                **plain,
            ),
            "az": lambda: AzureStore(
                "bucket", prefix="c.zarr", account_name="a", account_key="Zm9vZg==", endpoint=f"{endpoint}/a", **plain
            ),
        }
        store = stores[cloud]()
        monkeypatch.setattr(backends, "object_store", lambda url: store)
        url = f"{cloud}://bucket/c.zarr"
        absent = conditional.read(url, "current.json")
        assert absent == conditional.ABSENT
        assert conditional.replace(url, "current.json", absent, b'"first"')
        assert not conditional.replace(url, "current.json", absent, b'"rival"')
        first = conditional.read(url, "current.json")
        assert first.data == b'"first"'
        assert conditional.replace(url, "current.json", first, b'"second"')
        assert not conditional.replace(url, "current.json", first, b'"rival"')
        assert conditional.read(url, "current.json").data == b'"second"'
        conditions = {
            "gs": (("x-goog-if-generation-match", "0"), ("x-goog-if-generation-match", "1000")),
            "az": (("If-None-Match", "*"), ("If-Match", '"1000"')),
        }
        create, update = conditions[cloud]
        assert server.conditions == [create, create, update, update]
