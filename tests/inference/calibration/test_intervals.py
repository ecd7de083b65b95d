"""Conformal intervals hold what they promise on exchangeable plots, whatever the model's error looks like."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from inference.calibration.intervals import bounds, conformal_quantiles, coverage_of, spread, weighted_quantile
from inference.cascade.indicators import add_species, indicators_of, zero_sums

SPECIES = 60
COMMONNESS = np.random.default_rng(1).beta(0.5, 2.0, (SPECIES, 1))
TRAITS: dict[str, Any] = {
    "iucn": np.where(np.arange(SPECIES) % 5 == 0, "VU", "LC").astype(object),
    **{k: np.zeros(SPECIES, bool) for k in ("invasive", "protected", "endemic")},
}


def plots(rng: np.random.Generator, n: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Predicted probabilities and presences that share a hidden driver, so that species are not independent."""
    p = COMMONNESS * rng.uniform(0.5, 1.5, (1, n))
    hidden = np.exp(rng.normal(0, 0.6, n))
    truth = np.clip(p * hidden, 0, 1)
    return np.clip(p, 0, 1), rng.random((SPECIES, n)) < truth


def test_coverage_is_that_promised_though_species_are_not_independent() -> None:
    rng = np.random.default_rng(3)
    p, seen = plots(rng, 1500)
    quantiles = conformal_quantiles(p, seen, np.ones(1500), TRAITS, 0.9)
    p, seen = plots(rng, 4000)
    sums = zero_sums(4000)
    add_species(sums, p, TRAITS)
    observed = indicators_of(seen.astype(float), TRAITS)
    predicted = indicators_of(p, TRAITS)
    for name in ("richness", "shannon", "threatened"):
        interval = bounds(predicted[name], spread(sums), quantiles[name])
        covered = coverage_of(observed[name], interval, np.ones(4000))
        assert covered == pytest.approx(0.9, abs=0.03), name


def test_a_weighted_quantile_with_equal_weights_is_the_conformal_rank() -> None:
    scores = np.arange(1.0, 100.0)  # n = 99: the ceil((n + 1) 0.9) = 90th score
    assert weighted_quantile(scores[::-1], np.ones(99), 0.9) == 90.0


def test_bounds_enclose_the_estimate_and_do_not_fall_below_zero() -> None:
    three = bounds(np.array([0.5, 20.0]), np.array([2.0, 3.0]), 1.5)
    np.testing.assert_allclose(three, [[0.5, 20.0], [0.0, 15.5], [3.5, 24.5]])
