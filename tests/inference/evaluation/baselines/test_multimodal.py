"""The published ensemble as a baseline: inputs of the place asked for, learned from the rows given, told where it cannot be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cube.errors import ModelError
from inference.data.samples import Predictors
from inference.evaluation.baselines.multimodal import multimodal_scores, patches
from inference.evaluation.multimodal import EnsembleOptions

TINY = {"widths": (4, 4, 8, 8), "embed": 8, "depths": (1, 1), "heads": (1, 2), "window": 4, "stochastic_depth": 0.0}


def places(n: int) -> Predictors:
    """`n` places between two 1 km cells of a climate each: half of one, half of the other."""
    rng = np.random.default_rng(0)
    cells = rng.random((n + 1, 4, 228), np.float32)
    corner = np.stack([np.arange(n), np.arange(n), np.arange(1, n + 1), np.arange(1, n + 1)], 1)
    return Predictors(
        satellite=rng.random((n, 4, 32, 32), np.float32), landsat=rng.random((n, 6, 84), np.float32), climate=cells,
        corner=corner, weight=np.full((n, 4), 0.25, np.float32),
    )  # fmt: skip


def test_climate_is_that_of_the_place_between_its_cells() -> None:
    given = places(5)
    assert given.climate is not None
    rows = np.array([3, 1])
    batch = patches(given, rows)
    np.testing.assert_allclose(batch["climate"].numpy(), (given.climate[rows] + given.climate[rows + 1]) / 2, rtol=1e-5)
    assert {name: tuple(values.shape) for name, values in batch.items()} == {
        "landsat": (2, 6, 84), "climate": (2, 4, 228), "satellite": (2, 4, 32, 32)}  # fmt: skip


def test_it_learns_from_the_rows_given_and_scores_others() -> None:
    given = places(120)
    assert given.landsat is not None
    bright = np.random.default_rng(1).random(120) > 0.5
    given.landsat[:, :3] += bright[:, None, None]
    presence = np.stack([bright, ~bright], 1)
    learned, asked = np.arange(90), np.arange(90, 120)
    presence[asked] = False  # what is asked is not looked at
    options = EnsembleOptions(learning_rate=0.01, epochs=5, batch=16, stop_share=0.2)
    torch.set_num_threads(1)
    p = multimodal_scores(given, presence, learned, asked, options, **TINY)
    assert p.shape == (30, 2)
    assert p[bright[asked], 0].mean() > p[~bright[asked], 0].mean() + 0.3


def test_a_missing_modality_is_told() -> None:
    with pytest.raises(ModelError, match=r"'multimodal' needs satellite, Landsat and climate patches.*missing: climate"):
        multimodal_scores(places(4).without("climate"), np.ones((4, 1), bool), np.arange(3), np.arange(3, 4), EnsembleOptions())
