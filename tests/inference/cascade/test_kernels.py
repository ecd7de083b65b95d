"""Compiled passes against double precision and against plain sorting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.cascade_projection import objects
from cube.layers import occurrence
from cube.storage.leaves import shards
from inference.cascade.cells import Cells
from inference.cascade.kernels import pack, rank_block, store_block, take_block, unpack
from inference.cascade.species import merged_ranks
from inference.training.likelihood import HIGHEST, LOWEST


def test_probabilities_and_sums_are_those_of_double_precision():
    eta = np.linspace(-30, 8, 130 * 2100, dtype=np.float32).reshape(130, 2100)
    bias = np.linspace(-1, 1, 130, dtype=np.float32)
    x = (eta + bias[:, None]).astype(np.float64).clip(LOWEST, HIGHEST)
    exact = -np.expm1(-np.exp(x))
    scores, sums = eta[None].copy(), np.zeros((2, 2100))
    ones, nothing = np.ones(130, np.float32), np.zeros(130, np.float32)
    take_block(
        scores,
        bias[None],
        ones,
        nothing,
        np.zeros((0, 2100), np.float32),
        np.full(130, -1),
        np.zeros((0, 2100), np.float32),
        sums,
    )
    p = scores[0]
    np.testing.assert_allclose(p, exact, rtol=4e-7)
    assert p.max() <= 1
    np.testing.assert_allclose(sums[0], (exact * np.log(exact)).sum(0), rtol=3e-6)
    np.testing.assert_allclose(sums[1], (exact**2).sum(0), rtol=3e-6)


@pytest.mark.parametrize(("members", "share"), [(3, 0), (3, 0.4), (1, 0.4)])
def test_members_and_a_forest_are_averaged_as_intensities_before_calibration(members, share):
    rng = np.random.default_rng(0)
    scores, bias = rng.normal(-4, 3, (members, 20, 300)).astype(np.float32), rng.normal(size=(members, 20)).astype(np.float32)
    slope, intercept = rng.uniform(0.5, 1.5, 20).astype(np.float32), rng.normal(size=20).astype(np.float32)
    forest = rng.uniform(0, 0.1, (20, 300)).astype(np.float32) if share else np.zeros((0, 300), np.float32)
    mean = (1 - share) * np.exp(scores.astype(np.float64) + bias[:, :, None]).mean(0) + (forest if share else 0)
    eta = np.clip(slope[:, None] * np.log(mean) + intercept[:, None], LOWEST, HIGHEST)
    bias += np.float32(np.log1p(-share))
    take_block(scores, bias, slope, intercept, np.zeros((0, 300), np.float32), np.full(20, -1), forest, np.zeros((2, 300)))
    np.testing.assert_allclose(scores[0], -np.expm1(-np.exp(eta)), rtol=1e-5)


def test_a_given_probability_replaces_the_computed_one():
    scores, given_ = np.zeros((1, 3, 5), np.float32), np.full((1, 5), 0.25, np.float32)
    nothing = np.zeros(3, np.float32)
    take_block(
        scores,
        nothing[None],
        np.ones(3, np.float32),
        nothing,
        given_,
        np.array([-1, 0, -1]),
        np.zeros((0, 5), np.float32),
        np.zeros((2, 5)),
    )
    p = scores[0]
    np.testing.assert_array_equal(p[1], 0.25)
    np.testing.assert_allclose(p[[0, 2]], 1 - np.exp(-1), rtol=1e-6)


@given(st.integers(0, 2**31), st.integers(1, 200), st.integers(1, 40), st.integers(1, 60))
@settings(max_examples=40)
def test_ranks_are_those_of_a_stable_sort_whatever_the_blocks(seed, species, cells, block):
    rng = np.random.default_rng(seed)
    p = (rng.integers(0, 30, (species, cells)) / 30).astype(np.float32)  # many ties, zeros among them
    held = Cells.empty(np.arange(cells), cells, np.zeros((0, cells)))
    for first in range(0, species, block):
        rank_block(np.ascontiguousarray(p[first : first + block]), first, held.keys, held.last_rank_probability)
    ranked, names = torch.full((cells, 64), -1.0), torch.full((cells, 64), -1, dtype=torch.int32)
    for first in range(0, species, block):
        ranked, names = merged_ranks(ranked, names, torch.from_numpy(p[first : first + block]), first)
    np.testing.assert_array_equal(pack(ranked.numpy(), names.numpy()), held.keys)
    values, ids = unpack(held.keys)
    order = np.argsort(-p, axis=0, kind="stable")[:64].T
    np.testing.assert_array_equal(ids[:, : order.shape[1]], order)
    np.testing.assert_array_equal(values[:, : order.shape[1]], np.take_along_axis(p.T, order, 1))
    assert (ids[:, order.shape[1] :] == -1).all()


@pytest.mark.parametrize("gap", [1, 3])
def test_steps_are_rounded_to_even_clipped_counted_and_put_where_the_cells_are(gap):
    p = np.array([[0.0, 0.5, 1.5, 2.5, 249.5, 250.4, 300.0, 1e9]], np.float32)
    out = np.full((1, 8 * gap), 255, np.uint8)
    cut = store_block(p, np.ones(1, np.float32), np.arange(8) * gap, 250, out)
    assert cut.tolist() == [2]
    np.testing.assert_array_equal(out[0, ::gap], [0, 0, 2, 2, 250, 250, 250, 250])
    if gap > 1:
        assert (out[0, 1::gap] == 255).all()


def test_a_tile_of_one_species_reads_four_chunks_as_a_rule_and_nine_at_worst():
    chunk, shard = shards(occurrence("", 100.0), [10_000], 800)
    assert (chunk, shard) == ((1, 400, 400), (192, 800, 800))
    # Levels halve, so a tile of 256 pixels shows 256 to 512 cells a side; grids that are turned against each other by up to
    # 20 degrees make its window 1.28 times as wide.
    counts = []
    for side in range(256, int(512 * 1.28) + 1, 8):
        touched = [(start + side - 1) // 400 - start // 400 + 1 for start in range(400)]
        assert max(touched) <= 3
        counts += touched
    assert np.median(counts) == 2  # a side: two by two chunks as a rule


def test_europe_with_ten_thousand_species_stays_below_half_a_million_objects_of_species():
    assert objects(10_000)["species"] <= 500_000
