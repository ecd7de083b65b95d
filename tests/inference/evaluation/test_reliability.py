"""Calibration told against a logistic regression, forecasts of known faults, and sums worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression

from inference.evaluation.reliability import calibration_record, logit_slope, reliability_curve, species_log_ratio


@pytest.fixture(scope="module")
def truth():
    rng = np.random.default_rng(0)
    p = rng.beta(0.5, 4, (3000, 25))
    return p, rng.random(p.shape) < p


def logit(p):
    return np.log(p) - np.log1p(-p)


def test_slope_equals_an_unpenalised_logistic_regression(truth):
    p, presence = truth
    q = 1 / (1 + np.exp(-(1.7 * logit(np.clip(p, 1e-6, 1 - 1e-6)) - 0.4)))
    slope, intercept = logit_slope(q, presence)
    reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=500)
    reference.fit(logit(np.clip(q, 1e-7, 1 - 1e-7)).reshape(-1, 1), presence.ravel())
    assert slope == pytest.approx(reference.coef_[0, 0], abs=1e-4)
    assert intercept == pytest.approx(reference.intercept_[0], abs=1e-4)
    assert slope == pytest.approx(1 / 1.7, abs=0.03)


def test_true_probabilities_pass_every_figure(truth):
    p, presence = truth
    row = calibration_record(p, presence, presence.mean(0))
    assert 0.95 < row["slope"] < 1.05
    assert all(0.9 < row[f"O/E p {b}"] < 1.1 for b in ("0.02-0.1", "0.1-0.3", "0.3-1"))
    assert row["median |log O/E|"] < 0.1
    assert row["log loss"] < row["log loss of prevalence"]
    assert row["calibration error"] < 0.01
    assert row["richness O/E"] == pytest.approx(presence.sum() / p.sum())


def test_predicting_nothing_passes_the_calibration_error_but_no_other_figure(truth):
    rare = truth[1] & (np.random.default_rng(1).random(truth[1].shape) < 0.1)
    row = calibration_record(np.full(rare.shape, 1e-4), rare, rare.mean(0))
    assert row["calibration error"] < 0.03
    assert row["median |log O/E|"] > 3
    assert row["log loss"] > row["log loss of prevalence"]


def test_curve_equals_scikit_learn_on_equal_bins(truth):
    p, presence = truth
    edges = tuple(np.linspace(0, 1, 11))
    curve = reliability_curve(p, presence, edges)
    observed, predicted = calibration_curve(presence.ravel(), p.ravel(), n_bins=10)
    np.testing.assert_allclose(curve.observed, observed)
    np.testing.assert_allclose(curve.predicted, predicted)
    assert curve.pairs.sum() == p.size
    assert curve.error == pytest.approx(np.average(abs(observed - predicted), weights=curve.pairs))


def test_own_ratio_of_a_species_predicted_twice_as_often_is_log_half():
    presence = np.zeros((100, 2), bool)
    presence[:40, 0] = True
    presence[:5, 1] = True
    ratio = species_log_ratio(np.full((100, 2), 0.8), presence)
    assert ratio[0] == pytest.approx(np.log(0.5))
    assert np.isnan(ratio[1])


def test_nothing_present_has_no_slope():
    assert all(np.isnan(logit_slope(np.full((4, 2), 0.1), np.zeros((4, 2), bool))))
