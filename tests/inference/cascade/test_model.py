"""A model folder gives back what prediction must repeat of training, and says in one sentence what is damaged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cascade_case import make_cube, make_model
from cube.config import Config
from cube.errors import ModelError
from cube.grid import Region
from inference.calibration.richness import Richness
from inference.cascade.indicators import richness
from inference.cascade.model import load_model, save_settings
from inference.cascade.predict import fix_run

SPECIES = 5


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    cube = make_cube(str(tmp_path / "cube.zarr"), Region(4800, 2890, 4810, 2900, 10), ("surface", "elevation"))
    return make_model(tmp_path / "model", cube, SPECIES, {"d": 4, "hidden": 4})


def expected(folder: Path, p: np.ndarray) -> np.ndarray:
    return richness(load_model(folder).plan.sums(p))


def test_calibration_of_richness_is_kept_in_predict_json_and_applied(folder):
    p = np.random.default_rng(0).random((SPECIES, 7))
    before = load_model(folder)
    np.testing.assert_allclose(expected(folder, p), p.sum(0))
    intervals = json.loads((folder / "predict.json").read_text())["intervals"]
    save_settings(folder, before.recipe, intervals, Richness(1.4, 0.8))
    assert json.loads((folder / "predict.json").read_text())["richness"] == {"level": 1.4, "exponent": 0.8}
    np.testing.assert_allclose(expected(folder, p), 1.4 * p.sum(0) ** 0.8)
    after = load_model(folder)
    assert after.hash != before.hash  # maps of the one are none of the other
    assert after.recipe.to_json() == before.recipe.to_json()
    assert after.quantiles == before.quantiles


def test_settings_without_a_calibration_of_richness_leave_the_sum_as_it_is(folder):
    path = folder / "predict.json"
    document = json.loads(path.read_text())
    del document["richness"]
    path.write_text(json.dumps(document))
    p = np.random.default_rng(0).random((SPECIES, 7))
    np.testing.assert_allclose(expected(folder, p), p.sum(0))


def test_a_model_that_reads_columns_of_the_surveys_table_makes_no_map(folder):
    model = load_model(folder)
    intervals = json.loads((folder / "predict.json").read_text())["intervals"]
    save_settings(folder, replace(model.recipe, table_columns=("table.pH", "table.Rain")), intervals)
    config = Config(
        title="t", cube="c", region={"west_km": 4800, "south_km": 2890, "east_km": 4810, "north_km": 2900}, unit_km=10, sources=()
    )
    cube = make_cube("memory://made", Region(4800, 2890, 4810, 2900, 10), ("surface", "elevation"))
    with pytest.raises(ModelError, match=r"^The model reads pH, Rain from the surveys' table, which is known at surveys alone"):
        fix_run(config, cube, load_model(folder), None, None)


@pytest.mark.parametrize(
    "damage", [{"richness": {"height": 2}}, {"richness": 3}, {"intervals": {}}, {"recipe": []}, {"intervals": {"quantiles": 1}}]
)
def test_damaged_settings_are_told(folder, damage):
    path = folder / "predict.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    with pytest.raises(ModelError, match=r"predict\.json: is damaged"):
        load_model(folder)
