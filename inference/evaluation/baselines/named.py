"""Baselines of surveys by the names that configurations and benchmarks call them, and the table each learns from."""

from __future__ import annotations

from typing import Final

import numpy as np

from cube.errors import ModelError
from inference.data.blocks import block_index
from inference.data.samples import Predictors, Surveys
from inference.evaluation.baselines.boosting import Boosting
from inference.evaluation.baselines.forest import Forest
from inference.evaluation.baselines.frequency import Frequency
from inference.evaluation.baselines.scores import Fit, Table
from inference.evaluation.baselines.table import table_of

NAMES: Final = ("random_forest", "gradient_boosting", "frequency")
REGION_KM: Final = 100.0  # side of the squares whose frequencies are taken


def named(name: str, leaf: int = 5, trees: int = 100) -> Fit:
    """The baseline called `name`; `leaf` and `trees` are the forest's. Raises: ModelError for a name not in NAMES."""
    fits: dict[str, Fit] = {"random_forest": Forest(leaf, trees), "gradient_boosting": Boosting(), "frequency": Frequency()}
    if name not in fits:
        raise ModelError(f"'{name}' is no baseline; there are {', '.join(NAMES)}.")
    return fits[name]


def table_for(name: str, predictors: Predictors, surveys: Surveys) -> Table:
    """(n, C) what a baseline learns from: the network's inputs with log area and year, or a square's number for frequencies."""
    if name != "frequency":
        return table_of(predictors, surveys)
    _, square = np.unique(block_index(surveys, REGION_KM), axis=0, return_inverse=True)
    return square.reshape(-1, 1).astype(np.float64)
