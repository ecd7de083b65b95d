"""A linear reader reads plots and cells alike, gives back what it was given, and its baselines are those of scikit-learn."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB

from cube.errors import ModelError
from inference.network.tensors import write_tensors
from inference.plantbert.baselines import ALWAYS, BASELINES, logistic_regression
from inference.plantbert.evaluation import Skill, better_baselines, evaluate_reader, reader_folds
from inference.plantbert.hidden_layer import fit_layers
from inference.plantbert.linear import (
    ADJUSTMENT,
    BAYES_SHARE,
    STRENGTH,
    USUAL_SHARE,
    LinearReader,
    place_weights,
    vectors,
)
from inference.plantbert.plots import Plots
from tests.support.plots import SPECIES, landscape

MIXED = ["Poa quarta (L.) Auct.", "Homo sapiens", *SPECIES]


def with_covers(plots: Plots) -> Plots:
    """Covers fall by half from place to place."""
    return replace(
        plots, cover=np.broadcast_to(64.0 / 2 ** np.arange(plots.order.shape[1]), plots.order.shape).astype(np.float32)
    )


@pytest.mark.parametrize("labels", [(0, 1, 2), (0, 2), (1,)])
def test_probabilities_are_those_of_scikit_learn(labels: tuple[int, ...]) -> None:
    plots = with_covers(landscape(300))
    known = plots.take(np.isin(plots.label, labels))
    x = known.log_cover()
    p = logistic_regression(x, known.label, plots.log_cover(), 3)
    wanted = np.zeros((len(plots), 3))
    if len(labels) > 1:
        model = LogisticRegression(max_iter=3000).fit(x.astype(float), known.label)
        wanted[:, model.classes_] = model.predict_proba(plots.log_cover().astype(float))
    else:
        wanted[:, labels] = 1.0
    np.testing.assert_allclose(p, wanted, atol=2e-3)


def test_log_cover_is_that_of_each_species() -> None:
    order = np.array([[2, 0, -1], [1, -1, -1]], np.int32)
    plots = Plots(
        np.array(["a", "b"]),
        order,
        np.array([3, 1], np.int32),
        np.zeros(2, np.int32),
        ("p", "q", "r"),
        ("H",),
        np.array([[50, 9, 1], [0.1, 7, 7]], np.float32),
    )
    np.testing.assert_allclose(plots.log_cover(), [[np.log(10), 0, np.log(51)], [0, np.log(1.1), 0]], rtol=1e-6)
    np.testing.assert_array_equal(plots.take(np.array([1])).log_cover(), plots.log_cover()[1:])
    predicted = replace(plots, cover=None)
    assert predicted.append(predicted).cover is None
    np.testing.assert_array_equal(plots.append(predicted).cover, np.concatenate([plots.cover, np.full((2, 3), np.nan)]))
    np.testing.assert_allclose(place_weights(plots), [(np.log(51) + np.log(1.1)) / 2], rtol=1e-6)


def test_a_reader_of_plots_reads_cells_of_other_species_lists_alike(tmp_path: Path) -> None:
    plots = with_covers(landscape(400))
    reader = LinearReader.fit(plots)
    token, unknown = reader.tokens_of(plots.species)
    assert unknown == 0
    p = reader.classify(plots.order, plots.size, token)
    labelled = plots.label >= 0
    assert (p.argmax(1) == plots.label)[labelled].mean() > 0.85
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)
    reader.save(tmp_path)
    again = LinearReader.load(tmp_path)
    np.testing.assert_array_equal(again.classify(plots.order, plots.size, token), p)
    # The same lists, numbered as a deep-SDM numbers its species, some of which the reader does not know.
    other, unknown = again.tokens_of(MIXED)
    assert unknown == 1
    np.testing.assert_array_equal(again.classify(np.where(plots.order < 0, -1, plots.order + 2), plots.size, other), p)
    empty = again.classify(plots.order[:2], np.array([0, 1]), token)
    assert np.isnan(empty[0]).all()
    assert np.isfinite(empty[1]).all()


def test_a_cell_depends_on_itself_alone() -> None:
    plots = with_covers(landscape(400))
    reader = LinearReader.fit(plots)
    token, _ = reader.tokens_of(plots.species)
    whole = reader.classify(plots.order, plots.size, token)
    one_by_one = np.concatenate([reader.classify(plots.order[i : i + 1], plots.size[i : i + 1], token) for i in range(20)])
    np.testing.assert_allclose(one_by_one, whole[:20], rtol=1e-5)  # a product of one row is rounded in another order
    wide = np.pad(plots.order, ((0, 0), (0, 56)), constant_values=5)  # beyond a list's size anything may stand
    np.testing.assert_array_equal(reader.classify(wide, plots.size, token), whole)


def test_vectors_hold_presence_and_log_cover_and_where_there_is_none_that_of_the_place() -> None:
    order, size, place = np.array([[2, 0, 1, 1], [-1, 1, 0, 0]]), np.array([3, 2]), np.array([5.0, 3.0], np.float32)
    x = vectors(order, size, place, 3)
    np.testing.assert_array_equal(x.toarray(), [[1, 1, 1, 3, 3, 5], [0, 1, 0, 0, 3, 0]])
    cover = np.array([[9, np.nan, 1, 7], [7, 99, 7, 7]])
    x = vectors(order, size, place, 3, cover).toarray()
    np.testing.assert_allclose(x, [[1, 1, 1, 3, np.log(2), np.log(10)], [0, 1, 0, 0, np.log(100), 0]], rtol=1e-6)


def test_two_names_of_one_binomial_are_one_species_with_both_covers() -> None:
    order, size, place = np.array([[2, 0, 2]]), np.array([3]), np.array([5.0, 4.0, 3.0], np.float32)
    x = vectors(order, size, place, 3, np.array([[9.0, 3.0, 7.0]])).toarray()
    np.testing.assert_allclose(x, [[1, 0, 1, np.log(4), 0, np.log(17)]], rtol=1e-6)
    reader = LinearReader.fit(landscape(300))
    token, _ = reader.tokens_of(["Poa prima", "Poa prima subsp. maior", *SPECIES])
    np.testing.assert_allclose(
        reader.classify(np.array([[0, 1]]), np.array([2]), token, cover=np.array([[5.0, 2.0]])),
        reader.classify(np.array([[0]]), np.array([1]), token, cover=np.array([[7.0]])),
        rtol=1e-5,
    )


@pytest.mark.parametrize("labels", [(0, 1, 2), (0, 2)])
def test_odds_are_those_of_logistic_regression_naive_bayes_and_hidden_layer_by_their_shares_with_rare_classes_raised(
    labels: tuple[int, ...],
) -> None:
    plots = with_covers(landscape(300))
    plots = plots.take(np.isin(plots.label, labels) & ((plots.label != 2) | (np.arange(300) % 3 == 0)))
    x = np.concatenate([plots.presence(), plots.log_cover()], axis=1).astype(float)
    logistic = LogisticRegression(C=STRENGTH, max_iter=3000).fit(x, plots.label)
    bayes = MultinomialNB(alpha=0.1).fit(plots.presence(), plots.label)
    log_p = (1 - BAYES_SHARE) * logistic.predict_log_proba(x) + BAYES_SHARE * bayes.predict_log_proba(plots.presence())
    weight, bias, out, out_bias = fit_layers(csr_matrix(x, dtype=np.float32), plots.label, 3)
    hidden_log_odds = np.maximum(x @ weight + bias, 0) @ out + out_bias
    log_p = USUAL_SHARE * hidden_log_odds[:, list(labels)] + (1 - USUAL_SHARE) * log_p
    log_p -= ADJUSTMENT * bayes.class_log_prior_
    wanted = np.zeros((len(plots), 3))
    wanted[:, list(labels)] = np.exp(log_p) / np.exp(log_p).sum(1, keepdims=True)
    reader = LinearReader.fit(plots)
    token, _ = reader.tokens_of(plots.species)
    np.testing.assert_allclose(reader.classify(plots.order, plots.size, token, cover=plots.cover), wanted, atol=5e-3)


def test_a_hidden_layer_learns_which_species_together_mean_a_habitat_and_nothing_of_a_class_without_plots() -> None:
    draw = np.random.default_rng(0)
    x = draw.random((1200, 6)) < 0.5
    label = (x[:, 0] ^ x[:, 1]).astype(np.int64)  # one of the two species alone: no sum of weights says it
    weight, bias, out, out_bias = fit_layers(csr_matrix(x[:800], dtype=np.float32), label[:800], 3)
    log_odds = np.maximum(x[800:] @ weight + bias, 0) @ out + out_bias
    assert (log_odds.argmax(1) == label[800:]).mean() > 0.95
    assert LogisticRegression().fit(x[:800], label[:800]).score(x[800:], label[800:]) < 0.65
    assert out_bias[2] == -np.inf


def test_a_hidden_layer_is_the_same_each_time_and_leaves_the_random_numbers_of_others_alone() -> None:
    plots, place = landscape(200), np.ones(1, np.float32)
    x, state = vectors(plots.order, plots.size, place, len(plots.species)), torch.random.get_rng_state()
    first, again = (fit_layers(x, np.maximum(plots.label, 0), 3) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_how_much_the_hidden_layer_counts_is_chosen_on_folds_that_were_left_out() -> None:
    draw = np.random.default_rng(0)
    present = draw.random((900, len(SPECIES))) < 0.5
    label = (present[:, 0] ^ present[:, 1]).astype(np.int32)  # no sum of weights says it
    order = np.argsort(~present, axis=1, kind="stable").astype(np.int32)
    plots = Plots(np.arange(900).astype(str), order, present.sum(1).astype(np.int32), label, SPECIES, ("H", "K"), None)
    learned, test = plots.take(np.arange(900) < 700), plots.take(np.arange(900) >= 700)
    reader = LinearReader.fit(learned, fold=np.arange(700) % 4)
    assert (
        np.abs(reader.weights.linear).max() <= 0.2 * np.abs(LinearReader._parts(learned, None)(0.0).weights.linear).max() + 1e-6
    )
    assert (reader.classify(test.order, test.size, np.arange(len(SPECIES))).argmax(1) == test.label).mean() > 0.9


def test_a_plot_without_species_does_not_choose_how_much_the_hidden_layer_counts() -> None:
    plots = landscape(200)
    fold, empty = np.arange(200) % 5, plots.label == 0
    empty &= np.cumsum(empty) <= 2
    without = replace(plots, size=np.where(empty, 0, plots.size).astype(np.int32))
    scored, left_out = (LinearReader.fit(without, fold=f).weights.out for f in (fold, np.where(empty, -1, fold)))
    np.testing.assert_array_equal(scored, left_out)


def test_covers_teach_what_presence_cannot() -> None:
    draw = np.random.default_rng(0)
    n, first = 400, np.arange(400) % 2
    order = np.tile(np.arange(6, dtype=np.int32), (n, 1))  # the same six species in each plot, in the same order
    cover = np.where(np.arange(6) == 0, 5 + 60 * first[:, None], draw.uniform(1, 4, (n, 6))).astype(np.float32)
    plots = Plots(np.arange(n).astype(str), order, np.full(n, 6, np.int32), first.astype(np.int32), SPECIES, ("H", "K"), cover)
    reader = LinearReader.fit(plots.take(np.arange(n) < 300))
    token, _ = reader.tokens_of(SPECIES)
    test = plots.take(np.arange(n) >= 300)
    assert (reader.classify(test.order, test.size, token, cover=test.cover).argmax(1) == test.label).all()
    assert (reader.classify(test.order, test.size, token).argmax(1) == test.label).mean() == 0.5  # no covers: all alike


def test_a_reader_of_before_is_refused_and_asks_for_training(tmp_path: Path) -> None:
    LinearReader.fit(landscape(100)).save(tmp_path)
    document = json.loads((tmp_path / "linear.json").read_text())
    (tmp_path / "linear.json").write_text(json.dumps(document | {"format": 2}))
    with pytest.raises(ModelError, match="of another version of floracube; run `floracube habitats train` again"):
        LinearReader.load(tmp_path)


def test_a_damaged_reader_is_refused(tmp_path: Path) -> None:
    reader = LinearReader.fit(landscape(100))
    reader.save(tmp_path)
    (tmp_path / "linear.safetensors").write_bytes((tmp_path / "linear.safetensors").read_bytes()[:50])
    with pytest.raises(ModelError, match="the linear reader is damaged"):
        LinearReader.load(tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("transformer_share", 1.5),
        ("transformer_share", "much"),
        ("habitats", ["H", "H", "K"]),
        ("species", "Poa"),
        ("species", 3),
    ],
)
def test_a_card_that_says_what_cannot_be_is_refused(tmp_path: Path, key: str, value: object) -> None:
    LinearReader.fit(landscape(100)).save(tmp_path)
    document = json.loads((tmp_path / "linear.json").read_text())
    (tmp_path / "linear.json").write_text(json.dumps(document | {key: value}))
    with pytest.raises(ModelError, match="the linear reader is damaged"):
        LinearReader.load(tmp_path)


@pytest.mark.parametrize("bias", [[np.nan, 0, 0], [np.inf, 0, 0], [-np.inf] * 3])
def test_a_bias_that_gives_no_probability_is_refused(tmp_path: Path, bias: list[float]) -> None:
    reader = LinearReader.fit(landscape(100))
    reader.save(tmp_path)
    write_tensors(
        tmp_path / "linear.safetensors", vars(reader.weights) | {"bias": np.array(bias, np.float32), "place": reader.place}
    )
    with pytest.raises(ModelError, match="the linear reader is damaged"):
        LinearReader.load(tmp_path)


def test_all_methods_are_scored_on_the_same_plots_and_a_class_without_training_plots_costs_no_infinite_loss() -> None:
    plots = landscape(400)
    two = np.flatnonzero(plots.label == 2)
    label = plots.label.copy()
    label[two[2:]] = -1  # one class of two plots

    plots = with_covers(replace(plots, label=label))
    fold, how = reader_folds(plots, None, None, 5)
    assert "random plots" in how
    assert len(set(fold[two[:2]])) == 2  # not both in one fold
    skills, held = evaluate_reader(plots, fold, baselines=ALWAYS, readers=("linear",))
    assert [skill.method for skill in skills] == ["linear", *ALWAYS]
    assert {skill.plots for skill in skills} == {int((label >= 0).sum())}
    assert all(0 < skill.log_loss < 1.5 for skill in skills), skills
    assert all(np.isfinite(p[label >= 0]).all() for p in held.values())
    fold = np.where(np.arange(len(fold)) == two[0], 7, np.where(np.arange(len(fold)) == two[1], 7, fold))  # both held out
    skills, _ = evaluate_reader(plots, fold, baselines=ALWAYS, readers=("linear",))
    assert all(skill.log_loss < 1.5 for skill in skills), skills


def test_blocks_hold_neighbours_together_and_plots_without_a_place_train_alone() -> None:
    plots = landscape(300)
    draw = np.random.default_rng(0)
    lon, lat = draw.uniform(14, 16, 300), draw.uniform(48, 50, 300)
    lon[:5] = np.nan
    fold, how = reader_folds(plots, lon, lat, 5)
    assert how == "blocks of 0.1 degree"
    assert (fold[:5] == -1).all()
    assert set(fold[5:]) == set(range(5))
    block = [tuple(b) for b in np.floor(np.stack([lon, lat], 1)[5:] / 0.1)]
    assert all(len({f for f, b in zip(fold[5:], block, strict=True) if b == one}) == 1 for one in set(block))
    one_block, how = reader_folds(plots, np.full(300, 15.0), np.full(300, 49.0), 5)
    assert "random plots" in how
    assert np.bincount(one_block).tolist() == [60] * 5


def test_the_warning_names_what_a_baseline_does_better() -> None:
    reader = Skill("plantbert", 100, 0.599, 0.8, 0.343, 1.5)
    best = Skill("logistic_regression_cover", 100, 0.685, 0.79, 0.559, 1.2)
    told = better_baselines([reader, best], "plantbert")
    assert told == (
        "The reader plantbert is worse than a baseline on the same 100 plots (accuracy 0.599, 0.685 of logistic regression cover;"
        " macro F1 0.343, 0.559 of logistic regression cover; log loss 1.500, 1.200 of logistic regression cover)"
    )
    assert better_baselines([best], "logistic_regression_cover") == ""
    assert better_baselines([best], "plantbert") == ""
    assert set(ALWAYS) < set(BASELINES)


def test_skill_is_that_of_a_reader_that_learned_from_predicted_lists_as_the_shipped_one_does() -> None:
    plots = landscape(300)
    labelled = plots.take(plots.label >= 0)
    predicted = replace(labelled, label=(labelled.label + 1) % 3, cover=None)  # lists that teach something else than plots do
    fold = np.arange(len(plots)) % 2
    own, both = (
        evaluate_reader(plots, fold, readers=("linear",), baselines=(), predicted=lists)[1]["linear"]
        for lists in (None, predicted)
    )
    test, train = (fold == 0) & (plots.label >= 0), plots.take(fold != 0)
    reader = LinearReader.fit(train, predicted.take(np.isin(predicted.plot_id, train.plot_id)))
    expected = reader.classify(plots.order[test], plots.size[test], reader.tokens_of(plots.species)[0])
    np.testing.assert_allclose(both[test], expected, atol=1e-6)
    assert not np.allclose(own[test], both[test], atol=0.05)
