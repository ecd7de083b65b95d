"""Evaluation tells a real gain from none and holds out whole blocks."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from cube.errors import ModelError
from inference.data.blocks import assign_folds
from inference.data.samples import Predictors, Surveys
from inference.evaluation.folds import (
    EvaluateOptions,
    bootstrap_gain,
    evaluate,
    mean_over_species,
    within_fold_auc,
)
from inference.training.options import TrainOptions


def landscape(n: int = 400, species: int = 6, seed: int = 0):
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, 300_000, (2, n))
    driver = rng.normal(size=(n, 2)).astype(np.float32)
    eta = driver @ rng.normal(0, 1.2, (2, species)) - 1
    presence = rng.random(eta.shape) < -np.expm1(-np.exp(np.clip(eta, -20, 3)))
    predictors = Predictors(
        static=np.concatenate([driver, rng.normal(size=(n, 6))], 1).astype(np.float32),
        static_names=tuple("abcdefgh"),
    )
    names = tuple(f"species {i}" for i in range(species))
    constant = np.full(n, 100, np.float32)
    return predictors, Surveys(presence, constant, constant + 1900, np.arange(n), x, y, names), eta


QUICK = EvaluateOptions(
    draws=(0, 1),
    folds=3,
    fewest_records=30,
    trees=10,
    bootstraps=50,
    shape={"d": 16, "hidden": 32},
    train=TrainOptions(members=1, least_steps=60, epochs=1, batch=64, learning_rate=0.01, threads=1),
)


def test_table_shows_network_forest_gain_and_coordinates():
    predictors, surveys, _ = landscape()
    lines: list[str] = []
    result = evaluate(predictors, surveys, QUICK, lines.append)
    methods = [row.method for row in result.rows]
    assert methods[0] == "floracube"
    assert methods[1].startswith("random_forest")
    assert methods[2:] == ["gain", "floracube_coordinates"]
    ours, forest, gain, _ = result.rows
    assert ours.auc > 0.7
    assert gain.auc == pytest.approx(ours.auc - forest.auc)
    assert gain.gain_lower <= gain.auc + 0.02
    assert gain.gain_upper >= gain.auc - 0.02
    assert all(len(values) == 2 for values in list(result.auc_by_draw.values())[:3])
    assert "floracube" in result.text()
    folds = [line for line in lines if ": " in line and "fold " in line]
    assert len(folds) == 3 * (2 * 3 + 1)
    assert sum("random_forest" in line for line in lines) == 2  # the table so far, after each draw
    assert not any(math.isnan(row.auc) for row in result.rows)


def test_no_common_species_is_told():
    predictors, surveys, _ = landscape(50)
    with pytest.raises(ModelError, match="fewest_records"):
        evaluate(predictors, surveys, EvaluateOptions(fewest_records=1000))


def test_bootstrap_interval_covers_the_gain_and_is_above_zero_for_a_real_one():
    _, surveys, eta = landscape(800)
    rng = np.random.default_rng(1)
    fold, block = assign_folds(surveys, 50, 5, 0)
    good, bad = (eta + rng.normal(0, s, eta.shape) for s in (0.1, 2.0))
    lower, upper = bootstrap_gain([good], [bad], surveys.presence, [fold], block, 100)
    gain = mean_over_species(within_fold_auc(good, surveys.presence, fold)) - mean_over_species(
        within_fold_auc(bad, surveys.presence, fold)
    )
    assert 0 < lower < gain < upper
    same = bootstrap_gain([good], [good], surveys.presence, [fold], block, 20)
    assert same == (0.0, 0.0)


def test_species_weigh_the_same_however_many_folds_they_fill():
    auc = np.array([[0.9, 0.5, np.nan], [0.7, np.nan, np.nan]])
    assert mean_over_species(auc) == pytest.approx((0.8 + 0.5) / 2)
    assert math.isnan(mean_over_species(np.full((2, 2), np.nan)))


def test_sets_of_all_methods_stand_beside_ours_and_change_no_score(tmp_path):
    predictors, surveys, _ = landscape()
    few = replace(QUICK, coordinates=False)
    plain = evaluate(predictors, surveys, few, cache=tmp_path)
    kept = set(tmp_path.iterdir())
    asked = replace(few, baselines=("random_forest", "gradient_boosting", "frequency"))
    more = evaluate(predictors, surveys, asked, cache=tmp_path)
    assert more.rows == plain.rows
    assert kept < set(tmp_path.iterdir()), "what was scored before is read again"
    f1 = {row["method"]: row["F1"] for row in more.sets}
    assert list(f1) == ["floracube", "random_forest (leaf 5)", "random_forest (leaf 20)", "gradient_boosting", "frequency"]
    assert f1["floracube"] > f1["frequency"]
    assert {row["draws"] for row in more.sets} == {len(QUICK.draws)}
