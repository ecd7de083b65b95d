"""A size is chosen on open blocks alone, and what would change the samples is refused."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from cube.config import Config
from cube.errors import ConfigError
from inference.data.holdout import plan_folds
from inference.training.search import search
from tests.inference.training.test_fit import landscape


def config(*candidates: dict) -> Config:
    region = {"west_km": 0, "south_km": 0, "east_km": 40, "north_km": 40}
    train = {"members": 2, "epochs": 1, "least_steps": 25, "batch": 32, "threads": 1, "search": list(candidates)}
    document = {
        "title": "t",
        "cube": "c",
        "unit_km": 10,
        "sources": [],
        "region": region,
        "train": train,
        "network": {"d": 8, "hidden": 16, "width": 8},
    }
    return Config.model_validate(document)


def dataset(presence=None) -> SimpleNamespace:
    predictors, surveys, _ = landscape(200)
    surveys = surveys if presence is None else replace(surveys, presence=presence)
    predictors = predictors.without("satellite")
    return SimpleNamespace(
        surveys=surveys,
        predictors=predictors,
        records=None,
        record_predictors=None,
        traits={"family": np.full(len(surveys.species), "")},
    )


def test_the_best_candidate_is_chosen_without_the_locked_blocks() -> None:
    asked, data = config({"dropout": 0.9}, {"d": 16}), dataset()
    plan = plan_folds(asked, data.surveys)
    shape, table = search(asked, data, plan, lambda done, total, text: None)
    assert [row["candidate"] for row in table.rows] == ["network as it is", "dropout 0.9", "d 16"]
    losses = [row["log loss"] for row in table.rows]
    best = int(np.argmin(losses))
    assert [row.get("chosen") for row in table.rows] == ["yes" if i == best else None for i in range(3)]
    assert shape["d"] == (16 if best == 2 else 8)
    presence = data.surveys.presence.copy()
    presence[plan.folds.locked] ^= True
    again = search(asked, dataset(presence), plan, lambda done, total, text: None)[1]
    assert [row["log loss"] for row in again.rows] == losses


def test_a_candidate_that_sees_other_cells_is_refused() -> None:
    asked, data = config({"dilations": [1]}), dataset()
    with pytest.raises(ConfigError, match="'dilations' changes what is sampled; set it in `network` alone"):
        search(asked, data, plan_folds(asked, data.surveys), lambda done, total, text: None)
