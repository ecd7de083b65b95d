"""`floracube evaluate`: peers on the folds of the training, records, and the truth where a landscape was generated."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from cube.config import Config
from cube.errors import ModelError, TableError
from cube.grid import CELL
from cube.layers.inputs import SURFACE
from cube.storage.identity import digest
from cube.storage.store import CubeStore, open_cube
from inference.cascade.model import Model, load_model
from inference.data.blocks import Folds
from inference.data.dataset import Dataset, load_dataset, split_network_options
from inference.data.holdout import plan_folds, shown_km
from inference.data.records import Records
from inference.data.samples import Predictors, Surveys
from inference.data.sampling import sample
from inference.evaluation.baselines.methods import LEAVES, scores_without
from inference.evaluation.baselines.table import table_of
from inference.evaluation.folds import FLORACUBE, peer_scores, peers_key, remembered, skill_report
from inference.evaluation.metrics import species_correlation
from inference.evaluation.out_of_fold import OutOfFold, as_eta, describe_surveys, load_out_of_fold
from inference.evaluation.protocol import Report
from inference.evaluation.record_folds import JudgedPlaces, forest_of_records, load_places, record_table
from inference.evaluation.tables import Table, write_tables
from inference.evaluation.tables import records as records_of
from inference.network.batches import predict_surveys
from inference.training.fit import options_document, spec_for, train
from inference.training.likelihood import cloglog_probability

Progress = Callable[[int, int, str], None]
TRUTH_CELLS: Final = 4_000  # of the landscape that are compared with the truth
NAMES: Final = {"random_forest": LEAVES, "shared_forest": LEAVES, "gradient_boosting": (0,)}  # peers and the leaves of each


@dataclass(frozen=True)
class Assessment:
    """Tables with a title each: rows are flat records."""

    tables: list[Table]

    def document(self) -> list[dict[str, Any]]:
        """All rows as flat records, each with its table's title."""
        return records_of(self.tables)

    def text(self) -> str:
        """The tables for a person."""
        return "\n" + "\n\n".join(table.text() for table in self.tables)


def assess(config: Config, progress: Progress, locked: bool = False) -> Assessment:
    """Compare the out-of-fold scores of the trained model with peers on the same folds, as the key `evaluate` says.

    Tables and pictures lie in the reports folder as `evaluation.*`. The open blocks are judged, or with `locked` the third that
    is kept for published tables. `truth` adds the correlation with the true probabilities of a generated landscape.
    """
    cube = open_cube(config.cube_url)
    data = load_dataset(config, cube)
    model = load_model(config.model_path)
    if model.ensemble.species != data.surveys.species:
        raise ModelError(
            f"{config.model_path}: was trained for {len(model.ensemble.species)} species, the configuration now gives"
            f" {len(data.surveys.species)} (or others); run `floracube train` again."
        )
    report = Report()
    if len(data.surveys) and config.train.likelihood != "records_only":
        scores = load_out_of_fold(config.model_path).require_surveys(data.surveys)
        report = _with_peers(config, data, scores, progress, locked)
    elif data.records is not None and data.record_predictors is not None:
        report.tables.append(_of_records(config, model, data.records, data.record_predictors, locked))
    truth, options = _truth(config, cube), config.evaluate.options
    if truth is not None:
        places = sample(cube, model.recipe, truth.x, truth.y, model.ensemble.spec.receptive_field)
        surveys = Surveys.at(truth.x, truth.y, model.ensemble.species, 100, config.predict.year)
        report.tables.append(_against_truth(model, truth, (places, surveys), data, options.trees, options.threads))
    name = "evaluation_locked" if locked else "evaluation"
    write_tables(config.report_path, name, report.tables)
    report.pictures(config.report_path, name)
    return Assessment(report.tables)


def _with_peers(config: Config, data: Dataset, scores: OutOfFold, progress: Progress, locked: bool) -> Report:
    """Tables of our scores and of peers; of species that are too rare to fit one, peers take the frequency."""
    options, folds, surveys = config.evaluate.options, scores.folds, data.surveys
    min_records = config.evaluate.min_records or scores.min_records
    methods = [("frequency", 0), *((name, leaf) for name in options.baselines if name != "frequency" for leaf in NAMES[name])]
    key = peers_key(data.predictors, surveys, folds, f"{options.trees}")
    cache, steps_done, total = config.report_path / "folds", 0, len(methods) * folds.count + 1

    def tell(text: str) -> None:
        nonlocal steps_done
        steps_done += 1
        progress(min(steps_done, total), total, text)

    eta = {FLORACUBE: scores.eta} | {f"{FLORACUBE}, {name} alone": alone for name, alone in scores.alone.items()}
    for name, leaf in methods:
        compute = partial(peer_scores, name, data.predictors, surveys, folds, leaf, options.trees, options.threads, tell)
        p = remembered(cache, f"{key}-{name}{leaf}", compute)
        eta[f"{name} (leaf {leaf})" if leaf else name] = np.where(np.isfinite(p), as_eta(p), eta.get("frequency", p))
    if options.records_allowed and data.records is not None:
        cache_key = f"{key}-allowed-{digest((options_document(config.train), config.network.model_dump(), len(data.records)))}"
        eta[f"{FLORACUBE}, records allowed"] = remembered(cache, cache_key, lambda: _with_all_records(config, data, folds))
    rows, what = folds.locked == locked, describe_surveys(scores, locked)
    if data.records is not None:
        what += f"; {FLORACUBE} learned from {len(data.records):,} records too, which its peers cannot read"
    return skill_report(eta, surveys, folds, min_records, rows, what, options.bootstraps)


def _with_all_records(config: Config, data: Dataset, folds: Folds) -> NDArray[np.float32]:
    """(n, S) out-of-fold scores of members that learned from the records of the blocks they left out, too."""
    _, shape = split_network_options(config)
    options = replace(config.train, po_allowed=True)
    trained_model = train(
        data.predictors,
        data.surveys,
        spec_for(data.predictors, data.surveys, **shape),
        options,
        folds,
        records=data.records,
        record_predictors=data.record_predictors,
        family=data.traits["family"],
    )
    assert trained_model.out_of_fold is not None
    return trained_model.out_of_fold


def _of_records(config: Config, model: Model, records: Records, predictors: Predictors, locked: bool) -> Table:
    """Our out-of-fold scores of records and background, compared with a forest on the same folds."""
    places, eta = load_places(config.model_path)
    plan = plan_folds(config, Surveys.none(()), model.ensemble.spec.reach_m, records=records)
    expected = JudgedPlaces.draw(records, plan.folds)
    if not np.array_equal(expected.fold, places.fold) or not np.array_equal(expected.row, places.row):
        raise ModelError(
            "The records of the configuration are not those that the model was trained on; run `floracube train` again."
        )
    forest = forest_of_records(
        records, predictors, places, plan.folds, len(model.ensemble.species), threads=config.evaluate.options.threads
    )
    kind = f"locked blocks, read on {datetime.date.today().isoformat()}" if locked else "open blocks"
    scores = {FLORACUBE: eta, "random_forest (down-sampled)": forest}
    return record_table(scores, places, locked, f"{kind} of {shown_km(plan.folds.block_km)} km ({plan.why})")


@dataclass(frozen=True)
class Truth:
    """True probabilities (cells, species) of a fixed random choice of land cells and where they lie (m)."""

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
    surface = np.asarray(cube.array(SURFACE).vindex[cube.region.index(x, y)])
    x, y = x[surface == 0][:TRUTH_CELLS], y[surface == 0][:TRUTH_CELLS]
    row = np.floor((grid["north"] - y) / CELL).astype(int)
    col = np.floor((x - grid["west"]) / CELL).astype(int)
    return Truth(list(grid["species"]), np.asarray(probability[:, row, col], np.float32).T, x, y)


def _against_truth(
    model: Model, truth: Truth, cells: tuple[Predictors, Surveys], data: Dataset, trees: int, threads: int
) -> Table:
    """Correlation over cells of predicted and true probability by species, compared with a forest of all surveys."""
    places, surveys = cells
    shared_columns = [i for i, name in enumerate(model.ensemble.species) if name in truth.species]
    true = truth.probability[:, [truth.species.index(model.ensemble.species[i]) for i in shared_columns]]
    eta = predict_surveys(model.ensemble, places, surveys.year, surveys.area_m2)
    predictions = {FLORACUBE: cloglog_probability(torch.from_numpy(eta)).numpy()[:, shared_columns]}
    if len(data.surveys):
        tables = (table_of(data.predictors, data.surveys, drop_constant=False), table_of(*cells, drop_constant=False))
        presence = np.concatenate([data.surveys.presence, surveys.presence])[:, shared_columns]
        train_rows = np.arange(len(presence)) < len(data.surveys)
        forest, leaf = "random_forest", LEAVES[0]
        p = scores_without(forest, np.concatenate(tables), presence, train_rows, ~train_rows, leaf, trees, threads)
        predictions[f"{forest} (leaf {leaf})"] = p
    rows = []
    for name, predicted in predictions.items():
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
    return Table(f"Correlation of predicted with true probability over {len(truth.x):,} cells", rows)
