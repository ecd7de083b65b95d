"""Gradient boosting, one model per species: sklearn's histogram trees, which take gaps and categories as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold
from sklearn.utils.class_weight import compute_sample_weight

from inference.evaluation.baselines.scores import Flags, Scores, Table, side_by_side, survey_scores

SAMPLED: Final = 12  # species whose number of trees is cross-validated
MOST_TREES: Final = 400
MOST_LEVELS: Final = 255  # categories that sklearn's histograms hold in one column


@dataclass(frozen=True)
class Boosting:
    """Shallow trees, slowly learned; a score is the probability of presence among the rows learned from.

    With `folds` the number of trees, `trees` at most, is the one with the smallest log loss in a stratified cross-validation
    of the rows learned from (Elith, Leathwick and Hastie 2008, doi:10.1111/j.1365-2656.2008.01390.x). `balanced` gives
    presences and the rest the same total weight (records against background). `categorical` columns hold whole numbers; a
    level never learned counts as missing.
    """

    trees: int = 100
    learning_rate: float = 0.05
    leaves: int = 8
    smallest_leaf: int = 10
    folds: int = 0
    balanced: bool = False
    categorical: tuple[int, ...] = ()

    def __call__(self, table: Table, target: Flags, query: Table, seed: int) -> Scores:
        """See `scores.Fit`."""
        coded, coded_query = self._coded(table, query)
        model = self._model(self.chosen_trees(coded, target, seed), seed)
        return np.asarray(model.fit(coded, target).predict_proba(coded_query)[:, 1], np.float32)

    def chosen_trees(self, table: Table, target: Flags, seed: int) -> int:
        """Trees by cross-validation, 1 to `trees`; `trees` without folds, or where a fold would lack a presence or absence."""
        folds = min(self.folds, int(target.sum()), int((~target).sum()))
        if folds < 2:
            return self.trees
        loss = np.zeros(self.trees)
        for learned, rest in StratifiedKFold(folds, shuffle=True, random_state=seed).split(table, target):
            weight = compute_sample_weight("balanced" if self.balanced else None, target[rest])
            stages = self._model(self.trees, seed).fit(table[learned], target[learned]).staged_predict_proba(table[rest])
            loss += [log_loss(target[rest], p, sample_weight=weight, labels=[False, True]) for p in stages]
        return int(loss.argmin()) + 1

    def _model(self, trees: int, seed: int) -> HistGradientBoostingClassifier:
        return HistGradientBoostingClassifier(
            max_iter=trees,
            learning_rate=self.learning_rate,
            max_leaf_nodes=self.leaves,
            min_samples_leaf=self.smallest_leaf,
            early_stopping=False,
            categorical_features=list(self.categorical) or None,
            class_weight="balanced" if self.balanced else None,
            random_state=seed,
        )

    def _coded(self, table: Table, query: Table) -> tuple[Table, Table]:
        """Both tables with the levels of categorical columns numbered by how common they are, the rarest missing."""
        if not self.categorical:
            return table, query
        coded, coded_query = np.array(table, np.float64), np.array(query, np.float64)
        for c in self.categorical:
            levels, counts = np.unique(coded[np.isfinite(coded[:, c]), c], return_counts=True)
            coded_levels = levels[np.argsort(-counts, kind="stable")[:MOST_LEVELS]]
            for values in (coded, coded_query):
                match = values[:, [c]] == coded_levels
                values[:, c] = np.where(match.any(1), match.argmax(1), np.nan)
        return coded, coded_query


def tuned_scores(table: Table, presence: Flags, train: Flags, query: Flags, threads: int, seed: int) -> Scores:
    """(query, S) as `survey_scores`, each species with the trees that suit species of its number of presences.

    `SAMPLED` species of every commonness are cross-validated; the others take the number of trees between theirs.
    """
    count = presence[train].sum(0)
    order = np.argsort(count, kind="stable")[(count > 0).sum() * -1 :]
    sampled_species = order[np.unique(np.linspace(0, len(order) - 1, SAMPLED).astype(int))]
    search = Boosting(trees=MOST_TREES, folds=5)
    chosen = side_by_side(
        lambda i: search.chosen_trees(table[train], presence[train, sampled_species[i]], seed), len(sampled_species), threads
    )
    trees = np.interp(count, count[sampled_species], chosen).round().astype(int)
    scores = np.zeros((int(query.sum()), presence.shape[1]), np.float32)
    for number in np.unique(trees):
        alike = trees == number
        scores[:, alike] = survey_scores(Boosting(int(number)), table, presence[:, alike], train, query, threads, seed)
    return scores
