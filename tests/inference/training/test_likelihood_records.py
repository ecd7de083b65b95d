"""What records say: each likelihood against independent arithmetic, its gradient against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import check_grad
from scipy.special import log_softmax, logsumexp

from inference.training.likelihood import record_loss, site_softmax_loss

RNG = np.random.default_rng(0)
ETA = RNG.normal(-2, 1, (6, 5))
AWAY = RNG.normal(-2, 1, (6, 5))
SPECIES = np.array([0, 4, 2, 2, 1, 0])
LOSSES = {
    "record": lambda eta, away: record_loss(eta, torch.from_numpy(SPECIES)),
    "site_softmax": lambda eta, away: site_softmax_loss(eta, torch.from_numpy(SPECIES), away),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_is_that_of_finite_differences(name: str) -> None:
    def parts(flat: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        both = torch.from_numpy(flat).reshape(2, *ETA.shape).requires_grad_()
        return both, *both.unbind()

    def value(flat: np.ndarray) -> float:
        _, eta, away = parts(flat)
        return float(LOSSES[name](eta, away).mean().detach())

    def gradient(flat: np.ndarray) -> np.ndarray:
        both, eta, away = parts(flat)
        LOSSES[name](eta, away).mean().backward()
        return both.grad.numpy().ravel()

    assert check_grad(value, gradient, np.stack([ETA, AWAY]).ravel()) < 1e-5


def test_values_are_those_of_the_formulas() -> None:
    rows = np.arange(6)
    own = ETA[rows, SPECIES]
    expected = {
        "record": -log_softmax(ETA, 1)[rows, SPECIES],
        "site_softmax": np.logaddexp(logsumexp(AWAY, 0)[SPECIES], own) - own,
    }
    for name, loss in LOSSES.items():
        np.testing.assert_allclose(loss(torch.from_numpy(ETA), torch.from_numpy(AWAY)).numpy(), expected[name], rtol=1e-6)


def test_effort_of_a_place_cancels_in_the_species_of_a_record() -> None:
    eta, species = torch.from_numpy(ETA), torch.from_numpy(SPECIES)
    effort = torch.from_numpy(RNG.normal(0, 3, (6, 1)))
    torch.testing.assert_close(record_loss(eta + effort, species), record_loss(eta, species))


@pytest.mark.parametrize("name", LOSSES)
def test_extreme_scores_leave_loss_and_gradient_finite(name: str) -> None:
    eta = torch.tensor(np.where(RNG.random((6, 5)) < 0.5, -300.0, 300.0), requires_grad=True)
    away = torch.full((6, 5), 300.0, dtype=torch.float64, requires_grad=True)
    LOSSES[name](eta, away).mean().backward()
    assert torch.isfinite(eta.grad).all()
    assert away.grad is None or torch.isfinite(away.grad).all()
