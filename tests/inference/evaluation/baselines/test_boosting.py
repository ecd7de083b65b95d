"""The number of trees is what the data say: one for noise, many for a signal; a fit keeps to the core that it was given."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from inference.evaluation.baselines import boosting
from inference.evaluation.baselines.boosting import Boosting, tuned_scores
from inference.evaluation.baselines.scores import survey_scores


def flora(n: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Predictors (n, 4) and presences (n, 3): noise, a sharp niche, nothing at all."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 4))
    noise = rng.random(n) < 0.3
    niche = (np.abs(x[:, 0]) < 0.7) & (np.abs(x[:, 1]) < 0.7)
    return x, np.stack([noise, niche, np.zeros(n, bool)], 1)


def test_noise_gets_few_trees_and_a_niche_many() -> None:
    x, presence = flora()
    search = Boosting(60, learning_rate=0.2, folds=4)
    assert search.chosen_trees(x, presence[:, 0], 0) <= 3
    assert search.chosen_trees(x, presence[:, 1], 0) >= 15


def test_a_species_too_rare_for_folds_gets_all_trees() -> None:
    x, _ = flora(50)
    assert Boosting(7, folds=5).chosen_trees(x, np.arange(50) == 0, 0) == 7
    assert Boosting(7).chosen_trees(x, np.arange(50) < 25, 0) == 7


def test_cross_validated_species_are_fitted_with_their_own_number_of_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boosting, "MOST_TREES", 30)
    x, presence = flora(200)
    train = np.arange(200) < 150
    made = tuned_scores(x, presence, train, ~train, 2, 0)
    for species in (0, 1):
        trees = Boosting(30, folds=5).chosen_trees(x[train], presence[train, species], 0)
        alone = survey_scores(Boosting(trees), x, presence[:, [species]], train, ~train)
        np.testing.assert_array_equal(made[:, [species]], alone)
    assert (made[:, 2] == 0).all()


def test_fits_side_by_side_take_a_core_each() -> None:
    code = """
from threadpoolctl import threadpool_info
import sklearn.ensemble
from inference.evaluation.baselines.scores import side_by_side
print([p["num_threads"] for p in threadpool_info()])
print(side_by_side(lambda _: {p["num_threads"] for p in threadpool_info()}, 4, 2))
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "3"}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout
    before, within = said.splitlines()
    assert max(json.loads(before)) == 3
    assert within == "[{1}, {1}, {1}, {1}]"
