"""The continuous Boyce index against values worked out by hand and the definition written out window by window."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from inference.evaluation.record_folds import boyce_index, predicted_to_expected


def test_ratio_in_windows_worked_by_hand():
    # background even over 0..1; records only in its upper half, so F is 0 below and 2 above
    background = np.linspace(0, 1, 100_001)
    records = np.linspace(0.5, 1, 50_001)
    middle, ratio = predicted_to_expected(records, background)
    assert len(middle) == 101
    assert middle[0] == pytest.approx(0.05)
    assert middle[-1] == pytest.approx(0.95)
    assert ratio[middle < 0.44].max() == 0
    np.testing.assert_allclose(ratio[middle > 0.56], 2, rtol=1e-3)


def test_equals_the_definition_window_by_window():
    rng = np.random.default_rng(0)
    background, records = rng.beta(1, 4, 3000), rng.beta(1.3, 2.5, 80)
    low, high = min(background.min(), records.min()), max(background.max(), records.max())
    width = (high - low) / 10
    middles, ratios = [], []
    for k in range(101):
        a = low + k * (high - low - width) / 100
        b = a + width if k < 100 else high
        expected = np.mean((background >= a) & (background <= b))
        if expected > 0:
            middles.append(a + width / 2)
            ratios.append(round(np.mean((records >= a) & (records <= b)) / expected, 10))
    kept = [i for i in range(len(ratios)) if i == len(ratios) - 1 or ratios[i] != ratios[i + 1]]
    by_hand = spearmanr(np.array(middles)[kept], np.array(ratios)[kept]).statistic
    assert boyce_index(records, background) == pytest.approx(by_hand, abs=1e-6)


def test_records_that_follow_the_score_give_one_and_those_that_flee_it_minus_one():
    rng = np.random.default_rng(1)
    background = rng.random(200_000)
    with_it = background[rng.random(len(background)) < background**2]
    against = 1 - with_it
    assert boyce_index(with_it, background) > 0.99
    assert boyce_index(against, background) < -0.99
    assert abs(boyce_index(rng.random(100_000), background)) < 0.6


def test_no_range_of_scores_is_no_number():
    assert np.isnan(boyce_index(np.ones(5), np.ones(50)))
