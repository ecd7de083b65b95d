"""Random forests: one per species or one for all, for surveys; the down-sampled one for records against background."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from inference.evaluation.baselines.scores import Flags, Scores, Table
from inference.evaluation.baselines.table import one_hot, without_gaps


@dataclass(frozen=True)
class Forest:
    """sklearn's defaults but for the smallest leaf and the number of trees; scores are probabilities."""

    leaf: int = 5
    trees: int = 100

    def __call__(self, table: Table, target: Flags, query: Table, seed: int) -> Scores:
        """See `scores.Fit`."""
        forest = RandomForestClassifier(self.trees, min_samples_leaf=self.leaf, n_jobs=1, random_state=seed)
        return np.asarray(forest.fit(table, target).predict_proba(query)[:, 1], np.float32)


@dataclass(frozen=True)
class SharedForest:
    """One forest that learns all species at once: every leaf holds the share of presences of each.

    A split minimises the squared error summed over species, which is half their Gini impurity; otherwise as `Forest`. A tree is
    deleted once it has predicted, since 100 trees of 600 species would take gigabytes.
    """

    leaf: int = 5
    trees: int = 100
    threads: int = 1

    def __call__(self, table: Table, presence: Flags, query: Table, seed: int) -> Scores:
        """(m, S) probabilities at `query` (m, C) after learning `presence` (n, S) from `table` (n, C)."""
        target = presence.astype(np.float64)

        def ask(number: int) -> NDArray[np.float64]:
            rng = np.random.default_rng([seed, number])
            draw_counts = np.bincount(rng.integers(0, len(table), len(table)), minlength=len(table))
            state = int(rng.integers(2**31))
            tree = DecisionTreeRegressor(max_features="sqrt", min_samples_leaf=self.leaf, random_state=state)
            shares = tree.fit(table, target, sample_weight=draw_counts).predict(query)
            return np.asarray(shares).reshape(len(query), presence.shape[1])

        total = np.zeros((len(query), presence.shape[1]))
        with ThreadPoolExecutor(self.threads) as pool:
            for start in range(0, self.trees, self.threads):
                for shares in pool.map(ask, range(start, min(start + self.threads, self.trees))):
                    total += shares
        return (total / self.trees).astype(np.float32)


@dataclass(frozen=True)
class DownSampledForest:
    """The forest for presence-only data of Valavi et al. 2021 (Ecography 44) and 2022 (Ecological Monographs 92).

    Every tree is grown to the end on a bootstrap of the presences and as many draws from the background, since the few
    presences among thousands of background sites otherwise leave the classes hopelessly mixed. As R's `randomForest`
    with `ntree = 1000, sampsize = c(n, n), replace = TRUE` and its default of sqrt(columns) tried at a split; the
    score is the share of trees. `categorical` columns are expanded to one of 0 and 1 per level.
    """

    trees: int = 1000
    categorical: tuple[int, ...] = ()

    def __call__(self, table: Table, target: Flags, query: Table, seed: int) -> Scores:
        """See `scores.Fit`."""
        plain = tuple(c for c in range(table.shape[1]) if c not in self.categorical)
        filled_table, filled_query = np.array(table, np.float64), np.array(query, np.float64)
        filled_table[:, plain], filled_query[:, plain] = without_gaps(table[:, plain], query[:, plain])
        filled_table, filled_query = one_hot(filled_table, filled_query, self.categorical)
        # trees are fed in the type that they work in: checks and copies would cost more than small trees do
        train_table = np.ascontiguousarray(filled_table, np.float32)
        places = np.ascontiguousarray(filled_query, np.float32)
        presences, absences = np.flatnonzero(target), np.flatnonzero(~target)
        draws = min(len(presences), len(absences))
        label = np.repeat([1.0, 0.0], [len(presences), draws])
        rng = np.random.default_rng(seed)
        votes = np.zeros(len(places))
        for _ in range(self.trees):
            rows = np.concatenate([rng.choice(presences, len(presences)), rng.choice(absences, draws)])
            tree = DecisionTreeClassifier(max_features="sqrt", random_state=int(rng.integers(2**31)))
            tree.fit(train_table[rows], label, check_input=False)
            votes += tree.tree_.predict(places)[:, -1].ravel()
        return (votes / self.trees).astype(np.float32)
