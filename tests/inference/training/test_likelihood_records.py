"""What records say: each likelihood against independent arithmetic, its gradient against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import check_grad
from scipy.special import log_softmax

from inference.training.likelihood import (
    assume_negative_loss,
    full_weighting_loss,
    poisson_loss,
    quadrature_of,
    record_loss,
    target_group_loss,
)

RNG = np.random.default_rng(0)
ETA = RNG.normal(-2, 1, (6, 5))
AWAY = RNG.normal(-2, 1, (6, 5))
THINNING = RNG.normal(0, 0.5, (6, 2))
SPECIES = np.array([0, 4, 2, 2, 1, 0])
SHARE = torch.tensor([0.3, 0.1, 0.2, 0.1, 0.3], dtype=torch.float64)
LOSSES = {
    "record": lambda eta, away: record_loss(eta, torch.from_numpy(SPECIES)),
    "poisson": lambda eta, away: poisson_loss(
        eta, torch.from_numpy(SPECIES), torch.from_numpy(THINNING[:, 0]), quadrature_of(away, torch.from_numpy(THINNING))
    ),
    "target_group": lambda eta, away: target_group_loss(eta, torch.from_numpy(SPECIES)),
    "assume_negative": lambda eta, away: assume_negative_loss(eta, torch.from_numpy(SPECIES), away),
    "full_weighting": lambda eta, away: full_weighting_loss(eta, torch.from_numpy(SPECIES), away, SHARE),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_is_that_of_finite_differences(name: str) -> None:
    def parts(flat: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        both = torch.from_numpy(flat).reshape(2, *ETA.shape).requires_grad_()
        return both, *both.unbind()

    def value(flat: np.ndarray) -> float:
        _, eta, away = parts(flat)
        return float(LOSSES[name](eta, away).mean())

    def gradient(flat: np.ndarray) -> np.ndarray:
        both, eta, away = parts(flat)
        LOSSES[name](eta, away).mean().backward()
        return both.grad.numpy().ravel()

    assert check_grad(value, gradient, np.stack([ETA, AWAY]).ravel()) < 1e-5


def test_values_are_those_of_the_formulas() -> None:
    rows = np.arange(6)
    p, q = -np.expm1(-np.exp(ETA)), -np.expm1(-np.exp(AWAY))
    own = np.eye(5)[SPECIES]
    share = SHARE.numpy()
    expected = {
        "record": -log_softmax(ETA, 1)[rows, SPECIES],
        "poisson": np.mean(np.exp(AWAY).sum(1) * np.exp(THINNING).sum(1)) - ETA[rows, SPECIES] - THINNING[:, 0],
        "target_group": np.exp(ETA).sum(1).mean() - ETA[rows, SPECIES],
        "assume_negative": -(5 * own * np.log(p) + (1 - own) * np.log(1 - p) + np.log(1 - q)).sum(1) / 5,
        "full_weighting": -(
            own / share * np.log(p) + 0.8 / (1 - share) * (1 - own) * np.log(1 - p) + 0.2 * np.log(1 - q)
        ).sum(1) / 5,
    }  # fmt: skip
    for name, loss in LOSSES.items():
        np.testing.assert_allclose(loss(torch.from_numpy(ETA), torch.from_numpy(AWAY)).numpy(), expected[name], rtol=1e-6)


def test_effort_of_a_place_cancels_in_the_species_of_a_record() -> None:
    eta, species = torch.from_numpy(ETA), torch.from_numpy(SPECIES)
    effort = torch.from_numpy(RNG.normal(0, 3, (6, 1)))
    torch.testing.assert_close(record_loss(eta + effort, species), record_loss(eta, species))


def test_a_poisson_process_is_at_its_best_where_it_expects_as_many_records_as_there_are() -> None:
    eta, species, none = torch.from_numpy(ETA), torch.from_numpy(SPECIES), torch.zeros(6, 1, dtype=torch.float64)

    def mean_loss(level: float) -> float:
        thinning = none + level
        return float(poisson_loss(eta, species, thinning[:, 0], quadrature_of(eta, thinning)).mean())

    best = -float(torch.log(torch.exp(eta).sum(1).mean()))
    assert float(quadrature_of(eta, none + best)) == pytest.approx(1)
    assert mean_loss(best) < min(mean_loss(best - 0.1), mean_loss(best + 0.1))


@pytest.mark.parametrize("name", LOSSES)
def test_extreme_scores_leave_loss_and_gradient_finite(name: str) -> None:
    eta = torch.tensor(np.where(RNG.random((6, 5)) < 0.5, -300.0, 300.0), requires_grad=True)
    away = torch.full((6, 5), 300.0, dtype=torch.float64, requires_grad=True)
    LOSSES[name](eta, away).mean().backward()
    assert torch.isfinite(eta.grad).all()
    assert away.grad is None or torch.isfinite(away.grad).all()
