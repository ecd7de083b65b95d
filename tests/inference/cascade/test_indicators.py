"""Indicators against independent formulas, and block by block against all at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import entropy

from inference.cascade.indicators import INDICATORS, applicable
from inference.cascade.reference import reference_of
from inference.cascade.sums import plan_sums
from tests.support.indicators import indicators_of

PROBABILITIES = arrays(np.float64, (7, 5), elements=st.floats(0.001, 1.0))
LIGHT = np.array([7.0, np.nan, 3.0, 9.0, 1.0, 5.0, np.nan])
ONES = reference_of(np.eye(7), np.ones(7))


def traits(species: int) -> dict[str, Any]:
    return {
        "iucn": np.array(["VU", "LC", "CR", "", "NT", "EN", "DD"][:species], object),
        "invasive": np.arange(species) == 1,
        "protected": np.arange(species) % 2 == 0,
        "endemic": np.zeros(species, bool),
        "ellenberg_light": LIGHT[:species],
        "ellenberg_moisture": np.full(species, 6.0),
    }


PLAN = plan_sums(traits(7), ONES)


@given(PROBABILITIES)
def test_indicators_equal_their_textbook_formulas(p: np.ndarray[Any, Any]) -> None:
    seen = indicators_of(p, PLAN)
    np.testing.assert_allclose(seen["richness"], p.sum(0))
    np.testing.assert_allclose(seen["shannon"], entropy(p, axis=0), atol=1e-9)
    np.testing.assert_allclose(seen["threatened"], p[[0, 2, 5]].sum(0))
    np.testing.assert_allclose(seen["invasive"], p[1])
    np.testing.assert_allclose(seen["protected"], p[::2].sum(0))


@given(PROBABILITIES)
def test_a_community_mean_leaves_out_species_without_a_value(p: np.ndarray[Any, Any]) -> None:
    seen = indicators_of(p, PLAN)
    known = np.isfinite(LIGHT)
    covered = p[known].sum(0) / p.sum(0)
    for cell in range(5):
        if abs(covered[cell] - 0.5) < 1e-9:
            continue
        wanted = np.average(LIGHT[known], weights=p[known, cell]) if covered[cell] > 0.5 else np.nan
        np.testing.assert_allclose(seen["cwm_light"][cell], wanted)
    np.testing.assert_allclose(seen["values_covered"], covered, rtol=1e-6)
    np.testing.assert_allclose(seen["cwm_moisture"], 6.0)


def test_distinctness_averages_one_over_the_places_of_its_reference_and_is_legendres() -> None:
    p = np.random.default_rng(4).beta(0.4, 2.0, (7, 60))
    seen = indicators_of(p, plan_sums(traits(7), reference_of(p, np.ones(60))))["lcbd"]
    assert seen.mean() == pytest.approx(1.0, abs=1e-6)
    # Legendre and De Caceres 2013, equations 1 to 10, on the chord-transformed table.
    y = (p / np.linalg.norm(p, axis=0)).T
    squares = (y - y.mean(0)) ** 2
    np.testing.assert_allclose(seen / 60, squares.sum(1) / squares.sum(), rtol=1e-5)


@given(PROBABILITIES, st.integers(1, 6))
def test_blocks_of_species_give_the_same_as_all_at_once(p: np.ndarray[Any, Any], cut: int) -> None:
    whole, parts = PLAN.zero(5), PLAN.zero(5)
    PLAN.add(whole, p, slice(0, 7))
    for block in (slice(0, cut), slice(cut, 7)):
        PLAN.add(parts, p[block], block)
    np.testing.assert_allclose(parts, whole)


def test_expected_richness_is_the_mean_of_drawn_richness() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(0, 1, 40)
    drawn = (rng.random((20_000, 40)) < p).sum(1)
    none = {k: np.zeros(40, bool) for k in ("invasive", "protected", "endemic")}
    seen = indicators_of(p[:, None], plan_sums({**none, "iucn": np.full(40, "", object)}))
    assert seen["richness"][0] == pytest.approx(drawn.mean(), abs=0.1)


def test_a_community_of_equals_has_the_diversity_of_its_number() -> None:
    seen = indicators_of(np.full((7, 1), 0.3), PLAN)
    assert seen["shannon"][0] == pytest.approx(np.log(7))


def test_no_layer_of_diversity_exceeds_the_richness_and_entropy_has_no_interval_of_lists() -> None:
    for p in (np.full((7, 1), 0.1), np.full((7, 1), 0.9)):
        seen = indicators_of(p, PLAN)
        assert all(seen[i.name][0] <= seen["richness"][0] for i in INDICATORS if "species" in i.units and i.name in seen)
    assert next(i for i in INDICATORS if i.name == "shannon").spread is None


def test_where_nothing_is_expected_counts_are_zero_and_means_have_no_value() -> None:
    without = {"cwm_light", "cwm_moisture", "values_covered", "lcbd"}
    for name, values in indicators_of(np.zeros((7, 2)), PLAN).items():
        np.testing.assert_array_equal(values, np.nan if name in without else 0, err_msg=name)


def test_richness_takes_the_calibration_of_its_sum_where_there_is_one() -> None:
    p = np.full((7, 2), 0.5)
    seen = indicators_of(p, plan_sums(traits(7), None, {"richness_level": 2.0, "richness_exponent": 0.5}))
    np.testing.assert_allclose(seen["richness"], 2 * np.sqrt(3.5))


def test_what_no_species_has_makes_no_map() -> None:
    names = {i.name for i in applicable(PLAN.available)}
    assert not names & {"endemic", "cwm_nutrients"}
    assert {"richness", "shannon", "threatened", "invasive", "protected", "cwm_light", "values_covered", "lcbd"} <= names
    assert "lcbd" not in {i.name for i in applicable(plan_sums(traits(7)).available)}
    assert len({i.name for i in INDICATORS}) == len(INDICATORS)
