"""Every promise is found broken by exactly the damage that breaks it, and by no other; a good cube breaks none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import floracube
from cube.check import check, text
from cube.check.rules import registered
from cube.storage.store import CubeStore
from tests.cube.check.damage import SECOND, attribute, measure
from tests.cube.check.damages import BROKEN, BROKEN_VALUES, SLOPE, Damage
from tests.support.good_cube import copy_of


def broken(document: dict[str, Any]) -> dict[str, list[dict[str, str]]]:
    return {row["name"]: row["findings"] for row in document["promises"] if row["kept"] is False}


def test_a_good_cube_keeps_every_promise(good_cube: CubeStore) -> None:
    document = check(good_cube.url, values=True)
    assert broken(document) == {}
    assert document["kept"]
    assert [row["name"] for row in document["promises"]] == list(registered())


def test_every_promise_is_tested_by_a_damage() -> None:
    assert {name for name, *_ in BROKEN + BROKEN_VALUES} == set(registered())


@pytest.mark.slow
@pytest.mark.parametrize(("name", "what", "break_it", "words"), BROKEN, ids=[f"{n}-{w}" for n, w, *_ in BROKEN])
def test_a_broken_promise_is_named_and_no_other(
    good_cube: CubeStore, tmp_path: Path, name: str, what: str, break_it: Damage, words: str
) -> None:
    cube = copy_of(good_cube, tmp_path)
    break_it(cube)
    document = check(cube.url)
    assert list(broken(document)) == [name], broken(document)
    assert words in text(document)
    assert not document["kept"]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "what", "break_it", "words"), BROKEN_VALUES, ids=[f"{n}-{w}" for n, w, *_ in BROKEN_VALUES])
def test_a_broken_promise_of_values_is_named_and_no_other(
    good_cube: CubeStore, tmp_path: Path, name: str, what: str, break_it: Damage, words: str
) -> None:
    cube = copy_of(good_cube, tmp_path)
    break_it(cube)
    measure(cube)
    document = check(cube.url, values=True)
    assert list(broken(document)) == [name], broken(document)
    assert words in text(document)


def test_a_shard_that_was_cut_off_is_found_and_ends_nothing(good_cube: CubeStore, tmp_path: Path) -> None:
    cube = copy_of(good_cube, tmp_path)
    shard = Path(cube.url) / SLOPE / "c/0/1"
    shard.write_bytes(shard.read_bytes()[:100])
    document = check(cube.url, values=True)
    found = broken(document)
    assert {"checksums", "pyramids"} <= set(found)
    assert found["checksums"][0]["path"] == f"{SLOPE} in unit {SECOND.name}"
    assert "cannot be decoded" in found["checksums"][0]["found"]
    assert [row["kept"] for row in document["promises"]].count(None) == 0


def test_the_command_ends_with_1_where_a_promise_is_broken(good_cube: CubeStore, tmp_path: Path) -> None:
    good = CliRunner().invoke(floracube.app, ["check", good_cube.url])
    assert good.exit_code == 0, good.output
    assert "--values" in good.output
    cube = copy_of(good_cube, tmp_path)
    attribute(cube, SLOPE, "units", "percent")
    bad = CliRunner().invoke(floracube.app, ["check", cube.url, "--json"])
    assert bad.exit_code == 1
    rows = {row["name"]: row for row in json.loads(bad.stdout)["promises"]}
    finding = rows["metadata"]["findings"][0]
    assert finding["path"] == "inputs/50m/slope, units"
    assert (finding["expected"], finding["found"]) == ("degree", "percent")
    assert finding["fix"]
    assert rows["checksums"]["kept"] is None
