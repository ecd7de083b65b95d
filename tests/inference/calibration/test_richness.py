"""Summed richness is set right where held-out blocks say it is wrong, and left alone where they do not."""

from __future__ import annotations

import numpy as np
import pytest

from inference.calibration.richness import Richness, fit_richness

RNG = np.random.default_rng(0)
TOTAL = RNG.gamma(6, 3, 1500)
BLOCK = RNG.integers(0, 40, 1500)


def test_a_known_power_law_is_found():
    seen = RNG.poisson(0.5 * TOTAL**1.3)
    found = fit_richness(TOTAL, seen, np.ones(1500), BLOCK)
    assert found.exponent == pytest.approx(1.3, abs=0.03)
    assert found.predict(TOTAL).sum() == pytest.approx(seen.sum(), rel=0.01)


def test_the_fit_agrees_with_scikit_learn_where_the_prior_is_nothing(monkeypatch):
    from sklearn.linear_model import PoissonRegressor

    monkeypatch.setattr("inference.calibration.richness.EXPONENT_SD", 1e6)
    seen, weight = RNG.poisson(0.5 * TOTAL**1.3), RNG.uniform(0.2, 1, 1500)
    ours = fit_richness(TOTAL, seen, weight, BLOCK)
    theirs = PoissonRegressor(alpha=0, tol=1e-10).fit(np.log(TOTAL)[:, None], seen, weight)
    assert ours.exponent == pytest.approx(theirs.coef_[0], abs=1e-4)
    assert np.log(ours.level) == pytest.approx(theirs.intercept_, abs=1e-3)


def test_sums_that_are_right_are_hardly_moved():
    found = fit_richness(TOTAL, RNG.poisson(TOTAL), np.ones(1500), BLOCK)
    np.testing.assert_allclose(found.predict(TOTAL), TOTAL, rtol=0.03)


def test_few_surveys_or_one_block_change_nothing():
    assert fit_richness(TOTAL[:10], TOTAL[:10] * 2, np.ones(10), BLOCK[:10]) == Richness()
    assert fit_richness(TOTAL, TOTAL * 2, np.ones(1500), np.zeros(1500, int)) == Richness()
    assert Richness().constants == {}
