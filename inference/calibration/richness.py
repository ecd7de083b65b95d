"""Calibration of summed richness: probabilities right on average may still sum to too even a map of richness, or too uneven.

Species share what no predictor knows, so their errors add up; the sum is set right by two numbers of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

FOLDS: Final = 5
FEWEST: Final = 20  # surveys
EXPONENT_SD: Final = 0.2  # prior standard deviation of the exponent around 1

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Richness:
    """Expected richness = level x (sum of probabilities) ^ exponent."""

    level: float = 1.0
    exponent: float = 1.0

    def predict(self, total: Floats) -> NDArray[np.float64]:
        """Calibrated richness of sums of probabilities, any shape."""
        return np.asarray(self.level * np.asarray(total, np.float64) ** self.exponent)

    @property
    def constants(self) -> Mapping[str, float]:
        """As constants of the running sums; none for the identity."""
        if self == Richness():
            return {}
        return {"richness_level": self.level, "richness_exponent": self.exponent}


def fit_richness(total: Floats, observed: Floats, weight: Floats, block: NDArray[np.int64]) -> Richness:
    """The calibration of sums of probabilities `total` (n,) to species counts `observed` (n,) of held-out surveys.

    `weight` (n,) of each survey, `block` (n,) its spatial block. Poisson regression of the count on log total; kept if its
    mean squared error on blocks left out is below that of the sums themselves.
    """
    names, inverse = np.unique(block, return_inverse=True)
    folds = min(FOLDS, len(names))
    if len(total) < FEWEST or folds < 2 or not (observed > 0).any():
        return Richness()
    fold = np.random.default_rng(0).permutation(np.arange(len(names)) % folds)[inverse]
    gain = 0.0
    for k in range(folds):
        out = fold == k
        fitted_total = _fit(total[~out], observed[~out], weight[~out]).predict(total[out])
        gain += float((weight[out] * ((total[out] - observed[out]) ** 2 - (fitted_total - observed[out]) ** 2)).sum())
    return _fit(total, observed, weight) if gain > 0 else Richness()


def _fit(total: Floats, observed: Floats, weight: Floats) -> Richness:
    """Newton's method for log mean = a + b (log total - its mean), b ~ N(1, EXPONENT_SD)."""
    y, w = np.asarray(observed, np.float64), np.asarray(weight, np.float64)
    logs = np.log(np.maximum(np.asarray(total, np.float64), 1e-6))
    middle = float(np.average(logs, weights=w))
    x = np.stack([np.ones_like(logs), logs - middle])
    theta = np.array([np.log(max(float(np.average(y, weights=w)), 1e-6)), 1.0])
    tight = 1 / EXPONENT_SD**2
    for _ in range(30):
        mu = np.exp(np.clip(theta @ x, -20, 20))
        gradient = x @ (w * (y - mu)) - np.array([0.0, tight * (theta[1] - 1)])
        hessian = (x * w * mu) @ x.T + np.diag([1e-9, tight])
        step = np.clip(np.linalg.solve(hessian, gradient), -0.5, 0.5)
        theta += step
        if np.abs(step).max() < 1e-9:
            break
    return Richness(float(np.exp(theta[0] - theta[1] * middle)), float(theta[1]))
