"""Growing the forest that stands beside the networks: each fold of the blocks has trees that did not learn from it.

A tree's splits go by random projections of the presences (Joly, Geurts and Wehenkel 2014, doi:10.1007/978-3-662-44848-9_39):
sums of squares over hundreds of species are those over a few dozen sums of species, but for a small error. Leaves then hold the
shares of all species.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.tree import DecisionTreeRegressor

from inference.calibration.columns import place_columns
from inference.data.blocks import Folds
from inference.data.samples import Predictors, Surveys
from inference.network.deep_sdm import ModelSpec
from inference.network.forest import Forest, Tree, rounded
from inference.training.likelihood import clean_areas

LEAVES: Final = (5, 20)  # smallest leaf of every second tree: small ones rank, large ones are calibrated
PROJECTIONS: Final = 64
ROWS: Final = 4_096  # surveys whose samples are in memory at a time

Floats = NDArray[np.float32]


def grow_tree(values: Floats, presence: csr_array, leaf: int, seed: tuple[int, ...]) -> Tree:
    """A tree on a bootstrap of surveys: `values` (n, C) of `rounded` columns, `presence` (n, S) of 0 and 1."""
    n, species = presence.shape
    rng = np.random.default_rng(seed)
    weight = np.bincount(rng.integers(0, n, n), minlength=n)
    state = int(rng.integers(2**31))
    target = presence.toarray()
    if species > PROJECTIONS:
        target = presence @ rng.standard_normal((species, PROJECTIONS)).astype(np.float32)
    regressor = DecisionTreeRegressor(max_features="sqrt", min_samples_leaf=leaf, random_state=state)
    tree = regressor.fit(values, target, sample_weight=weight).tree_
    at_leaf = tree.children_left < 0
    number = np.cumsum(at_leaf, dtype=np.int32) - 1
    child = np.where(at_leaf[:, None], number[:, None], np.stack([tree.children_left, tree.children_right], 1))
    rows = np.flatnonzero(weight)
    leaf_of_row = number[tree.apply(values[rows])]
    total = np.bincount(leaf_of_row, weight[rows], int(at_leaf.sum()))
    mean = csr_array((weight[rows] / total[leaf_of_row], (leaf_of_row, rows)), shape=(len(total), n))
    # the largest float32 that is not above the threshold: values are float32, so they fall on the same side
    low = tree.threshold.astype(np.float32)
    low = np.where(low > tree.threshold, np.nextafter(low, np.float32(-np.inf)), low)
    share = csr_array(mean @ presence)
    share.sort_indices()
    return Tree(np.where(at_leaf, -1, tree.feature).astype(np.int16), low, child.astype(np.int32), share)


def grow_forest(
    columns: Floats,
    surveys: Surveys,
    folds: Folds,
    trees: int,
    seed: int = 0,
    threads: int = 1,
) -> tuple[Forest, Floats]:
    """(the forest, with `trees` of each fold one after the other; (n, S) scores of every survey by those without its fold).

    `columns` (n, C) of the surveys' places, NaN where missing. The same seed gives the same forest, whatever the threads.
    """
    finite = np.isfinite(columns)  # a column may have no value at all
    centre = (np.where(finite, columns, 0).sum(0, np.float64) / np.maximum(finite.sum(0), 1)).astype(np.float32)
    values, presence = rounded(columns, centre), csr_array(surveys.presence.astype(np.float32))
    all_trees: list[Tree] = []
    eta = np.empty(surveys.presence.shape, np.float32)
    with ThreadPoolExecutor(threads) as pool:
        for k in range(folds.count):
            rows = np.flatnonzero(folds.surveys_without(k, surveys))
            own_values, own_presence = values[rows], csr_array(presence[rows])
            jobs = range(trees)
            fold_trees = list(
                pool.map(lambda t: grow_tree(own_values, own_presence, LEAVES[t % len(LEAVES)], (seed, k, t)), jobs)  # noqa: B023
            )
            inside = np.flatnonzero(folds.fold == k)
            part = Forest.from_trees(fold_trees, centre, surveys.presence[rows].sum(0), len(rows))
            eta[inside] = part.rate(part.leaves(torch.from_numpy(columns[inside]))).log().numpy()
            all_trees += fold_trees
    return Forest.from_trees(all_trees, centre, surveys.presence.sum(0), len(surveys)), eta


def forest_columns(predictors: Predictors, surveys: Surveys, spec: ModelSpec) -> Floats:
    """(n, C) what a forest reads at surveys: the columns of their places, their year and the log of their area.

    As `Ensemble.with_leaves` puts them together.
    """
    starts = range(0, len(surveys), ROWS)  # samples on disk would not fit in memory
    parts = [np.arange(start, min(start + ROWS, len(surveys))) for start in starts]
    columns = np.concatenate([place_columns(predictors.subset(rows), spec) for rows in parts])
    log_ratio = clean_areas(surveys.area_m2).log_ratio
    return np.concatenate([columns, surveys.year[:, None], log_ratio[:, None]], 1).astype(np.float32)
