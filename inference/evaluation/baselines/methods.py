"""Baselines of surveys by the names that configurations and benchmarks call them, and the table each learns from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from cube.errors import ModelError
from inference.data.blocks import block_index
from inference.data.samples import Predictors, Surveys
from inference.evaluation.baselines.boosting import Boosting
from inference.evaluation.baselines.forest import Forest, SharedForest
from inference.evaluation.baselines.scores import Fit, Flags, Scores, Table, survey_scores
from inference.evaluation.baselines.table import table_of

LEAVES: Final = (5, 20)  # min_samples_leaf of the two forests, each a row of its own
NAMES: Final = ("random_forest", "shared_forest", "gradient_boosting", "frequency")
REGION_KM: Final = 100.0  # side of the squares whose frequencies are taken


@dataclass(frozen=True)
class Frequency:
    """Share of presences by region, shrunk to the share of the whole as if `strength` surveys more had shown it.

    The table has one column, the number of the region (biogeographic region, spatial block); NaN and regions without a
    survey take the share of the whole. That is the mean of a beta posterior whose prior is centred on the whole.
    """

    strength: float = 10.0

    def __call__(self, table: Table, target: Flags, query: Table, seed: int) -> Scores:
        """See `scores.Fit`; `seed` changes nothing."""
        share = float(target.mean())
        regions = table[:, 0]
        score = np.full(len(query), share)
        for region in np.unique(regions[np.isfinite(regions)]):
            of_region = target[regions == region]
            score[query[:, 0] == region] = (of_region.sum() + self.strength * share) / (len(of_region) + self.strength)
        return score.astype(np.float32)


def check_name(name: str) -> None:
    """Raises: ModelError for a name not in NAMES."""
    if name not in NAMES:
        raise ModelError(f"'{name}' is no baseline; there are {', '.join(NAMES)}.")


def scores_without(
    name: str,
    table: Table,
    presence: Flags,
    train: Flags,
    query: Flags,
    leaf: int = 5,
    trees: int = 100,
    threads: int = 1,
    seed: int = 0,
) -> Scores:
    """(query, S) scores by the baseline `name`, learned from the surveys `train` (n,) of `table` (n, C) and `presence` (n, S).

    `leaf` and `trees` are a forest's. Raises: ModelError for a name not in NAMES.
    """
    check_name(name)
    if name == "shared_forest":
        return SharedForest(leaf, trees, threads)(table[train], presence[train], table[query], seed)
    fits: dict[str, Fit] = {"random_forest": Forest(leaf, trees), "gradient_boosting": Boosting(), "frequency": Frequency()}
    return survey_scores(fits[name], table, presence, train, query, threads, seed)


def table_for(name: str, predictors: Predictors, surveys: Surveys) -> Table:
    """(n, C) what a baseline learns from: the network's inputs with log area and year, or a square's number for frequencies."""
    if name != "frequency":
        return table_of(predictors, surveys)
    _, square = np.unique(block_index(surveys, REGION_KM), axis=0, return_inverse=True)
    return square.reshape(-1, 1).astype(np.float64)
