"""The continuous Boyce index: whether presences grow more frequent with the score, where no absences are known.

Hirzel, Le Lay, Helfer, Randin and Guisan (2006), Ecological Modelling 199: 142-152.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

WINDOW: Final = 0.1  # of the range of scores
POSITIONS: Final = 100  # steps of the moving window, so 101 windows


def predicted_to_expected(
    presences: NDArray[np.floating], background: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(middle of each window, ratio F in it): share of presences over share of background, NaN where no background is.

    `presences` (m,) scores of records, `background` (n,) scores of the area that they could have come from.
    """
    low = min(background.min(), presences.min())
    high = max(background.max(), presences.max())
    width = (high - low) * WINDOW
    lower = np.linspace(low, high - width, POSITIONS + 1)
    upper = lower + width
    upper[-1] = high  # so that rounding does not lose the highest score

    def share(values: NDArray[np.floating]) -> NDArray[np.float64]:
        ranked = np.sort(np.asarray(values, np.float64))
        count = np.searchsorted(ranked, upper, side="right") - np.searchsorted(ranked, lower, side="left")
        return np.asarray(count / len(ranked), np.float64)

    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = share(presences) / share(background)
    return (lower + upper) / 2, np.where(np.isfinite(ratio), ratio, np.nan)


def boyce_index(presences: NDArray[np.floating], background: NDArray[np.floating]) -> float:
    """Spearman correlation of F with the score, in [-1, 1]; above 0: better than chance.

    A run of equal ratios counts once, as in the R package ecospat (`rm.duplicate`): windows overlap, and a long stretch
    without presences would drown the rest. NaN with fewer than three different windows, or without a range of scores.
    """
    at_records, area = (np.asarray(scores)[np.isfinite(scores)] for scores in (presences, background))
    if not len(at_records) or not len(area) or np.ptp(np.concatenate([at_records, area])) == 0:
        return float("nan")
    middle, ratio = predicted_to_expected(at_records, area)
    defined = np.isfinite(ratio)
    middle, ratio = middle[defined], np.round(ratio[defined], 10)
    changed = np.r_[np.diff(ratio) != 0, True]
    if changed.sum() < 3:
        return float("nan")
    return float(spearmanr(middle[changed], ratio[changed]).statistic)


def boyce_indices(
    score: NDArray[np.floating], records: NDArray[np.bool_], background: NDArray[np.floating], fewest: int = 5
) -> NDArray[np.float64]:
    """(S,) index of each species; NaN with fewer records than `fewest`.

    `score` (m, S) at the places of records, `records` (m, S) which species was noted there, `background` (n, S).
    """
    out = np.full(score.shape[1], np.nan)
    for s in np.flatnonzero(records.sum(0) >= fewest):
        out[s] = boyce_index(score[records[:, s], s], background[:, s])
    return out
