"""Split conformal intervals of the indicators: each from its own residuals on the surveys of held-out blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.cascade.indicators import Sums, Traits, add_species, applicable, indicators_of, zero_sums


def spread(sums: Sums) -> NDArray[np.float64]:
    """(cells,) scale of the residuals: 1 + the standard deviation of a sum of independent draws.

    It only shapes the interval; its length is set by residuals, so no independence is assumed.
    """
    return 1.0 + np.sqrt(np.maximum(sums["p"] - sums["p_squared"], 0.0))


def conformal_quantiles(
    probability: NDArray[np.floating[Any]], presence: NDArray[np.bool_], weight: NDArray[np.floating[Any]],
    traits: Traits, coverage: float = 0.9,
) -> dict[str, float]:  # fmt: skip
    """The factor of `spread` that reaches `coverage` on held-out surveys, for every indicator.

    `probability` (species, surveys) as predicted for each survey's own area and year, `presence` (species, surveys),
    `weight` (surveys,) one over the surveys of the same place. Split conformal (Vovk et al. 2005; Lei et al. 2018)
    with weights: the (1 - alpha)(1 + 1/n) quantile of |observed - predicted| / spread.
    """
    sums = zero_sums(probability.shape[1])
    add_species(sums, probability, traits)
    scale = spread(sums)
    observed = indicators_of(presence.astype(np.float64), traits)
    out: dict[str, float] = {}
    for indicator in applicable(traits):
        score = np.abs(observed[indicator.name] - indicator.function(sums)) / scale
        out[indicator.name] = weighted_quantile(score, weight, coverage)
    return out


def weighted_quantile(score: NDArray[np.floating[Any]], weight: NDArray[np.floating[Any]], coverage: float) -> float:
    """Smallest score whose weight from below reaches `coverage` x (1 + 1/n), n the effective count; the largest if none."""
    order = np.argsort(score)
    w = weight[order].astype(float)
    effective = w.sum() ** 2 / (w**2).sum()
    share = np.cumsum(w) / w.sum()
    at = int(np.searchsorted(share, min(coverage * (1 + 1 / effective), 1.0) - 1e-12))
    return float(score[order][min(at, len(score) - 1)])


def bounds(estimate: NDArray[np.float64], scale: NDArray[np.float64], quantile: float) -> NDArray[np.float64]:
    """(3, cells) [estimate, lower, upper]; the lower bound is not below 0."""
    half = quantile * scale
    return np.stack([estimate, np.maximum(estimate - half, 0.0), estimate + half])


def coverage_of(
    observed: NDArray[np.floating[Any]], interval: NDArray[np.floating[Any]], weight: NDArray[np.floating[Any]]
) -> float:
    """Weighted share of `observed` (n,) within `interval` (3, n)."""
    inside = (observed >= interval[1]) & (observed <= interval[2])
    return float(np.average(inside, weights=weight))


def as_json(quantiles: Mapping[str, float], coverage: float) -> dict[str, Any]:
    """What the model folder keeps."""
    return {"coverage": coverage, "method": "split conformal", "quantiles": dict(quantiles)}
