"""Calibration undoes a known distortion of true probabilities, and leaves alone what a few blocks cannot tell."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from inference.calibration.calibrate import SLOPE_SD, Calibration, _fit, fit_calibration
from inference.evaluation.metrics import log_loss
from inference.training.likelihood import survey_loss


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
    fixed = probability(fit.slope * distorted + fit.intercept)
    assert fixed.sum() == pytest.approx(presence.sum(), rel=0.01)
    assert log_loss(fixed, presence) < log_loss(probability(distorted), presence)


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


def test_what_differs_from_block_to_block_is_not_taken_for_a_property_of_species():
    rng = np.random.default_rng(3)
    block = np.repeat(np.arange(6), 60)
    eta = rng.normal(-2, 1, (360, 50)).astype(np.float32)
    of_block = rng.normal(0, 1.0, (6, 50))[block]
    presence = rng.random(eta.shape) < probability(eta + of_block)
    by_blocks, by_rows = (fit_calibration(eta, presence, block=b) for b in (block, None))
    assert by_blocks.pooling < by_rows.pooling
    assert np.ptp(by_blocks.intercept) < np.ptp(by_rows.intercept)


def test_the_fit_is_the_minimum_that_another_optimiser_finds(world):
    eta, presence = (x[:300, :5] for x in world)
    weight = np.random.default_rng(1).uniform(0.2, 1, 300).astype(np.float32)
    pooling, level = 0.3, np.linspace(-4, -1, 5).astype(np.float32)

    def cost(theta):
        slope, common, own = theta[0], theta[1], theta[2:]
        moved = torch.from_numpy(slope * (eta.astype(np.float64) - level) + level + own)
        data = (survey_loss(moved, torch.from_numpy(presence)).numpy() * weight[:, None]).sum()
        return data + (slope - 1) ** 2 / (2 * SLOPE_SD**2) + ((own - common) ** 2).sum() / (2 * pooling**2)

    found = minimize(cost, np.r_[1.0, np.zeros(6)], tol=1e-9).x
    slope, shift = _fit(eta, presence, weight, level, pooling)
    assert slope == pytest.approx(found[0], abs=2e-3)
    np.testing.assert_allclose(shift, found[2:], atol=3e-3)


def test_scores_too_sure_of_places_keep_what_they_know_of_how_common_species_are():
    rng = np.random.default_rng(1)
    common, where = np.linspace(-6, -0.5, 60), rng.normal(0, 0.8, (2000, 60))
    true = probability(common + where)
    presence = rng.random(where.shape) < true
    sure = common + 2.5 * where
    sure = (sure + np.log(true.mean(0) / probability(sure).mean(0))).astype(np.float32)  # as common as in training, on the whole
    fit = fit_calibration(sure[:300], presence[:300])
    assert fit.slope == pytest.approx(0.4, abs=0.06)
    # drawn by 0.6 of their distance to one level for all, the rarest species would become several times as common
    assert np.abs(np.log(probability(fit.slope * sure + fit.intercept).mean(0) / true.mean(0))).max() < np.log(2)


def test_too_few_surveys_give_the_identity(world):
    eta, presence = world
    fit = fit_calibration(eta[:10], presence[:10])
    assert (fit.slope, fit.intercept.any()) == (Calibration.identity(40).slope, False)
