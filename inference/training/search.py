"""The size of a network, chosen inside the open folds: a handful of candidates, each cross-fitted on open blocks alone.

Surveys of locked blocks are neither learned from nor scored here, so that a choice never saw what it is published on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from cube.config import Config
from cube.errors import ConfigError
from inference.data.dataset import Dataset
from inference.data.holdout import Holdout
from inference.evaluation.folds import mean_over_species, within_fold_auc
from inference.evaluation.metrics import log_loss
from inference.evaluation.out_of_fold import cross_calibrated
from inference.evaluation.tables import Record, Table
from inference.network.sizes import shape_of
from inference.training.fit import spec_for, train

Progress = Callable[[int, int, str], None]
FIXED_KEYS = ("size", "modalities", "dilations")  # what a cell sees is sampled once


def search(config: Config, data: Dataset, plan: Holdout, progress: Progress) -> tuple[dict[str, Any], Table]:
    """(fields of the model's spec, a row a candidate): of `network` itself and of each entry of `train.search` put over it.

    The lowest out-of-fold log loss wins, calibrated fold by fold. Raises: ConfigError for a candidate that would see other cells.
    """
    base = config.network.model_dump(exclude_none=True)
    candidates = [{}, *(c.model_dump(exclude_none=True) for c in config.train.search)]
    for candidate in candidates:
        if wrong := sorted(set(candidate) & set(FIXED_KEYS)):
            raise ConfigError(f"{config.path}: train.search: '{wrong[0]}' changes what is sampled; set it in `network` alone.")
    rows = np.flatnonzero(~plan.folds.locked)
    surveys, predictors, folds = data.surveys.subset(rows), data.predictors.subset(rows), plan.folds.subset(rows)
    options = replace(config.train, search=(), forest_trees=0)
    records = data.records
    if records is not None:
        records = records.subset(~folds.locked_at(records.x, records.y))
    table: list[Record] = []
    shapes = []
    common = surveys.presence.sum(0) >= plan.min_records
    for number, candidate in enumerate(candidates):
        shapes.append(shape_of(base | candidate))
        spec = spec_for(predictors, surveys, **shapes[-1])

        def tell(steps_done: int, total: int, text: str, number: int = number) -> None:
            progress(number * total + steps_done, len(candidates) * total, f"candidate {number + 1}, {text}")

        trained_model = train(
            predictors,
            surveys,
            spec,
            options,
            folds,
            tell,
            records=records,
            record_predictors=data.record_predictors,
            family=data.traits["family"],
        )
        assert trained_model.out_of_fold is not None
        p = cross_calibrated(trained_model.out_of_fold, surveys, folds)
        auc = within_fold_auc(trained_model.out_of_fold[:, common], surveys.presence[:, common], folds.fold)
        name = ", ".join(f"{k} {v}" for k, v in candidate.items()) or "network as it is"
        table.append({"candidate": name, "log loss": log_loss(p, surveys.presence), "AUC in folds": mean_over_species(auc)})
    best = int(np.argmin([row["log loss"] for row in table]))
    table[best]["chosen"] = "yes"
    return shapes[best], Table(f"Search on {len(rows):,} surveys of open blocks", table)
