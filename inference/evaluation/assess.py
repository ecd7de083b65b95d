"""Skill of a configuration's model: spatial folds beside a random forest, or held-out blocks, and the truth where it is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cube.config import Config
from cube.errors import ConfigError, TableError
from cube.grid import CELL
from cube.inputs import INPUTS
from cube.storage.store import CubeStore, open_cube
from inference.cascade.model import Model, load_model
from inference.data.dataset import Dataset, load_dataset, split_network_options
from inference.data.samples import Predictors, Surveys
from inference.data.sampling import sample
from inference.evaluation.baselines import forest_probability, table_of
from inference.evaluation.folds import EvaluateOptions, evaluate
from inference.evaluation.metrics import species_auc, species_correlation
from inference.network.batches import predict_surveys
from inference.training.learn import options_of, roles_of
from inference.training.likelihood import cloglog_probability

Progress = Callable[[int, int, str], None]
TRUTH_CELLS = 4_000  # of the landscape that are compared with the truth
LEAF = 5


@dataclass(frozen=True)
class Assessment:
    """Tables with a title each: rows are flat records."""

    tables: list[tuple[str, list[dict[str, Any]]]]

    def document(self) -> list[dict[str, Any]]:
        """All rows as flat records, each with its table's title."""
        return [{"table": title, **row} for title, rows in self.tables for row in rows]

    def text(self) -> str:
        """The tables for a person."""
        lines = []
        for title, rows in self.tables:
            columns = list(dict.fromkeys(key for row in rows for key in row))
            cells = [[_show(row.get(c)) for c in columns] for row in rows]
            widths = [max(len(c), *(len(r[i]) for r in cells)) for i, c in enumerate(columns)]
            lines += ["", title, "  ".join(c.ljust(w) for c, w in zip(columns, widths, strict=True))]
            lines += ["  ".join(v.ljust(w) for v, w in zip(r, widths, strict=True)) for r in cells]
        return "\n".join(lines)


def _show(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def assess(config: Config, progress: Progress) -> Assessment:
    """Evaluate a configuration as its key `evaluate` says.

    `folds` of 2 or more cross-validates by blocks; `folds: 1` scores the trained model on the blocks that its own
    training held out. `truth` adds the correlation with the true probabilities of a generated landscape.
    """
    cube = open_cube(config.cube_url)
    data = load_dataset(config, cube)
    tables: list[tuple[str, list[dict[str, Any]]]] = []
    if config.evaluate.folds > 1:
        tables += _folds(config, data, progress)
    truth = _truth(config, cube)
    if config.evaluate.folds == 1 or truth is not None:
        model = load_model(config.model_path)
        cells = None if truth is None else _predictors_of(cube, model, truth, config.predict.year)
        progress(1, 2, "random forests")
        held_out, forest_there, forest_cells = _peer(config, data, model, cells)
        if config.evaluate.folds == 1:
            tables.append(_held_out(data, model, held_out, forest_there))
        if truth is not None and cells is not None:
            tables.append(_against_truth(model, truth, cells, forest_cells))
    result = Assessment(tables)
    config.report_path.mkdir(parents=True, exist_ok=True)
    (config.report_path / "evaluation.json").write_text(json.dumps(result.document(), indent=1) + "\n", encoding="utf-8")
    return result


def _folds(config: Config, data: Dataset, progress: Progress) -> list[tuple[str, list[dict[str, Any]]]]:
    e = config.evaluate
    known = {f.name for f in fields(EvaluateOptions)}
    for key in e.options:
        if key not in known:
            raise ConfigError(f"{config.path}: evaluate.options.{key}: is not a key that is known here; known are"
                              f" {', '.join(sorted(known))}.")  # fmt: skip
    _, shape = split_network_options(config)
    own = {k: tuple(v) if isinstance(v, list) else v for k, v in e.options.items()}
    options = EvaluateOptions(**{
        "draws": tuple(range(e.draws)), "folds": e.folds, "block_km": float(e.block_km),
        "fewest_records": e.min_records, "shape": shape, "train": options_of(config), **own,
    })  # fmt: skip
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
        tables.append((f"Sets of these species on held-out blocks of {e.block_km} km, sample-averaged, first draw", outcome.sets))
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
    config: Config, data: Dataset, model: Model, cells: tuple[Predictors, Surveys] | None
) -> tuple[NDArray[np.bool_], NDArray[np.float32], NDArray[np.float32]]:
    """Forests of the surveys that our model learned from: (which surveys are held out, scores there, scores at cells)."""
    surveys = data.surveys
    roles = roles_of(config, surveys, model.ensemble.spec, options_of(config).seed)
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


def _held_out(
    data: Dataset, model: Model, test: NDArray[np.bool_], forest: NDArray[np.float32]
) -> tuple[str, list[dict[str, Any]]]:
    surveys = data.surveys
    eta = predict_surveys(model.ensemble, data.predictors.subset(test), surveys.year[test], surveys.area_m2[test])
    rows = []
    for name, score in (("floracube", eta), (f"random_forest (leaf {LEAF})", forest)):
        auc = species_auc(score, surveys.presence[test])
        rows.append({"method": name, "auc": float(np.nanmean(auc)), "species": int(np.isfinite(auc).sum())})
    return f"AUC on {int(test.sum())} surveys of held-out blocks", rows


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
