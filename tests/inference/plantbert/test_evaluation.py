"""Skill as it is defined, at every level, and the interval of a gain."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, log_loss, top_k_accuracy_score

from inference.plantbert.baselines import BASELINES, logistic_weights
from inference.plantbert.evaluation import gain, skill_of
from tests.support.eunis import eunis_scheme
from tests.support.plots import landscape


def test_skill_is_that_of_scikit_learn_and_coarse_levels_take_the_largest_sum() -> None:
    scheme = eunis_scheme(["R21", "R22", "R35", "T17"])
    draw = np.random.default_rng(0)
    p = draw.dirichlet(np.ones(4), 300).astype(np.float32)
    label = draw.integers(0, 4, 300)
    skill = skill_of("any", p, label, scheme)
    assert skill.accuracy == pytest.approx((p.argmax(axis=1) == label).mean())
    assert skill.top3 == pytest.approx(top_k_accuracy_score(label, p, k=3))
    assert skill.macro_f1 == pytest.approx(f1_score(label, p.argmax(axis=1), average="macro"))
    assert skill.log_loss == pytest.approx(
        log_loss(label, p.astype(np.float64) / p.astype(np.float64).sum(axis=1, keepdims=True)), rel=1e-4
    )
    levels = dict(skill.levels)
    assert levels["level1"] == pytest.approx(((p[:, :3].sum(axis=1) > p[:, 3]) == (label < 3)).mean())
    two = np.stack([p[:, :2].sum(axis=1), p[:, 2], p[:, 3]], axis=1)
    assert levels["level2"] == pytest.approx((two.argmax(axis=1) == np.array([0, 0, 1, 2])[label]).mean())
    assert "level1" in skill.line()
    assert skill.line() == f"{skill.method}: {skill.figures()}"


def test_the_interval_of_a_gain_covers_the_true_one_and_is_wider_where_blocks_agree_within() -> None:
    draw = np.random.default_rng(1)
    covered = []
    zero = np.zeros(400, int)
    for i in range(200):
        block = np.repeat(np.arange(40), 10)
        shift = np.repeat(draw.normal(0.1, 0.1, 40), 10)
        wrong, wrong_peer = (draw.random(400) > 0.5 + shift).astype(int), (draw.random(400) > 0.5).astype(int)
        middle, low, high = gain(zero, wrong, wrong_peer, block, draws=200, seed=i)["accuracy"]
        assert low <= middle <= high
        covered.append(low <= 0.1 <= high)
    assert 0.87 < np.mean(covered) < 0.99
    wrong = np.repeat(draw.random(40) > 0.6, 10).astype(int)
    _, low, high = gain(zero, wrong, zero + 1, np.repeat(np.arange(40), 10))["accuracy"]
    _, single_low, single_high = gain(zero, wrong, zero + 1, np.arange(400))["accuracy"]
    assert high - low > 2 * (single_high - single_low)


def test_a_gain_is_the_difference_of_the_figures_of_scikit_learn_also_in_drawn_blocks() -> None:
    draw = np.random.default_rng(2)
    label, ours, peer = (draw.integers(0, classes, 300) for classes in (5, 6, 4))  # 5: named by us alone
    block = draw.integers(0, 7, 300)
    made = gain(label, ours, peer, block, draws=1, seed=3)
    assert made["accuracy"][0] == pytest.approx((ours == label).mean() - (peer == label).mean())
    both = [f1_score(label, named, average="macro") for named in (ours, peer)]
    assert made["macro_f1"][0] == pytest.approx(both[0] - both[1])
    times = np.random.default_rng(3).multinomial(7, np.full(7, 1 / 7), 1)[0]  # the one draw: its interval is a point
    rows = np.repeat(np.arange(300), times[block])
    both = [f1_score(label[rows], named[rows], average="macro") for named in (ours, peer)]
    assert made["macro_f1"][1] == made["macro_f1"][2] == pytest.approx(both[0] - both[1])


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_learn_and_give_classes_without_plots_no_probability(name: str) -> None:
    plots = landscape(400)
    known = plots.take((plots.label >= 0) & (plots.label != 1))
    p = BASELINES[name](known.presence(), known.label, plots.presence(), 3)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-5)
    assert (p[:, 1] == 0).all()
    asked = np.isin(plots.label, [0, 2])
    assert (p.argmax(axis=1) == plots.label)[asked].mean() > 0.8


def test_a_plot_for_each_of_many_habitats_is_learned_without_a_warning() -> None:
    values = np.eye(40, dtype=np.float32)
    weight, bias = logistic_weights(values, np.arange(40), 41)
    assert (np.argmax(values @ weight + bias, axis=1) == np.arange(40)).all()
