"""The report of a trained model on held-out blocks: every table, the files, and bad states told."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from cube.config import load_config
from cube.errors import TableError
from inference.data.samples import Predictors, Surveys
from inference.evaluation.assess import Assessment, _auc_table, _held_out, _peer, assess
from inference.evaluation.tables import Table, write_tables
from inference.evaluation.thresholds import best_thresholds, true_skill
from inference.network.batches import predict_surveys
from inference.training.fit import train
from inference.training.options import TrainOptions


@pytest.fixture(scope="module")
def case():
    rng = np.random.default_rng(0)
    n, species = 300, 30
    driver = rng.normal(size=(n, 2)).astype(np.float32)
    eta = driver @ rng.normal(0, 1.5, (2, species)) - 1.5
    presence = rng.random(eta.shape) < -np.expm1(-np.exp(np.clip(eta, -20, 3)))
    constant = np.full(n, 100, np.float32)
    x, y = rng.uniform(0, 100_000, (2, n))
    surveys = Surveys(presence, constant, constant + 1900, np.arange(n), x, y, tuple(map(str, range(species))))
    predictors = Predictors(static=driver, static_names=("a", "b"))
    roles = rng.permutation(np.repeat(["train", "calibrate", "test"], [160, 60, 80]))
    options = TrainOptions(members=1, epochs=1, least_steps=150, batch=64, learning_rate=0.01, threads=1)
    trained = train(predictors, surveys, None, options, roles)
    data = SimpleNamespace(predictors=predictors, surveys=surveys, records=None)
    return data, SimpleNamespace(ensemble=trained.ensemble), roles


def test_every_method_has_a_row_in_every_table_under_the_names_that_readers_know(case):
    data, model, roles = case
    test, forest, _ = _peer(data, roles, None)
    title, rows = _auc_table(data, model, test, forest)
    assert [row["method"] for row in rows] == ["floracube", "random_forest (leaf 5)"]
    report = _held_out(data, model, roles, forest)
    for table in report.tables:
        assert list(dict.fromkeys(row["method"] for row in table.rows)) == ["floracube", "random_forest (leaf 5)", "frequency"]
    ours, _, frequency = report.tables[0].rows
    assert ours["macro AUC"] > frequency["macro AUC"] + 0.1
    assert ours["F1"] > frequency["F1"]
    assert len(Assessment([Table(title, rows), *report.tables]).document()) == 2 + 3 + 3 + 3 * 6


def test_thresholds_come_from_the_calibration_blocks_alone(case):
    data, model, roles = case
    _, forest, _ = _peer(data, roles, None)
    row = _held_out(data, model, roles, forest).tables[0].rows[0]
    surveys = data.surveys
    eta = predict_surveys(model.ensemble, data.predictors, surveys.year, surveys.area_m2)
    held, test = roles == "calibrate", roles == "test"
    skill = true_skill(eta[test], surveys.presence[test], best_thresholds(eta[held], surveys.presence[held]))
    assert row["TSS"] == pytest.approx(np.nanmean(skill), abs=0.01)


def test_gain_and_its_interval_keep_their_columns_in_the_files(tmp_path: Path):
    rows = [{"method": "floracube", "auc": 0.7, "gain_lower": None}, {"method": "gain", "auc": 0.02, "gain_lower": 0.01}]
    write_tables(tmp_path, "evaluation", [Table("AUC", rows)])
    document = json.loads((tmp_path / "evaluation.json").read_text())
    assert document[1] == {"table": "AUC", "method": "gain", "auc": 0.02, "gain_lower": 0.01}
    with (tmp_path / "evaluation.csv").open() as file:
        assert [row["gain_lower"] for row in csv.DictReader(file)] == ["", "0.01"]


def test_no_held_out_survey_is_told(case):
    data, model, _ = case
    roles = np.full(len(data.surveys), "train")
    with pytest.raises(TableError, match="test set has 0 surveys"):
        _held_out(data, model, roles, np.zeros((0, 30), np.float32))


def test_folds_and_their_sets_are_written_to_the_reports_folder(case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data, _, _ = case
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({
        "title": "t", "cube": "c.zarr", "unit_km": 10, "sources": [],
        "region": {"west_km": 4000, "south_km": 3000, "east_km": 4100, "north_km": 3100},
        "train": {"members": 1, "epochs": 1, "least_steps": 40, "threads": 1},
        "evaluate": {"folds": 2, "block_km": 20, "min_records": 60,
                     "options": {"trees": 5, "bootstraps": 5, "coordinates": False, "baselines": ["frequency"]}},
    }))  # fmt: skip
    monkeypatch.setattr("inference.evaluation.assess.open_cube", lambda url: None)
    monkeypatch.setattr("inference.evaluation.assess.load_dataset", lambda config, cube: data)
    result = assess(load_config(tmp_path / "config.yaml"), lambda done, total, text: None)
    auc, sets = result.tables
    assert [row["method"] for row in auc.rows][::2] == ["floracube", "gain"]
    assert sets.rows[0]["method"] == "floracube"
    names = sorted(p.name for p in (tmp_path / "reports").iterdir() if p.is_file())
    assert names == ["evaluation.csv", "evaluation.json", "evaluation.png", "evaluation.txt"]
    assert json.loads((tmp_path / "reports/evaluation.json").read_text()) == result.document()
