"""Releases: readers follow one, go back to the one before, and never see half."""

from __future__ import annotations

from pathlib import Path

import pytest

from cube.errors import CubeError
from cube.grid import Region, Unit
from cube.storage import releases
from cube.storage.ledger import Ledger
from cube.storage.store import CubeStore, create_cube


@pytest.fixture(params=["local", "memory"])
def cube(request: pytest.FixtureRequest, tmp_path: Path) -> CubeStore:
    url = str(tmp_path / "c.zarr") if request.param == "local" else f"memory://{tmp_path.name}.zarr"
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


def test_what_is_not_there_cannot_be_published(cube: CubeStore) -> None:
    with pytest.raises(CubeError, match=r"no release 'v9'.*v1, v2"):
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
