"""The set of a cell maximises expected F1."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from inference.calibration.sets import set_size


@given(arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 12)), elements=st.floats(0, 1, width=32)))
def test_size_equals_brute_force(p):
    ranked = -np.sort(-p, axis=1)
    for row, size in zip(ranked, set_size(ranked), strict=True):
        scores = [2 * row[:k].sum() / (k + row.sum()) for k in range(1, len(row) + 1)]
        if row[0] == 0:
            assert size == 0
        else:
            assert scores[size - 1] >= max(scores) - 1e-12
            assert size == int(np.argmax(scores)) + 1


@given(arrays(np.float64, st.integers(2, 6), elements=st.floats(0.05, 0.95)))
def test_no_other_set_of_that_size_or_any_size_scores_more(p):
    ranked = -np.sort(-p)
    size = int(set_size(ranked))
    best = 2 * ranked[:size].sum() / (size + ranked.sum())
    for mask in range(1, 2 ** len(p)):
        chosen = np.array([mask >> i & 1 for i in range(len(p))], bool)
        assert 2 * ranked[chosen].sum() / (chosen.sum() + ranked.sum()) <= best + 1e-12


def test_total_stands_for_the_species_beyond_the_top():
    p = -np.sort(-np.random.default_rng(0).beta(0.3, 3, (50, 200)))
    whole = set_size(p)
    assert whole.max() < 100
    assert (set_size(p[:, :100], p.sum(1)) == whole).all()
