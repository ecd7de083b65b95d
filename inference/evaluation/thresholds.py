"""Presence or absence of a species from its score: the threshold of best skill, and the true skill statistic under it.

The threshold is chosen on other surveys than those that it is judged on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from inference.evaluation.metrics import FEWEST


def best_thresholds(score: NDArray[np.floating], presence: NDArray[np.bool_], fewest: int = FEWEST) -> NDArray[np.float64]:
    """(S,) the score of each species at and above which sensitivity + specificity is highest on (n, S); ties: the highest.

    NaN for species with fewer presences or absences than `fewest`: their threshold would be that of a few places.
    """
    out = np.full(score.shape[1], np.nan)
    presence_counts = presence.sum(0)
    for s in np.flatnonzero((presence_counts >= fewest) & (len(presence) - presence_counts >= fewest)):
        alarms, hits, thresholds = roc_curve(presence[:, s], score[:, s], drop_intermediate=False)
        out[s] = thresholds[1:][int((hits - alarms)[1:].argmax())]  # the first one is above all scores
    return out


def true_skill(
    score: NDArray[np.floating], presence: NDArray[np.bool_], threshold: NDArray[np.floating], fewest: int = 1
) -> NDArray[np.float64]:
    """(S,) sensitivity + specificity - 1 (Allouche et al. 2006) of `score >= threshold`, in [-1, 1].

    `threshold`: (S,). NaN where it is NaN or a species has fewer presences or absences than `fewest`.
    """
    predicted = score >= threshold
    presences = presence.sum(0)
    absences = len(presence) - presences
    with np.errstate(invalid="ignore", divide="ignore"):
        skill = (predicted & presence).sum(0) / presences - (predicted & ~presence).sum(0) / absences
    judged = np.isfinite(threshold) & (presences >= fewest) & (absences >= fewest)
    return np.where(judged, skill, np.nan)
