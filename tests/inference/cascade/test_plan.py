"""The plan of a prediction: its units and objects are those that the prediction then leaves, and it writes nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import floracube
from cube.config import load_config
from cube.errors import ConfigError
from cube.grid import Region
from cube.storage.store import open_cube
from inference.cascade.plan import plan
from inference.cascade.predict import predict
from tests.support import tiny_run

pytestmark = pytest.mark.slow


def files(url: str) -> set[str]:
    return {os.path.relpath(os.path.join(folder, name), url) for folder, _, names in os.walk(url) for name in names}


def test_a_plan_counts_the_units_and_objects_of_the_prediction(tmp_path: Path) -> None:
    config = tiny_run.make(tmp_path, Region(4700, 2850, 4720, 2860, 10))
    before = files(config.cube_url)
    told = plan(config)
    assert files(config.cube_url) == before
    assert [row.layer for row in told.rows] == ["inputs", "species", "composition", "indicators", "(receipts)", "(tables, axes)"]
    assert {row.units for row in told.rows[:-1]} == {2}
    cube = open_cube(config.cube_url)
    arrays = [
        cube.array(path) for path in ("inputs/1km/bioclim", "inputs/50m/elevation", "inputs/50m/slope", "inputs/50m/surface")
    ]
    assert told.total.bytes_in == sum(array.size * array.dtype.itemsize for array in arrays)
    assert predict(config).failures == []
    new = files(config.cube_url) - before
    made = {path for path in new if path.startswith(("products/", "ledger/")) and "/memo/" not in path}  # which may be lost
    assert told.total.objects == len(made) + 1  # the root's own metadata are there already
    run = CliRunner().invoke(floracube.app, ["predict", str(config.path), "--plan", "--json"])
    assert run.exit_code == 0, run.output
    assert {row["units"] for row in json.loads(run.stdout)["rows"]} == {0}  # all is done
    run = CliRunner().invoke(floracube.app, ["predict", str(config.path), "--version", "v1", "--json"])
    assert run.exit_code == 0, run.output
    document, _ = json.JSONDecoder().raw_decode(run.stdout)
    assert set(document) == {"release", "units", "cells", "clipped", "failures", "report", "clipped_shares"}


def test_a_region_or_unit_that_is_not_the_cubes_is_refused_as_such(tmp_path: Path) -> None:
    config = tiny_run.make(tmp_path, Region(4700, 2850, 4720, 2860, 10), species=20)
    document = yaml.safe_load(config.path.read_text())
    grown = document | {"region": document["region"] | {"east_km": 4730}}
    for other in (grown, document | {"unit_km": 20}):
        config.path.write_text(yaml.safe_dump(other))
        for ask in (plan, predict):
            with pytest.raises(
                ConfigError, match=r"is no part of .*, which was built for \[4700, 2850, 4720, 2860\] km in units of 10"
            ):
                ask(load_config(config.path))
    config.path.write_text(yaml.safe_dump(document | {"region": document["region"] | {"east_km": 4710}}))
    assert {row.units for row in plan(load_config(config.path)).rows[:-1]} == {1}
