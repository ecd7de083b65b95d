"""Roles and folds keep places together and depend on the block alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.data.blocks import ROLES, assign_folds, assign_roles, block_index, clear_of
from inference.data.samples import Surveys


def surveys_at(x, y, place) -> Surveys:
    n = len(x)
    return Surveys(
        np.zeros((n, 1), bool), np.full(n, 10, np.float32), np.full(n, 2000, np.float32),
        np.asarray(place), np.asarray(x, float), np.asarray(y, float), ("Poa annua",),
    )  # fmt: skip


def scattered(n: int = 400, places: int = 150, seed: int = 0, side: float = 100_000) -> Surveys:
    rng = np.random.default_rng(seed)
    place = rng.integers(0, places, n)
    centre = rng.uniform(0, side, (places, 2))
    x, y = (centre[place] + rng.normal(0, 30, (n, 2))).T
    return surveys_at(x, y, place)


@given(st.integers(0, 10_000), st.sampled_from([1, 5, 10]))
@settings(max_examples=20, deadline=None)
def test_surveys_of_one_place_share_role_and_fold(seed, block_km):
    surveys = scattered(seed=seed)
    roles = assign_roles(surveys, block_km, seed=seed)
    fold, block = assign_folds(surveys, block_km, 5, draw=seed)
    for place in np.unique(surveys.place):
        of_place = surveys.place == place
        assert len(set(roles[of_place])) == len(set(fold[of_place])) == len(set(block[of_place])) == 1
    for number in np.unique(block):
        assert len(set(fold[block == number])) == 1
        assert len(set(roles[block == number])) == 1
    assert set(roles) <= set(ROLES)


def test_a_block_keeps_its_role_when_other_surveys_come_or_go():
    surveys = scattered(n=2000, places=700)
    roles = assign_roles(surveys, 5)
    half = surveys.place % 2 == 0
    assert (assign_roles(surveys.subset(half), 5) == roles[half]).all()


def test_shares_are_kept_over_many_blocks():
    surveys = scattered(n=5000, places=5000, side=500_000)
    roles = assign_roles(surveys, 5)
    share = {role: float((roles == role).mean()) for role in ROLES}
    assert share["train"] == pytest.approx(0.7, abs=0.03)
    for role in ROLES[1:]:
        assert share[role] == pytest.approx(0.1, abs=0.02)


def test_every_role_is_filled_even_with_few_blocks():
    for seed in range(30):
        roles = assign_roles(scattered(side=30_000), 10, seed=seed)
        assert set(roles) == set(ROLES)


def test_folds_hold_about_equal_numbers_and_differ_between_draws():
    surveys = scattered(n=3000, places=900)
    fold, _ = assign_folds(surveys, 10, 5, draw=1)
    assert np.bincount(fold).min() > 500
    assert (fold == assign_folds(surveys, 10, 5, draw=1)[0]).all()
    assert (fold != assign_folds(surveys, 10, 5, draw=2)[0]).any()


def test_block_of_negative_coordinates_is_floored():
    assert block_index(surveys_at([-1.0, 1.0], [5.0, 5.0], [0, 1]), 1).tolist() == [[-1, 0], [0, 0]]


def test_training_surveys_near_another_role_are_dropped():
    surveys = surveys_at([0, 300, 1000], [0, 0, 0], [0, 1, 2])
    kept = clear_of(surveys, np.array([False, True, True]), 450)
    assert kept.tolist() == [False, False, True]
