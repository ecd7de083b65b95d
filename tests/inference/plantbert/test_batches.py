"""Plots as training batches: order of the epoch, mixtures of plots of a habitat, draws that follow from the batch alone."""

import numpy as np
import torch

from inference.plantbert.batches import Augmentation, ByLength, PlotBatches, cross
from inference.plantbert.vocabulary import make_tokenizer
from tests.support.plots import SPECIES, landscape


def test_every_plot_comes_once_an_epoch_and_batches_hold_like_lengths() -> None:
    size = np.random.default_rng(0).integers(1, 80, 1003)
    by = ByLength(size, 16, seed=1)
    first = list(by)
    assert sorted(first) == list(range(1003))
    assert first == list(by)
    spans = [np.ptp(size[first[i : i + 16]]) for i in range(0, 992, 16)]
    assert np.mean(spans) < 8 < np.mean([np.ptp(size[i : i + 16]) for i in range(0, 992, 16)])
    by.set_epoch(1)
    assert list(by) != first


def test_mixed_plots_hold_species_of_their_habitat_once_each_and_keep_their_length_on_average() -> None:
    plots = landscape(600)
    rows = np.flatnonzero(plots.label >= 0)
    members = [np.flatnonzero(plots.label == i) for i in range(3)]
    how = Augmentation(crossover=1.0, parents=4)
    order, size = cross(plots, rows, members, how, np.random.default_rng(0))
    assert size.min() >= 1
    within = np.arange(order.shape[1]) < size[:, None]
    assert (order[within] >= 0).all()
    for i, row in enumerate(rows):
        listed = order[i, : size[i]]
        assert len(set(listed)) == size[i]
        there = np.unique(plots.order[members[plots.label[row]]])
        assert np.isin(listed, there).all()
    shared = plots.size[rows].mean() - size.mean()
    assert 0 < shared < 1.2  # a species of two parents counts once, so a little is lost


def test_no_crossover_gives_the_plots_themselves() -> None:
    plots = landscape(50)
    rows = np.arange(1, 20)
    members = [np.flatnonzero(plots.label == i) for i in range(3)]
    order, size = cross(plots, rows, members, Augmentation(crossover=0.0), np.random.default_rng(0))
    np.testing.assert_array_equal(order, plots.order[rows])
    np.testing.assert_array_equal(size, plots.size[rows])


def test_a_batch_follows_from_its_plots_and_not_from_what_came_before() -> None:
    plots = landscape(60)
    labelled = plots.take(plots.label >= 0)
    for mask in (True, False):
        one, other = (PlotBatches(labelled, make_tokenizer(SPECIES), Augmentation(), 3, mask=mask, max_length=512) for _ in "ab")
        one([5, 6, 7])
        again, fresh = one([1, 2, 3]), other([1, 2, 3])
        assert all(torch.equal(again[k], fresh[k]) for k in again)
