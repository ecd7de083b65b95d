"""Squares as tasks: whole, or by blocks of species where a level has few of them, with the same values and one receipt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cube.engine.workers import Workers
from cube.grid import Region
from cube.layers import occurrence
from cube.pyramids import overviews
from cube.pyramids.levels import make_levels
from cube.pyramids.overviews import Overviews, Step, build_overviews
from cube.pyramids.pyramid import NO_BLOCK, Pyramid
from cube.storage.ledger import Ledger, receipts
from cube.storage.store import CubeStore, create_cube

REGION = Region(4800, 2800, 4840, 2840, 10)  # 4 x 4 units, two levels
SPECIES = 400  # three blocks
STAGE = "predict/v1"


def predicted(folder: Path) -> tuple[CubeStore, Overviews]:
    """A cube with random maps of all species, and the pyramid to be built above them."""
    cube = create_cube(str(folder), REGION, "t")
    layer = occurrence("products/species/v1/0", 100.0)
    names = np.array([f"species {i}" for i in range(SPECIES)], object)
    cube.ensure_group(layer.group, [layer], labels={"species": names})
    array = cube.array(layer.path)
    side = REGION.shape()[0]
    coarse = np.random.default_rng(0).integers(0, 256, (SPECIES, side // 100, side // 100), np.uint8)
    array[:] = coarse.repeat(100, 1).repeat(100, 2) // 2 + (np.arange(side) % 3).astype(np.uint8)
    pyramid = Pyramid.of_product("species", "v1", [layer])
    make_levels(cube, pyramid)
    units = tuple(REGION.units())
    return cube, Overviews(STAGE, (pyramid,), units, {unit.name: "made" for unit in units})


def climbed(cube: CubeStore, above: Overviews, retries: int = 0) -> list[Step]:
    return list(build_overviews(cube.url, REGION, [above], Workers(retries=retries, first_wait=0.0)))


def values(cube: CubeStore) -> Iterator[np.ndarray[Any, Any]]:
    for level in (1, 2):
        yield np.asarray(cube.array(f"products/species/v1/{level}/occurrence")[:])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> CubeStore:
    """The pyramid that tasks of whole squares build."""
    cube, above = predicted(tmp_path_factory.mktemp("whole") / "c.zarr")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overviews, "SPLIT_BELOW", 0)
        assert all(step.is_built for step in climbed(cube, above))
    return cube


def test_blocks_of_species_give_what_whole_squares_give(whole: CubeStore, tmp_path: Path) -> None:
    cube, above = predicted(tmp_path / "c.zarr")
    steps = climbed(cube, above)
    assert [step.is_built for step in steps] == [True] * 5
    for found, expected in zip(values(cube), values(whole), strict=True):
        np.testing.assert_array_equal(found, expected)
    split, together = (dict(receipts(c, f"{STAGE}/overviews")) for c in (cube, whole))
    for name, receipt in together.items():
        assert split[name]["inputs"] == receipt["inputs"]
        assert split[name]["counts"] == receipt["counts"]
        assert split[name]["sizes"] == receipt["sizes"]
        assert set(split[name]["checksums"]) == {"occurrence 0", "occurrence 192", "occurrence 384"}
    assert not any(step.is_built for step in climbed(cube, above))


def test_a_square_without_one_of_its_blocks_has_no_receipt_and_nothing_stands_on_it(
    whole: CubeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cube, above = predicted(tmp_path / "c.zarr")
    real = overviews.build_square

    def broken(cube: CubeStore, pyramid: Pyramid, square: Any, block: int | None) -> Any:
        if (square.row, square.col, block) == (0, 1, 1):
            raise RuntimeError("a disk that fails")
        return real(cube, pyramid, square, block)

    monkeypatch.setattr(overviews, "build_square", broken)
    steps = climbed(cube, above)
    (failed,) = [step for step in steps if step.error]
    assert "a disk that fails" in str(failed.error)
    assert [step.square.level for step in steps if step.waits] == [2]
    half = np.asarray(cube.array("products/species/v1/1/occurrence")[:, :200, 200:])
    assert (half == 255).all()  # what its other blocks had written
    assert Ledger(cube, f"{STAGE}/overviews", None).any(failed.square.name) is None
    monkeypatch.setattr(overviews, "build_square", real)
    assert sum(step.is_built for step in climbed(cube, above)) == 2
    for found, expected in zip(values(cube), values(whole), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_stop_between_two_blocks_leaves_the_square_to_be_built(
    whole: CubeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cube, above = predicted(tmp_path / "c.zarr")
    real, built = overviews.build_square, list[int | None]()

    def stopped(cube: CubeStore, pyramid: Pyramid, square: Any, block: int | None) -> Any:
        if len(built) == 6:
            raise KeyboardInterrupt
        built.append(block)
        return real(cube, pyramid, square, block)

    monkeypatch.setattr(overviews, "build_square", stopped)
    with pytest.raises(KeyboardInterrupt):
        climbed(cube, above)
    assert built == [NO_BLOCK, 0, 1, 2, NO_BLOCK, 0]
    monkeypatch.setattr(overviews, "build_square", real)
    assert sum(step.is_built for step in climbed(cube, above)) == 4
    for found, expected in zip(values(cube), values(whole), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("withdrawable", [True, False])
def test_a_square_that_is_cleared_has_no_receipt_and_one_that_has_a_receipt_is_not_cleared(
    whole: CubeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, withdrawable: bool
) -> None:
    cube, above = predicted(tmp_path / "c.zarr")
    climbed(cube, above)
    changed = replace(above, fingerprints={**above.fingerprints, above.units[0].name: "made anew"})

    def away(*_: object) -> Any:
        raise OSError("the store is away")

    with monkeypatch.context() as patch:
        patch.setattr(overviews.lock, "claimed", away)  # before a part could withdraw the receipt
        if not withdrawable:
            patch.setattr(Ledger, "withdraw", away)
        (failed,) = [step for step in climbed(cube, changed) if step.error]
    assert (Ledger(cube, f"{STAGE}/overviews", None).any(failed.square.name) is None) == withdrawable
    climbed(cube, above)  # the unit is as it was
    for found, expected in zip(values(cube), values(whole), strict=True):
        np.testing.assert_array_equal(found, expected)
