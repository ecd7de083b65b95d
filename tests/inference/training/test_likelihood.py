"""The complementary log-log likelihood and the handling of areas."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from inference.training.likelihood import clean_areas, cloglog, cloglog_probability, survey_loss


def test_probability_is_the_analytic_value():
    eta = torch.tensor([-20.0, -5.0, 0.0, 1.0])
    expected = -np.expm1(-np.exp(eta.double().numpy()))
    np.testing.assert_allclose(cloglog_probability(eta).numpy(), expected, rtol=1e-6)
    np.testing.assert_allclose(cloglog(np.array([0.001, 0.5, 0.99])), [-6.907255, -0.366513, 1.527180], atol=1e-6)


def test_doubling_the_area_doubles_the_rate_when_beta_is_one():
    f, beta = torch.tensor([-2.0]), 1.0
    p = cloglog_probability(f + beta * np.log(200 / 100))
    once = cloglog_probability(f)
    torch.testing.assert_close(p, 1 - (1 - once) ** 2)


def test_loss_is_the_bernoulli_likelihood():
    eta = torch.linspace(-12, 3, 61, dtype=torch.float64)
    p = -torch.expm1(-torch.exp(eta))
    torch.testing.assert_close(survey_loss(eta, torch.ones(61)), -torch.log(p), atol=1e-7, rtol=1e-7)
    torch.testing.assert_close(survey_loss(eta, torch.zeros(61)), torch.exp(eta), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("presence", [0.0, 1.0])
def test_loss_and_gradient_are_finite_and_push_back_however_extreme(presence):
    eta = torch.tensor([-1e4, -60.0, -30.0, 0.0, 5.0, 60.0, 1e4], requires_grad=True)
    loss = survey_loss(eta, torch.full((7,), presence))
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert torch.isfinite(eta.grad).all()
    assert (loss >= 0).all()
    worst = 0 if presence else -1  # certain absence of what is there, certain presence of what is not
    assert eta.grad[worst] == (-1 if presence else 1)


def test_unknown_areas_take_the_median_and_are_counted():
    areas = clean_areas(np.array([10, 100, 1000, np.nan, np.inf, -np.inf, 0, -5]))
    assert (areas.median_m2, areas.n_filled) == (100.0, 5)
    np.testing.assert_allclose(areas.log_ratio, np.log([0.1, 1, 10, 1, 1, 1, 1, 1]), atol=1e-6)
    assert clean_areas(np.array([np.nan]), 25.0).log_ratio[0] == pytest.approx(np.log(0.25))
    assert clean_areas(np.array([np.nan])).median_m2 == 100.0
