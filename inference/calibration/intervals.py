"""Intervals of the indicators: each from its own out-of-fold residuals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from inference.cascade.indicators import Indicator, applicable
from inference.cascade.sums import SumPlan, Sums

COVERAGE: Final = 0.9  # share of surveys whose own value the interval of an indicator holds


def residual_scores(
    probability: NDArray[np.floating[Any]], presence: NDArray[np.bool_], plan: SumPlan, of_lists: SumPlan | None = None
) -> dict[str, NDArray[np.float64]]:
    """(surveys,) |observed - predicted| / spread of every indicator that has a spread; NaN where a survey says nothing of it.

    `probability` (species, surveys) as predicted for each survey's own area and year by members that did not learn from it,
    `presence` (species, surveys). Observed is the same indicator of the survey's list (presences for probabilities, by the sums
    of `of_lists`, whose reference is one of lists).
    """
    predicted, observed = plan.sums(probability), (of_lists or plan).sums(presence.astype(np.float64))
    return {
        indicator.name: np.abs(indicator.function(observed) - indicator.function(predicted)) / indicator.spread(predicted)
        for indicator in applicable(plan.available)
        if indicator.spread is not None
    }


def quantiles_of(
    scores: Mapping[str, NDArray[np.floating[Any]]], weight: NDArray[np.floating[Any]], coverage: float = COVERAGE
) -> dict[str, float]:
    """The factor of its `spread` that reaches `coverage`, for every indicator that some survey says something of.

    `weight` (surveys,): one over the surveys of the same place. The intervals of K-fold cross-validation (Barber et al. 2021,
    doi:10.1214/20-AOS1965, section 1.3): the (1 - alpha)(1 + 1/n) quantile of the out-of-fold residuals, with weights, around the
    prediction of the ensemble.
    """
    out = {}
    for name, score in scores.items():
        finite = np.isfinite(score)
        if finite.any():
            out[name] = weighted_quantile(score[finite], weight[finite], coverage)
    return out


def coverage_by_fold(
    scores: Mapping[str, NDArray[np.floating[Any]]],
    weight: NDArray[np.floating[Any]],
    fold: NDArray[np.int64],
) -> dict[str, tuple[float, float]]:
    """(share of surveys inside, share in the worst fold) of every indicator, each fold by the quantiles of the others."""
    inside: dict[str, list[tuple[float, float]]] = {}
    for k in np.unique(fold):
        other_folds = quantiles_of({name: score[fold != k] for name, score in scores.items()}, weight[fold != k])
        for name, quantile in other_folds.items():
            fold_scores, w = scores[name][fold == k], weight[fold == k]
            finite = np.isfinite(fold_scores)
            if finite.any():
                share = float(np.average(fold_scores[finite] <= quantile, weights=w[finite]))
                inside.setdefault(name, []).append((share, float(w[finite].sum())))
    return {
        name: (float(np.average([s for s, _ in parts], weights=[w for _, w in parts])), min(s for s, _ in parts))
        for name, parts in inside.items()
    }


def weighted_quantile(score: NDArray[np.floating[Any]], weight: NDArray[np.floating[Any]], coverage: float) -> float:
    """Smallest score whose weight from below reaches `coverage` x (1 + 1/n), n the effective count; the largest if none."""
    order = np.argsort(score)
    w = weight[order].astype(float)
    effective = w.sum() ** 2 / (w**2).sum()
    share = np.cumsum(w) / w.sum()
    at = int(np.searchsorted(share, min(coverage * (1 + 1 / effective), 1.0) - 1e-12))
    return float(score[order][min(at, len(score) - 1)])


def bounds(indicator: Indicator, sums: Sums, quantile: float | None) -> NDArray[np.float64]:
    """(3, cells) [estimate, lower, upper] within what the indicator can be; NaN where it has no value.

    Without a `quantile` there is no interval: lower and upper are NaN.
    """
    estimate = np.asarray(indicator.function(sums), np.float64)
    if quantile is None or indicator.spread is None:
        none = np.full_like(estimate, np.nan)
        return np.stack([estimate, none, none])
    half = quantile * indicator.spread(sums)
    low, high = np.maximum(estimate - half, indicator.lowest), np.minimum(estimate + half, indicator.highest)
    return np.stack([estimate, np.minimum(low, estimate), np.maximum(high, estimate)])


def as_json(quantiles: Mapping[str, float]) -> dict[str, Any]:
    """What the model folder keeps."""
    return {"coverage": COVERAGE, "method": "K-fold cross-validation (Barber et al. 2021)", "quantiles": dict(quantiles)}
