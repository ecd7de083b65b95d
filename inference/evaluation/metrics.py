"""How well scores order and match presences: areas under the curve, log loss, true skill, correlation with a known truth."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata
from sklearn.metrics import roc_curve

COLUMNS = 64  # of scores copied at a time: whole cache lines, and little memory
FEWEST = 5  # presences and absences below which an AUC says nothing
LOWEST = 1e-7  # of probabilities in a log loss


def species_auc(score: NDArray[np.floating], presence: NDArray[np.bool_], fewest: int = FEWEST) -> NDArray[np.float64]:
    """(S,) area under the ROC curve of each column of score (n, S); NaN with fewer presences or absences than `fewest`.

    The Mann-Whitney form: ties count one half. Goes by COLUMNS: beside what is given it needs memory for these.
    """
    presences = presence.sum(0)
    absences = len(presence) - presences
    auc = np.full(score.shape[1], np.nan)
    for start in range(0, len(auc), COLUMNS):
        values, presence_rows = (np.ascontiguousarray(table[:, start : start + COLUMNS].T) for table in (score, presence))
        for s in range(start, start + len(values)):
            if min(presences[s], absences[s]) >= fewest:
                ranks = rankdata(values[s - start])[presence_rows[s - start]].sum()
                auc[s] = (ranks - presences[s] * (presences[s] + 1) / 2) / (presences[s] * absences[s])
    return auc


def sample_auc(score: NDArray[np.floating], presence: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(n,) AUC of each survey over its species, score and presence (n, S); NaN where all or none are present.

    Species are compared with each other, so scores must be on one scale.
    """
    return species_auc(score.T, presence.T, 1)


def macro_auc(score: NDArray[np.floating], presence: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(S,) AUC of each species that is neither absent nor present everywhere, NaN for the others.

    The mean of what is not NaN is the benchmark's macro AUC (scikit-learn's `average="macro"` over such columns).
    """
    return species_auc(score, presence, 1)


def resampled_auc(
    score: NDArray[np.floating], presence: NDArray[np.bool_], block: NDArray[np.integer], times: NDArray[np.integer]
) -> NDArray[np.float64]:
    """(R,) AUC of one species when each block counts as often as a row of `times` (R, B) says; NaN without a pair.

    score and presence (n,), `block` (n,) in 0..B-1. Pairs of a presence and an absence are counted once, by their two blocks.
    """
    order = np.argsort(score, kind="stable")
    sorted_score, presences, sorted_block = score[order], presence[order], block[order]
    blocks = times.shape[1]
    absences = np.zeros((len(score) + 1, blocks))
    absences[np.flatnonzero(~presences) + 1, sorted_block[~presences]] = 1
    below = np.cumsum(absences, 0)  # absences of each block among the first i surveys
    first = np.searchsorted(sorted_score, sorted_score[presences], side="left")
    last = np.searchsorted(sorted_score, sorted_score[presences], side="right")
    wins = np.zeros((blocks, blocks))  # presences of a row's block over absences of a column's; ties count half
    np.add.at(wins, sorted_block[presences], (below[first] + below[last]) / 2)
    present = times @ np.bincount(sorted_block[presences], minlength=blocks)
    pairs = present * (times @ below[-1])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(pairs > 0, ((times @ wins) * times).sum(1) / pairs, np.nan), np.float64)


def species_correlation(predicted: NDArray[np.floating], truth: NDArray[np.floating]) -> NDArray[np.float64]:
    """(S,) Pearson correlation over cells of predicted and true probability (n, S); NaN where one is constant."""
    a = np.asarray(predicted, np.float64) - np.mean(predicted, 0, dtype=np.float64)
    b = np.asarray(truth, np.float64) - np.mean(truth, 0, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((a * b).sum(0) / np.sqrt((a * a).sum(0) * (b * b).sum(0)), np.float64)


def log_loss(p: NDArray[np.floating], presence: NDArray[np.bool_]) -> float:
    """Mean over surveys and species of the negative log likelihood of presences under probabilities p (n, S)."""
    return float(log_losses(p, presence).mean())


def log_losses(p: NDArray[np.floating], presence: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Negative log likelihood of each presence or absence under probabilities p of the same shape."""
    q = np.clip(np.asarray(p, np.float64), LOWEST, 1 - LOWEST)
    return -np.where(presence, np.log(q), np.log1p(-q))


def mean_of(values: ArrayLike) -> float:
    """Mean of what is finite; NaN where nothing is."""
    array = np.asarray(values, np.float64)
    finite = array[np.isfinite(array)]
    return float(finite.mean()) if len(finite) else float("nan")


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
    has_enough = np.isfinite(threshold) & (presences >= fewest) & (absences >= fewest)
    return np.where(has_enough, skill, np.nan)
