"""True skill against scikit-learn's ROC curve; thresholds come from other surveys than those judged."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, roc_curve

from inference.evaluation.thresholds import best_thresholds, true_skill


@pytest.fixture
def scored():
    rng = np.random.default_rng(0)
    score = np.round(rng.random((300, 4)), 2)
    return score, rng.random((300, 4)) < score * [0.1, 0.5, 0.9, 1.0]


def test_skill_at_the_best_threshold_is_the_highest_of_the_roc_curve(scored):
    score, presence = scored
    skill = true_skill(score, presence, best_thresholds(score, presence))
    for s in range(4):
        alarms, hits, _ = roc_curve(presence[:, s], score[:, s])
        assert skill[s] == pytest.approx((hits - alarms).max())


def test_skill_equals_sensitivity_plus_specificity_less_one(scored):
    score, presence = scored
    skill = true_skill(score, presence, np.full(4, 0.6))
    (tn, fp), (fn, tp) = confusion_matrix(presence[:, 1], score[:, 1] >= 0.6)
    assert skill[1] == pytest.approx(tp / (tp + fn) + tn / (tn + fp) - 1)


def test_species_hardly_seen_have_no_threshold_and_no_skill(scored):
    score, presence = scored
    presence[:, 2] = np.arange(300) < 3
    threshold = best_thresholds(score, presence)
    assert np.isnan(threshold[2])
    assert np.isnan(true_skill(score, presence, threshold)[2])
    assert np.isfinite(true_skill(score, presence, threshold)[[1, 3]]).all()
