"""Releases: readers follow one, go back to the one before, and never see half."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cube.errors import CubeError
from cube.grid import Region, Unit
from cube.storage import conditional, releases
from cube.storage.ledger import Ledger
from cube.storage.store import CubeStore, create_cube


@pytest.fixture(params=["local", "memory", "s3"])
def cube(request: pytest.FixtureRequest, tmp_path: Path) -> CubeStore:
    url = str(tmp_path / "c.zarr") if request.param == "local" else f"memory://{tmp_path.name}.zarr"
    if request.param == "s3":
        url = f"{request.getfixturevalue('s3').url}/c.zarr"
    cube = create_cube(url, Region(4450, 2650, 4470, 2670, 10), "t")
    for version in ("v1", "v2"):
        cube.ensure_group(f"products/indicators/{version}/0", [])
        releases.write_release(cube, version, {"indicators": version}, {})
    return cube


def test_readers_follow_what_was_published_and_go_back(cube: CubeStore) -> None:
    assert releases.current(cube)["name"] is None
    releases.publish(cube, "v1")
    releases.publish(cube, "v2")
    assert releases.current(cube)["products"] == {"indicators": "v2"}
    assert releases.rollback(cube) == "v1"
    assert releases.current(cube)["products"] == {"indicators": "v1"}


def test_a_pointer_of_an_older_version_is_followed_and_completed_by_the_next_publication(cube: CubeStore) -> None:
    cube.write_json("current.json", {"release": "v1", "previous": None})
    assert releases.current(cube)["products"] == {"indicators": "v1"}
    releases.publish(cube, "v1")
    assert cube.read_json("current.json")["content"] == releases.read(cube, "v1")


def test_what_is_not_there_cannot_be_published(cube: CubeStore) -> None:
    with pytest.raises(CubeError, match=r"Unknown release 'v9'.*v1, v2"):
        releases.publish(cube, "v9")
    releases.write_release(cube, "v3", {"habitats": "v3"}, {})
    with pytest.raises(CubeError, match="version 'v3' of habitats"):
        releases.publish(cube, "v3")
    with pytest.raises(CubeError, match="no earlier release"):
        releases.rollback(cube)


def test_units_without_a_valid_receipt_are_missing(cube: CubeStore) -> None:
    units = list(cube.region.units())
    ledger = Ledger(cube, "x", "hash")
    ledger.sign(units[0], 0.0)
    assert ledger.missing(units) == units[1:]
    assert Ledger(cube, "x", "other").missing(units) == units
    cube.write_json(f"ledger/x/{units[1].name}.json", {"inputs": "other"})
    assert isinstance(ledger.missing(units)[0], Unit)
    assert ledger.missing(units) == units[1:]


def test_of_two_writers_of_a_release_one_creates_it(cube: CubeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("a", "b"):
        cube.ensure_group(f"products/indicators/{version}/0", [])
    barrier, replace, refused = threading.Barrier(2), conditional.replace, {}

    def together(*arguments: Any, **options: Any) -> bool:
        barrier.wait()  # both have seen that there is no such release
        return replace(*arguments, **options)

    def write(version: str) -> None:
        try:
            releases.write_release(cube, "new", {"indicators": version}, {})
        except CubeError as error:
            refused[version] = str(error)

    monkeypatch.setattr(conditional, "replace", together)
    threads = [threading.Thread(target=write, args=(version,)) for version in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (loser,) = refused
    assert "Release 'new' already exists. Releases are immutable; choose another name." in refused[loser]
    assert releases.read(cube, "new")["products"] == {"indicators": {"a": "b", "b": "a"}[loser]}


def test_the_same_release_once_more_is_left_as_it_is(cube: CubeStore) -> None:
    before = releases.read(cube, "v1")
    releases.publish(cube, "v2")  # which would be the parent of a new one
    releases.write_release(cube, "v1", {"indicators": "v1"}, {})
    assert releases.read(cube, "v1") == before


def test_two_publications_at_once_follow_each_other(cube: CubeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever is second has the other as the release to go back to: no change is lost."""
    releases.publish(cube, "v1")
    cube.ensure_group("products/indicators/v3/0", [])
    releases.write_release(cube, "v3", {"indicators": "v3"}, {})
    replace, barrier = conditional.replace, threading.Barrier(2)

    def together(*arguments: Any, **options: Any) -> bool:
        with suppress(threading.BrokenBarrierError):
            barrier.wait()
            barrier.abort()  # only the first tries wait for each other
        return replace(*arguments, **options)

    monkeypatch.setattr(conditional, "replace", together)
    threads = [threading.Thread(target=releases.publish, args=(cube, name)) for name in ("v2", "v3")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pointer = cube.read_json("current.json")
    assert {pointer["release"], pointer["previous"]} == {"v2", "v3"}


@pytest.mark.parametrize("published", [False, True])
def test_a_release_that_is_removed_meanwhile_is_not_published(
    cube: CubeStore, published: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if published:
        releases.publish(cube, "v1")
    before, replace, calls = releases.current(cube), conditional.replace, iter(range(9))

    def removed_before(*arguments: Any, **options: Any) -> bool:
        if next(calls) == 0:  # the publication has looked at the release and at the pointer, and writes now
            releases.forget(cube, "v2")
        return replace(*arguments, **options)

    monkeypatch.setattr(conditional, "replace", removed_before)
    with pytest.raises(CubeError, match="Unknown release 'v2'"):
        releases.publish(cube, "v2")
    assert releases.current(cube) == before


def test_a_release_is_not_published_while_it_is_removed(cube: CubeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    remove, answers = type(cube).remove_json, []

    def published_before(documents: CubeStore, name: str) -> None:
        if name == "releases/v2.json":
            with pytest.raises(CubeError, match="Release 'v2' is being removed"):
                releases.publish(cube, "v2")
            answers.append("refused")
            releases.publish(cube, "v1")
        remove(documents, name)

    monkeypatch.setattr(type(cube), "remove_json", published_before)
    releases.forget(cube, "v2")
    assert answers == ["refused"]
    assert releases.current(cube)["name"] == "v1"
    releases.write_release(cube, "v2", {"indicators": "v2"}, {"title": "Another of the same name"})
    releases.publish(cube, "v2")
    assert releases.current(cube)["title"] == "Another of the same name"


def test_a_reader_that_is_slow_between_pointer_and_release_gets_the_next_one(
    cube: CubeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    cube.ensure_group("products/indicators/v3/0", [])
    releases.write_release(cube, "v3", {"indicators": "v3"}, {})
    cube.write_json("current.json", {"release": "v1", "previous": None})  # of an older version: later ones hold the release
    read, calls = type(cube).read_json, iter(range(9))

    def slow(documents: CubeStore, name: str) -> Any:
        document = read(documents, name)
        if name == "current.json" and next(calls) == 0:
            monkeypatch.setattr(type(cube), "read_json", read)
            releases.publish(cube, "v2")
            releases.publish(cube, "v3")
            releases.forget(cube, "v1")
        return document

    monkeypatch.setattr(type(cube), "read_json", slow)
    assert releases.current(cube)["name"] == "v3"


def test_a_table_that_is_whole_is_left_alone_and_one_that_a_kill_cut_off_is_written_anew(tmp_path: Path) -> None:
    cube = create_cube(str(tmp_path), Region(4450, 2650, 4460, 2660, 10), "t")
    columns = {"code": np.array(["T1", "R2"], object), "share": np.array([0.5, np.nan])}
    folder = tmp_path / releases.table_path("habitats", "v1")

    def stamps() -> dict[Path, tuple[int, int]]:
        return {file: (file.stat().st_ino, file.stat().st_mtime_ns) for file in folder.rglob("*") if file.is_file()}

    releases.ensure_table(cube, "habitats", "v1", columns)
    before = stamps()
    releases.ensure_table(cube, "habitats", "v1", columns)
    assert stamps() == before
    for damage in (lambda f: f.unlink(), lambda f: f.write_bytes(f.read_bytes()[:-3])):
        damage(folder / "code/c/0")
        releases.ensure_table(cube, "habitats", "v1", columns)
        table = cube.read_table(releases.table_path("habitats", "v1"))
        assert list(table["code"]) == ["T1", "R2"]
        np.testing.assert_array_equal(table["share"], columns["share"])
