"""Facts that are added to an older version are those that `predict` would have written, and nothing else changes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from cube.check import check
from cube.errors import CubeError
from cube.pyramids.facts import all_facts, read_facts
from cube.pyramids.squares import tree
from cube.storage import releases
from cube.storage.ledger import Ledger, fingerprint, receipts
from cube.storage.progress import square_inputs, version_stage
from cube.storage.store import CubeStore
from inference.cascade import older_facts
from tests.support.good_cube import copy_of

PRODUCTS = dict.fromkeys(releases.PRODUCTS, "v1")


def without_facts(cube: CubeStore) -> None:
    """Make version v1 what a floracube from before there were facts would have left."""
    for product in PRODUCTS:
        shutil.rmtree(Path(cube.url) / f"products/{product}/v1/facts")
    stage = version_stage(cube, "v1")

    def stripped(receipt: Any) -> dict[str, Any]:
        checksums = {name: value for name, value in receipt["checksums"].items() if not name.startswith("facts ")}
        return {**receipt, "checksums": checksums, "sizes": {k: v for k, v in receipt["sizes"].items() if "/facts/" not in k}}

    fingerprints = {}
    for name, receipt in list(receipts(cube, stage.path)):
        Ledger(cube, stage.path, stage.inputs).leave(name, stripped(receipt))
        fingerprints[name] = fingerprint(stripped(receipt))
    squares = tree(cube.region, tuple(stage.region.units()))
    covered = {*fingerprints, *(square.name for square in squares)}
    for square in squares:
        ledger = Ledger(cube, f"{stage.path}/overviews", None)
        inputs = str(square_inputs(square, covered, fingerprints))
        ledger.leave(square.name, {**stripped(ledger.any(square.name)), "inputs": inputs})
        fingerprints[square.name] = inputs


def everything(cube: CubeStore) -> dict[str, Any]:
    """All figures, and what receipts say of values."""
    figures = {f"{one.path}/{n}": cube.array(one.array(n))[:].tolist() for one in all_facts(cube, PRODUCTS) for n in (0, 1)}
    signed = {
        f"{stage}/{name}": (receipt["inputs"], receipt["checksums"], receipt["sizes"])
        for stage in ("predict/v1", "predict/v1/overviews")
        for name, receipt in receipts(cube, stage)
    }
    return {**figures, **signed}


@pytest.fixture
def older(good_cube: CubeStore, tmp_path: Path) -> CubeStore:
    cube = copy_of(good_cube, tmp_path)
    without_facts(cube)
    assert check(cube.url)["kept"]
    return cube


def test_an_older_version_gets_the_facts_that_predict_would_have_written(older: CubeStore, good_cube: CubeStore) -> None:
    assert older_facts.add_facts(older.url, "first") == ["v1"]
    assert everything(older) == everything(good_cube)
    document = check(older.url, values=True)
    assert document["kept"], document
    assert older_facts.add_facts(older.url, "first") == []


def test_facts_that_were_cut_off_are_seen_by_nobody_and_completed_by_the_next_run(
    older: CubeStore, good_cube: CubeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(older_facts, "write_square", killed)
        with pytest.raises(KeyboardInterrupt):
            older_facts.add_facts(older.url, "first")
    assert read_facts(older, "species", "v1") is None
    older_facts.add_facts(older.url, "first")
    assert everything(older) == everything(good_cube)


def test_a_version_that_is_not_complete_gets_none(older: CubeStore) -> None:
    stage = version_stage(older, "v1")
    Ledger(older, stage.path, stage.inputs).withdraw(next(stage.region.units()).name)
    with pytest.raises(CubeError, match=r"'v1' is not complete \(unit .* has no receipt\); run `floracube predict`"):
        older_facts.add_facts(older.url, "first")
