"""Indicators against another library, expected richness against Monte-Carlo, intervals against a landscape's truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skbio.diversity import alpha

from demo.landscape import LandscapeSpec, make_landscape
from inference.calibration.intervals import bounds, quantiles_of, residual_scores
from inference.cascade.indicators import INDICATORS
from inference.cascade.reference import reference_of
from inference.cascade.sums import plan_sums
from tests.support.indicators import indicators_of

NONE: dict[str, Any] = {name: np.zeros(30, bool) for name in ("invasive", "protected", "endemic")}
PLAN = plan_sums({**NONE, "iucn": np.full(30, "", object)})
RICHNESS = next(i for i in INDICATORS if i.name == "richness")


@given(arrays(np.float64, 30, elements=st.one_of(st.just(0.0), st.floats(1e-6, 1.0))))
def test_diversity_of_random_assemblages_is_that_of_scikit_bio(p: np.ndarray[Any, Any]) -> None:
    if not p.any():
        return
    seen = {name: float(values[0]) for name, values in indicators_of(p[:, None], PLAN).items()}
    assert seen["shannon"] == pytest.approx(alpha.shannon(p, base=np.e), abs=1e-9)


def test_richness_and_its_interval_are_those_of_monte_carlo_where_draws_are_what_the_model_says() -> None:
    rng = np.random.default_rng(2)
    p = rng.beta(0.4, 1.5, (30, 4000)) * rng.uniform(0.3, 1.0, 4000)
    q = quantiles_of(residual_scores(p, rng.random(p.shape) < p, PLAN), np.ones(4000), 0.9)["richness"]
    places = rng.beta(0.4, 1.5, (30, 200)) * rng.uniform(0.3, 1.0, 200)
    drawn = (rng.random((3000, 30, 200)) < places).sum(1)
    estimate, lower, upper = bounds(RICHNESS, PLAN.sums(places), q)
    np.testing.assert_allclose(estimate, drawn.mean(0), atol=5 * drawn.std() / np.sqrt(3000))
    assert ((drawn >= lower) & (drawn <= upper)).mean() == pytest.approx(0.9, abs=0.02)
    # Of independent draws it is the central interval, within a species.
    np.testing.assert_allclose(lower, np.quantile(drawn, 0.05, axis=0), atol=1.0)
    np.testing.assert_allclose(upper, np.quantile(drawn, 0.95, axis=0), atol=1.0)


def test_on_the_landscape_true_lists_lie_in_the_intervals_as_often_as_promised() -> None:
    landscape = make_landscape(LandscapeSpec(size_km=4, n_species=60, seed=3, n_surveys=1, n_records=1, n_plots=1))
    rng = np.random.default_rng(3)
    inside = np.zeros(landscape.domain.shape, bool)
    inside[landscape.domain.region] = True
    row, col = rng.permutation(np.argwhere(inside & landscape.site.land))[:2000].T
    true = landscape.probability[:, row, col].astype(np.float64)
    lists = rng.random(true.shape) < true
    # A model that is wrong by places and by species.
    wrong = rng.normal(0, 0.5, (1, true.shape[1])) + rng.normal(0, 0.5, (len(true), 1))
    p = 1 / (1 + (1 / np.clip(true, 1e-6, 1 - 1e-6) - 1) * np.exp(wrong))
    flags = {name: np.array([getattr(s, name) for s in landscape.flora]) for name in ("invasive", "protected", "endemic")}
    light = np.array([s.ellenberg[0] for s in landscape.flora], np.float64)
    traits = {**flags, "iucn": np.where(np.arange(len(true)) % 5 == 0, "VU", "LC").astype(object), "ellenberg_light": light}
    one = np.ones(1000)
    plan = plan_sums(traits, reference_of(p[:, :1000], one))
    of_lists = plan_sums(traits, reference_of(lists[:, :1000], one))
    factors = quantiles_of(residual_scores(p[:, :1000], lists[:, :1000], plan, of_lists), one, 0.9)
    sums, seen = plan.sums(p[:, 1000:]), of_lists.sums(lists[:, 1000:].astype(float))
    for indicator in INDICATORS:
        if indicator.name not in ("richness", "threatened", "cwm_light", "lcbd"):
            continue
        _, lower, upper = bounds(indicator, sums, factors[indicator.name])
        listed = indicator.function(seen)
        known = np.isfinite(listed) & np.isfinite(lower)
        assert known.sum() > 900, indicator.name
        # Of 1,000 and 1,000 surveys: the standard error of a coverage of 0.9 is 0.013.
        assert ((listed >= lower) & (listed <= upper))[known].mean() == pytest.approx(0.9, abs=0.04), indicator.name
