"""Sets of species against scikit-learn's sample averages and values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from inference.evaluation.species_sets import best_size, best_threshold, predicted_size, score_sets, top_scores, top_set


@pytest.fixture
def scored():
    rng = np.random.default_rng(0)
    p = rng.beta(0.4, 3, (80, 40)).astype(np.float32)
    presence = rng.random(p.shape) < p
    presence[:, 0] |= ~presence.any(1)  # published surveys have a species each
    return p, presence


@pytest.mark.parametrize("size", [1, 5, 25, 40])
def test_sample_averages_equal_scikit_learn(scored, size):
    p, presence = scored
    expected = precision_recall_fscore_support(presence, top_set(p, size), average="samples", zero_division=0)
    means = top_scores(p, presence, size).means()
    assert means["precision"] == pytest.approx(expected[0])
    assert means["recall"] == pytest.approx(expected[1])
    assert means["f1"] == pytest.approx(expected[2])


def test_sets_of_their_own_size_equal_scikit_learn(scored):
    p, presence = scored
    size = predicted_size(p)
    assert size.min() < size.max()
    expected = precision_recall_fscore_support(presence, top_set(p, size), average="samples", zero_division=0)
    got = top_scores(p, presence)
    assert got.means()["f1"] == pytest.approx(expected[2])
    np.testing.assert_array_equal(got.size, size)


def test_worked_by_hand_with_species_that_no_column_stands_for():
    # two of three predicted are there; two more were found that the model does not know: F1 = 2 / (2 + (1 + 2) / 2)
    member, presence = np.array([[True, True, True, False]]), np.array([[True, True, False, False]])
    got = score_sets(member, presence, np.array([2]))
    assert got.precision[0] == pytest.approx(2 / 3)
    assert got.recall[0] == pytest.approx(2 / 4)
    assert got.f1[0] == pytest.approx(2 / (2 + (1 + 2) / 2))


def test_a_survey_without_species_is_left_out_and_an_empty_set_scores_nothing():
    member = np.array([[True, False], [False, False]])
    got = score_sets(member, np.array([[False, False], [True, False]]))
    assert np.isnan(got.f1[0])
    assert got.f1[1] == 0
    assert got.means()["f1"] == 0


def test_expected_f1_sets_beat_the_best_k_and_the_best_threshold_under_true_probabilities():
    rng = np.random.default_rng(1)
    scale = rng.uniform(0.2, 3, (4000, 1))  # rich and poor places
    p = np.clip(rng.beta(0.3, 3, (4000, 50)) * scale, 0, 0.95)
    presence = rng.random(p.shape) < p
    half = np.arange(4000) < 2000
    ours = top_scores(p[~half], presence[~half]).means()["f1"]
    k = best_size(p[half], presence[half])
    threshold = best_threshold(p[half], presence[half])
    assert ours > top_scores(p[~half], presence[~half], k).means()["f1"]
    assert ours > np.nanmean(score_sets(p[~half] >= threshold, presence[~half]).f1) - 0.002


def test_best_size_is_the_best_of_all_sizes(scored):
    p, presence = scored
    f1 = [top_scores(p, presence, k).means()["f1"] for k in range(1, 41)]
    assert best_size(p, presence) == int(np.argmax(f1)) + 1
