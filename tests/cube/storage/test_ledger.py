"""Receipts: each unit has one, in a file of its own or in its block, and nothing that may be cut off loses any."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import fsspec
import pytest

from cube.grid import Region, Unit
from cube.storage import ledger
from cube.storage.documents import Documents
from cube.storage.ledger import COMPACT_FROM, Ledger, OpenBlocks, block_of, receipts
from tests.support.s3 import FaultyS3

REGION = Region(4480, 2720, 4800, 3040, 10)  # 32 x 32 units from a corner of a block: four blocks
UNITS = sorted(REGION.units(), key=lambda unit: (block_of(unit.name), unit.name))  # block by block
STAGE = "inputs/elevation"


def signed(cube: Documents, units: list[Unit], inputs: str = "now") -> Ledger:
    book = Ledger(cube, STAGE, inputs)
    for n, unit in enumerate(units):
        book.leave(unit.name, {"inputs": inputs, "checksums": {"elevation": n}, "counts": {"cells": 1}})
    return book


def test_a_block_is_16_units_a_side() -> None:
    assert sorted(Counter(block_of(unit.name) for unit in UNITS).values()) == [256] * 4
    assert block_of("40kmE90N546") == "40kmE1N8"


def test_compacted_receipts_are_the_same_receipts(tmp_path: Path) -> None:
    cube = Documents(str(tmp_path))
    book = signed(cube, UNITS[:300])
    (tmp_path / f"ledger/{STAGE}/notes.json").write_text("{}")  # somebody's own
    before, index = dict(receipts(cube, STAGE)), book.index()
    book.compact()
    assert dict(receipts(cube, STAGE)) == before
    assert book.index() == index
    assert book.valid(UNITS[0].name) == before[UNITS[0].name]
    assert len(cube.list_json(f"ledger/{STAGE}")) < COMPACT_FROM * 4
    assert "notes" in cube.list_json(f"ledger/{STAGE}")
    assert not list(tmp_path.rglob("*.claim"))


def test_a_receipt_of_its_own_stands_above_its_block(tmp_path: Path) -> None:
    cube = Documents(str(tmp_path))
    book = signed(cube, UNITS[:256])
    book.compact()
    unit = UNITS[5].name
    book.withdraw(unit)
    assert book.valid(unit) is None
    assert [u.name for u in book.missing(UNITS[:256])] == [unit]
    (tmp_path / f"ledger/{STAGE}/{unit}.json").write_text('{"inputs": "no')  # cut off: it is none, and neither is the block's
    assert book.valid(unit) is None
    assert [u.name for u in book.missing(UNITS[:256])] == [unit]
    book.leave(unit, {"inputs": "now", "checksums": {"elevation": 77}})
    assert book.valid(unit) == {"inputs": "now", "checksums": {"elevation": 77}}
    assert book.missing(UNITS[:256]) == []


def test_a_withdrawn_unit_leaves_its_block_when_that_is_written_again(tmp_path: Path) -> None:
    cube = Documents(str(tmp_path))
    book = signed(cube, UNITS[:256])
    book.compact()
    book.withdraw(UNITS[0].name)
    signed(cube, UNITS[1:20])
    book.compact()
    assert cube.list_json(f"ledger/{STAGE}") == []
    assert book.missing(UNITS[:256]) == [UNITS[0]]


def test_blocks_are_compacted_when_their_last_unit_has_ended(tmp_path: Path) -> None:
    cube = Documents(str(tmp_path))
    book = signed(cube, UNITS)
    blocks = OpenBlocks(book, UNITS, [unit.name for unit in UNITS[8:]])
    for unit in UNITS[8:-1]:
        blocks.finish(unit.name)
    assert len(cube.list_json(f"ledger/{STAGE}/blocks")) == 3
    blocks.finish(UNITS[-1].name)
    assert len(cube.list_json(f"ledger/{STAGE}/blocks")) == 4
    assert cube.list_json(f"ledger/{STAGE}") == []
    assert book.missing(UNITS) == []


def test_whoever_looks_at_the_receipts_is_shown_each_once_as_it_stands(tmp_path: Path) -> None:
    cube = Documents(str(tmp_path))
    book = signed(cube, UNITS[:256])
    book.compact()
    own, withdrawn = UNITS[3].name, UNITS[5].name
    book.leave(own, {"inputs": "now", "checksums": {"elevation": 77}})
    book.withdraw(withdrawn)
    looked: list[tuple[str, dict[str, Any]]] = []
    index = book.index(look=lambda stage, name, receipt: looked.append((name, dict(receipt))))
    assert len(looked) == 255  # one that was shown twice would be one too many
    assert dict(looked) == dict(receipts(cube, STAGE))
    assert index == book.index()


def test_few_receipts_stay_files_of_their_own(tmp_path: Path) -> None:
    cube = Documents(str(tmp_path))
    signed(cube, UNITS[: COMPACT_FROM - 1]).compact()
    assert len(cube.list_json(f"ledger/{STAGE}")) == COMPACT_FROM - 1


class Killed(BaseException):
    """Nothing may catch it."""


def test_a_kill_between_any_two_writes_loses_no_receipt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = 0
    for limit in range(100):
        cube = Documents(str(tmp_path / str(limit)))
        book = signed(cube, UNITS[:20])
        before = dict(receipts(cube, STAGE))
        left = limit

        def counted(real: Any) -> Any:
            def call(self: Documents, *args: Any) -> Any:
                nonlocal left
                left -= 1
                if left < 0:
                    raise Killed
                return real(self, *args)

            return call

        def one_by_one(self: Documents, folder: str, names: list[str]) -> None:
            for name in names:
                self.remove_json(f"{folder}/{name}.json")

        with monkeypatch.context() as patch:
            patch.setattr(Documents, "write_json", counted(Documents.write_json))
            patch.setattr(Documents, "remove_json", counted(Documents.remove_json))
            patch.setattr(Documents, "remove_documents", one_by_one)
            try:
                book.compact()
                ended = True
            except Killed:
                ended = False
        assert dict(receipts(cube, STAGE)) == before
        book.compact()
        assert dict(receipts(cube, STAGE)) == before
        steps = limit
        if ended:
            break
    assert steps == 22  # the block, each receipt that is in it now, and the memo


def test_a_receipt_that_is_moved_while_all_are_read_is_met(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cube = Documents(str(tmp_path))
    book = signed(cube, UNITS[:256])
    real = Documents.read_documents

    def moved_before(self: Documents, folder: str, names: list[str]) -> Any:
        monkeypatch.setattr(Documents, "read_documents", real)
        book.compact()  # after they were listed
        return real(self, folder, names)

    monkeypatch.setattr(Documents, "read_documents", moved_before)
    assert len(dict(receipts(cube, STAGE))) == 256
    assert cube.list_json(f"ledger/{STAGE}") == []


def test_a_damaged_block_is_units_without_receipts(tmp_path: Path) -> None:
    cube = Documents(str(tmp_path))
    book = signed(cube, UNITS[:256])
    book.compact()
    for block in (tmp_path / f"ledger/{STAGE}/blocks").iterdir():
        block.write_text(block.read_text()[:-40])
    assert book.missing(UNITS[:256]) == UNITS[:256]
    assert book.valid(UNITS[0].name) is None


def counted_requests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a filesystem in memory is asked for from now on."""
    filesystem, requests = fsspec.filesystem("memory"), list[str]()
    for name in ("cat_file", "ls"):
        real = getattr(type(filesystem), name)
        monkeypatch.setattr(
            type(filesystem), name, lambda self, *a, _real=real, _name=name, **k: requests.append(_name) or _real(self, *a, **k)
        )
    return requests


def test_a_compacted_stage_is_read_from_its_memo_and_changed_documents_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    cube = Documents("memory://ledger-requests")
    book = signed(cube, UNITS)
    requests = counted_requests(monkeypatch)
    before = book.index()
    assert len(before.fingerprints) == 1024
    assert Counter(requests)["cat_file"] == 1 + 1024  # no memo yet
    book.compact()
    requests.clear()
    assert book.index() == before
    assert requests.count("cat_file") == 1
    book.leave(UNITS[3].name, {"inputs": "now", "checksums": {"elevation": 7777}, "counts": {"cells": 5}})
    requests.clear()
    after = book.index()
    assert {name for name in before.fingerprints if before.fingerprints[name] != after.fingerprints[name]} == {UNITS[3].name}
    assert after.counts == {"cells": 1023 + 5}
    assert requests.count("cat_file") == 1 + 1 + 1  # the memo, the new receipt, the block whose receipt it stands above
    book.compact()
    requests.clear()
    assert book.index() == after
    assert requests.count("cat_file") == 2  # one receipt of a block stays a file of its own


def test_a_unit_begins_with_one_read_of_each_document(monkeypatch: pytest.MonkeyPatch) -> None:
    cube = Documents("memory://ledger-begin")
    signed(cube, UNITS[:40]).compact()
    later = Ledger(cube, STAGE, "later")
    requests = counted_requests(monkeypatch)
    assert later.valid_or_withdrawn(UNITS[0].name) is None
    assert requests.count("cat_file") == 2  # that there is no receipt of its own, and the block
    requests.clear()
    assert later.valid_or_withdrawn(UNITS[300].name) is None
    assert requests.count("cat_file") == 2
    receipt = {"inputs": "later", "checksums": {}}
    later.leave(UNITS[1].name, receipt)
    requests.clear()
    assert later.valid_or_withdrawn(UNITS[1].name) == receipt
    assert requests.count("cat_file") == 1
    assert UNITS[0].name not in dict(receipts(cube, STAGE))
    assert len(dict(receipts(cube, STAGE))) == 39


@pytest.mark.parametrize("compacted", [True, False])
@pytest.mark.parametrize("own", [None, "other", "damaged", "withdrawn"])
def test_what_is_not_valid_is_withdrawn_wherever_it_lies(tmp_path: Path, compacted: bool, own: str | None) -> None:
    cube = Documents(str(tmp_path))
    book = signed(cube, UNITS[:20], "later")
    if compacted:
        book.compact()
    path = tmp_path / f"ledger/{STAGE}/{UNITS[0].name}.json"
    if own is not None:
        path.write_text({"other": '{"inputs": "x", "checksums": {}}', "damaged": "text", "withdrawn": "{}"}[own])
    later = Ledger(cube, STAGE, "later" if own is not None else "last")
    assert later.valid_or_withdrawn(UNITS[0].name) is None
    assert later.any(UNITS[0].name) is None
    assert dict(receipts(cube, STAGE)).keys() == {unit.name for unit in UNITS[1:20]}


@pytest.mark.parametrize("damage", ["text", "[1]", "[" * 200_000, '{"blocks/10kmE28N17": 3}', "{}"])
def test_a_damaged_memo_is_none(tmp_path: Path, damage: str) -> None:
    cube = Documents(str(tmp_path))
    book = signed(cube, UNITS[:300])
    book.compact()
    before = book.index()
    (memo,) = (tmp_path / f"ledger/{STAGE}/memo").iterdir()
    memo.write_text(damage)
    assert book.index() == before
    book.compact()
    assert json.loads(memo.read_text())


@pytest.mark.parametrize(
    "value", [3, None, [3], [["now", ["a unit"], {}]], [["now", {"a unit": 3}, {}]], [["now", {}, {"a": "b"}]]]
)
def test_a_value_of_the_memo_of_another_shape_is_none(tmp_path: Path, value: object) -> None:
    cube = Documents(str(tmp_path))
    book = signed(cube, UNITS[:300])
    book.compact()
    before = book.index()
    (memo,) = (tmp_path / f"ledger/{STAGE}/memo").iterdir()
    whole = json.loads(memo.read_text())
    memo.write_text(json.dumps({path: {**one, "value": value} for path, one in whole.items()}))
    assert book.index() == before
    book.compact()
    assert json.loads(memo.read_text()) == whole


@pytest.mark.parametrize("damage", ["a unit less", "another fingerprint", "of another block", "as of another version"])
def test_what_a_memo_says_wrongly_is_read_from_its_document(tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cube = Documents(str(tmp_path))
    book = signed(cube, UNITS[:300])
    book.compact()
    before = book.index()
    (file,) = (tmp_path / f"ledger/{STAGE}/memo").iterdir()
    memo = json.loads(file.read_text())
    first, second = list(memo)[:2]
    fingerprints = memo[first]["value"][0][1]
    unit = next(iter(fingerprints))
    if damage == "a unit less":
        del fingerprints[unit]
    elif damage == "another fingerprint":
        fingerprints[unit] = "0" * 16
    elif damage == "of another block":
        memo[first] = {**memo[second], "version": memo[first]["version"]}
    else:
        cube.write_json(f"ledger/{STAGE}/{first}.json", {unit: {"inputs": "now", "checksums": {"elevation": 8}}})
        before = book.index()
        memo[first]["version"] = cube.versions(f"ledger/{STAGE}")[first]
    file.write_text(json.dumps(memo))
    requests: list[list[str]] = []
    read = Documents.read_documents
    monkeypatch.setattr(
        Documents, "read_documents", lambda self, folder, names: requests.append([*names]) or read(self, folder, names)
    )
    assert book.index() == before
    assert requests == [[first]]  # and no other block
    book.compact()
    requests.clear()
    assert book.index() == before
    assert requests == [[]]


def test_a_file_in_place_of_the_folder_of_the_memo_keeps_nobody_from_the_receipts(tmp_path: Path) -> None:
    cube = Documents(str(tmp_path))
    book = signed(cube, UNITS[:300])
    (tmp_path / f"ledger/{STAGE}/memo").write_text("a file")
    book.compact()
    assert book.missing(UNITS[:300]) == []


@pytest.mark.parametrize("method", ["read_json", "write_json"])
def test_a_memo_without_permission_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    cube = Documents(str(tmp_path))
    book = signed(cube, UNITS[:300])
    real = getattr(Documents, method)

    def refused(self: Documents, name: str, *args: Any) -> Any:
        if "/memo/" in name:
            raise PermissionError(13, "Permission denied", name)
        return real(self, name, *args)

    monkeypatch.setattr(Documents, method, refused)
    book.compact()
    assert book.missing(UNITS[:300]) == []


def test_a_memo_that_a_copy_brought_along_is_not_believed(tmp_path: Path) -> None:
    cube = Documents(str(tmp_path / "a"))
    signed(cube, UNITS[:300]).compact()
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (path, *_) = sorted((tmp_path / f"b/ledger/{STAGE}/blocks").iterdir())
    document = json.loads(path.read_text())
    lost = sorted(document)[0]
    path.write_text(json.dumps({name: receipt for name, receipt in document.items() if name != lost}))
    assert set(Ledger(Documents(str(tmp_path / "b")), STAGE, "now").index().fingerprints) == {
        unit.name for unit in UNITS[:300] if unit.name != lost
    }


def test_a_document_that_changes_while_it_is_noted_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cube = Documents(str(tmp_path))
    book = signed(cube, UNITS[:256])
    real = Documents.read_documents

    def changed_after(self: Documents, folder: str, names: list[str]) -> Any:
        found = list(real(self, folder, names))
        if folder.endswith(STAGE) and "blocks/" in "".join(names):
            monkeypatch.setattr(Documents, "read_documents", real)
            (path,) = (tmp_path / f"{folder}/blocks").iterdir()
            document = json.loads(path.read_text())
            cube.write_json(f"{folder}/blocks/{path.stem}.json", {UNITS[0].name: document[UNITS[0].name]})
        return found

    monkeypatch.setattr(Documents, "read_documents", changed_after)
    book.compact()
    assert set(book.index().fingerprints) == {UNITS[0].name}


def test_a_block_is_json_of_receipts_by_unit(tmp_path: Path) -> None:
    signed(Documents(str(tmp_path)), UNITS[:256]).compact()
    for path in (tmp_path / f"ledger/{STAGE}/blocks").iterdir():
        for name, receipt in json.loads(path.read_text()).items():
            assert ledger.block_of(name) == path.stem
            assert set(receipt) == {"inputs", "checksums", "counts"}


@pytest.mark.slow
def test_receipts_of_a_bucket_are_compacted_and_read_by_a_request_a_block(s3: FaultyS3) -> None:
    cube = Documents(f"{s3.url}/cube.zarr")
    book = signed(cube, UNITS[:40])
    before = dict(receipts(cube, STAGE))
    book.compact()
    start = len(s3.log)
    assert dict(receipts(cube, STAGE)) == before
    reads = [path for method, path, _ in s3.log[start:] if method == "GET" and path.endswith(".json")]
    assert len(reads) == 1
    assert cube.list_json(f"ledger/{STAGE}") == []
    book.withdraw(UNITS[0].name)
    assert book.missing(UNITS[:40]) == [UNITS[0]]


@pytest.mark.parametrize("damaged", ["text", None, [1], 5, {"inputs": 5}, {"inputs": "now"}, {"inputs": "now", "checksums": 3}])
def test_a_damaged_receipt_is_none_and_the_others_of_its_block_stay(tmp_path: Path, damaged: object) -> None:
    cube = Documents(str(tmp_path))
    book = signed(cube, UNITS[: 2 * COMPACT_FROM])
    book.compact()
    (path,) = (tmp_path / f"ledger/{STAGE}/blocks").glob("*.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), UNITS[0].name: damaged}))
    others = {unit.name for unit in UNITS[1 : 2 * COMPACT_FROM]}
    assert set(book.index().fingerprints) == {name for name, _ in receipts(cube, STAGE)} == others
    assert book.valid(UNITS[0].name) is None
    book.withdraw(UNITS[0].name)
    book.leave(UNITS[0].name, damaged if isinstance(damaged, dict) else {})
    assert set(book.index().fingerprints) == others
    path.write_text(json.dumps([damaged]))
    assert not book.index().fingerprints
