"""The dissimilarity index of Meyer and Pebesma (2021): how far a place lies from all that a model was trained on.

Distances alone: in which space they are taken (inputs, embedding) is `applicability`. A few reference places stand for the
training data, so that the nearest one is found by one matrix product for whole maps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ROWS: Final = 2_048  # places whose distances to all references are in memory at a time: what stays in a core's cache


@dataclass(frozen=True)
class Space:
    """Reference places of a space in which Euclidean distance means dissimilarity.

    A value that a reference lacks is NaN. `mean_distance`: mean over pairs of references, the unit of the index; 0 where all
    are the same. `threshold`: index up to which a place counts as known; infinite where the references lie in one block, so
    that nothing is known of transfer.
    """

    points: NDArray[np.float32]  # (r, k)
    mean_distance: float
    threshold: float


def squared_distances(values: Tensor, points: Tensor) -> Tensor:
    """(n, r) squared Euclidean distances between rows of (n, k) and of references (r, k), NaN where a value is missing.

    A column that either lacks is left out, and the others weigh more in its place, by how much columns vary among the
    references (Gower 1971). Infinite where a place and a reference share no column that varies.
    """
    finite, points_finite = torch.isfinite(values), torch.isfinite(points)
    if bool(finite.all()) and bool(points_finite.all()):
        square = torch.addmm(points.square().sum(1), values, points.T, alpha=-2) + values.square().sum(1)[:, None]
        return square.clamp_(min=0)
    x, y = torch.where(finite, values, 0.0), torch.where(points_finite, points, 0.0)
    has, other_has = finite.to(x.dtype), points_finite.to(x.dtype)
    square = torch.addmm(has @ y.square().T + x.square() @ other_has.T, x, y.T, alpha=-2).clamp_(min=0)
    count = other_has.sum(0).clamp(min=1)
    variance = ((y - other_has * (y.sum(0) / count)) ** 2).sum(0) / count
    shared_variance = (has * variance) @ other_has.T / variance.sum()
    return torch.where(shared_variance > 1e-6, square / shared_variance.clamp(min=1e-6), torch.inf)


def fit_space(points: NDArray[np.floating[Any]], block: NDArray[np.int64]) -> Space:
    """The space of reference places (r, k), with the spatial block (r,) of each.

    The threshold is the upper whisker of a box plot of the references' own indices, each taken to the nearest reference
    of another block: the largest one not above the third quartile + 1.5 interquartile ranges (Meyer and Pebesma 2021,
    section 2.3; `boxplot.stats` in their package CAST).
    """
    exact = torch.from_numpy(np.asarray(points, np.float64))
    distance = squared_distances(exact, exact).sqrt().numpy()
    np.fill_diagonal(distance, 0.0)
    r = len(distance)
    mean = float(distance[np.isfinite(distance)].sum() / max(np.isfinite(distance).sum() - r, 1))
    to_other_blocks = np.where(block[:, None] == block[None, :], np.inf, distance).min(1)
    to_other_blocks = to_other_blocks[np.isfinite(to_other_blocks)]
    if mean == 0 or not len(to_other_blocks):
        return Space(np.asarray(points, np.float32), mean, float("inf"))
    return Space(np.asarray(points, np.float32), mean, whisker(to_other_blocks / mean))


def whisker(values: NDArray[np.floating[Any]]) -> float:
    """The largest value not above the third quartile + 1.5 interquartile ranges (Tukey 1977)."""
    low, high = np.quantile(values, [0.25, 0.75])
    return float(values[values <= high + 1.5 * (high - low)].max())


def index_of(space: Space, values: Tensor) -> Tensor:
    """(n,) dissimilarity index of places (n, k): distance to the nearest reference over the references' mean distance.

    float32 on the device of `values`; by matrix products of `ROWS` places, so memory stays small. 0 where the space has
    no extent.
    """
    if space.mean_distance == 0:
        return torch.zeros(len(values), device=values.device)
    # Centred: the expansion of |a - b|^2 loses digits where both lie far from the origin.
    points = torch.from_numpy(space.points).to(values.device)
    centre = points.nanmean(0).nan_to_num(0.0)
    points = points - centre
    out = torch.empty(len(values), device=values.device)
    for start in range(0, len(values), ROWS):
        out[start : start + ROWS] = squared_distances(values[start : start + ROWS] - centre, points).amin(1).sqrt_()
    return out / space.mean_distance


def choose_references(block: NDArray[np.int64], total: int, seed: int = 0) -> NDArray[np.int64]:
    """Row numbers, ascending, of at most `total` places to stand for those in blocks (n,).

    Blocks take turns, each giving its places in random order, so that a block that was surveyed more often is not told
    more of and every block has a say.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(block))
    _, inverse, count = np.unique(block[order], return_inverse=True, return_counts=True)
    rank = np.empty(len(order), np.int64)  # within its block
    rank[np.argsort(inverse, kind="stable")] = np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count)
    return np.sort(order[np.argsort(rank, kind="stable")[:total]])
