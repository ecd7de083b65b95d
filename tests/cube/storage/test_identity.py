"""One document has one text and one hash, whatever types and places its parts came in."""

from __future__ import annotations

import datetime
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cube.storage import identity
from cube.storage.identity import canonical, digest, file_identity


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1.5, np.float64(1.5)),
        (0.25, np.float32(0.25)),
        (3, np.int16(3)),
        (True, np.bool_(True)),
        ("a", np.str_("a")),
        (0.0, -0.0),
        ((1, 2), [1, 2]),
        ({"a": 1, "b": None}, {"b": None, "a": 1}),
        ({1: 2}, {np.int64(1): 2}),
        (datetime.date(2020, 1, 2), "2020-01-02"),
    ],
)
def test_equal_values_are_one_document(one: Any, other: Any) -> None:
    assert canonical([one]) == canonical([other])


def test_other_values_are_another_document() -> None:
    values = [None, True, False, 0, 1, 2, 0.5, float("nan"), "", "1", "None", [], [1], [[1]], {}, {"a": 1}, {"a": 2}, b"", b"1"]
    assert len({digest([value]) for value in values}) == len(values)


def test_the_text_is_plain_json() -> None:
    assert canonical({"b": (np.float64(1.5), "ä"), "a": None}) == '{"a":null,"b":[1.5,"ä"]}'


@pytest.mark.parametrize("value", [object(), {1, 2}, np.zeros(2), Path("x")])
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="has no canonical form; give its fields"):
        digest([value])


@pytest.mark.parametrize("size", [10, 5000])
def test_a_file_is_its_content_wherever_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(identity, "MAX_HASHED_BYTES", 1000)
    monkeypatch.setattr(identity, "END", 100)
    file = tmp_path / "a" / "x.tif"
    file.parent.mkdir()
    file.write_bytes(bytes(range(256)) * size)
    before = file_identity(str(file))
    shutil.move(tmp_path / "a", tmp_path / "b")
    file = tmp_path / "b" / "x.tif"
    assert file_identity(str(file)) == before
    state = file.stat()
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert file_identity(str(file)) != before


def test_what_gives_a_raster_its_place_is_part_of_it(tmp_path: Path) -> None:
    file = tmp_path / "x.tif"
    file.write_bytes(b"1")
    before = file_identity(str(file))
    (tmp_path / "x.tfw").write_text("50\n0\n0\n-50\n0\n0\n")
    assert file_identity(str(file)) != before


def test_an_address_is_itself_and_nothing_is_none(tmp_path: Path) -> None:
    assert file_identity("https://host/x.tif") == "https://host/x.tif"
    assert file_identity(str(tmp_path / "none")) is None
    (tmp_path / "x").write_bytes(b"1")
    assert set(file_identity(str(tmp_path))) == {"x"}
