"""Skill of a configuration's model: spatial folds beside a random forest, or held-out blocks, and the truth where it is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cube.config import Config
from cube.errors import ConfigError, ModelError, TableError
from cube.grid import CELL
from cube.inputs import INPUTS
from cube.storage.store import CubeStore, open_cube
from inference.cascade.model import Model, load_model
from inference.data.blocks import SHARES, assign_roles, roles_at
from inference.data.dataset import Dataset, load_dataset, split_network_options
from inference.data.samples import Predictors, Surveys
from inference.data.sampling import sample
from inference.evaluation.baselines import forest_probability, table_of
from inference.evaluation.baselines.named import NAMES, named, table_for
from inference.evaluation.baselines.scores import survey_scores
from inference.evaluation.benchmark import probabilities
from inference.evaluation.folds import EvaluateOptions, evaluate
from inference.evaluation.metrics import species_auc, species_correlation
from inference.evaluation.protocol import Forecast, Observed, Report, judge, presence_only_table
from inference.evaluation.tables import Table, records, write_tables
from inference.network.batches import predict_surveys
from inference.training.learn import block_km_of, options_of, roles_of
from inference.training.likelihood import cloglog_probability

Progress = Callable[[int, int, str], None]
TRUTH_CELLS = 4_000  # of the landscape that are compared with the truth
LEAF = 5
MOST_RECORDS = 20_000  # records, and places of the background, that the Boyce index is taken on


@dataclass(frozen=True)
class Assessment:
    """Tables with a title each: rows are flat records."""

    tables: list[Table]

    def document(self) -> list[dict[str, Any]]:
        """All rows as flat records, each with its table's title."""
        return records(self.tables)

    def text(self) -> str:
        """The tables for a person."""
        return "\n" + "\n\n".join(table.text() for table in self.tables)


def assess(config: Config, progress: Progress) -> Assessment:
    """Evaluate a configuration as its key `evaluate` says; tables and pictures lie in the reports folder as `evaluation.*`.

    `folds` of 2 or more cross-validates by blocks; `folds: 1` scores the trained model on the blocks that its own
    training held out, by the whole protocol. `truth` adds the correlation with the true probabilities of a generated
    landscape, records of held-out blocks the Boyce index.
    """
    cube = open_cube(config.cube_url)
    data = load_dataset(config, cube)
    tables: list[Table] = []
    report = Report()
    if config.evaluate.folds > 1:
        tables += [Table(title, rows) for title, rows in _folds(config, data, progress)]
    truth = _truth(config, cube)
    if config.evaluate.folds == 1 or truth is not None:
        model = load_model(config.model_path)
        if model.ensemble.species != data.surveys.species:
            raise ModelError(
                f"{config.model_path}: was trained for {len(model.ensemble.species)} species, the configuration now gives"
                f" {len(data.surveys.species)} (or others); run `floracube train` again."
            )
        cells = None if truth is None else _predictors_of(cube, model, truth, config.predict.year)
        if len(data.surveys):
            progress(1, 2, "random forests")
            roles = roles_of(config, data.surveys, model.ensemble.spec, options_of(config).seed)
            held_out, forest_there, forest_cells = _peer(data, roles, cells)
            if config.evaluate.folds == 1:
                report = _held_out(data, model, roles, forest_there)
                tables.append(Table(*_auc_table(data, model, held_out, forest_there)))
                tables += report.tables
            if truth is not None and cells is not None:
                tables.append(Table(*_against_truth(model, truth, cells, forest_cells)))
        if data.records is not None and config.evaluate.folds == 1:
            tables += boyce_table(config, data, model)
    result = Assessment(tables)
    write_tables(config.report_path, "evaluation", tables)
    Report(tables, report.curves, report.classes).pictures(config.report_path, "evaluation")
    return result


def _folds(config: Config, data: Dataset, progress: Progress) -> list[tuple[str, list[dict[str, Any]]]]:
    e = config.evaluate
    known = {f.name for f in fields(EvaluateOptions)}
    for key in e.options:
        if key not in known:
            raise ConfigError(f"{config.path}: evaluate.options.{key}: is not a key that is known here; known are"
                              f" {', '.join(sorted(known))}.")  # fmt: skip
    _, shape = split_network_options(config)
    own: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in e.options.items()}
    usual = EvaluateOptions(
        draws=tuple(range(e.draws)), folds=e.folds, block_km=float(e.block_km), fewest_records=e.min_records, shape=shape,
        train=options_of(config),
    )  # fmt: skip
    options = replace(usual, **own)
    for name in options.baselines:
        if name not in NAMES:
            raise ConfigError(
                f"{config.path}: evaluate.options.baselines: '{name}' is no baseline; there are {', '.join(NAMES)}."
            )
    steps = 0

    def report(text: str) -> None:
        nonlocal steps
        steps += 1
        progress(steps, 0, text)

    outcome = evaluate(data.predictors, data.surveys, options, report, config.report_path / "folds")
    title = (
        f"AUC on held-out blocks of {e.block_km} km ({e.folds} folds, {e.draws} draws, {len(data.surveys):,} surveys,"
        f" species with {e.min_records} records or more); gain with its 95 % block bootstrap interval"
    )
    tables = [(title, [row.record() for row in outcome.rows])]
    if outcome.sets:
        tables.append((
            f"Sets of these species on held-out blocks of {e.block_km} km, sample-averaged; F1 of all methods calibrated on the"
            " scores of the other folds", outcome.sets,
        ))  # fmt: skip
    return tables


@dataclass(frozen=True)
class Truth:
    """True probabilities (cells, species) of a fixed random choice of land cells and where they lie (m, EPSG:3035)."""

    species: list[str]
    probability: NDArray[np.float32]
    x: NDArray[np.float64]
    y: NDArray[np.float64]


def _truth(config: Config, cube: CubeStore) -> Truth | None:
    """The truth of a generated landscape, where the configuration names it. Raises `TableError` if it cannot be read."""
    if config.evaluate.truth is None:
        return None
    folder = Path(config.source_path(config.evaluate.truth))
    try:
        grid = json.loads((folder / "grid.json").read_text(encoding="utf-8"))
        probability = np.load(folder / "probability.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise TableError(f"{folder}: the truth of the landscape cannot be read ({error}).") from None
    w, s, e, n = cube.region.bounds
    rng = np.random.default_rng(0)
    x = w + (rng.integers(0, (e - w) // CELL, 3 * TRUTH_CELLS) + 0.5) * CELL
    y = s + (rng.integers(0, (n - s) // CELL, 3 * TRUTH_CELLS) + 0.5) * CELL
    surface = np.asarray(cube.array(INPUTS["surface"].path).vindex[cube.region.index(x, y)])
    x, y = x[surface == 0][:TRUTH_CELLS], y[surface == 0][:TRUTH_CELLS]
    row = np.floor((grid["north"] - y) / CELL).astype(int)
    col = np.floor((x - grid["west"]) / CELL).astype(int)
    return Truth(list(grid["species"]), np.asarray(probability[:, row, col], np.float32).T, x, y)


def _predictors_of(cube: CubeStore, model: Model, truth: Truth, year: int) -> tuple[Predictors, Surveys]:
    """The cells of the truth as if they were surveys of 100 m2 in `year` that found nothing."""
    places = sample(cube, model.recipe, truth.x, truth.y, model.ensemble.spec.receptive_field)
    m, species = len(truth.x), model.ensemble.species
    surveys = Surveys(
        np.zeros((m, len(species)), bool), np.full(m, 100.0, np.float32), np.full(m, year, np.float32),
        np.arange(m), truth.x, truth.y, species,
    )  # fmt: skip
    return places, surveys


def _peer(
    data: Dataset, roles: NDArray[np.str_], cells: tuple[Predictors, Surveys] | None
) -> tuple[NDArray[np.bool_], NDArray[np.float32], NDArray[np.float32]]:
    """Forests of the surveys that our model learned from: (which surveys are held out, scores there, scores at cells)."""
    surveys = data.surveys
    test = roles == "test"
    table = table_of(data.predictors, surveys, drop_constant=False)
    if cells is not None:
        table = np.concatenate([table, table_of(*cells, drop_constant=False)])
    more = np.zeros(len(table) - len(surveys), bool)
    presence = np.concatenate([surveys.presence, np.zeros((len(more), len(surveys.species)), bool)])
    learned = np.r_[np.isin(roles, ("train", "stop", "calibrate")), more]
    asked = np.r_[test, ~more]
    score = forest_probability(table, presence, learned, asked, LEAF, threads=2)
    return test, score[: test.sum()], score[test.sum() :]


def _auc_table(
    data: Dataset, model: Model, test: NDArray[np.bool_], forest: NDArray[np.float32]
) -> tuple[str, list[dict[str, Any]]]:
    surveys = data.surveys
    eta = predict_surveys(model.ensemble, data.predictors.subset(test), surveys.year[test], surveys.area_m2[test])
    rows = []
    for name, score in (("floracube", eta), (f"random_forest (leaf {LEAF})", forest)):
        auc = species_auc(score, surveys.presence[test])
        known = auc[np.isfinite(auc)]
        rows.append({"method": name, "auc": float(known.mean()) if len(known) else None, "species": len(known)})
    return f"AUC on {int(test.sum())} surveys of held-out blocks", rows


def _held_out(data: Dataset, model: Model, roles: NDArray[np.str_], forest: NDArray[np.float32]) -> Report:
    """The whole protocol on the test blocks, thresholds from the calibration blocks. Raises `TableError` for an empty test.

    The forest learned from the calibration blocks too, so no threshold of it can be chosen there.
    """
    surveys = data.surveys
    learned, held, test = roles == "train", roles == "calibrate", roles == "test"
    truth = Observed(surveys.presence[test], surveys.presence[learned].sum(0), int(learned.sum()), None, surveys.presence[held])
    at = np.flatnonzero(test), np.flatnonzero(held)
    ours = Forecast(*(probabilities(model.ensemble, data.predictors, surveys, rows) for rows in at))
    region = table_for("frequency", data.predictors, surveys)
    often = [survey_scores(named("frequency"), region, surveys.presence, learned, asked) for asked in (test, held)]
    forecasts = {"floracube": ours, f"random_forest (leaf {LEAF})": Forecast(forest), "frequency": Forecast(*often)}
    return judge(forecasts, truth, f"{int(test.sum())} surveys of held-out blocks")


def boyce_table(config: Config, data: Dataset, model: Model, most: int = MOST_RECORDS) -> list[Table]:
    """The continuous Boyce index on records of the test blocks against the uniform background; empty where none lie there."""
    found, predictors = data.records, data.record_predictors
    if found is None or predictors is None or not len(found.background):
        return []
    seed = options_of(config).seed
    blocks = assign_roles(data.surveys, block_km_of(config), seed=seed)
    where = roles_at(found.x, found.y, data.surveys, blocks, block_km_of(config), SHARES, seed)
    test = np.flatnonzero(where == "test")
    if not len(test):
        return []
    test = np.random.default_rng(seed).permutation(test)[:most]
    rows = np.r_[found.row[test], found.background[:most]]
    n = len(rows)
    year = np.full(n, config.predict.year, np.float32)
    noted = np.zeros((len(test), len(data.surveys.species)), bool)
    noted[np.arange(len(test)), found.species[test]] = True
    eta = predict_surveys(model.ensemble, predictors.subset(rows), year, np.full(n, np.nan, np.float32))
    p = cloglog_probability(torch.from_numpy(eta)).numpy()
    what = f"{len(test):,} records of held-out blocks against {n - len(test):,} places drawn uniformly"
    return [presence_only_table({"floracube": (p[: len(test)], p[len(test) :])}, noted, what)]


def _against_truth(
    model: Model, truth: Truth, cells: tuple[Predictors, Surveys], forest: NDArray[np.float32]
) -> tuple[str, list[dict[str, Any]]]:
    """Correlation over cells between predicted and true probability, species by species."""
    places, surveys = cells
    kept = [i for i, name in enumerate(model.ensemble.species) if name in truth.species]
    true = truth.probability[:, [truth.species.index(model.ensemble.species[i]) for i in kept]]
    ours = predict_surveys(model.ensemble, places, surveys.year, surveys.area_m2)
    p = cloglog_probability(torch.from_numpy(ours)).numpy()
    rows = []
    for name, predicted in (("floracube", p[:, kept]), (f"random_forest (leaf {LEAF})", forest[:, kept])):
        r = species_correlation(predicted, true)
        rows.append(
            {
                "method": name,
                "correlation": float(np.nanmean(r)),
                "median": float(np.nanmedian(r)),
                "richness_ratio": float(predicted.sum(1).mean() / true.sum(1).mean()),
                "richness_correlation": float(np.corrcoef(predicted.sum(1), true.sum(1))[0, 1]),
                "species": int(np.isfinite(r).sum()),
            }
        )
    return f"Correlation of predicted with true probability over {len(truth.x):,} cells", rows
