"""GeoPlant folders of two years to rows: published splits, ids beyond the label space, gaps, and equal values from disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cube.config.learning import TrainOptions
from cube.errors import ModelError, TableError
from cube.records.geoplant.dataset import GeoPlant
from cube.records.geoplant.source import FileSource
from inference.evaluation.benchmark import Plan, run_benchmark, submit
from inference.evaluation.geoplant import labelled_tests, read_benchmark, recipe_of
from tests.support.geoplant import write_cube, write_table

QUICK = TrainOptions(members=2, epochs=1, least_steps=100, batch=32, learning_rate=0.01, threads=1)
TRAIN, IID, OOD = 160, 30, 20


def folder_of(root: Path) -> Path:
    """A download of 2026 in small: elevation decides which of two species grows; species 3 is everywhere, 4 only in tests."""
    rng = np.random.default_rng(0)
    elevation = rng.uniform(0, 1000, TRAIN + IID + OOD).round()
    ids = np.arange(100, 100 + len(elevation))
    lon, lat = rng.uniform(5, 12, len(ids)), rng.uniform(45, 52, len(ids))
    parts = {"train": slice(0, TRAIN), "test_iid": slice(TRAIN, TRAIN + IID), "test_ood": slice(TRAIN + IID, None)}
    for split, part in parts.items():
        rows = []
        for i in range(*part.indices(len(ids))):
            species = [1.0 if elevation[i] > 500 else 2.0, 3.0, *([4.0, 20_000.0] if split == "test_ood" else [])]
            area = [np.nan, -np.inf, 100.0][i % 3]
            rows += [(ids[i], lon[i], lat[i], 2018, area, s) for s in species]
        columns = ["surveyId", "lon", "lat", "year", "areaInM2", "speciesId"]
        write_table(
            root / f"PresenceAbsenceSurveys/PA_metadata_{split}.csv", dict(zip(columns, zip(*rows, strict=True), strict=True))
        )
        write_table(
            root / f"EnvironmentalValues/Elevation/PA-{split}-elevation.csv",
            {"surveyId": ids[part], "Elevation": elevation[part]},
        )
    write_cube(root, 2026, "landsat", 101, np.full((6, 4, 21), np.nan))
    write_cube(root, 2026, "landsat", 102, np.full((6, 4, 21), 127.0))
    return root


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory):
    root = tmp_path_factory.mktemp("gp")
    return read_benchmark(folder_of(root / "data"), root / "scratch", 9)


def test_folder_gives_every_split_once_and_counts_what_no_column_stands_for(bench):
    assert {s: int((bench.split == s).sum()) for s in set(bench.split)} == {"train": TRAIN, "test_iid": IID, "test_ood": OOD}
    assert bench.species_ids.tolist() == [1, 2, 3]
    assert bench.other_species[bench.split == "test_ood"].tolist() == [2] * OOD
    assert bench.other_species[bench.split != "test_ood"].max() == 0
    assert labelled_tests(bench) == ["test_iid", "test_ood"]
    told = "\n".join(line for report in bench.reports for line in report.lines())
    assert "beyond the label space of 11,255" in told
    assert "20000" in told
    assert "without a usable area" in told


def test_published_tests_are_judged_apart_and_together(bench, tmp_path: Path):
    outcome = run_benchmark(bench, Plan(train=QUICK, baselines=("frequency", "gradient_boosting")), tmp_path)
    assert list(outcome.reports) == ["all tests", "test_iid", "test_ood"]
    ours, frequency, _ = outcome.reports["all tests"].tables[0].rows
    assert ours["macro AUC"] > 0.9 > frequency["macro AUC"]
    iid, ood = (outcome.reports[name].tables[0].rows[0] for name in ("test_iid", "test_ood"))
    assert iid["F1"] > 0.9
    assert ood["F1"] == pytest.approx(2 * 2 / (2 + 4), abs=0.08)  # two of four species have no column
    np.testing.assert_array_equal(outcome.train_rows, np.flatnonzero(bench.split == "train"))
    assert any("too few for any of these figures" in remark for remark in outcome.remarks)
    table = outcome.against_published("all tests")
    assert [row["method"] for row in table.rows[-3:]] == ["floracube", "frequency", "gradient_boosting"]
    assert table.rows[-3]["macro AUC"] == pytest.approx(100 * ours["macro AUC"])
    written = pd.read_csv(submit(bench, outcome.ensemble, tmp_path / "submission.csv", tmp_path))
    assert written["surveyId"].tolist() == bench.survey_ids[bench.split != "train"].tolist()
    assert set(" ".join(written["predictions"]).split()) <= {"1", "2", "3"}


def test_without_labelled_tests_blocks_are_held_out_and_told(bench, tmp_path: Path):
    blind = type(bench)(**{**vars(bench), "labelled": bench.split == "train"})
    outcome = run_benchmark(blind, Plan(train=QUICK, baselines=()), tmp_path)
    assert list(outcome.reports) == ["held-out blocks"]
    assert "another test than the published one" in outcome.remarks[0]
    assert (bench.split[outcome.train_rows] == "train").all()
    assert len(outcome.train_rows) < (bench.split == "train").sum()


@pytest.mark.parametrize(
    ("baseline", "told"), [("multimodal", "missing: climate, satellite"), ("forest", "'forest' is no baseline")]
)
def test_a_baseline_that_cannot_be_is_told_before_anything_is_trained(bench, tmp_path: Path, baseline: str, told: str):
    said: list[str] = []
    with pytest.raises(ModelError, match=told):
        run_benchmark(bench, Plan(train=QUICK, baselines=("frequency", baseline)), tmp_path, said.append)
    assert said == []


def test_folders_without_training_surveys_species_or_predictors_are_told(tmp_path: Path):
    with pytest.raises(TableError, match="no species has 1000 presences"):
        read_benchmark(folder_of(tmp_path / "data"), tmp_path / "s", 9, min_records=1000)
    with pytest.raises(TableError, match="no predictors for climate"):
        recipe_of(FileSource(GeoPlant(tmp_path / "data")), ("climate",))
    only = tmp_path / "only"
    table = {"surveyId": [1], "lon": [999.0], "lat": [48.0], "year": [2018], "areaInM2": [1.0], "speciesId": [1.0]}
    write_table(only / "PresenceAbsenceSurveys/PA_metadata_train.csv", table)
    with pytest.raises(TableError, match="columns 'lon' and 'lat' are not degrees"):
        read_benchmark(only, tmp_path / "s", 9)


def test_real_miniatures_run_the_whole_protocol(real_data: Path, tmp_path: Path):
    for year, tests in (("glc23", []), ("glc24", ["test"]), ("glc25", ["test"])):
        bench = read_benchmark(real_data / "geoplant" / year, tmp_path / year, 3, ("satellite", "landsat"))
        assert labelled_tests(bench) == tests
        quick = TrainOptions(members=2, epochs=1, least_steps=3, threads=1)
        outcome = run_benchmark(bench, Plan(train=quick, seed=1), tmp_path / year)
        assert any("too few" in remark for remark in outcome.remarks)
