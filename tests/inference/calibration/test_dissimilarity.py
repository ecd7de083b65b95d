"""The dissimilarity index by its definition, and the quick way to it."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist

from inference.calibration.dissimilarity import Space, choose_references, fit_space, index_of, whisker

POINTS = arrays(np.float64, (12, 3), elements=st.floats(-5, 5, width=32))


@given(POINTS, arrays(np.int64, 12, elements=st.integers(0, 3)))
@settings(max_examples=40, deadline=None)
def test_space_follows_the_paper(points, block):
    space = fit_space(points, block)
    distance = cdist(points, points)
    assert np.isclose(space.mean_distance, distance[~np.eye(12, dtype=bool)].mean(), atol=1e-6)
    if len(set(block)) == 1 or space.mean_distance == 0:
        assert np.isinf(space.threshold)
        return
    own = [min(distance[i, j] for j in range(12) if block[j] != block[i]) for i in range(12)]
    index = np.array(own) / space.mean_distance
    assert np.isclose(space.threshold, whisker(index), atol=1e-5)


def test_whisker_leaves_outliers_out():
    assert whisker(np.array([1.0, 2, 3, 4, 100])) == 4
    assert whisker(np.arange(10.0)) == 9


def test_index_is_the_distance_to_the_nearest_reference_even_far_from_the_origin():
    rng = np.random.default_rng(0)
    points = rng.normal(1e3, 1, (50, 8)).astype(np.float32)
    values = rng.normal(1e3, 2, (20_000, 8)).astype(np.float32)
    space = Space(points, 2.5, 1.0)
    wanted = cdist(values, points).min(1) / 2.5
    np.testing.assert_allclose(index_of(space, torch.from_numpy(values)).numpy(), wanted, rtol=1e-3, atol=1e-3)


def test_a_missing_value_is_left_out_and_not_taken_for_average():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(200, 4)).astype(np.float32) * np.array([1, 1, 1, 3], np.float32)
    far = np.array([[6, 0, 0, 0], [6, 0, 0, np.nan]], np.float32)
    whole, gap = index_of(Space(points, 1.0, 1.0), torch.from_numpy(far)).tolist()
    three = index_of(Space(points[:, :3], 1.0, 1.0), torch.from_numpy(far[:1, :3])).item()
    variance = points.var(0)
    assert np.isclose(gap, three * np.sqrt(variance.sum() / variance[:3].sum()), rtol=1e-3)
    assert gap > whole  # as far in what is known, with the rest no better
    nothing = torch.full((1, 4), torch.nan)
    assert torch.isinf(index_of(Space(points, 1.0, 1.0), nothing)).all()


def test_every_block_gives_references_and_none_gives_all():
    block = np.repeat(np.arange(20), [500] + [5] * 19)
    chosen = choose_references(block, 60)
    counts = np.bincount(block[chosen])
    assert len(chosen) == 60
    assert counts.tolist() == [3] * 20
    assert choose_references(block, 10_000).tolist() == list(range(len(block)))
