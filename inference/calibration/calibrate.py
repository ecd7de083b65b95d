"""Calibration on held-out blocks: one slope around each species' own level, and pooled shifts of these levels.

A network is too sure of *where* a species is long before it is wrong about how common it is. So the slope draws scores
towards the species' level and not towards one level for all, which would make rare species common. How far species may
leave the common shift, and whether calibration helps at all, is decided by leaving blocks out: a few blocks differ from each
other by more than the sampling of their surveys, and what fits them may not fit the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from inference.training.likelihood import HIGHEST, LOWEST, cloglog, survey_loss

POOLING: Final = (0.02, 0.1, 0.2, 0.4, 0.8)  # prior standard deviations of a species' own shift, cloglog scale
FEWEST: Final = 20  # surveys below which calibration would only learn noise
FOLDS: Final = 5
POOLING_PAIRS: Final = 1_000_000  # surveys x species at most on which a pooling is chosen
SLICE: Final = 4_000_000  # surveys x species in memory at a time, in float64
STEPS: Final = 40
SLOPE_SD: Final = 0.5
LEAST_SLOPE: Final = 0.05
RAREST: Final = 1e-6  # mean probabilities from which a level is taken: the others have no cloglog that tells
COMMONEST: Final = 0.98


@dataclass(frozen=True)
class Calibration:
    """eta' = slope x eta + intercept_s on the cloglog scale, where eta includes the survey's area.

    `intercept`: (1 - slope) x the level of a species plus its shift. `pooling`: the prior standard deviation of species' own
    shifts that was chosen; 0 for the identity.
    """

    slope: float
    intercept: NDArray[np.float32]  # (S,)
    surveys: int = 0
    pooling: float = 0.0

    @classmethod
    def identity(cls, species: int, surveys: int = 0) -> Calibration:
        """The calibration that changes nothing."""
        return cls(1.0, np.zeros(species, np.float32), surveys)


def fit_calibration(
    eta: NDArray[np.float32],
    presence: NDArray[np.bool_],
    weight: NDArray[np.float32] | None = None,
    block: NDArray[np.int64] | None = None,
    pooling: Sequence[float] = POOLING,
) -> Calibration:
    """Slope and intercepts from uncalibrated eta (n, S) and presence (n, S).

    `weight` (n,) counts a survey less when its place has several; `block` (n,) is its spatial block (None: each its own).
    Of the degrees of `pooling` and the identity, the one with the lowest log loss on blocks left out is fitted to all.
    Too few surveys: identity.
    """
    n, species = eta.shape
    if n < FEWEST:
        return Calibration.identity(species)
    w = np.ones(n, np.float32) if weight is None else np.asarray(weight, np.float32)
    level = levels(eta, w)
    pooling_strength = _choose(eta, presence, w, level, np.arange(n) if block is None else block, pooling)
    if pooling_strength is None:
        return Calibration.identity(species, n)
    slope, shift = _fit(eta, presence, w, level, pooling_strength)
    return Calibration(slope, ((1 - slope) * level + shift).astype(np.float32), n, pooling_strength)


def levels(eta: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """(S,) level of each species: the cloglog of its mean probability over surveys of scores eta (n, S), by weight (n,)."""
    n, species = eta.shape
    rows = max(1, SLICE // species)
    total = np.zeros(species)
    for start in range(0, n, rows):
        part = slice(start, start + rows)
        total += weight[part] @ -np.expm1(-np.exp(np.clip(eta[part], LOWEST, HIGHEST)))
    return cloglog(np.clip(total / weight.sum(), RAREST, COMMONEST)).astype(np.float32)


def _choose(
    eta: NDArray[np.float32],
    presence: NDArray[np.bool_],
    weight: NDArray[np.float32],
    level: NDArray[np.float32],
    block: NDArray[np.int64],
    pooling: Sequence[float],
) -> float | None:
    """The degree of pooling with the lowest loss on blocks left out; None: none beats leaving the scores alone."""
    names, inverse = np.unique(block, return_inverse=True)
    folds = min(FOLDS, len(names))
    if folds < 2:  # one block says nothing of the next
        return min(pooling)
    fold = np.random.default_rng(0).permutation(np.arange(len(names)) % folds)[inverse]
    species = slice(None, None, max(1, -(-eta.size // POOLING_PAIRS)))
    e, presences, level = np.ascontiguousarray(eta[:, species]), np.ascontiguousarray(presence[:, species]), level[species]
    losses = dict.fromkeys((0.0, *pooling), 0.0)
    for k in range(folds):
        inside, out = fold != k, fold == k
        for p in losses:
            slope, shift = (1.0, np.float32(0)) if p == 0 else _fit(e[inside], presences[inside], weight[inside], level, p)
            losses[p] += _loss(slope * (e[out] - level) + level + shift, presences[out], weight[out])
    best = min(losses, key=lambda p: losses[p])
    return best if best > 0 else None


def _loss(eta: NDArray[np.floating[Any]], presence: NDArray[np.bool_], weight: NDArray[np.float32]) -> float:
    """Weighted negative log likelihood of surveys, summed."""
    loss = survey_loss(torch.from_numpy(np.asarray(eta, np.float32)), torch.from_numpy(presence))
    return float((loss.sum(1, dtype=torch.float64) * torch.from_numpy(weight)).sum())


def _curvature(eta: NDArray[np.float64], presence: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """First and second derivatives by eta of the negative log likelihood, which is convex.

    With r = exp(eta): both are r for an absence; for a presence -g and g (r / (1 - exp(-r)) - 1) where g = r / (exp(r) - 1).
    """
    r = np.exp(np.clip(eta, LOWEST, HIGHEST))
    g = r / np.expm1(r)
    return np.where(presence, -g, r), np.where(presence, g * np.maximum(r / -np.expm1(-r) - 1, 0), r)


def _fit(
    eta: NDArray[np.float32], presence: NDArray[np.bool_], weight: NDArray[np.float32], level: NDArray[np.float32], pooling: float
) -> tuple[float, NDArray[np.float32]]:
    """Maximum a posteriori slope and shifts (S,) in eta' = slope x (eta - level_s) + level_s + shift_s.

    slope ~ N(1, 0.5), shift_s ~ N(common, pooling), common free. Newton's method: the Hessian is an arrow, shifts against
    slope and common, so a step costs one pass over the data.
    """
    n, species = eta.shape
    rows = max(1, SLICE // species)
    slope, common, shift = 1.0, 0.0, np.zeros(species)
    tight = 1 / pooling**2
    for _ in range(STEPS):
        g_slope, h_slope = (slope - 1) / SLOPE_SD**2, 1 / SLOPE_SD**2
        g_shift, h_shift, h_cross = (shift - common) * tight, np.full(species, tight), np.zeros(species)
        for start in range(0, n, rows):
            part = slice(start, start + rows)
            e, w = eta[part].astype(np.float64) - level, weight[part, None]
            first, second = (w * d for d in _curvature(slope * e + level + shift, presence[part]))
            g_slope += float((first * e).sum())
            h_slope += float((second * e * e).sum())
            g_shift += first.sum(0)
            h_shift += second.sum(0)
            h_cross += (second * e).sum(0)
        # rows and columns of the arrow's head: slope, common
        head = np.array([[h_slope, 0.0], [0.0, species * tight]])
        gradient = np.array([g_slope, float((common - shift).sum()) * tight])
        arms = np.stack([h_cross, np.full(species, -tight)])
        head_step = np.linalg.solve(head - (arms / h_shift) @ arms.T, gradient - (arms / h_shift) @ g_shift)
        step = (g_shift - head_step @ arms) / h_shift
        damp = min(1.0, 1.0 / max(float(np.abs(step).max()), abs(head_step[0]) * 2, 1e-12))
        slope = max(slope - damp * float(head_step[0]), LEAST_SLOPE)
        common -= damp * float(head_step[1])
        shift -= damp * step
        if max(float(np.abs(step).max()), abs(float(head_step[0]))) < 1e-5:
            break
    return slope, shift.astype(np.float32)
