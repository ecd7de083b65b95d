"""Our out-of-fold scores and peers on the same folds: no peer sees its fold, a real gain is told from none, locked is apart."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from cube.config import load_config
from cube.errors import ModelError
from inference.data.blocks import make_folds
from inference.data.samples import Predictors, Surveys
from inference.evaluation.assess import assess
from inference.evaluation.baselines.methods import NAMES
from inference.evaluation.folds import (
    FLORACUBE,
    bootstrap_gain,
    mean_over_species,
    peer_scores,
    skill_report,
    within_fold_auc,
)
from inference.evaluation.metrics import best_thresholds, true_skill
from inference.evaluation.out_of_fold import (
    OutOfFold,
    as_eta,
    cross_calibrated,
    describe_surveys,
    fingerprint,
    load_out_of_fold,
    save_out_of_fold,
)
from inference.training.fit import spec_for, train
from tests.inference.training.test_joint import World


def landscape(n: int = 400, species: int = 6, seed: int = 0):
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, 300_000, (2, n))
    driver = rng.normal(size=(n, 2)).astype(np.float32)
    eta = driver @ rng.normal(0, 1.2, (2, species)) - 1
    presence = rng.random(eta.shape) < -np.expm1(-np.exp(np.clip(eta, -20, 3)))
    predictors = Predictors(
        {"table_50m": np.concatenate([driver, rng.normal(size=(n, 6))], 1).astype(np.float32)}, table_50m_names=tuple("abcdefgh")
    )
    names = tuple(f"species {i}" for i in range(species))
    constant = np.full(n, 100, np.float32)
    return predictors, Surveys(presence, constant, constant + 1900, np.arange(n), x, y, names), eta.astype(np.float32)


@pytest.fixture(scope="module")
def case():
    predictors, surveys, eta = landscape()
    return predictors, surveys, eta, make_folds(surveys, 50, 3)


@pytest.mark.parametrize("name", NAMES)
def test_a_peer_is_scored_without_the_surveys_of_its_fold(case, name: str):
    predictors, surveys, _, folds = case
    score = peer_scores(name, predictors, surveys, folds, trees=5)
    presence = surveys.presence.copy()
    presence[folds.fold == 1] ^= True
    again = peer_scores(name, predictors, replace(surveys, presence=presence), folds, trees=5)
    np.testing.assert_array_equal(score[folds.fold == 1], again[folds.fold == 1])
    assert (score[folds.fold == 0] != again[folds.fold == 0]).any()


def test_no_fold_is_calibrated_by_its_own_surveys(case):
    _, surveys, eta, folds = case
    p = cross_calibrated(2 * eta, surveys, folds)
    presence = surveys.presence.copy()
    presence[folds.fold == 1] ^= True
    again = cross_calibrated(2 * eta, replace(surveys, presence=presence), folds)
    np.testing.assert_array_equal(p[folds.fold == 1], again[folds.fold == 1])
    assert (p[folds.fold != 1] != again[folds.fold != 1]).any()
    assert abs(float(p.sum() / surveys.presence.sum()) - 1) < 0.1


def test_every_table_has_every_method_and_gains_their_interval(case):
    _, surveys, eta, folds = case
    rng = np.random.default_rng(1)
    scores = {FLORACUBE: eta, "worse": (eta + rng.normal(0, 2, eta.shape)).astype(np.float32)}
    report = skill_report(scores, surveys, folds, 30, np.ones(len(surveys), bool), "all surveys", 50)
    ranked, sets, calibration, classes = report.tables
    ours, worse, gain = (row for row in ranked.rows if row["species"] == "in 30 surveys or more")
    assert [row["method"] for row in ranked.rows if row["species"] == "in 10 to 99"] == [FLORACUBE, "worse", "gain over worse"]
    assert gain["method"] == "gain over worse"
    assert gain["AUC in folds"] == pytest.approx(ours["AUC in folds"] - worse["AUC in folds"])
    assert 0 < gain["lower"] <= gain["AUC in folds"] <= gain["upper"]
    for table in (sets, calibration, classes):
        assert list(dict.fromkeys(row["method"] for row in table.rows)) == [FLORACUBE, "worse"]
    assert sets.rows[0]["F1"] > sets.rows[1]["F1"]


def test_thresholds_of_a_fold_come_from_the_other_folds(case):
    _, surveys, eta, folds = case
    report = skill_report({FLORACUBE: eta}, surveys, folds, 30, np.ones(len(surveys), bool), "all surveys")
    p, over = cross_calibrated(eta, surveys, folds), np.zeros(eta.shape)
    for k in range(3):
        others = folds.fold != k
        over[~others] = p[~others] - best_thresholds(p[others], surveys.presence[others])
    skill = true_skill(over, surveys.presence, np.zeros(eta.shape[1]))
    assert report.tables[1].rows[0]["TSS"] == pytest.approx(np.nanmean(skill), abs=1e-3)


def test_bootstrap_interval_covers_the_gain_and_is_above_zero_for_a_real_one():
    _, surveys, eta = landscape(800)
    rng = np.random.default_rng(1)
    folds = make_folds(surveys, 50, 5)
    good, bad = (eta + rng.normal(0, s, eta.shape) for s in (0.1, 2.0))
    lower, upper = bootstrap_gain(good, bad, surveys.presence, folds.fold, folds.block, 100)
    auc = [mean_over_species(within_fold_auc(score, surveys.presence, folds.fold)) for score in (good, bad)]
    assert 0 < lower < auc[0] - auc[1] < upper
    assert bootstrap_gain(good, good, surveys.presence, folds.fold, folds.block, 20) == (0.0, 0.0)


def test_species_weigh_the_same_however_many_folds_they_fill():
    auc = np.array([[0.9, 0.5, np.nan], [0.7, np.nan, np.nan]])
    assert mean_over_species(auc) == pytest.approx((0.8 + 0.5) / 2)
    assert math.isnan(mean_over_species(np.full((2, 2), np.nan)))


def scores_of(case) -> OutOfFold:
    _, surveys, eta, folds = case
    return OutOfFold(eta, folds, 30, "the default", fingerprint(surveys), {"networks": eta - 1, "forest": 2 * eta})


def test_scores_come_back_as_they_were_and_other_surveys_are_refused(case, tmp_path: Path):
    _, surveys, eta, folds = case
    save_out_of_fold(tmp_path, scores_of(case), [{"method": FLORACUBE, "AUC in folds": 0.7}])
    back = load_out_of_fold(tmp_path).require_surveys(surveys)
    for name in ("fold", "block", "locked"):
        np.testing.assert_array_equal(getattr(back.folds, name), getattr(folds, name))
    np.testing.assert_array_equal(back.eta, eta)
    np.testing.assert_array_equal(back.alone["networks"], eta - 1)
    np.testing.assert_array_equal(back.alone["forest"], 2 * eta)
    assert json.loads((tmp_path / "out_of_fold.json").read_text())["skill"][0]["AUC in folds"] == 0.7
    with pytest.raises(ModelError, match="are not those that the model was trained on; run `floracube train` again"):
        back.require_surveys(surveys.subset(np.arange(399)))
    (tmp_path / "out_of_fold.json").write_text("{}")
    with pytest.raises(ModelError, match="is damaged"):
        load_out_of_fold(tmp_path)
    with pytest.raises(ModelError, match=r"has no out-of-fold scores: .* run `floracube train` again"):
        load_out_of_fold(tmp_path / "nothing")


def test_evaluate_adds_peers_to_the_saved_scores_and_reads_locked_blocks_only_when_asked(
    case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    predictors, surveys, eta, folds = case
    (tmp_path / "config.yaml").write_text(
        yaml.safe_dump(
            {
                "title": "t",
                "cube": "c.zarr",
                "unit_km": 10,
                "sources": [],
                "region": {"west_km": 4000, "south_km": 3000, "east_km": 4100, "north_km": 3100},
                "evaluate": {"options": {"trees": 5, "bootstraps": 5}},
            }
        )
    )
    save_out_of_fold(tmp_path / "model", scores_of(case), [])
    model = SimpleNamespace(ensemble=SimpleNamespace(species=surveys.species))
    monkeypatch.setattr("inference.evaluation.assess.open_cube", lambda url: None)
    monkeypatch.setattr("inference.evaluation.assess.load_model", lambda path: model)
    monkeypatch.setattr(
        "inference.evaluation.assess.load_dataset",
        lambda config, cube: SimpleNamespace(predictors=predictors, surveys=surveys, records=None),
    )
    config = load_config(tmp_path / "config.yaml")
    found = {locked: assess(config, lambda done, total, text: None, locked) for locked in (False, True)}
    for locked, result in found.items():
        methods = [row["method"] for row in result.tables[0].rows]
        assert methods[:3] == [FLORACUBE, f"{FLORACUBE}, networks alone", f"{FLORACUBE}, forest alone"]
        assert methods[3:6] == ["frequency", "random_forest (leaf 5)", "random_forest (leaf 20)"]
        expected = skill_report({FLORACUBE: eta}, surveys, folds, 30, folds.locked == locked, "")
        assert result.document()[0]["AUC in folds"] == expected.tables[0].rows[0]["AUC in folds"]
        name = "evaluation_locked.json" if locked else "evaluation.json"
        assert json.loads((tmp_path / "reports" / name).read_text()) == result.document()
    assert "locked blocks, read on 20" in found[True].tables[0].title
    assert "open blocks" in found[False].tables[0].title
    assert describe_surveys(scores_of(case)).startswith(f"{int((~folds.locked).sum())} of 400 surveys")


def test_probabilities_of_a_peer_that_is_sure_stay_finite():
    assert np.isfinite(as_eta(np.array([0.0, 0.5, 1.0], np.float32))).all()


def test_a_second_row_lets_members_learn_from_records_of_the_blocks_they_leave_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    world = World(80, 600)
    (tmp_path / "config.yaml").write_text(
        yaml.safe_dump(
            {
                "title": "t",
                "cube": "c.zarr",
                "unit_km": 10,
                "sources": [],
                "region": {"west_km": 4000, "south_km": 3000, "east_km": 4100, "north_km": 3100},
                "train": {"members": 2, "epochs": 1, "least_steps": 5, "batch": 32, "record_batch": 32, "threads": 1},
                "network": {"d": 8, "hidden": 8},
                "evaluate": {"min_records": 5, "options": {"bootstraps": 5, "baselines": [], "records_allowed": True}},
            }
        )
    )
    config = load_config(tmp_path / "config.yaml")
    data = SimpleNamespace(
        predictors=world.places.subset(world.at),
        surveys=world.surveys,
        records=world.records,
        record_predictors=world.places,
        traits={"family": np.full(len(world.surveys.species), "")},
    )
    folds = make_folds(world.surveys, 5, 2)
    spec = spec_for(data.predictors, data.surveys, d=8, hidden=8)
    withheld = train(
        data.predictors,
        data.surveys,
        spec,
        config.train,
        folds,
        records=data.records,
        record_predictors=data.record_predictors,
        family=data.traits["family"],
    )
    scores = OutOfFold(withheld.out_of_fold, folds, 5, "the default", fingerprint(world.surveys))
    save_out_of_fold(tmp_path / "model", scores, [])
    model = SimpleNamespace(ensemble=SimpleNamespace(species=world.surveys.species))
    monkeypatch.setattr("inference.evaluation.assess.open_cube", lambda url: None)
    monkeypatch.setattr("inference.evaluation.assess.load_model", lambda path: model)
    monkeypatch.setattr("inference.evaluation.assess.load_dataset", lambda config, cube: data)
    rows = assess(config, lambda done, total, text: None).tables[0].rows
    assert [row["method"] for row in rows[:3]] == [FLORACUBE, "frequency", f"{FLORACUBE}, records allowed"]
    assert rows[0]["AUC in folds"] != rows[2]["AUC in folds"]
