"""A forest as arrays says what scikit-learn's trees say, for any part of its trees and species."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.tree import DecisionTreeRegressor

from inference.data.blocks import make_folds
from inference.data.samples import Surveys
from inference.network.forest import BLOCK, CERTAIN, PREVALENCE_SHARE, STEPS, Forest, ForestSizes, rounded
from inference.training.forest import PROJECTIONS, grow_forest, grow_tree

SPECIES = BLOCK + 7  # two blocks
CENTRE = np.array([0.1, -0.2, 0.0, 0.5], np.float32)


def table(n: int = 300, species: int = SPECIES) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(n, 4)).astype(np.float32)
    values[rng.random(values.shape) < 0.05] = np.nan
    slopes, level = rng.normal(size=(4, species)), rng.uniform(1, 4, species)
    return values, rng.random((n, species)) < 1 / (1 + np.exp(level - np.nan_to_num(values) @ slopes))


@pytest.fixture(scope="module")
def forest() -> Forest:
    columns, presence = table()
    target = csr_array(presence.astype(np.float32))
    trees = [grow_tree(rounded(columns, CENTRE), target, leaf, (0, leaf)) for leaf in (5, 20, 5, 20)]
    return Forest.from_trees(trees, CENTRE, presence.sum(0), len(presence))


def test_leaves_hold_the_shares_that_a_tree_of_scikit_learn_predicts() -> None:
    columns, presence = table(species=PROJECTIONS)  # as few are not projected
    values = rounded(columns, CENTRE)
    rng = np.random.default_rng((3,))
    weight = np.bincount(rng.integers(0, len(values), len(values)), minlength=len(values))
    peer = DecisionTreeRegressor(max_features="sqrt", min_samples_leaf=5, random_state=int(rng.integers(2**31)))
    expected = peer.fit(values, presence.astype(np.float32), sample_weight=weight).predict(values)
    tree = grow_tree(values, csr_array(presence.astype(np.float32)), 5, (3,))
    forest = Forest.from_trees([tree], CENTRE, presence.sum(0), len(presence))
    prevalence = (presence.sum(0) + 0.5) / (len(presence) + 1)
    p = np.minimum((1 - PREVALENCE_SHARE) * expected + PREVALENCE_SHARE * prevalence, CERTAIN)
    rate = forest.rate(forest.leaves(torch.from_numpy(columns))).numpy()
    np.testing.assert_allclose(-np.expm1(-rate), p, atol=2e-5)


def test_any_slice_or_choice_of_species_is_that_of_the_whole(forest: Forest) -> None:
    leaves = forest.leaves(torch.from_numpy(table(50)[0]))
    whole = forest.rate(leaves)
    torch.testing.assert_close(forest.rate(leaves, slice(3, BLOCK + 2)), whole[:, 3 : BLOCK + 2])
    some = torch.tensor([0, 5, 77, BLOCK - 1, BLOCK, SPECIES - 1])
    torch.testing.assert_close(forest.of_species(some).rate(leaves), whole[:, some])
    most = torch.arange(1, SPECIES)
    torch.testing.assert_close(forest.of_species(most).rate(leaves), whole[:, most])


def test_sums_of_shares_on_a_device_are_those_of_the_processor(forest: Forest) -> None:
    leaves = forest.leaves(torch.from_numpy(table(50)[0]))
    for block in range(2):
        torch.testing.assert_close(forest.block_on_device(leaves, block), forest.block_on_processor(leaves, block))


def test_a_leaf_beyond_the_whole_numbers_of_float32_is_itself() -> None:
    leaf = 2**24 + 1  # as a float32 it would be 2^24
    forest = Forest(ForestSizes(species=1, columns=1, trees=1, nodes=1, leaves=leaf + 1, entries=1))
    forest.feature[0], forest.child[0], forest.share[0] = -1, leaf, STEPS
    forest.start[0, leaf + 1] = 1  # the last leaf alone has the species
    z = torch.cat([torch.randn(3, 2), forest.leaves(torch.zeros(3, 1))], 1)  # as embeddings hold them
    p = -torch.expm1(-forest.rate(z[:, 2:]))
    torch.testing.assert_close(p, torch.full((3, 1), 1 - PREVALENCE_SHARE))


def test_a_last_digit_decides_no_split() -> None:
    values = np.random.default_rng(1).normal(300, 50, (2000, 1)).astype(np.float32)
    same = rounded(np.nextafter(values, np.float32(0)), CENTRE[:1]) == rounded(values, CENTRE[:1])
    assert same.mean() > 0.99


def test_each_fold_is_scored_by_trees_that_did_not_learn_from_it() -> None:
    columns, presence = table(400, 20)
    rng = np.random.default_rng(2)
    names = tuple(f"s{i}" for i in range(20))
    x, y = rng.uniform(0, 40_000, (2, 400))
    surveys = Surveys(presence, np.full(400, 50, np.float32), np.zeros(400, np.float32), np.arange(400), x, y, names)
    folds = make_folds(surveys, 5.0, 4)
    forest, eta = grow_forest(columns, surveys, folds, 6)
    assert forest.sizes.trees == 24
    again = grow_forest(columns, surveys, folds, 6, threads=2)[0]
    assert all(torch.equal(a, b) for a, b in zip(forest.buffers(), again.buffers(), strict=True))
    other = surveys.presence.copy()
    other[folds.fold == 1] = False
    changed = Surveys(other, surveys.area_m2, surveys.year, surveys.place, x, y, names)
    np.testing.assert_array_equal(grow_forest(columns, changed, folds, 6)[1][folds.fold == 1], eta[folds.fold == 1])
    inside = torch.from_numpy(columns[folds.fold == 1])
    part = forest.of_part(1, 4)
    p, q = (1 - np.exp(-rate) for rate in (part.rate(part.leaves(inside)).numpy(), np.exp(eta[folds.fold == 1])))
    np.testing.assert_allclose(p, q, atol=PREVALENCE_SHARE)  # prevalence alone is that of all surveys


def test_what_is_missing_is_the_mean_of_its_column_and_0_in_a_column_without_values() -> None:
    n = 300_000  # sums of years in float32 are of whole tens there
    year = np.random.default_rng(0).integers(1990, 2023, n).astype(np.float32)
    columns = np.stack([np.full(n, np.nan, np.float32), year], 1)
    columns[::2, 1] = np.nan
    names = ("s",)
    position = np.arange(n, dtype=np.float64)
    surveys = Surveys(np.zeros((n, 1), bool), np.full(n, 50, np.float32), year, np.arange(n), position, position, names)
    forest = grow_forest(columns, surveys, make_folds(surveys, 200.0, 2), 1)[0]
    np.testing.assert_allclose(forest.centre, [0, year[1::2].mean(dtype=np.float64)], rtol=1e-6)
