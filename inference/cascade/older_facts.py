"""Facts of whole maps for versions that were made before there were any: counted from their maps, which stay as they are.

Receipts get the checksums and sizes of the facts, and squares what follows from that for them, so that nothing is built
anew. Readers see the facts once all are there; a run that was cut off is run again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cube.errors import CubeError
from cube.pyramids.facts import Facts, add_arrays, announce, measured, plan_facts, read_facts, write_square
from cube.pyramids.squares import tree
from cube.storage import lock, releases
from cube.storage.ledger import Ledger, fingerprint
from cube.storage.progress import Stage, square_inputs, version_stage
from cube.storage.store import CubeStore, open_cube
from inference.cascade.fidelity import write_documents


def add_facts(url: str, release: str) -> list[str]:
    """Add facts to the versions that `release` of the cube at `url` names and that have none; returns their names.

    Raises `CubeError` for an unknown release and a version that is not complete.
    """
    cube = open_cube(url, writable=True)
    products: Mapping[str, str] = releases.read(cube, release)["products"]
    without = sorted({version for product, version in products.items() if read_facts(cube, product, version) is None})
    for version in without:
        stage = version_stage(cube, version)
        with lock.held(cube, stage.path):
            _add(cube, stage, version)
    write_documents(cube, products)
    return without


def _add(cube: CubeStore, stage: Stage, version: str) -> None:
    products = dict.fromkeys(stage.layers, version)
    every = [plan_facts(cube, product, version, products) for product in products]
    for facts in every:
        add_arrays(cube, facts)
    before, after = _units(cube, stage, every)
    squares = tree(cube.region, tuple(stage.region.units()))
    covered = {*after, *(square.name for square in squares)}
    for square in squares:
        old, new = (square_inputs(square, covered, fingerprints) for fingerprints in (before, after))
        assert old is not None
        assert new is not None
        ledger = Ledger(cube, f"{stage.path}/overviews", new)
        receipt = ledger.any(square.name)
        if receipt is None or receipt["inputs"] not in (old, new):
            raise _incomplete(cube, version, f"overview {square.name} is missing or old")
        if receipt["inputs"] == old:
            ledger.leave(square.name, _with(receipt, *write_square(cube, every, square)) | {"inputs": new})
        before[square.name], after[square.name] = old, new
    for part in (stage.path, f"{stage.path}/overviews"):
        Ledger(cube, part, stage.inputs).compact()
    for facts in every:
        announce(cube, facts)


def _units(cube: CubeStore, stage: Stage, every: Sequence[Facts]) -> tuple[dict[str, str], dict[str, str]]:
    """Count every unit; fingerprints of the units without facts and with them."""
    ledger, names = Ledger(cube, stage.path, stage.inputs), {f"facts {facts.product}" for facts in every}
    before, after = {}, {}
    for unit in stage.region.units():
        receipt = ledger.valid(unit.name)
        if receipt is None:
            raise _incomplete(cube, stage.path.removeprefix("predict/"), f"unit {unit.name} has no receipt")
        if not names <= receipt["checksums"].keys():
            receipt = _with(receipt, *measured(cube, every, unit).write())
            ledger.leave(unit.name, receipt)
        maps = {name: value for name, value in receipt["checksums"].items() if name not in names}
        before[unit.name], after[unit.name] = fingerprint({**receipt, "checksums": maps}), fingerprint(receipt)
    return before, after


def _with(receipt: Mapping[str, Any], checksums: Mapping[str, int], sizes: Mapping[str, int]) -> dict[str, Any]:
    return {**receipt, "checksums": {**receipt["checksums"], **checksums}, "sizes": {**receipt.get("sizes", {}), **sizes}}


def _incomplete(cube: CubeStore, version: str, what: str) -> CubeError:
    return CubeError(f"{cube.url}: version '{version}' is not complete ({what}); run `floracube predict` with this --version.")
