"""The forest gets the network's inputs as a table."""

from __future__ import annotations

import numpy as np

from inference.data.samples import Predictors, Surveys
from inference.evaluation.baselines.methods import scores_without
from inference.evaluation.baselines.table import table_of


def predictors_of(n: int = 30) -> Predictors:
    rng = np.random.default_rng(0)
    return Predictors(
        {
            "satellite": rng.random((n, 4, 15, 15), np.float32),
            "landsat": rng.random((n, 6, 84), np.float32),
            "table_50m": np.concatenate([rng.random((n, 2)), np.ones((n, 1))], 1).astype(np.float32),
            "climate": rng.random((8, 4, 228), np.float32),
            "table_1km": np.arange(16, dtype=np.float32).reshape(8, 2),
        },
        corner=rng.integers(0, 8, (n, 4)),
        weight=np.full((n, 4), 0.25, np.float32),
        table_50m_names=("a", "b", "constant"),
        table_1km_names=("u", "v"),
    )


def test_table_holds_every_modality_and_drops_constants():
    predictors = predictors_of()
    table = table_of(predictors)
    assert table.shape == (30, 3 * 4 + 2 * 6 * 4 + 2 * 4 * 12 + 2 + 2)
    assert np.isfinite(table).all()
    np.testing.assert_allclose(table[:, -2], predictors.corner.mean(1) * 2, rtol=1e-6)


def test_missing_values_take_the_columns_mean():
    static = np.array([[1.0], [np.nan], [3.0]], np.float32)
    predictors = Predictors({"table_50m": static}, table_50m_names=("a",))
    assert table_of(predictors).ravel().tolist() == [1, 2, 3]


def test_survey_adds_log_area_and_year():
    n = 4
    surveys = Surveys(
        np.zeros((n, 1), bool),
        np.array([1, 10, np.nan, 100], np.float32),
        np.arange(n, dtype=np.float32),
        np.arange(n),
        np.zeros(n),
        np.zeros(n),
        ("Poa annua",),
    )
    static = np.arange(n, dtype=np.float32)[:, None]
    table = table_of(Predictors({"table_50m": static}, table_50m_names=("a",)), surveys)
    np.testing.assert_allclose(table[:, 1], np.log(np.array([1, 10, 10, 100]) / 100), atol=1e-6)
    assert table[:, 2].tolist() == [0, 1, 2, 3]


def test_forest_learns_a_step_and_survives_a_species_never_or_always_seen():
    rng = np.random.default_rng(0)
    table = rng.random((300, 3)).astype(np.float32)
    presence = np.stack([table[:, 1] > 0.5, np.zeros(300, bool), np.ones(300, bool)], 1)
    train = np.arange(300) < 200
    p = scores_without("random_forest", table, presence, train, ~train, leaf=5, trees=20, threads=2)
    assert ((p[:, 0] > 0.5) == presence[~train, 0]).mean() > 0.95
    assert p[:, 1].max() == 0
    assert p[:, 2].min() == 1
