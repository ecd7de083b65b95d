"""Split conformal intervals of the indicators: each from its own residuals on the surveys of held-out blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.cascade.indicators import Indicator, applicable
from inference.cascade.sums import SumPlan, Sums


def conformal_quantiles(
    probability: NDArray[np.floating[Any]], presence: NDArray[np.bool_], weight: NDArray[np.floating[Any]],
    plan: SumPlan, coverage: float = 0.9, of_lists: SumPlan | None = None,
) -> dict[str, float]:  # fmt: skip
    """The factor of its `spread` that reaches `coverage` on held-out surveys, for every indicator that has one.

    `probability` (species, surveys) as predicted for each survey's own area and year, `presence` (species, surveys),
    `weight` (surveys,) one over the surveys of the same place. Split conformal (Vovk et al. 2005; Lei et al. 2018)
    with weights: the (1 - alpha)(1 + 1/n) quantile of |observed - predicted| / spread. Observed is the same indicator of the
    survey's list (presences for probabilities, by the sums of `of_lists`, whose reference is one of lists); a survey whose
    list or prediction gives an indicator no value says nothing of it. Where no survey says anything, there is no quantile.
    """
    predicted, observed = plan.of(probability), (of_lists or plan).of(presence.astype(np.float64))
    out: dict[str, float] = {}
    for indicator in applicable(plan.available):
        if indicator.spread is None:
            continue
        score = np.abs(indicator.function(observed) - indicator.function(predicted)) / indicator.spread(predicted)
        known = np.isfinite(score)
        if known.any():
            out[indicator.name] = weighted_quantile(score[known], weight[known], coverage)
    return out


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


def coverage_of(
    observed: NDArray[np.floating[Any]], interval: NDArray[np.floating[Any]], weight: NDArray[np.floating[Any]]
) -> float:
    """Weighted share of `observed` (n,) within `interval` (3, n)."""
    inside = (observed >= interval[1]) & (observed <= interval[2])
    return float(np.average(inside, weights=weight))


def as_json(quantiles: Mapping[str, float], coverage: float) -> dict[str, Any]:
    """What the model folder keeps."""
    return {"coverage": coverage, "method": "split conformal", "quantiles": dict(quantiles)}
