"""What info tells is what the receipts say: whole, half done, without products."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

import floracube
from cube.check.info import describe, text
from cube.grid import Region
from cube.storage.store import CubeStore, create_cube
from tests.support.good_cube import LAYERS, copy_of


def test_a_finished_cube_is_complete_in_every_part(good_cube: CubeStore) -> None:
    document = describe(good_cube.url)
    assert set(document["inputs"]) == {name for names in LAYERS for name in names}
    assert document["inputs"]["slope"]["stage"] == "inputs/elevation"
    assert document["inputs"]["sentinel2"]["resolution"] == "10m"
    assert all(row["complete"] and row["overviews_complete"] and row["bytes"] > 0 for row in document["inputs"].values())
    assert (document["units"], document["squares"], document["levels"]) == (2, 1, 1)
    for product, versions in document["products"].items():
        assert versions["v1"]["complete"]
        assert versions["v1"]["overviews_complete"] is (None if product == "composition" else True)
        assert versions["v1"]["releases"] == ["first"]
    assert document["current"] == "first"
    held = ", ".join(f"{product} v1" for product in ("species", "composition", "indicators", "habitats"))
    assert f"release first: {held}" in text(document)


def test_missing_receipts_are_told_unit_by_unit(good_cube: CubeStore, tmp_path: Path) -> None:
    cube = copy_of(good_cube, tmp_path)
    unit, square = "10kmE480N289", "20kmE480N288"
    (tmp_path / f"copy.zarr/ledger/inputs/elevation/{unit}.json").unlink()
    (tmp_path / f"copy.zarr/ledger/predict/v1/overviews/{square}.json").unlink()
    document = describe(cube.url)
    assert document["inputs"]["slope"]["units_done"] == 1
    assert not document["inputs"]["slope"]["complete"]
    assert document["inputs"]["surface"]["complete"]
    assert document["products"]["species"]["v1"]["complete"]
    assert not document["products"]["species"]["v1"]["overviews_complete"]
    told = text(document)
    assert "1 of 2 units" in told
    assert "overviews are not" in told


def test_an_empty_cube_says_so(tmp_path: Path) -> None:
    cube = create_cube(str(tmp_path / "c.zarr"), Region(4450, 2650, 4460, 2660, 10), "new")
    document = describe(cube.url)
    assert (document["inputs"], document["products"], document["current"]) == ({}, {}, None)
    assert "none yet" in text(document)


def test_json_of_the_command_is_the_document(good_cube: CubeStore) -> None:
    run = CliRunner().invoke(floracube.app, ["info", good_cube.url, "--json"])
    assert run.exit_code == 0, run.output
    assert json.loads(run.stdout) == describe(good_cube.url)
