"""Calibration on held-out blocks: one slope and intercept for all species, shrunk intercepts of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from inference.training.likelihood import survey_loss

SHRINKAGE: Final = 0.3  # prior standard deviation of a species' own intercept, on the cloglog scale
FEWEST: Final = 20  # surveys below which calibration would only learn noise


@dataclass(frozen=True)
class Calibration:
    """eta' = slope x eta + intercept_s on the cloglog scale, where eta includes the survey's area."""

    slope: float
    intercept: NDArray[np.float32]  # (S,)
    surveys: int = 0

    @classmethod
    def identity(cls, species: int) -> Calibration:
        """The calibration that changes nothing."""
        return cls(1.0, np.zeros(species, np.float32))


def fit_calibration(
    eta: NDArray[np.float32],
    presence: NDArray[np.bool_],
    weight: NDArray[np.float32] | None = None,
    shrinkage: float = SHRINKAGE,
) -> Calibration:
    """Maximum a posteriori slope and intercepts from uncalibrated eta (n, S) and presence (n, S).

    `weight` (n,) counts a survey less when its place has several. Slope stays positive, with a weak prior
    around 1 (log-normal, standard deviation 0.5). Too few surveys: identity.
    """
    n, species = eta.shape
    if n < FEWEST:
        return Calibration.identity(species)
    # rows of one role and 10,000 species are too many for one autograd graph in float64: go by slices of surveys
    rows = max(1, 20_000_000 // species)
    scores, seen = torch.from_numpy(eta), torch.from_numpy(presence)
    weights = torch.from_numpy(np.ones(n, np.float32) if weight is None else weight)
    log_slope = torch.zeros((), dtype=torch.float64, requires_grad=True)
    common = torch.zeros((), dtype=torch.float64, requires_grad=True)
    own = torch.zeros(species, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([log_slope, common, own], max_iter=60, tolerance_grad=1e-7, line_search_fn="strong_wolfe")
    scale = float(n * species)

    def closure() -> float:
        optimiser.zero_grad()
        prior = (own.square().sum() / (2 * shrinkage**2) + 2 * log_slope.square()) / scale
        prior.backward()  # type: ignore[no-untyped-call]
        total = float(prior.detach())
        for start in range(0, n, rows):
            part = slice(start, start + rows)
            moved = log_slope.exp() * scores[part].double() + common + own
            loss = (survey_loss(moved, seen[part]) * weights[part, None]).sum() / scale
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        return total

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    intercept = (common + own).detach().numpy().astype(np.float32)
    return Calibration(float(log_slope.detach().exp()), intercept, n)
