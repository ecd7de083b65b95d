"""GeoPlant's protocol from surveys to rows: train on its training surveys, judge on its tests, compare with what was published.

Reading the folder is `inference.evaluation.geoplant`'s business, the metrics `inference.evaluation.protocol`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from cube.config.learning import TrainOptions
from cube.errors import TableError
from cube.storage.local_files import write_file
from inference.data.blocks import clear_of, make_folds
from inference.data.samples import Predictors, Surveys
from inference.evaluation.baselines import multimodal
from inference.evaluation.baselines.methods import check_name, scores_without, table_for
from inference.evaluation.baselines.multimodal import EnsembleOptions
from inference.evaluation.geoplant import TESTS, Benchmark, labelled_tests
from inference.evaluation.out_of_fold import cross_calibrated
from inference.evaluation.protocol import Forecast, Observed, Report, judge
from inference.evaluation.species_sets import predicted_size
from inference.evaluation.tables import Record, Table
from inference.network.batches import predict_surveys
from inference.network.ensemble import Ensemble
from inference.training.fit import spec_for, train
from inference.training.likelihood import cloglog_probability

Floats = NDArray[np.float32]
Tell = Callable[[str], None]

ENOUGH_SURVEYS: Final = 1000  # test surveys below which no figure is worth comparing
ENOUGH_SPECIES: Final = 100
PUBLISHED_TEST: Final = 4716  # surveys in the published test
HEADER: Final = ("surveyId", "predictions")  # of a file for Kaggle: GeoLifeCLEF 2024 and 2025
SLICE: Final = 4096  # surveys predicted at a time

# Percent on the published PA test: Picek et al. 2024, tables 3 to 5, and https://plantnet.github.io/GeoPlant/baselines.
PUBLISHED_SKILL: Final[tuple[Record, ...]] = (
    {"method": "top 25 by district (published)", "F1@25": 20.6},
    {"method": "MaxEnt, 492 species (published)", "F1@25": 17.5},
    {"method": "XGBoost location (published)", "F1@25": 28.2, "recall@25": 47.6, "macro AUC": 89.8},
    {"method": "XGBoost location + climate + soil + land cover (published)", "F1@25": 28.7, "recall@25": 48.8, "macro AUC": 90.4},
    {"method": "ResNet-6 Sentinel-2 (published)", "F1@25": 22.0, "recall@25": 32.1, "macro AUC": 87.3},
    {"method": "ResNet-6 climate (published)", "F1@25": 26.2, "recall@25": 37.5, "macro AUC": 91.8},
    {"method": "ResNet-6 Landsat (published)", "F1@25": 30.3, "recall@25": 44.8, "macro AUC": 92.1},
    {"method": "ensemble climate + Landsat (published)", "F1@25": 33.8, "recall@25": 49.3, "macro AUC": 93.6},
    {"method": "ensemble of all three (published)", "F1@25": 34.1, "recall@25": 49.7, "macro AUC": 94.0},
    {"method": "ensemble of all three, estimated K (published)", "F1": 36.2, "macro AUC": 94.0},
    {"method": "winner of GeoLifeCLEF 2024, private board", "F1": 40.9},
)


@dataclass(frozen=True)
class Plan:
    """How to run the benchmark. `shape`: fields of ModelSpec; `baselines`: of baselines.methods.NAMES, or "multimodal"."""

    block_km: float = 50.0
    seed: int = 0
    baselines: tuple[str, ...] = ("frequency",)
    shape: Mapping[str, Any] = field(default_factory=dict)
    train: TrainOptions = field(default_factory=TrainOptions)
    threads: int = 1
    ensemble: EnsembleOptions = field(default_factory=EnsembleOptions)  # of the baseline "multimodal"


@dataclass(frozen=True)
class Outcome:
    """The trained model, reports by test, and remarks for the reader."""

    ensemble: Ensemble
    reports: dict[str, Report]
    train_rows: NDArray[np.int64]  # rows of the surveys that were learned from
    remarks: list[str]

    def against_published(self, test: str) -> Table:
        """Our rows of one test, in percent, under the published ones."""
        metric_rows = self.reports[test].tables[0].rows
        columns = ("F1@25", "recall@25", "F1", "set size", "macro AUC", "sample AUC", "species")
        our_rows = [{"method": row["method"], **{c: _percent(c, row.get(c)) for c in columns}} for row in metric_rows]
        return Table(f"GeoPlant, percent: published on the published test; this run on {test}", [*PUBLISHED_SKILL, *our_rows])


def _percent(column: str, value: Any) -> Any:
    return 100 * value if isinstance(value, float) and column != "set size" else value


def run_benchmark(bench: Benchmark, plan: Plan, scratch: Path, tell: Tell = lambda text: None) -> Outcome:
    """Train, predict, judge. `scratch`: folder for probabilities, which are mapped from disk.

    The published split is kept where the folder tells the species of a test; where it does not, the locked third of the blocks of
    the training surveys is the test, and a remark says so. Members of the ensemble leave out folds of the training surveys, whose
    out-of-fold scores calibrate it and choose thresholds. Raises `TableError` for an empty split, `ModelError` for a baseline
    that there is not or that lacks its inputs, before anything is trained.
    """
    for name in plan.baselines:
        if name == multimodal.NAME:
            multimodal.need_patches(bench.predictors)
        else:
            check_name(name)
    remarks: list[str] = []
    spec = spec_for(bench.predictors, bench.surveys, **plan.shape)
    is_test = np.isin(bench.split, TESTS)
    train_rows, test_rows = np.flatnonzero(~is_test), np.flatnonzero(is_test & bench.labelled)
    if not len(train_rows):
        raise TableError("The split 'train' is empty: no survey of it has a place and a species; fetch its table.")
    tests = {name: np.flatnonzero((bench.split == name) & bench.labelled) for name in labelled_tests(bench)}
    if not tests:
        remarks.append(
            f"No survey of a published test tells its species here: a third of the blocks of {plan.block_km:g} km of the training"
            " surveys is held out instead, which is another test than the published one."
        )
        is_locked = make_folds(bench.surveys.subset(train_rows), plan.block_km).locked
        test_rows, inside = train_rows[is_locked], bench.surveys.subset(train_rows)
        train_rows = train_rows[clear_of(inside, ~is_locked, spec.reach_m)]
        tests = {"held-out blocks": test_rows}
    if len(tests) > 1:
        tests = {"all tests": test_rows, **tests}
    tell(f"{len(train_rows):,} surveys to train on, {len(bench.species_ids):,} species")
    train_surveys = bench.surveys.subset(train_rows)
    folds = make_folds(train_surveys, plan.block_km, plan.train.members, plan.seed, spec.reach_m)
    trained_model = train(
        bench.predictors.subset(train_rows), train_surveys, spec, plan.train, folds, lambda steps_done, total, text: tell(text)
    )
    assert trained_model.out_of_fold is not None
    p = probabilities(trained_model.ensemble, bench.predictors, bench.surveys, test_rows, scratch / "test.npy")
    forecasts = {"floracube": Forecast(p, cross_calibrated(trained_model.out_of_fold, train_surveys, folds))}
    for name in plan.baselines:
        tell(f"baseline {name}")
        forecasts[name] = Forecast(_baseline(name, bench, train_rows, test_rows, plan))
    reports = {}
    for test_name, rows in tests.items():
        at = np.isin(test_rows, rows)
        truth = Observed(
            bench.surveys.presence[test_rows][at],
            train_surveys.presence.sum(0),
            len(train_rows),
            bench.other_species[test_rows][at],
            train_surveys.presence,
        )
        forecasts_at = {k: Forecast(f.p if at.all() else f.p[at], f.calibration) for k, f in forecasts.items()}
        reports[test_name] = judge(forecasts_at, truth, f"{test_name} ({int(at.sum()):,} surveys)")
        remarks += _few_surveys_warning(test_name, int(at.sum()), reports[test_name])
    return Outcome(trained_model.ensemble, reports, train_rows, remarks)


def _few_surveys_warning(name: str, surveys: int, report: Report) -> list[str]:
    species = report.tables[0].rows[0]["species"]
    if surveys >= ENOUGH_SURVEYS and species >= ENOUGH_SPECIES:
        return []
    return [
        f"{name}: {surveys} surveys and {species} species with an AUC are too few for any of these figures to mean"
        f" anything (the published test has {PUBLISHED_TEST:,} surveys); they show that the protocol runs."
    ]


def _baseline(name: str, bench: Benchmark, train_rows: NDArray[np.int64], query: NDArray[np.int64], plan: Plan) -> Floats:
    """(query, S) probabilities of one baseline, learned from the surveys that the network learned from."""
    if name == multimodal.NAME:
        return multimodal.multimodal_scores(bench.predictors, bench.surveys.presence, train_rows, query, plan.ensemble)
    table = table_for(name, bench.predictors.subset(np.arange(len(bench.surveys))), bench.surveys)
    rows = np.r_[train_rows, query]
    train = np.arange(len(rows)) < len(train_rows)
    return scores_without(name, table[rows], bench.surveys.presence[rows], train, ~train, threads=plan.threads, seed=plan.seed)


def probabilities(ensemble: Ensemble, predictors: Predictors, surveys: Surveys, rows: NDArray[np.int64], path: Path) -> Floats:
    """(rows, S) calibrated probabilities for surveys of their own year and area, mapped from `path`."""
    shape = (len(rows), len(surveys.species))
    path.parent.mkdir(parents=True, exist_ok=True)
    out = np.lib.format.open_memmap(path, "w+", np.float32, shape)
    for start in range(0, len(rows), SLICE):
        part = rows[start : start + SLICE]
        eta = predict_surveys(ensemble, predictors.subset(part), surveys.year[part], surveys.area_m2[part])
        out[start : start + SLICE] = cloglog_probability(torch.from_numpy(eta)).numpy()
    return out


def write_submission(
    path: Path,
    surveys: Sequence[int] | NDArray[np.integer],
    species_ids: NDArray[np.integer],
    p: NDArray[np.floating],
    rows: int = 1024,
) -> Path:
    """Write the most probable species of every survey, most probable first.

    `surveys` (n,) ids, `species_ids` (S,) numbers of the columns of p (n, S). As many species as maximise the expected F1. Goes
    by `rows` surveys; the file is there whole or not at all.
    Raises `TableError` for surveys given twice or ids that do not match p: Kaggle would refuse the file.
    """
    ids = np.asarray(surveys, np.int64)
    if len(np.unique(ids)) != len(ids):
        raise TableError(f"{path}: a survey stands in it twice; a submission has one row a survey.")
    if p.shape != (len(ids), len(species_ids)):
        raise TableError(f"{path}: probabilities of shape {p.shape} for {len(ids)} surveys and {len(species_ids)} species.")
    lines = [",".join(HEADER)]
    for start in range(0, len(ids), rows):
        part = np.asarray(p[start : start + rows])
        order = np.argsort(-part, axis=1, kind="stable")
        for survey, species_order, count in zip(ids[start : start + rows], order, predicted_size(part), strict=True):
            lines.append(f"{survey},{' '.join(map(str, species_ids[species_order[:count]]))}")
    write_file(path, ("\n".join(lines) + "\n").encode())
    return path


def submit(bench: Benchmark, ensemble: Ensemble, path: Path, scratch: Path) -> Path | None:
    """Write a submission for all surveys of published tests, labelled or not; None where the folder has none."""
    rows = np.flatnonzero(np.char.startswith(bench.split, "test"))
    if not len(rows):
        return None
    p = probabilities(ensemble, bench.predictors, bench.surveys, rows, scratch / "submission.npy")
    return write_submission(path, bench.survey_ids[rows], bench.species_ids, p)
