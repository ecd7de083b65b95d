"""Splits keep places together, give every role its share, and follow the publisher where he says so."""

from __future__ import annotations

import numpy as np
import pytest

from cube.errors import TableError
from inference.data.blocks import block_index
from inference.data.samples import Surveys
from inference.evaluation.splits import published_roles, random_roles, split_roles


def surveys_of(n: int = 600, places: int = 300, seed: int = 0) -> Surveys:
    rng = np.random.default_rng(seed)
    place = rng.integers(0, places, n)
    at = rng.uniform(0, 400_000, (2, places))
    constant = np.full(n, 100, np.float32)
    return Surveys(rng.random((n, 2)) < 0.5, constant, constant, place, at[0, place], at[1, place], ("a", "b"))


def test_random_split_keeps_places_together_and_gives_its_shares():
    surveys = surveys_of()
    roles = random_roles(surveys, seed=3)
    for place in np.unique(surveys.place):
        assert len(set(roles[surveys.place == place])) == 1
    assert (roles == "train").mean() == pytest.approx(0.7, abs=0.05)
    assert (roles == "test").mean() == pytest.approx(0.1, abs=0.05)
    assert (roles != random_roles(surveys, seed=4)).any()


def test_every_role_gets_a_place_of_few_and_fewer_places_than_roles_are_told():
    assert set(random_roles(surveys_of(8, 5))) == {"train", "stop", "calibrate", "test"}
    with pytest.raises(TableError, match="3 places cannot be split"):
        random_roles(surveys_of(12, 3))


def test_blocks_of_a_spatial_split_have_one_role_each():
    surveys = surveys_of()
    roles = split_roles(surveys, "blocks", 50.0)
    block = block_index(surveys, 50.0)
    for b in np.unique(block, axis=0):
        assert len(set(roles[(block == b).all(1)])) == 1


def test_published_split_is_followed_and_only_training_surveys_calibrate():
    surveys = surveys_of()
    split = np.where(surveys.x < 250_000, "train", np.where(surveys.y < 200_000, "test_iid", "test_ood"))
    roles = published_roles(surveys, split, 50.0)
    assert set(roles[split == "train"]) == {"train", "stop", "calibrate"}
    assert set(roles[split != "train"]) == {"test"}
    given_stop = np.where((split == "train") & (surveys.y < 60_000), "val", split)
    roles = published_roles(surveys, given_stop, 50.0)
    np.testing.assert_array_equal(roles == "stop", given_stop == "val")
    assert (roles == "calibrate").any()


def test_empty_splits_are_told():
    surveys = surveys_of(20, 20)
    with pytest.raises(TableError, match="split 'train' is empty"):
        split_roles(surveys, "published", 50.0, split=np.full(20, "test"))
    with pytest.raises(TableError, match="leaves no survey for 'test'"):
        split_roles(surveys, "published", 50.0, split=np.full(20, "train"))
