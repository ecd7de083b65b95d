"""From probabilities to a set of species: the K most probable ones, K maximising expected F1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def expected_f1(p: NDArray[np.floating]) -> NDArray[np.float64]:
    """(..., S) plug-in expected F1 of the first K = 1..S species: 2 sum_{i<=K} p_i / (K + sum p).

    `p`: (..., S) calibrated probabilities, descending along the last axis.
    """
    ranked = np.asarray(p, np.float64)
    size = np.arange(1, ranked.shape[-1] + 1)
    denominator = size + ranked.sum(-1, keepdims=True)
    return np.asarray(2 * np.cumsum(ranked, -1) / denominator, np.float64)


def set_size(p: NDArray[np.floating], total: NDArray[np.floating] | None = None) -> NDArray[np.uint16]:
    """(...) K that maximises expected F1 for probabilities descending along the last axis (..., S).

    `total` (...): the sum over all species where `p` holds only the top ones of each cell. The smallest K wins a tie;
    K is 0 where nothing has a positive probability.
    """
    ranked = np.asarray(p, np.float64)
    whole = ranked.sum(-1) if total is None else np.asarray(total, np.float64)
    size = np.arange(1, ranked.shape[-1] + 1)
    score = 2 * np.cumsum(ranked, -1) / (size + whole[..., None])
    best = score.argmax(-1) + 1
    return np.where(ranked[..., 0] > 0, best, 0).astype(np.uint16)
