"""Folds and the lock keep places together; the lock depends on the block alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.data.blocks import block_index, clear_of, make_folds
from inference.data.samples import Surveys


def surveys_at(x, y, place) -> Surveys:
    n = len(x)
    return Surveys(
        np.zeros((n, 1), bool),
        np.full(n, 10, np.float32),
        np.full(n, 2000, np.float32),
        np.asarray(place),
        np.asarray(x, float),
        np.asarray(y, float),
        ("Poa annua",),
    )


def scattered(n: int = 400, places: int = 150, seed: int = 0, side: float = 100_000) -> Surveys:
    rng = np.random.default_rng(seed)
    place = rng.integers(0, places, n)
    centre = rng.uniform(0, side, (places, 2))
    x, y = (centre[place] + rng.normal(0, 30, (n, 2))).T
    return surveys_at(x, y, place)


@given(st.integers(0, 10_000), st.sampled_from([1, 5, 10]))
@settings(max_examples=20, deadline=None)
def test_surveys_of_one_place_share_block_fold_and_lock(seed, block_km):
    surveys = scattered(seed=seed)
    folds = make_folds(surveys, block_km, 5, draw=seed)
    for place in np.unique(surveys.place):
        of_place = surveys.place == place
        assert len(set(folds.fold[of_place])) == len(set(folds.block[of_place])) == len(set(folds.locked[of_place])) == 1
    for number in np.unique(folds.block):
        assert len(set(folds.fold[folds.block == number])) == 1
        assert len(set(folds.locked[folds.block == number])) == 1


def test_a_block_stays_locked_whatever_the_draw_and_whatever_other_surveys_come_or_go():
    surveys = scattered(n=2000, places=700)
    locked = make_folds(surveys, 5).locked
    half = surveys.place % 2 == 0
    assert (make_folds(surveys.subset(half), 5, draw=3).locked == locked[half]).all()


def test_about_a_third_of_many_blocks_is_locked_and_of_few_neither_none_nor_all():
    surveys = scattered(n=5000, places=5000, side=500_000)
    assert make_folds(surveys, 5).locked.mean() == pytest.approx(1 / 3, abs=0.03)
    for seed in range(10):
        some = make_folds(scattered(side=20_000, seed=seed), 10, 2).locked
        assert 0 < some.sum() < len(some)


def test_folds_hold_about_equal_numbers_and_differ_between_draws():
    surveys = scattered(n=3000, places=900)
    fold = make_folds(surveys, 10, 5, draw=1).fold
    assert np.bincount(fold).min() > 500
    assert (fold == make_folds(surveys, 10, 5, draw=1).fold).all()
    assert (fold != make_folds(surveys, 10, 5, draw=2).fold).any()


def test_whole_groups_are_left_out_one_a_fold_where_there_are_as_many():
    surveys = scattered(n=300)
    country = np.array(["a", "b", "c"])[np.arange(300) % 3]
    folds = make_folds(surveys, 10, 3, group=country)
    assert sorted({(c, f) for c, f in zip(country, folds.fold, strict=True)}) == sorted(
        zip("abc", (int(folds.fold[country == c][0]) for c in "abc"), strict=True)
    )
    assert len(set(folds.fold)) == 3


def test_points_lie_in_the_fold_of_the_surveys_of_their_block():
    x, y = np.random.default_rng(0).uniform(0, 100_000, (2, 500))
    surveys = surveys_at(x, y, np.arange(500))
    folds = make_folds(surveys, 5)
    np.testing.assert_array_equal(folds.at(surveys.x, surveys.y), folds.fold)
    elsewhere = folds.at(np.linspace(2e6, 3e6, 4000), np.full(4000, 1e6))
    assert set(elsewhere) == set(range(5))  # blocks without a survey are hashed


def test_block_of_negative_coordinates_is_floored():
    assert block_index(surveys_at([-1.0, 1.0], [5.0, 5.0], [0, 1]), 1).tolist() == [[-1, 0], [0, 0]]


def test_a_patch_shows_no_survey_that_was_left_out_not_in_its_corner_either():
    surveys = surveys_at([0, 300, 400, 1000], [0, 0, 400, 0], [0, 1, 2, 3])
    kept = clear_of(surveys, np.array([False, True, True, True]), 450)
    assert kept.tolist() == [False, False, False, True]
