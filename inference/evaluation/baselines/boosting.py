"""Gradient boosting, one model per species: sklearn's histogram trees, which take gaps and categories as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from inference.evaluation.baselines.scores import Flags, Scores, Table

MOST_LEVELS: Final = 255  # categories that sklearn's histograms hold in one column


@dataclass(frozen=True)
class Boosting:
    """Shallow trees, slowly learned; a score is the probability of presence among the rows learned from.

    `balanced` gives presences and the rest the same total weight (records against background). `categorical` columns
    hold whole numbers; a level never learned counts as missing. A number of trees by cross-validation of each species was
    tried (Elith, Leathwick and Hastie 2008): rare species got so few that the peer became weaker.
    """

    trees: int = 100
    learning_rate: float = 0.05
    leaves: int = 8
    smallest_leaf: int = 10
    balanced: bool = False
    categorical: tuple[int, ...] = ()

    def __call__(self, table: Table, target: Flags, query: Table, seed: int) -> Scores:
        """See `scores.Fit`."""
        coded_table, coded_query = self._coded(table, query)
        model = HistGradientBoostingClassifier(
            max_iter=self.trees,
            learning_rate=self.learning_rate,
            max_leaf_nodes=self.leaves,
            min_samples_leaf=self.smallest_leaf,
            early_stopping=False,
            categorical_features=list(self.categorical) or None,
            class_weight="balanced" if self.balanced else None,
            random_state=seed,
        )
        return np.asarray(model.fit(coded_table, target).predict_proba(coded_query)[:, 1], np.float32)

    def _coded(self, table: Table, query: Table) -> tuple[Table, Table]:
        """Both tables with the levels of categorical columns numbered by how common they are, the rarest missing."""
        if not self.categorical:
            return table, query
        coded_table, coded_query = np.array(table, np.float64), np.array(query, np.float64)
        for c in self.categorical:
            levels, counts = np.unique(coded_table[np.isfinite(coded_table[:, c]), c], return_counts=True)
            coded_levels = levels[np.argsort(-counts, kind="stable")[:MOST_LEVELS]]
            for values in (coded_table, coded_query):
                match = values[:, [c]] == coded_levels
                values[:, c] = np.where(match.any(1), match.argmax(1), np.nan)
        return coded_table, coded_query
