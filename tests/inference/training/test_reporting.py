"""Reporting rates: found from counts, leant on families, indifferent to a constant."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from inference.training.reporting import Reporting, families, start_from_counts


def test_rates_of_counts_are_the_true_ones_where_counts_are_large() -> None:
    rng = np.random.default_rng(0)
    f, gamma = rng.normal(-3, 1, 40), rng.normal(0, 1, 40)
    records = np.round(1e6 * np.exp(f + gamma)).astype(np.int64)
    start_f, start_gamma = start_from_counts(f, np.full(40, 1e6), records, np.zeros(40, np.int64))
    np.testing.assert_allclose(start_gamma - start_gamma.mean(), gamma - gamma.mean(), atol=0.01)
    np.testing.assert_allclose(
        (start_f + start_gamma) - np.log(records), (start_f + start_gamma - np.log(records)).mean(), atol=0.01
    )


def test_a_species_that_no_survey_saw_takes_its_familys_rate_and_its_prevalence_from_its_records() -> None:
    f = np.array([-2.0] * 6 + [np.log(0.25 / 31)])  # of 30 surveys, none with the last species
    presences = np.array([4.0] * 6 + [0])
    records = np.array([300, 300, 300, 3000, 3000, 3000, 1500])
    start_f, start_gamma = start_from_counts(f, presences, records, np.array([0, 0, 0, 1, 1, 1, 1]))
    assert start_gamma[6] == pytest.approx(start_gamma[5], abs=0.5)
    assert start_gamma[6] - start_gamma[0] > 1
    # half the records of its kin at nearly their rate: about half as common, though no survey saw it
    assert start_f[6] - start_f[5] == pytest.approx(np.log(0.5), abs=0.5)


def test_rates_have_mean_zero_and_begin_where_they_are_told_to() -> None:
    gamma = np.array([1.0, -2.0, 0.5, 3.0])
    reporting = Reporting(gamma, families(["a", "a", "b", ""], 4))
    np.testing.assert_allclose(reporting.gamma.detach().numpy(), gamma - gamma.mean(), atol=1e-6)
    with torch.no_grad():
        reporting.of_family += 5
    assert float(reporting.gamma.detach().mean()) == pytest.approx(0, abs=1e-6)


def test_species_of_unknown_family_share_none() -> None:
    assert len(set(families(["a", "", "", "a"], 4).tolist())) == 3


def test_the_prior_draws_a_species_to_its_family() -> None:
    reporting = Reporting(np.array([0.0, 0.0, 3.0]), families(["a", "a", "a"], 3))
    reporting.penalty().backward()
    assert reporting.of_species.grad[2] > 0 > reporting.of_species.grad[0]
