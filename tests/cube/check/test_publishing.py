"""Readers follow a release only if it keeps its promises, with the tables of its versions."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import zarr
from typer.testing import CliRunner

import floracube
from cube.check.publishing import broken_rules, publish
from cube.check.rules import check
from cube.errors import CubeError
from cube.storage import releases
from cube.storage.ledger import Ledger
from cube.storage.progress import stages
from cube.storage.store import CubeStore
from tests.cube.check.damage import SQUARE, attribute
from tests.cube.check.damage import document as change_document
from tests.support.good_cube import copy_of


@pytest.fixture
def cube(good_cube: CubeStore, tmp_path: Path) -> CubeStore:
    """The good cube with a second version of all products, as a release that nobody follows yet."""
    cube = copy_of(good_cube, tmp_path)
    root = Path(cube.url)
    for folder in (*(f"products/{product}" for product in releases.PRODUCTS), "ledger/predict"):
        shutil.copytree(root / folder / "v1", root / folder / "v2")
    for receipt in (root / "ledger/predict/v2").rglob("*.json"):
        receipt.write_text(receipt.read_text().replace("/v1/", "/v2/"))
    about = {"region_km": [4803, 2894, 4815, 2900], "reference_area_m2": 100.0}
    releases.write_release(cube, "second", dict.fromkeys(releases.PRODUCTS, "v2"), about)
    return cube


def test_a_release_that_keeps_its_promises_is_followed_and_names_its_parent(cube: CubeStore) -> None:
    followed, document = publish(cube.url, "second", values=True)
    assert broken_rules(document) == []
    assert followed
    release = releases.current(cube)
    assert release["name"] == "second"
    assert list(release["parents"]) == ["first"]


def test_a_broken_promise_is_told_and_readers_stay_where_they_are(cube: CubeStore) -> None:
    attribute(cube, "products/indicators/v2/0/richness", "units", None)
    run = CliRunner().invoke(floracube.app, ["publish", cube.url, "second"])
    assert run.exit_code == 1
    assert "documented" in run.output or "metadata" in run.output
    assert releases.current(cube)["name"] == "first"
    followed, document = publish(cube.url, "second")
    assert not followed
    assert any("indicators/v2/0/richness" in sentence for sentence in broken_rules(document))


def test_values_are_read_where_that_is_asked_for(cube: CubeStore) -> None:
    array = cube.array("products/species/v2/0/occurrence")
    array[0, :50, :50] = 3
    assert publish(cube.url, "second", values=True)[0] is False
    assert releases.current(cube)["name"] == "first"


def test_what_changed_since_the_last_publication_is_checked_and_the_rest_with_all(cube: CubeStore) -> None:
    assert publish(cube.url, "first")[0]
    next((Path(cube.url) / "inputs/50m/slope/c").rglob("1")).unlink()  # behind everybody's back
    document = publish(cube.url, "second")[1]
    assert document["kept"], broken_rules(document)
    run = CliRunner().invoke(floracube.app, ["publish", cube.url, "first", "--all"])
    assert run.exit_code == 1
    assert "stored_shards" in run.output
    assert releases.current(cube)["name"] == "second"
    receipt = next((Path(cube.url) / "ledger/inputs/elevation").glob("10km*.json"))
    receipt.write_text(receipt.read_text().replace('"unit"', '"made anew": 1, "unit"'))
    assert publish(cube.url, "first")[0]  # the same values of the same inputs: nothing has changed
    receipt.write_text(receipt.read_text().replace('"slope": ', '"slope": 1'))
    assert [row["name"] for row in publish(cube.url, "second")[1]["promises"] if row["kept"] is False] == [
        "stored_shards",
        "stale_receipts",
    ]


def test_a_new_version_is_checked_to_the_last_shard(cube: CubeStore) -> None:
    assert publish(cube.url, "first")[0]
    next((Path(cube.url) / "products/species/v2/0/occurrence/c").rglob("1")).unlink()
    followed, document = publish(cube.url, "second")
    assert not followed
    assert [sentence.split(":")[0] for sentence in broken_rules(document)] == ["rule stored_shards"]


def test_metadata_are_read_of_what_has_not_changed_too(cube: CubeStore) -> None:
    assert publish(cube.url, "second")[0]
    attribute(cube, "products/indicators/v2/0/richness", "units", None)
    assert not publish(cube.url, "second", everything=True)[0]
    zarr.consolidate_metadata(cube.root.store, path="products/indicators/v2/0")
    assert not publish(cube.url, "second")[0]


def test_what_another_run_is_writing_keeps_no_release_from_readers(cube: CubeStore) -> None:
    shutil.rmtree(Path(cube.url) / "ledger/predict/v1")
    (Path(cube.url) / "products/species/v1/0/.x.partial").touch()
    assert publish(cube.url, "second")[0]


def test_a_release_is_never_changed(cube: CubeStore) -> None:
    before = cube.read_json("releases/second.json")
    releases.write_release(cube, "second", dict.fromkeys(releases.PRODUCTS, "v2"), {})
    assert cube.read_json("releases/second.json") == before
    with pytest.raises(CubeError, match=r"Release 'second' already exists\. Releases are immutable; choose another name"):
        releases.write_release(cube, "second", {"species": "v1"}, {})


def test_a_version_without_its_table_is_not_published(cube: CubeStore) -> None:
    for product in ("species", "composition", "habitats"):
        shutil.move(Path(cube.url) / f"products/{product}/v2/table", Path(cube.url) / "aside")
        with pytest.raises(CubeError, match=rf"version 'v2' of {product}, which has no products/{product}/v2/table; run"):
            publish(cube.url, "second")
        shutil.move(Path(cube.url) / "aside", Path(cube.url) / f"products/{product}/v2/table")
    assert releases.current(cube)["name"] == "first"


def test_publishing_and_rollback_change_one_file_beside_the_catalogue_of_the_release(cube: CubeStore) -> None:
    def files() -> dict[Path, tuple[int, int]]:
        found = (file for file in Path(cube.url).rglob("*") if file.is_file())
        return {file: (file.stat().st_ino, file.stat().st_mtime_ns) for file in found}

    pointer, catalogue = Path(cube.url) / "current.json", Path(cube.url) / "stac/second"
    for change in (lambda: publish(cube.url, "second"), lambda: releases.rollback(cube)):
        before = files()
        change()
        changed = {file for file, stamp in files().items() if before.get(file) != stamp}
        assert {file for file in changed if not file.is_relative_to(catalogue)} == {pointer}


RECEIPTS = ("ledger/inputs/elevation/10kmE480N289.json", f"ledger/predict/v2/overviews/{SQUARE}.json")


def zero_in_place(file: Path) -> None:
    """Damage a file as a disk does: number, time of writing and size stay."""
    before = file.stat()
    with file.open("r+b") as opened:
        opened.write(bytes(before.st_size))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.fixture
def noted(cube: CubeStore) -> CubeStore:
    """The cube with a memo of each stage, as runs leave them."""
    for stage in stages(cube):
        for path in (stage.path, f"{stage.path}/overviews"):
            Ledger(cube, path, None).update_memo()
    return cube


@pytest.mark.parametrize("receipt", RECEIPTS)
def test_a_receipt_that_was_damaged_in_place_is_told_though_a_memo_has_it(noted: CubeStore, receipt: str) -> None:
    assert publish(noted.url, "second")[0]
    zero_in_place(Path(noted.url) / receipt)
    assert any(receipt in sentence for sentence in broken_rules(publish(noted.url, "second", everything=True)[1]))
    assert any(f"write {{}} to {receipt}" in sentence for sentence in broken_rules(check(noted.url)))  # what a run looks at


def test_a_damaged_receipt_of_a_changed_stage_is_told_where_the_memo_is_believed(noted: CubeStore) -> None:
    assert publish(noted.url, "first")[0]  # of v1, so all of v2 is new
    for receipt in (*RECEIPTS[1:], "ledger/predict/v2/10kmE480N289.json"):
        whole = (Path(noted.url) / receipt).read_bytes()
        Ledger(noted, str(Path(receipt).parent.relative_to("ledger")), None).update_memo()
        zero_in_place(Path(noted.url) / receipt)
        followed, answer = publish(noted.url, "second")
        assert not followed
        assert any(receipt in sentence for sentence in broken_rules(answer))
        (Path(noted.url) / receipt).write_bytes(whole)


@pytest.mark.parametrize(
    "damage",
    [
        {"release": "gone"},
        {"previous": "gone"},
        {"release": "gone", "previous": "gone"},
        {"content": {"name": "another", "products": {}}},
        {"cube": {}},
    ],
)
def test_publishing_repairs_the_pointer(cube: CubeStore, damage: dict[str, Any]) -> None:
    change_document(cube, "current.json", lambda pointer: pointer.update(damage))
    assert not check(cube.url)["kept"]
    followed, answer = publish(cube.url, "second")
    assert broken_rules(answer) == []
    assert followed
    assert releases.current(cube)["name"] == "second"
    assert check(cube.url)["kept"]
