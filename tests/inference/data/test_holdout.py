"""Blocks and folds fit the region and the surveys by default; what does not is refused with the number that works."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from cube.config import Config
from cube.errors import ConfigError
from inference.data.blocks import make_folds
from inference.data.holdout import EVEN, UNEVEN, fold_sizes, plan_folds
from inference.data.records import Records
from inference.data.samples import Surveys


def config(size: tuple[int, int] = (37, 47), members: int = 5, **evaluate: object) -> Config:
    region = {"west_km": 4000, "south_km": 2500, "east_km": 4000 + size[0], "north_km": 2500 + size[1]}
    document = {
        "title": "t",
        "cube": "c",
        "unit_km": 10,
        "sources": [],
        "region": region,
        "evaluate": evaluate,
        "train": {"members": members},
    }
    return Config.model_validate(document)


def surveys(n: int = 900, size: tuple[int, int] = (37, 47), clusters: int = 0, seed: int = 0) -> Surveys:
    """Plots of a mountain region; the commonest species stands in a third of them."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, size[0] * 1000, n), rng.uniform(0, size[1] * 1000, n)
    if clusters:
        centre = rng.uniform(0, 1, (clusters, 2)) * np.array(size) * 1000
        which = rng.integers(0, clusters, n)
        x, y = (centre[which] + rng.normal(0, 20, (n, 2))).T
    presence = rng.random((n, 3)) < np.array([0.33, 0.1, 0.01])
    one = np.full(n, 100, np.float32)
    names = ("a", "b", "c")
    return Surveys(presence, one, one, np.arange(n), 4_000_000 + x, 2_500_000 + y, names)


def uneven() -> Surveys:
    """Nine in ten surveys lie in one square of 10 km."""
    found = surveys()
    return replace(
        found,
        x=np.where(np.arange(900) % 10 > 0, 4_000_000 + found.x % 10_000, found.x),
        y=np.where(np.arange(900) % 10 > 0, 2_500_000 + found.y % 10_000, found.y),
    )


def test_defaults_fit_the_region_and_the_number_of_surveys_and_say_why() -> None:
    plan = plan_folds(config(), surveys())
    assert plan.folds.block_km == pytest.approx(37 / 8)
    assert plan.min_records == 45  # a twentieth of 900
    assert plan.sizes[1] <= EVEN * plan.sizes[0]
    assert "an eighth of the region's shorter side of 37 km" in plan.why
    large = plan_folds(config((900, 900)), surveys(5000, (900, 900)))
    assert (large.folds.block_km, large.min_records) == (50.0, 100)
    assert plan_folds(config(), surveys(300)).min_records == 25  # five a fold
    assert plan_folds(config(members=2, min_records=7), surveys(300)).min_records == 7


def test_blocks_become_smaller_until_folds_are_even() -> None:
    found = surveys(600, clusters=40)
    plan = plan_folds(config(), found)
    assert plan.sizes == fold_sizes(found, plan.folds.block_km, 5)
    assert plan.sizes[1] <= UNEVEN * plan.sizes[0]


@pytest.mark.parametrize(
    ("evaluate", "given", "message"),
    [
        ({"block_km": 30}, surveys(), r"evaluate\.block_km is 30: the surveys lie in 4 blocks, fewer than train\.members \(5\)"),
        ({"block_km": 10}, uneven(), r"evaluate\.block_km is 10: folds would be of \d+ to \d+ surveys"),
        ({"members": 50, "min_records": 2}, surveys(30), r"train\.members is 50, but the surveys are of 30 places"),
        ({"min_records": 1000}, surveys(), r"no species stands in 1000 surveys or more, the commonest in"),
        ({}, surveys(clusters=2), r"the surveys lie too close together for 5 folds .* set train\.members to 2 or less"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_number_that_works(evaluate: dict, given: Surveys, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        plan_folds(config(**evaluate), given)
    key, number = re.search(r"set (?:evaluate|train)\.(\w+) to ([\d.]+) or less", str(caught.value)).groups()  # type: ignore[union-attr]
    value = float(number) if key == "block_km" else int(number)
    plan = plan_folds(config(**(evaluate | {key: value})), given)
    assert plan.sizes[0] > 0


def test_large_blocks_that_come_late_do_not_make_folds_uneven() -> None:
    """Six blocks of 158, 18, 150, 20, 160 and 40 surveys: dealt at random, two large ones often share a fold."""
    sizes = np.array([158, 18, 150, 20, 160, 40])
    x = np.repeat(np.arange(6), sizes) * 10_000.0 + 5_000
    n = len(x)
    one = np.ones(n, np.float32)
    given = Surveys(np.ones((n, 1), bool), one, one, np.arange(n), x, x, ("a",))
    for draw in range(10):
        folds = make_folds(given, 10, 3, draw)
        count = np.bincount(folds.fold, minlength=3)
        assert count.max() <= EVEN * count.min()
        assert all(len(np.unique(folds.fold[folds.block == b])) == 1 for b in range(6))


def test_fewer_groups_than_members_are_refused_with_the_number_that_works() -> None:
    group = np.array(["a", "b", "c"])[np.arange(900) % 3]
    with pytest.raises(ConfigError, match=r"3 groups in the column 'country'; set train\.members to 3 or less"):
        plan_folds(config(groups="country"), surveys(), group=group)
    plan = plan_folds(config(groups="country", members=3), surveys(), group=group)
    assert "whole groups of the column 'country'" in plan.why


def test_what_no_number_of_members_would_help_is_refused_without_one() -> None:
    one = np.full(900, "a")
    with pytest.raises(ConfigError, match=r"are of 1 group in the column 'country'; name a column of more groups\.$"):
        plan_folds(config(groups="country"), surveys(), group=one)
    together = surveys()
    together = replace(together, x=4_000_100 + together.x % 100, y=2_500_100 + together.y % 100)
    with pytest.raises(ConfigError, match=r"for 5 folds of blocks of 0\.5 km; give surveys of more places\.$"):
        plan_folds(config(), together)
    with pytest.raises(ConfigError, match=r"fewer than train\.members \(5\); leave it out\.$"):
        plan_folds(config(block_km=2), together)
    with pytest.raises(ConfigError, match=r"evaluate\.groups names 'country', a column of surveys, and the model learns"):
        plan_folds(config(groups="country"), surveys().subset(np.zeros(0, np.int64)), group=one, records=records())


def records() -> Records:
    found = surveys()
    n = len(found)
    return Records(np.zeros(n, np.int32), np.arange(n), found.x, found.y, np.full(n, 2000, np.float32))
