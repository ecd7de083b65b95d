"""Records without surveys: each is judged by the member without its block, compared with a forest that did not see it either."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cube.config.learning import TrainOptions
from cube.errors import ModelError
from inference.data.blocks import Folds, make_folds
from inference.data.records import Records
from inference.data.samples import Predictors, Surveys
from inference.evaluation.baselines.forest import DownSampledForest
from inference.evaluation.record_folds import (
    JudgedPlaces,
    forest_of_records,
    load_places,
    record_table,
    save_places,
)
from inference.training.fit import TrainedModel, train

PLACES, SPECIES = 800, 3
FOREST = DownSampledForest(50)
NONE = Surveys(
    np.zeros((0, SPECIES), bool), *np.zeros((2, 0), np.float32), np.zeros(0, np.int64), *np.zeros((2, 0)), ("a", "b", "c")
)


def world() -> tuple[Predictors, Records, Folds]:
    rng = np.random.default_rng(0)
    driver = rng.normal(size=(PLACES, 2)).astype(np.float32)
    x, y = rng.uniform(0, 60_000, (2, PLACES))
    weight = np.exp(driver @ np.array([[2.0, -2.0, 0.0], [0.0, 0.0, 2.0]]))
    row = np.concatenate([rng.choice(PLACES, 80, p=weight[:, s] / weight[:, s].sum()) for s in range(SPECIES)])
    n, uniform = len(row), np.arange(PLACES)
    records = Records(
        np.repeat(np.arange(SPECIES, dtype=np.int32), 80), row, x[row], y[row], np.full(n, 2000, np.float32), uniform, x, y
    )
    as_surveys = Surveys(np.zeros((n, 0), bool), *np.zeros((2, n), np.float32), np.arange(n), x[row], y[row])
    folds = make_folds(as_surveys, 5, 2).subset(np.zeros(0, np.int64))
    return Predictors({"table_50m": driver}, table_50m_names=("u", "v")), records, folds


def trained_on(places: Predictors, records: Records, folds: Folds) -> TrainedModel:
    options = TrainOptions(members=2, epochs=1, least_steps=120, batch=32, modality_dropout=0.0, learning_rate=0.01, threads=1)
    nowhere = places.subset(np.zeros(0, np.int64))
    return train(nowhere, NONE, None, options, folds, records=records, record_predictors=places)


@pytest.fixture(scope="module")
def case() -> tuple[Predictors, Records, Folds, TrainedModel]:
    places, records, folds = world()
    return places, records, folds, trained_on(places, records, folds)


def test_records_of_blocks_left_out_are_told_from_background(case) -> None:
    places, records, folds, trained = case
    assert trained.output_kind == "relative intensity"
    assert "survey" not in trained.ensemble.spec.modalities
    forest = forest_of_records(records, places, trained.record_places, folds, SPECIES, FOREST)
    table = record_table({"floracube": trained.out_of_fold, "forest": forest}, trained.record_places, False, "open blocks")
    ours, theirs = table.rows
    assert ours["AUC against background"] > 0.8
    assert theirs["AUC against background"] > 0.7
    assert ours["species"] == SPECIES
    locked = record_table({"floracube": trained.out_of_fold}, trained.record_places, True, "locked blocks")
    assert table.title.split(" records")[0] != locked.title.split(" records")[0]


def test_no_score_saw_records_of_its_own_blocks(case) -> None:
    places, records, folds, trained = case
    inside = folds.at(records.x, records.y) == 0
    poisoned = replace(records, species=np.where(inside, (records.species + 1) % SPECIES, records.species).astype(np.int32))
    other = trained_on(places, poisoned, folds)
    same = (trained.out_of_fold == other.out_of_fold).all(1)
    np.testing.assert_array_equal(same, trained.record_places.fold == 0)
    forest = [forest_of_records(some, places, trained.record_places, folds, SPECIES, FOREST) for some in (records, poisoned)]
    np.testing.assert_array_equal(forest[0][same], forest[1][same])


def test_a_peer_learns_from_the_records_that_the_member_without_the_fold_learned_from(case) -> None:
    places, records, folds, trained = case
    wide = replace(folds, reach_m=1_000.0)
    withheld = np.ones(len(records), bool)
    withheld[np.isin(np.arange(len(records)), numbers_of(wide, 0, records))] = False
    assert (withheld & (wide.at(records.x, records.y) != 0)).any()  # some lie near the fold and not in it
    poisoned = replace(records, species=np.where(withheld, (records.species + 1) % SPECIES, records.species).astype(np.int32))
    forest = [forest_of_records(some, places, trained.record_places, wide, SPECIES, FOREST) for some in (records, poisoned)]
    own = trained.record_places.fold == 0
    np.testing.assert_array_equal(forest[0][own], forest[1][own])
    assert (forest[0][~own] != forest[1][~own]).any()


def numbers_of(folds: Folds, fold: int, records: Records) -> np.ndarray:
    """Positions of the records that a member without `fold` learns from."""
    numbered = replace(records, year=np.arange(len(records), dtype=np.float32))
    return folds.records_of(fold, NONE, numbered).year.astype(int)


def test_scores_come_back_as_they_were_and_damage_is_told(case, tmp_path: Path) -> None:
    _, _, folds, trained = case
    save_places(tmp_path, trained.record_places, trained.out_of_fold, folds, [])
    places, eta = load_places(tmp_path)
    np.testing.assert_array_equal(eta, trained.out_of_fold)
    for name in ("row", "species", "fold", "locked"):
        np.testing.assert_array_equal(getattr(places, name), getattr(trained.record_places, name))
    with pytest.raises(ModelError, match="run `floracube train` again"):
        load_places(tmp_path / "nothing")


def test_records_that_are_judged_are_at_most_as_many_as_fit(case, monkeypatch: pytest.MonkeyPatch) -> None:
    _, records, folds, _ = case
    monkeypatch.setattr("inference.evaluation.record_folds.MAX_RECORDS", 50)
    some = JudgedPlaces.draw(records, folds)
    assert (some.species >= 0).sum() == 50
    assert (some.species < 0).sum() == PLACES
