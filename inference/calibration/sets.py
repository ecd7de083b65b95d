"""From probabilities to a set of species: the K most probable ones, K maximising expected F1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def set_size(p: NDArray[np.floating], total: NDArray[np.floating] | None = None) -> NDArray[np.uint16]:
    """(...) K that maximises expected F1 for probabilities descending along the last axis (..., S).

    `total` (...): the sum over all species where `p` holds only the top ones of each cell. The smallest K wins a tie;
    K is 0 where nothing has a positive probability.
    """
    sorted_p = np.asarray(p, np.float64)
    expected_size = sorted_p.sum(-1) if total is None else np.asarray(total, np.float64)
    size = np.arange(1, sorted_p.shape[-1] + 1)
    score = 2 * np.cumsum(sorted_p, -1) / (size + expected_size[..., None])
    best = score.argmax(-1) + 1
    return np.where(sorted_p[..., 0] > 0, best, 0).astype(np.uint16)
