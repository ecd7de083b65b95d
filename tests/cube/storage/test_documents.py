"""Documents: whole or not there, never half; a store that fails is no answer; nobody's change is undone by another's."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from cube.errors import CubeError
from cube.storage.documents import Documents
from tests.support.s3 import FaultyS3


@pytest.fixture(params=["local", "memory", "s3", "gs"])
def documents(request: pytest.FixtureRequest, tmp_path: Path) -> Documents:
    if request.param == "s3":
        return Documents(request.getfixturevalue("s3").url + "/cube.zarr")
    if request.param == "gs":
        return Documents(request.getfixturevalue("gs"))
    return Documents(str(tmp_path / "c.zarr") if request.param == "local" else f"memory://{tmp_path.name}.zarr")


@pytest.fixture
def hasty(s3: FaultyS3, monkeypatch: pytest.MonkeyPatch) -> FaultyS3:
    """The botocore of these tests gives up after two tries, or they would wait for its growing pauses."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    return s3


def test_what_is_written_comes_back_and_what_is_not_there_is_none(documents: Documents) -> None:
    documents.write_json("ledger/x/a.json", {"a": [1, "ä"]})
    assert documents.read_json("ledger/x/a.json") == {"a": [1, "ä"]}
    assert documents.read_json("ledger/x/b.json") is None
    assert documents.list_json("ledger/nothing") == []
    documents.remove_json("ledger/x/a.json")
    documents.remove_json("ledger/x/a.json")
    assert documents.read_json("ledger/x/a.json") is None


def test_a_truncated_receipt_counts_as_none_and_any_other_truncated_document_is_an_error(tmp_path: Path) -> None:
    documents = Documents(str(tmp_path))
    documents.write_json("ledger/x/a.json", {"a": 1})
    (tmp_path / "ledger/x/b.json").write_text('{"a": ')
    assert documents.list_json("ledger/x") == ["a", "b"]
    assert dict(documents.read_folder("ledger/x")) == {"a": {"a": 1}}
    (tmp_path / "current.json").write_text('{"rel')
    with pytest.raises(CubeError, match=r"current\.json: this is no whole JSON document"):
        documents.read_json("current.json")
    assert not list(tmp_path.rglob("*.partial"))


def test_what_another_process_wrote_is_seen_after_a_listing(documents: Documents) -> None:
    other = Documents(documents.url)
    documents.write_json("ledger/x/a.json", 1)
    assert other.list_json("ledger/x") == ["a"]
    documents.write_json("ledger/x/b.json", 2)
    documents.write_json("ledger/y/c.json", 3)
    assert other.list_json("ledger/x") == ["a", "b"]
    assert other.list_json("ledger/y") == ["c"]
    documents.remove_json("ledger/x/a.json")
    assert other.list_json("ledger/x") == ["b"]


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE])
def test_a_folder_that_cannot_be_listed_is_an_error_and_not_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    documents = Documents(str(tmp_path))
    documents.write_json("ledger/x/blocks/a.json", 1)
    real = os.scandir

    def failing(folder: Any) -> Any:
        if str(folder).endswith("blocks"):
            raise OSError(number, os.strerror(number), str(folder))
        return real(folder)

    monkeypatch.setattr(os, "scandir", failing)
    with pytest.raises(OSError, match="blocks"):
        documents.versions("ledger/x")
    assert documents.versions("ledger/nothing") == {}


def test_documents_in_a_linked_folder_are_listed(tmp_path: Path) -> None:
    documents = Documents(str(tmp_path / "cube"))
    documents.write_json("ledger/x/blocks/a.json", 1)
    before = documents.versions("ledger")
    (tmp_path / "cube/ledger/x").rename(tmp_path / "another_disk")
    (tmp_path / "cube/ledger/x").symlink_to(tmp_path / "another_disk")
    assert documents.versions("ledger") == before


def test_only_the_first_of_two_creates(documents: Documents) -> None:
    assert documents.create_json("lock.json", {"holder": 1})
    assert not Documents(documents.url).create_json("lock.json", {"holder": 2})
    assert documents.read_json("lock.json") == {"holder": 1}


def test_a_change_builds_on_the_one_that_came_in_between(documents: Documents) -> None:
    documents.write_json("current.json", ["first"])
    calls = 0

    def change(before: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            Documents(documents.url).write_json("current.json", [*before, "rival"])
        return [*before, "mine"]

    assert documents.update_json("current.json", change) == ["first", "rival", "mine"]
    assert documents.read_json("current.json") == ["first", "rival", "mine"]


def test_the_first_change_of_a_document_does_not_overwrite_a_rival(documents: Documents) -> None:
    def change(before: Any) -> Any:
        if before is None:
            Documents(documents.url).write_json("current.json", ["rival"])
        return [*(before or []), "mine"]

    assert documents.update_json("current.json", change) == ["rival", "mine"]


def test_a_change_that_never_gets_through_says_so(documents: Documents) -> None:
    count = 0

    def change(before: Any) -> Any:
        nonlocal count
        count += 1
        Documents(documents.url).write_json("current.json", count)
        return "mine"

    with pytest.raises(CubeError, match="keep changing it"):
        documents.update_json("current.json", change)


def test_a_create_whose_answer_got_lost_knows_its_own_work(s3: FaultyS3) -> None:
    documents = Documents(s3.url)
    fault = s3.inject("lost", method="PUT", path="lock", times=1)
    assert documents.create_json("lock.json", {"token": "mine"})
    assert fault.struck == 1


@pytest.mark.slow
@pytest.mark.parametrize("status", [500, 503, 403])
def test_a_store_that_fails_is_not_a_document_that_is_not_there(hasty: FaultyS3, status: int) -> None:
    documents = Documents(hasty.url)
    documents.write_json("ledger/x/a.json", 1)
    hasty.inject("status", method="GET", status=status)
    for ask in (lambda: documents.read_json("ledger/x/a.json"), lambda: list(documents.read_folder("ledger/x"))):
        with pytest.raises(OSError, match=r"s3://.*ledger/x"):
            ask()


def test_passing_failures_are_waited_out(s3: FaultyS3) -> None:
    documents = Documents(s3.url)
    faults = [
        s3.inject("status", method="PUT", path="a.json", status=503, times=1),
        s3.inject("drop", method="GET", path="a.json", times=1),
        s3.inject("truncate", method="GET", path="a.json", times=1),
    ]
    documents.write_json("ledger/x/a.json", {"long": "x" * 2000})
    assert documents.read_json("ledger/x/a.json") == {"long": "x" * 2000}
    assert [fault.struck for fault in faults] == [1, 1, 1]


def test_a_bucket_that_is_gone_is_not_an_empty_one(s3: FaultyS3) -> None:
    with pytest.raises(OSError, match="bucket"):
        Documents("s3://no-such-bucket-here").read_json("current.json")
