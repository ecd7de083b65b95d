"""Baselines learn without the fold that they score; sets are judged by F1 against what surveys found."""

from __future__ import annotations

import numpy as np
import pytest

from cube.errors import ModelError
from inference.data.samples import Predictors, Surveys
from inference.evaluation.baselines.named import NAMES
from inference.evaluation.peers import cross_calibrated, filled_by, mean_rows, peer_scores, set_rows

RNG = np.random.default_rng(0)
N = 240
X = RNG.uniform(-1, 1, N).astype(np.float32)
PREDICTORS = Predictors(static=X[:, None], static_names=("a",))
SURVEYS = Surveys(
    np.stack([X > 0, X < -0.2], 1), np.full(N, 16.0, np.float32), np.full(N, 2000.0, np.float32), np.arange(N),
    RNG.uniform(4e6, 4.2e6, N), np.full(N, 3e6), ("a", "b"),
)  # fmt: skip
FOLD = np.arange(N) % 3


@pytest.mark.parametrize("name", NAMES)
def test_a_fold_is_scored_without_its_own_surveys(name: str):
    score = peer_scores(name, PREDICTORS, SURVEYS, FOLD, trees=20)
    presence = SURVEYS.presence.copy()
    presence[FOLD == 1] = ~presence[FOLD == 1]
    turned = Surveys(
        presence, SURVEYS.area_m2, SURVEYS.year, SURVEYS.place, SURVEYS.x, SURVEYS.y, SURVEYS.species,
    )  # fmt: skip
    again = peer_scores(name, PREDICTORS, turned, FOLD, trees=20)
    np.testing.assert_array_equal(score[FOLD == 1], again[FOLD == 1])
    assert (score[FOLD == 0] != again[FOLD == 0]).any()
    if name != "frequency":
        assert ((score > 0.5) == SURVEYS.presence).mean() > 0.95


def test_an_unknown_baseline_is_named():
    with pytest.raises(ModelError, match="'oracle' is no baseline"):
        peer_scores("oracle", PREDICTORS, SURVEYS, FOLD)


def test_truth_as_probability_has_perfect_sets_and_the_reverse_none():
    presence = RNG.random((60, 40)) < 0.3
    presence[:, 0] = True  # every survey found something
    p = {"truth": presence.astype(np.float32), "reverse": (~presence).astype(np.float32)}
    truth, reverse = set_rows(p, presence, np.arange(60) % 3, p)
    assert truth["F1"] == 1
    assert truth["set size"] == pytest.approx(presence.sum(1).mean())
    assert reverse["F1"] == 0
    # 25 of 40: all that is there is among them (never more than 25 here), so recall 1 and F1 = 2 m / (25 + m)
    found = presence.sum(1)
    assert found.max() <= 25
    assert truth["F1@25"] == pytest.approx((2 * found / (25 + found)).mean())


def test_scores_that_are_too_sure_are_calibrated_without_the_fold_that_they_are_judged_on():
    true = RNG.normal(-2, 1, (600, 30)).astype(np.float32)
    presence, fold = RNG.random(true.shape) < -np.expm1(-np.exp(true)), np.arange(600) % 3
    weight, block = np.ones(600, np.float32), np.arange(600) // 10
    p = cross_calibrated(3 * true + 2, presence, fold, weight, block)
    assert np.abs(p - -np.expm1(-np.exp(true))).mean() < 0.02
    turned = presence.copy()
    turned[fold == 1] = ~turned[fold == 1]
    again = cross_calibrated(3 * true + 2, turned, fold, weight, block)
    np.testing.assert_array_equal(p[fold == 1], again[fold == 1])
    assert (p[fold == 0] != again[fold == 0]).any()


def test_what_one_method_lacks_comes_from_another():
    score = filled_by(np.array([[0.5, np.nan]], np.float32), np.array([[0.1, 0.2]], np.float32))
    np.testing.assert_allclose(score, [[0.5, 0.2]], rtol=1e-6)


def test_rows_of_draws_become_their_means():
    drawn = [[{"method": "a", "F1": 0.2}, {"method": "b", "F1": 0.5}], [{"method": "a", "F1": 0.4}, {"method": "b", "F1": 0.5}]]
    means = mean_rows(drawn)
    assert means == [{"method": "a", "draws": 2, "F1": pytest.approx(0.3)}, {"method": "b", "draws": 2, "F1": pytest.approx(0.5)}]
