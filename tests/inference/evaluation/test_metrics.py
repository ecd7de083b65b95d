"""Metrics against scikit-learn and analytic values."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from sklearn.metrics import log_loss as sk_log_loss
from sklearn.metrics import roc_auc_score

from inference.evaluation.metrics import (
    log_loss,
    macro_auc,
    reliability,
    resampled_auc,
    sample_auc,
    species_auc,
    species_correlation,
)


@pytest.fixture
def scored():
    rng = np.random.default_rng(3)
    score = rng.integers(0, 12, (90, 6)) / 10  # with ties
    return score, rng.random((90, 6)) < [0.02, 0.1, 0.3, 0.5, 0.9, 0.99]


def test_auc_equals_sklearn_where_enough_is_seen(scored):
    score, presence = scored
    auc = species_auc(score, presence)
    for s in range(6):
        seen = presence[:, s].sum()
        if 5 <= seen <= 85:
            assert auc[s] == pytest.approx(roc_auc_score(presence[:, s], score[:, s]))
        else:
            assert np.isnan(auc[s])


def test_auc_of_a_matrix_needs_memory_for_a_column_alone():
    rng = np.random.default_rng(0)
    score = rng.random((2000, 1500)).astype(np.float32)
    presence = rng.random(score.shape) < 0.1
    species_auc(score[:, :1], presence[:, :1])
    tracemalloc.start()
    try:
        species_auc(score, presence)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < score.nbytes / 4


def test_resampled_auc_equals_sklearn_with_blocks_as_sample_weights(scored):
    score, presence = scored
    rng = np.random.default_rng(0)
    block, times = rng.integers(0, 7, 90), rng.integers(0, 4, (5, 7))
    for b, value in enumerate(resampled_auc(score[:, 2], presence[:, 2], block, times)):
        expected = roc_auc_score(presence[:, 2], score[:, 2], sample_weight=times[b, block])
        assert value == pytest.approx(expected)


def test_log_loss_equals_sklearn(scored):
    _, presence = scored
    p = np.random.default_rng(1).uniform(0.01, 0.99, presence.shape)
    assert log_loss(p, presence) == pytest.approx(sk_log_loss(presence.ravel(), p.ravel()))


def test_correlation_equals_numpy_and_is_nan_for_a_constant():
    rng = np.random.default_rng(0)
    a, b = rng.random((50, 3)), rng.random((50, 3))
    b[:, 2] = 0.5
    got = species_correlation(a, b)
    assert got[0] == pytest.approx(np.corrcoef(a[:, 0], b[:, 0])[0, 1])
    assert np.isnan(got[2])


def test_reliability_is_one_for_true_probabilities():
    rng = np.random.default_rng(0)
    p = rng.beta(0.5, 3, (4000, 20))
    for _, _, pairs, ratio in reliability(p, rng.random(p.shape) < p):
        assert pairs > 0
        assert ratio == pytest.approx(1, abs=0.1)


def test_sample_auc_and_macro_auc_equal_sklearn(scored):
    score, presence = scored
    presence[:, 0], presence[:, 5] = False, True  # no AUC for these two
    presence[0, 1:5], presence[1, 1:5] = True, False  # nor for these two surveys
    kept = slice(1, 5)
    macro = macro_auc(score, presence)
    assert np.isnan(macro[[0, 5]]).all()
    assert np.nanmean(macro) == pytest.approx(roc_auc_score(presence[:, kept], score[:, kept], average="macro"))
    samples = sample_auc(score[:, kept], presence[:, kept])
    some = np.isfinite(samples)
    assert not some[:2].any()
    expected = roc_auc_score(presence[some, kept], score[some, kept], average="samples")
    assert np.nanmean(samples) == pytest.approx(expected)
