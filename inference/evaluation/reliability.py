"""Whether probabilities can be believed: slope, observed over expected, calibration error and the reliability curve.

An expected calibration error alone is passed by predicting nothing, so it never stands alone here.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inference.evaluation.metrics import log_loss

EDGES: Final = (0.02, 0.1, 0.3, 1.0)  # bins of p whose observed / expected is told
CURVE: Final = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
ENOUGH: Final = 30  # presences of a species whose own observed / expected says something
PAIRS: Final = 1 << 22  # in memory at a time
LOWEST: Final = 1e-7

Probabilities = NDArray[np.floating]


@dataclass(frozen=True)
class Curve:
    """Bins of probability that hold a pair: mean probability, observed frequency and pairs (bins,)."""

    predicted: NDArray[np.float64]
    observed: NDArray[np.float64]
    pairs: NDArray[np.int64]

    @property
    def error(self) -> float:
        """Expected calibration error: mean over pairs of |observed - predicted| of their bin."""
        return float(np.average(np.abs(self.observed - self.predicted), weights=self.pairs)) if len(self.pairs) else float("nan")


def reliability_curve(p: Probabilities, presence: NDArray[np.bool_], edges: tuple[float, ...] = CURVE) -> Curve:
    """The curve of probabilities p and presences of any equal shape; `edges` from 0 to 1, the last one closed."""
    flat, presences = np.ravel(p), np.ravel(presence)
    at = np.clip(np.searchsorted(edges, flat, side="right") - 1, 0, len(edges) - 2)
    bins = len(edges) - 1
    pairs = np.bincount(at, minlength=bins)
    filled_bins = pairs > 0
    predicted = np.bincount(at, flat, bins)[filled_bins] / pairs[filled_bins]
    observed = np.bincount(at, presences, bins)[filled_bins] / pairs[filled_bins]
    return Curve(predicted, observed, pairs[filled_bins])


def logit_slope(p: Probabilities, presence: NDArray[np.bool_], rounds: int = 30) -> tuple[float, float]:
    """(slope, intercept) of the logistic regression of presence on logit p over all surveys and species (Cox 1958).

    Slope 1 and intercept 0: calibrated; a slope below 1: too sure. Newton's method over slices, so memory stays small.
    NaN where all or none are present.
    """
    flat, observed = np.ravel(p), np.ravel(presence)
    if not observed.any() or observed.all():
        return float("nan"), float("nan")
    beta = np.array([0.0, 1.0])
    for _ in range(rounds):
        gradient, hessian = np.zeros(2), np.zeros((2, 2))
        for start in range(0, len(flat), PAIRS):
            q = np.clip(np.asarray(flat[start : start + PAIRS], np.float64), LOWEST, 1 - LOWEST)
            x = np.log(q) - np.log1p(-q)
            mu = 1 / (1 + np.exp(-(beta[0] + beta[1] * x)))
            residual, w = observed[start : start + PAIRS] - mu, mu * (1 - mu)
            gradient += residual.sum(), residual @ x
            hessian += np.array([[w.sum(), w @ x], [w @ x, w @ (x * x)]])
        try:
            step = np.linalg.solve(hessian, gradient)
        except np.linalg.LinAlgError:
            return float("nan"), float("nan")
        beta += np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-9:
            break
    return float(beta[1]), float(beta[0])


def species_log_ratio(p: Probabilities, presence: NDArray[np.bool_], enough: int = ENOUGH) -> NDArray[np.float64]:
    """(S,) log(observed / expected) presences of each species; NaN with fewer observed than `enough`."""
    observed, expected = presence.sum(0), np.sum(p, 0, dtype=np.float64)
    with np.errstate(divide="ignore"):
        return np.where(observed >= enough, np.log(np.maximum(observed, 1)) - np.log(expected), np.nan)


def calibration_record(
    p: Probabilities, presence: NDArray[np.bool_], prevalence: NDArray[np.floating] | None = None
) -> dict[str, float | int | None]:
    """One row of the table of calibration for probabilities p (n, S) of surveys.

    `prevalence` (S,): share of training surveys with each species, the forecast whose log loss is to be beaten. Told
    are the pooled logit slope, observed / expected in bins of p, the median |log(observed / expected)| of species with
    30 presences or more, log losses, expected calibration error, and observed / expected richness.
    """
    slope, intercept = logit_slope(p, presence)
    row: dict[str, float | int | None] = {"slope": slope, "intercept": intercept}
    for lower, upper in pairwise(EDGES):
        inside = (p >= lower) & ((p < upper) | (upper == EDGES[-1]))
        expected_in_bin = float(p[inside].sum())
        row[f"O/E p {lower:g}-{upper:g}"] = float(presence[inside].sum()) / expected_in_bin if expected_in_bin > 0 else None
    log_ratio = species_log_ratio(p, presence)
    is_finite = np.isfinite(log_ratio)
    row["median |log O/E|"] = float(np.median(np.abs(log_ratio[is_finite]))) if is_finite.any() else None
    row[f"species with {ENOUGH}+"] = int(is_finite.sum())
    row["log loss"] = log_loss(p, presence)
    if prevalence is not None:
        row["log loss of prevalence"] = log_loss(np.broadcast_to(prevalence, presence.shape), presence)
    row["calibration error"] = reliability_curve(p, presence).error
    expected = float(np.sum(p, dtype=np.float64))
    row["richness O/E"] = float(presence.sum()) / expected if expected > 0 else None
    return row
