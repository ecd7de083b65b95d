"""The roll-up of habitats as `check` judges it from the best three classes: never wrong about a true one, and sharp."""

import numpy as np
import pytest

from cube.check.predictions import _outweighed
from cube.layers import PROBABILITY_STEPS

PARENT = np.array([0, 0, 0, 1, 1, 2, 2])


def stored(probability: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(best parent by sums, parents of the best three, their stored probabilities) of (n, 7) probabilities."""
    sums = np.stack([probability[:, k == PARENT].sum(axis=1) for k in range(3)], axis=1)
    best = np.argsort(-probability, axis=1, kind="stable")[:, :3]
    chance = np.rint(np.take_along_axis(probability, best, axis=1) * PROBABILITY_STEPS).astype(np.int64)
    return sums, PARENT[best].T[..., None], chance.T[..., None]


@pytest.mark.parametrize("sharpness", [0.05, 0.3, 1.0, 5.0])
def test_the_largest_sum_is_never_called_wrong(sharpness: float) -> None:
    probability = np.random.default_rng(0).dirichlet(np.full(7, sharpness), 20_000)
    sums, above, chance = stored(probability)
    assert not _outweighed(sums.argmax(axis=1)[:, None], above, chance).any()


def test_a_smaller_sum_is_called_wrong_where_the_best_three_hold_nearly_all() -> None:
    probability = np.random.default_rng(1).dirichlet(np.full(7, 0.15), 20_000)
    sums, above, chance = stored(probability)
    order = np.argsort(-sums, axis=1)
    left = 1 - np.sort(probability, axis=1)[:, -3:].sum(axis=1)
    clear = np.take_along_axis(sums, order, axis=1) @ [1, -1, 0] > 2 * left + 0.05
    assert clear.sum() > 5000
    assert _outweighed(order[:, 1][:, None], above, chance)[clear].all()


def test_a_parent_of_two_may_outweigh_the_parent_of_the_first() -> None:
    probability = np.array([[0.30, 0.28, 0.0, 0.40, 0.02, 0.0, 0.0]])
    _, above, chance = stored(probability)
    assert not _outweighed(np.array([[0]]), above, chance).any()
    assert _outweighed(np.array([[1]]), above, chance).all()
