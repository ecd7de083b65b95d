"""Every baseline orders places rightly where the truth is known, through the same two doors."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from inference.evaluation.baselines.boosting import Boosting
from inference.evaluation.baselines.forest import DownSampledForest, Forest, SharedForest
from inference.evaluation.baselines.maxent import Maxent
from inference.evaluation.baselines.methods import Frequency
from inference.evaluation.baselines.scores import Fit, record_scores, survey_scores
from inference.evaluation.baselines.table import one_hot, without_gaps
from inference.evaluation.metrics import species_auc

RNG = np.random.default_rng(0)
SITES = np.stack([RNG.uniform(-1, 1, 900), RNG.integers(0, 3, 900), RNG.normal(size=900)], 1)
TRUTH = np.stack([np.exp(-(((SITES[:, 0] - 0.3) / 0.3) ** 2)), 0.05 + 0.9 * (SITES[:, 1] == 2)], 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fit", [DownSampledForest(60, (1,)), Boosting(40, balanced=True, categorical=(1,)), Maxent((1,), 1e-3)], ids=repr
)
def test_records_against_background_find_a_niche_and_a_category(fit: Fit):
    rng = np.random.default_rng(1)
    # presence-only: records fall where the truth is, background anywhere
    number = [rng.choice(600, 80, p=TRUTH[:600, s] / TRUTH[:600, s].sum()) for s in (0, 1)]
    records, species = SITES[np.concatenate(number)], np.repeat([0, 1], 80)
    score = record_scores(fit, records, species, SITES[:600], SITES[600:], count=3)
    auc = species_auc(score[:, :2], rng.random((300, 2)) < TRUTH[600:])
    best = species_auc(TRUTH[600:], rng.random((300, 2)) < TRUTH[600:])
    assert (auc > best - 0.08).all(), (auc, best)
    assert not score[:, 2].any(), "a species without a record scores nothing"


@pytest.mark.parametrize("fit", [DownSampledForest(10, (1,)), Boosting(5, categorical=(1,)), Maxent((1,), 1e-2)], ids=repr)
def test_gaps_and_levels_never_learned_are_scored(fit: Fit):
    asked = SITES[600:620].copy()
    asked[0, 0], asked[1, 1], asked[2, 1] = np.nan, 9, np.nan
    learned = SITES[:600].copy()
    learned[0], learned[1, 1] = np.nan, np.nan
    score = record_scores(fit, learned[:50], np.zeros(50, int), learned[50:], asked, 1)
    assert np.isfinite(score).all()


@pytest.mark.parametrize("count", [1, 2])
def test_maxent_fits_a_species_of_fewer_records_than_glmnet_has_folds(count: int):
    records = SITES[np.argsort(-TRUTH[:, 0])[:count]]
    score = record_scores(Maxent((1,), 1e-3), records, np.zeros(count, int), SITES[:300], SITES[600:], 1)
    assert np.isfinite(score).all()


def test_boosting_and_forest_learn_surveys():
    rng = np.random.default_rng(2)
    presence = rng.random(TRUTH.shape) < TRUTH
    train = np.arange(900) < 600
    for fit in (Forest(5, 50), Boosting(50)):
        score = survey_scores(fit, SITES, presence, train, ~train)
        assert (species_auc(score, presence[~train]) > 0.8).all()
    together = SharedForest(5, 50)(SITES[train], presence[train], SITES[~train], 0)
    assert (species_auc(together, presence[~train]) > 0.8).all()
    own = survey_scores(Forest(5, 50), SITES, presence, train, ~train)
    np.testing.assert_allclose(together.mean(0), own.mean(0), atol=0.02)


def test_down_sampling_balances_the_classes_of_every_tree():
    # with nothing to learn from, a balanced forest votes near one half however rare the presences are (somewhat less, as the
    # same presences come back and the background does not); a plain one says how rare they are
    noise = np.random.default_rng(3).normal(size=(1000, 2))
    target = np.arange(1000) < 20
    asked = np.random.default_rng(4).normal(size=(400, 2))
    assert 0.3 < DownSampledForest(200)(noise, target, asked, 0).mean() < 0.6
    assert Forest(1, 50)(noise, target, asked, 0).mean() < 0.05


def test_frequency_is_the_beta_posterior_of_a_region_and_the_whole_elsewhere():
    region = np.array([[0.0], [0], [0], [1], [np.nan]])
    target = np.array([True, True, False, False, False])
    score = Frequency(10.0)(region, target, np.array([[0.0], [1], [7], [np.nan]]), 0)
    whole = 2 / 5
    np.testing.assert_allclose(score, [(2 + 10 * whole) / 13, (0 + 10 * whole) / 11, whole, whole], rtol=1e-6)


def test_frequency_without_shrinkage_is_the_share():
    region = np.array([[0.0], [0], [1], [1]])
    target = np.array([True, False, True, True])
    np.testing.assert_allclose(Frequency(1e-9)(region, target, region, 0), [0.5, 0.5, 1, 1], rtol=1e-6)


def test_species_always_or_never_seen_are_not_fitted():
    class Refuses:
        def __call__(self, table, target, asked, seed):
            raise AssertionError("a target without two classes was fitted")

    presence = np.stack([np.zeros(10, bool), np.ones(10, bool)], 1)
    train = np.arange(10) < 6
    score = survey_scores(Refuses(), np.zeros((10, 1)), presence, train, ~train)
    assert score.tolist() == [[0, 1]] * 4


def test_levels_become_columns_and_unknown_ones_none():
    known, unknown = one_hot(np.array([[5.0, 2], [6, 4], [7, np.nan]]), np.array([[1.0, 4], [2, 3]]), (1,))
    assert known.tolist() == [[5, 1, 0], [6, 0, 1], [7, 0, 0]]
    assert unknown.tolist() == [[1, 0, 1], [2, 0, 0]]


def test_gaps_take_the_mean_or_the_commonest_level_of_what_was_learned():
    known, unknown = without_gaps(np.array([[1.0, 3], [3, 3], [np.nan, 8]]), np.array([[np.nan, 5.0]]), (1,))
    assert known[2, 0] == 2
    assert unknown.tolist() == [[2, 3]]


def test_fits_side_by_side_take_a_core_each() -> None:
    code = """
from threadpoolctl import threadpool_info
import sklearn.ensemble
from inference.evaluation.baselines.scores import side_by_side
print([p["num_threads"] for p in threadpool_info()])
print(side_by_side(lambda _: {p["num_threads"] for p in threadpool_info()}, 4, 2))
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "3"}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout
    before, within = said.splitlines()
    assert max(json.loads(before)) == 3
    assert within == "[{1}, {1}, {1}, {1}]"
