"""Calibration undoes a known distortion of true probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from inference.calibration.calibrate import Calibration, fit_calibration
from inference.evaluation.metrics import log_loss


def probability(eta):
    return -np.expm1(-np.exp(eta))


@pytest.fixture
def world():
    rng = np.random.default_rng(0)
    eta = rng.normal(-2.5, 1.2, (3000, 40)).astype(np.float32)
    return eta, rng.random(eta.shape) < probability(eta)


def test_recovers_a_known_slope_and_intercept(world):
    eta, presence = world
    distorted = ((eta - 0.7) / 0.6).astype(np.float32)  # eta = 0.6 distorted + 0.7
    fit = fit_calibration(distorted, presence)
    assert fit.slope == pytest.approx(0.6, abs=0.02)
    assert fit.intercept == pytest.approx(np.full(40, 0.7), abs=0.15)
    mended = probability(fit.slope * distorted + fit.intercept)
    assert mended.sum() == pytest.approx(presence.sum(), rel=0.01)
    assert log_loss(mended, presence) < log_loss(probability(distorted), presence)


def test_true_probabilities_are_left_alone(world):
    fit = fit_calibration(*world)
    assert fit.slope == pytest.approx(1, abs=0.02)
    assert np.abs(fit.intercept).max() < 0.15


def test_intercepts_of_species_shrink_with_little_data(world):
    eta, presence = world
    own = np.linspace(-1, 1, 40)
    distorted = (eta - own).astype(np.float32)
    many = fit_calibration(distorted, presence).intercept
    few = fit_calibration(distorted[:60], presence[:60]).intercept
    assert np.corrcoef(many, own)[0, 1] > 0.99
    assert np.ptp(few) < np.ptp(many)


def test_too_few_surveys_give_the_identity(world):
    eta, presence = world
    fit = fit_calibration(eta[:10], presence[:10])
    assert (fit.slope, fit.intercept.any()) == (Calibration.identity(40).slope, False)
