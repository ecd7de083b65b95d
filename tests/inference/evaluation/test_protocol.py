"""One report of all figures: those of scikit-learn, thresholds from other surveys, and files and pictures as written."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from cube.errors import TableError
from inference.evaluation.protocol import Forecast, Observed, judge
from inference.evaluation.species_sets import top_set
from inference.evaluation.tables import Table, as_csv, records, write_tables


@pytest.fixture(scope="module")
def case():
    rng = np.random.default_rng(0)
    p = np.clip(rng.beta(0.4, 4, (500, 60)) * rng.uniform(0.3, 2, (500, 1)), 1e-4, 0.97).astype(np.float32)
    presence = rng.random(p.shape) < p
    test = np.arange(500) >= 300
    trained = presence[~test].sum(0)
    truth = Observed(presence[test], trained, 300, None, presence[~test])
    flat = np.broadcast_to((trained / 300).astype(np.float32), p.shape)
    return truth, {"ours": Forecast(p[test], p[~test]), "frequency": Forecast(flat[test], flat[~test])}


def test_rows_hold_what_scikit_learn_computes(case):
    truth, forecasts = case
    report = judge(forecasts, truth, "200 surveys")
    row = report.tables[0].rows[0]
    p = forecasts["ours"].p
    kept = truth.presence.any(1)
    expected = precision_recall_fscore_support(truth.presence[kept], top_set(p[kept], 25), average="samples", zero_division=0)
    assert [row["precision@25"], row["recall@25"], row["F1@25"]] == pytest.approx(list(expected[:3]))
    some = truth.presence.any(0) & ~truth.presence.all(0)
    assert row["macro AUC"] == pytest.approx(roc_auc_score(truth.presence[:, some], p[:, some], average="macro"))
    assert row["species"] == some.sum()
    assert row["F1"] > row["F1@25"]
    assert row["F1"] >= row["F1 best K"] - 0.02
    assert 0 < row["TSS"] < 1


def test_a_better_method_is_better_in_every_table(case):
    truth, forecasts = case
    skill, calibration, classes = judge(forecasts, truth, "200 surveys").tables
    ours, frequency = skill.rows
    assert ours["F1"] > frequency["F1"]
    assert frequency["macro AUC"] == pytest.approx(0.5)
    assert calibration.rows[0]["log loss"] < calibration.rows[1]["log loss"]
    assert calibration.rows[1]["log loss"] == pytest.approx(calibration.rows[1]["log loss of prevalence"], abs=1e-6)
    assert {row["method"] for row in classes.rows} == {"ours", "frequency"}
    assert sum(row["species"] for row in classes.rows if row["method"] == "ours") == ours["species"]


def test_report_is_written_as_text_csv_json_and_pictures(case, tmp_path: Path):
    truth, forecasts = case
    report = judge(forecasts, truth, "200 surveys")
    write_tables(tmp_path, "evaluation", report.tables)
    document = json.loads((tmp_path / "evaluation.json").read_text())
    assert [row["method"] for row in document[:2]] == ["ours", "frequency"]
    with (tmp_path / "evaluation.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(document)
    assert float(rows[0]["F1"]) == pytest.approx(report.tables[0].rows[0]["F1"])
    assert "Calibration on 200 surveys" in (tmp_path / "evaluation.txt").read_text()
    paths = report.pictures(tmp_path, "evaluation")
    assert [p.name for p in paths] == ["evaluation.png", "evaluation_reliability.png", "evaluation_classes.png"]
    for path in paths:
        with Image.open(path) as image:
            assert min(image.size) > 300
            assert len(image.convert("L").getcolors()) > 10  # something is drawn
    assert not list(tmp_path.glob(".*"))


def test_an_empty_test_set_is_told():
    with pytest.raises(TableError, match="test set has 0 surveys"):
        Observed(np.zeros((0, 3), bool), np.ones(3, int), 10)
    with pytest.raises(TableError, match="no presence of a species"):
        Observed(np.zeros((5, 3), bool), np.ones(3, int), 10)


def test_probabilities_of_other_surveys_are_refused(case):
    truth, forecasts = case
    with pytest.raises(TableError, match="'ours' has probabilities of shape"):
        judge({"ours": Forecast(forecasts["ours"].p[1:])}, truth, "200 surveys")


def test_what_is_no_number_is_null_and_empty():
    table = Table("t", [{"a": float("nan"), "b": np.float32(0.5)}, {"a": 1, "c": "x"}])
    assert records([table])[0] == {"table": "t", "a": None, "b": 0.5}
    assert as_csv(records([table])) == "table,a,b,c\nt,,0.5,\nt,1,,x\n"
    assert table.text().splitlines() == ["t", "a  b      c", "   0.500", "1         x"]
