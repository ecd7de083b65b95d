"""Indicators against another library, expected richness against Monte-Carlo, intervals against a landscape's truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skbio.diversity import alpha

from benchmarks.indicators import rows_of
from demo.landscape import LandscapeSpec, make_landscape
from inference.calibration.intervals import bounds, quantiles_of, residual_scores
from inference.cascade.indicators import INDICATORS, indicators_of
from inference.cascade.sums import plan_sums

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
    estimate, lower, upper = bounds(RICHNESS, PLAN.of(places), q)
    np.testing.assert_allclose(estimate, drawn.mean(0), atol=5 * drawn.std() / np.sqrt(3000))
    assert ((drawn >= lower) & (drawn <= upper)).mean() == pytest.approx(0.9, abs=0.02)
    # Of independent draws it is the central interval, within a species.
    np.testing.assert_allclose(lower, np.quantile(drawn, 0.05, axis=0), atol=1.0)
    np.testing.assert_allclose(upper, np.quantile(drawn, 0.95, axis=0), atol=1.0)


def test_on_the_landscape_true_lists_lie_in_the_intervals_as_often_as_promised() -> None:
    landscape = make_landscape(LandscapeSpec(size_km=4, n_species=60, seed=3, n_surveys=1, n_records=1, n_plots=1))
    rows = {row["indicator"]: row for row in rows_of(landscape, 2000, 3, "exchangeable", trees=10)}
    for name in ("richness", "cwm_light", "cwm_moisture", "lcbd"):
        # 500 surveys calibrate and 500 are asked: the standard error of a coverage of 0.9 is 0.019.
        assert rows[name]["asked"] > 450, name
        assert 0.84 <= rows[name]["lists"] <= 0.96, name
    assert rows["richness"]["expected"] >= 0.84
