"""Metrics against scikit-learn and analytic values."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, roc_auc_score, roc_curve
from sklearn.metrics import log_loss as sk_log_loss

from inference.evaluation.metrics import (
    best_thresholds,
    log_loss,
    macro_auc,
    resampled_auc,
    sample_auc,
    species_auc,
    species_correlation,
    true_skill,
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


@pytest.fixture
def rounded():
    rng = np.random.default_rng(0)
    score = np.round(rng.random((300, 4)), 2)
    return score, rng.random((300, 4)) < score * [0.1, 0.5, 0.9, 1.0]


def test_skill_at_the_best_threshold_is_the_highest_of_the_roc_curve(rounded):
    score, presence = rounded
    skill = true_skill(score, presence, best_thresholds(score, presence))
    for s in range(4):
        alarms, hits, _ = roc_curve(presence[:, s], score[:, s])
        assert skill[s] == pytest.approx((hits - alarms).max())


def test_skill_equals_sensitivity_plus_specificity_less_one(rounded):
    score, presence = rounded
    skill = true_skill(score, presence, np.full(4, 0.6))
    (tn, fp), (fn, tp) = confusion_matrix(presence[:, 1], score[:, 1] >= 0.6)
    assert skill[1] == pytest.approx(tp / (tp + fn) + tn / (tn + fp) - 1)


def test_species_hardly_seen_have_no_threshold_and_no_skill(rounded):
    score, presence = rounded
    presence[:, 2] = np.arange(300) < 3
    threshold = best_thresholds(score, presence)
    assert np.isnan(threshold[2])
    assert np.isnan(true_skill(score, presence, threshold)[2])
    assert np.isfinite(true_skill(score, presence, threshold)[[1, 3]]).all()
