"""The protocol has every element of ODMAP, filled from the run, and says what only its authors can say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from cube.config import load_config
from cube.config.learning import NetworkConfig, TrainOptions
from cube.layers.inputs import INPUTS
from cube.records.report import Report
from cube.records.surveys import SurveyTable
from inference.data.blocks import make_folds
from inference.data.dataset import Dataset
from inference.data.recipe import Recipe
from inference.data.records import Records
from inference.data.samples import Predictors, Surveys
from inference.explanation.odmap import OPEN, Run, protocol, write_protocol
from inference.network.ensemble import Ensemble
from inference.training.fit import TrainedModel, spec_for

CORE = {
    "Overview": ("Target output", "Focal Taxon", "Spatial extent", "Temporal extent", "Modelling techniques", "Software"),
    "Data": (
        "Sample size",
        "Absence data",
        "Training data",
        "Validation data",
        "Test data",
        "Predictor variables",
        "Coordinate reference system",
        "Quantification of Novelty",
    ),
    "Model": (
        "Multicollinearity",
        "Model settings (fitting)",
        "Variable importance",
        "Spatial autocorrelation",
        "Threshold selection",
    ),
    "Assessment": ("Performance on training data", "Performance on test data", "Response shapes"),
    "Prediction": ("Prediction unit", "Novel environments"),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("odmap")
    document = {
        "title": "Small place",
        "cube": "cube.zarr",
        "unit_km": 10,
        "region": {"west_km": 4100, "east_km": 4120, "south_km": 2600, "north_km": 2620},
        "sources": [{"layer": "bioclim", "raster": "bio.tif", "attribution": "E-OBS", "reference_years": "1987-2017"}],
        "surveys": {"table": "plots.csv", "columns": {"survey": "id"}},
    }
    (folder / "c.yaml").write_text(yaml.safe_dump(document))
    rng = np.random.default_rng(0)
    n = 60
    surveys = Surveys(
        rng.random((n, 3)) < 0.4,
        np.full(n, 25, np.float32),
        np.linspace(1990, 2010, n).astype(np.float32),
        np.arange(n),
        rng.uniform(4.1e6, 4.12e6, n),
        rng.uniform(2.6e6, 2.62e6, n),
        ("A a", "B b", "C c"),
    )
    predictors = Predictors({"table_50m": rng.normal(size=(n, 2)).astype(np.float32)}, table_50m_names=("elevation", "slope"))
    report = Report("surveys")
    report.note("surveys without a position, skipped", ["7", "9"])
    table = SurveyTable(pd.DataFrame(), pd.DataFrame(), report)
    data = Dataset(Recipe(("table_50m",), (INPUTS["elevation"], INPUTS["slope"])), predictors, surveys, table, {}, [report])
    folds = make_folds(surveys, 5, 2)
    options = TrainOptions(members=2, epochs=1, least_steps=5, device="cpu")
    ensemble = Ensemble(spec_for(predictors, surveys, d=8, hidden=8), 1, surveys.species)
    metrics = {"auc": 0.75, "calibration_slope": 0.9}
    trained = TrainedModel(
        ensemble, metrics, options, folds=folds
    )  # what is told of a run is the same whether its numbers were trained or not
    rows = [{"modality": "table_50m", "channel": "", "more_log_loss": 0.125}]
    return Run(load_config(folder / "c.yaml"), data, trained, rows, 0.4321)


def test_core_elements_are_filled_from_the_run(run):
    found = {(e.section, e.element): e.value for e in protocol(run)}
    for section, elements in CORE.items():
        for element in elements:
            assert found[section, element] not in ("", OPEN), element
    assert "60 surveys at 60 places" in found["Data", "Sample size"]
    assert found["Overview", "Temporal extent"] == "1990 to 2010"
    assert found["Data", "Training data"].startswith("all 60 surveys, 2 folds of spatial blocks of 5 km")
    assert f"{int(run.trained_model.folds.locked.sum())} of them, those in locked blocks" in found["Data", "Test data"]
    assert "table_50m +0.1250" in found["Model", "Variable importance"]
    assert "surveys without a position, skipped: 2" in found["Data", "Cleaning"]
    assert "0.750" in found["Assessment", "Performance on validation data"]
    assert "slope 0.900" in found["Model", "Probabilities"]
    assert "0.432" in found["Prediction", "Novel environments"]
    assert found["Overview", "Author names"] == OPEN


def test_a_model_of_records_alone_claims_no_surveys_and_a_search_is_told(run):
    none = run.data.surveys.subset(np.zeros(0, np.int64))
    n = 40
    one = np.zeros(n, np.int32)
    records = Records(one, np.arange(n), *np.zeros((2, n)), np.full(n, 2000, np.float32))
    options = replace(run.trained_model.options, recorded_sites=0.25, search=(NetworkConfig(d=32),))
    trained = replace(
        run.trained_model,
        output_kind="relative intensity",
        options=options,
        metrics={"auc_against_background": 0.8},
        folds=run.trained_model.folds.subset(np.zeros(0, np.int64)),
    )
    alone = replace(run, data=replace(run.data, surveys=none, records=records), trained_model=trained)
    found = {e.element: e.value for e in protocol(alone)}
    assert "likelihood of surveys" not in found["Modelling techniques"]
    assert found["Background data"].startswith("sites of which 25% are places of records")
    assert found["Training data"].startswith("all 40 records, 2 folds")
    assert found["Test data"] == "those in locked blocks, by `evaluate --locked`"
    assert found["Performance on validation data"].startswith("mean AUC of records against background 0.800")
    assert found["Probabilities"] == "none: intensities are relative"
    assert found["Model selection"].startswith("size of the network, 2 candidates")


def test_both_files_say_the_same(run, tmp_path: Path):
    write_protocol(tmp_path, run)
    table = pd.read_csv(tmp_path / "odmap.csv")
    text = (tmp_path / "odmap.md").read_text()
    assert list(table.columns) == ["section", "subsection", "element", "value"]
    assert list(table["section"].unique()) == list(CORE)
    for _, row in table.iterrows():
        assert f"- **{row['element']}**: {row['value']}" in text
