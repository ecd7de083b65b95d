"""Intervals by out-of-fold residuals hold what they promise on exchangeable plots, whatever the model's error looks like."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from inference.calibration.intervals import bounds, coverage_by_fold, quantiles_of, residual_scores, weighted_quantile
from inference.cascade.indicators import INDICATORS
from inference.cascade.sums import plan_sums
from tests.support.indicators import indicators_of

SPECIES = 60
COMMONNESS = np.random.default_rng(1).beta(0.5, 2.0, (SPECIES, 1))
TRAITS: dict[str, Any] = {
    "iucn": np.where(np.arange(SPECIES) % 5 == 0, "VU", "LC").astype(object),
    **{k: np.zeros(SPECIES, bool) for k in ("invasive", "protected", "endemic")},
}
PLAN = plan_sums(TRAITS)
BY_NAME = {i.name: i for i in INDICATORS}


def plots(rng: np.random.Generator, n: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Predicted probabilities and presences that share a hidden driver, so that species are not independent."""
    p = COMMONNESS * rng.uniform(0.5, 1.5, (1, n))
    hidden = np.exp(rng.normal(0, 0.6, n))
    truth = np.clip(p * hidden, 0, 1)
    return np.clip(p, 0, 1), rng.random((SPECIES, n)) < truth


def test_coverage_is_that_promised_though_species_are_not_independent() -> None:
    rng = np.random.default_rng(3)
    p, seen = plots(rng, 1500)
    scores = residual_scores(p, seen, PLAN)
    quantiles = quantiles_of(scores, np.ones(1500), 0.9)
    p, seen = plots(rng, 4000)
    sums = PLAN.sums(p)
    observed = indicators_of(seen.astype(float), PLAN)
    for name in ("richness", "threatened"):
        interval = bounds(BY_NAME[name], sums, quantiles[name])
        covered = ((observed[name] >= interval[1]) & (observed[name] <= interval[2])).mean()
        assert covered == pytest.approx(0.9, abs=0.03), name
        share, worst = coverage_by_fold(scores, np.ones(1500), np.arange(1500) % 5)[name]
        assert share == pytest.approx(0.9, abs=0.03), name
        assert 0.8 < worst <= share, name


def test_a_weighted_quantile_with_equal_weights_is_the_rank_of_cross_validation() -> None:
    scores = np.arange(1.0, 100.0)  # n = 99: the ceil((n + 1) 0.9) = 90th score
    assert weighted_quantile(scores[::-1], np.ones(99), 0.9) == 90.0


def test_bounds_enclose_the_estimate_and_stay_within_what_can_be() -> None:
    sums = {"p": np.array([0.5, 20.0]), "p_squared": np.array([0.25, 16.0])}  # spreads of richness 1.5 and 3
    three = bounds(BY_NAME["richness"], sums, 1.5)
    np.testing.assert_allclose(three, [[0.5, 20.0], [0.0, 15.5], [2.75, 24.5]])
    assert np.isnan(bounds(BY_NAME["richness"], sums, None)[1:]).all()
