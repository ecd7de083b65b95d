"""Indicators against independent formulas, and block by block against all at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import entropy

from inference.cascade.indicators import INDICATORS, add_species, applicable, indicators_of, zero_sums

PROBABILITIES = arrays(np.float64, (7, 5), elements=st.floats(0.001, 1.0))


def traits(species: int) -> dict[str, Any]:
    return {
        "iucn": np.array(["VU", "LC", "CR", "", "NT", "EN", "DD"][:species], object),
        "invasive": np.arange(species) == 1,
        "protected": np.arange(species) % 2 == 0,
        "endemic": np.zeros(species, bool),
    }


@given(PROBABILITIES)
def test_indicators_equal_their_textbook_formulas(p: np.ndarray[Any, Any]) -> None:
    seen = indicators_of(p, traits(7))
    np.testing.assert_allclose(seen["richness"], p.sum(0))
    np.testing.assert_allclose(seen["shannon"], entropy(p, axis=0), atol=1e-9)
    q = p / p.sum(0)
    np.testing.assert_allclose(seen["hill2"], 1 / (q**2).sum(0))
    np.testing.assert_allclose(seen["threatened"], p[[0, 2, 5]].sum(0))
    np.testing.assert_allclose(seen["invasive"], p[1])
    np.testing.assert_allclose(seen["protected"], p[::2].sum(0))


@given(PROBABILITIES, st.integers(1, 6))
def test_blocks_of_species_give_the_same_as_all_at_once(p: np.ndarray[Any, Any], cut: int) -> None:
    whole, parts = zero_sums(5), zero_sums(5)
    table = traits(7)
    add_species(whole, p, table)
    for block in (slice(0, cut), slice(cut, 7)):
        add_species(parts, p[block], {k: v[block] for k, v in table.items()})
    for name in whole:
        np.testing.assert_allclose(parts[name], whole[name])


def test_expected_richness_is_the_mean_of_drawn_richness() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(0, 1, 40)
    drawn = (rng.random((20_000, 40)) < p).sum(1)
    none = {k: np.zeros(40, bool) for k in ("invasive", "protected", "endemic")}
    seen = indicators_of(p[:, None], {**none, "iucn": np.full(40, "", object)})
    assert seen["richness"][0] == pytest.approx(drawn.mean(), abs=0.1)


def test_a_community_of_equals_has_the_diversity_of_its_number() -> None:
    seen = indicators_of(np.full((7, 1), 0.3), traits(7))
    assert seen["shannon"][0] == pytest.approx(np.log(7))
    assert seen["hill2"][0] == pytest.approx(7)


def test_nothing_expected_is_zero_and_not_nan() -> None:
    for values in indicators_of(np.zeros((7, 2)), traits(7)).values():
        np.testing.assert_array_equal(values, 0)


def test_a_status_that_no_species_has_makes_no_map() -> None:
    names = {i.name for i in applicable(traits(7))}
    assert "endemic" not in names
    assert {"richness", "shannon", "threatened", "invasive", "protected"} <= names
    assert len({i.name for i in INDICATORS}) == len(INDICATORS)
