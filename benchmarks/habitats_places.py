"""Habitats of Danish plots from the lists of botanists, from predicted lists, from the place, and from list and place together.

    floracube build examples/denmark.yaml && floracube train examples/denmark.yaml
    python -m benchmarks.habitats_places examples/denmark.yaml --data DIR --json out.json

Folds are those of the deep-SDM: a plot is read by members, readers and regressions that learned nothing in its block; the mixture
of list and place is the one with the least log loss on the plots of all other folds. `environment` is what the deep-SDM reads at
plots; peers are given it beside the list, too. Plots of open blocks are scored.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.command import parser_of, write_rows
from benchmarks.habitats_skill import DANISH_M, FIGURES, denmark_plots, score_row
from cube.config import load_config
from cube.storage.store import open_cube
from inference.cascade.model import load_model
from inference.data.dataset import load_dataset
from inference.evaluation.baselines.table import table_of
from inference.evaluation.out_of_fold import load_out_of_fold
from inference.network.batches import embed_surveys
from inference.plantbert.baselines import BASELINES
from inference.plantbert.evaluation import gain
from inference.plantbert.linear import LinearReader
from inference.plantbert.places import STRENGTHS, Mixture, PlaceReader, best_mixture
from inference.plantbert.plots import Plots
from inference.training.predicted_lists import PredictedPlots, lists_without_fold

METHODS = ("naive_bayes", "logistic_regression", "logistic_regression_shrunk", "logistic_regression_balanced")
PEERS = dict.fromkeys(METHODS, False) | {f"{name}, environment beside it": True for name in METHODS[1:]}
LISTS = ("list", "predicted list")
Array = NDArray[Any]


def plots_at_surveys(config_path: Path, data: Path) -> tuple[PredictedPlots, Plots, Array, Array, Array]:
    """(plots as the deep-SDM sees them, with the lists of botanists, (n, V) their environment standardised, is open, block)."""
    config = load_config(config_path)
    dataset = load_dataset(config, open_cube(config.cube_url))
    ensemble, folds = load_model(config.model_path).ensemble, load_out_of_fold(config.model_path).folds
    plots, x, y = denmark_plots(data)
    row_of = {name: row for row, name in enumerate(dataset.table.surveys["survey"].astype(str))}
    row = np.array([row_of.get(name, -1) for name in plots.plot_id])
    usable = np.flatnonzero((row >= 0) & (plots.label >= 0))
    plots, row = plots.take(usable), row[usable]
    surveys, predictors = dataset.surveys.subset(row), dataset.predictors.subset(row)
    z = torch.cat([part for part, _ in embed_surveys(ensemble, predictors, surveys.year, surveys.area_m2)])
    area = ensemble.median_area_m2.item()
    order, size = lists_without_fold(ensemble, z, folds.fold[row], area, plots.species)
    embedding = z[:, : ensemble.network_dimension].numpy()
    lists = replace(plots, order=order, size=size)
    predicted = PredictedPlots(lists, embedding, len(ensemble.networks), folds.fold[row], ensemble.fingerprint)
    block = np.unique(np.stack([x[usable], y[usable]]) // DANISH_M, axis=1, return_inverse=True)[1].reshape(-1)
    table = table_of(predictors)
    return predicted, plots, (table - table.mean(0)) / table.std(0), ~folds.locked[row], block


def held_out(predicted: PredictedPlots, plots: Plots, environment: Array) -> tuple[dict[str, Array], dict[float, Array]]:
    """(probabilities (n, C) by method, log probabilities of the place (n, C) by C of its regression), each fold left out."""
    classes, species = len(plots.habitats), np.arange(len(plots.species))
    result = {name: np.zeros((len(plots), classes), np.float32) for name in (*LISTS, *PEERS)}
    of_place = {strength: np.zeros((len(plots), classes), np.float32) for strength in STRENGTHS}
    presence = plots.presence()
    for k in range(predicted.members):
        test, train = np.flatnonzero(predicted.fold == k), np.flatnonzero(predicted.fold != k)
        of_train, lists = plots.take(train), predicted.plots.take(test)
        reader = LinearReader.fit(of_train, None, predicted.fold[train])
        result["list"][test] = reader.classify(plots.order[test], plots.size[test], species)
        reader = LinearReader.fit_path(of_train, predicted.plots.take(train))
        result["predicted list"][test] = reader.classify(lists.order, lists.size, species)
        embedding, label = predicted.without_fold(k), plots.label[train]
        for strength, log_p in of_place.items():
            places = PlaceReader.fit(embedding[train], 1, label, classes, Mixture(0.0, 1.0, strength))
            log_p[test] = places.log_probability(torch.from_numpy(embedding[test]))
        for name, with_environment in PEERS.items():
            x = np.concatenate([presence, environment], axis=1) if with_environment else presence
            result[name][test] = BASELINES[name.split(",")[0]](x[train], label, x[test], classes)
    return result, of_place


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--data", type=Path, default=os.environ.get("FLORACUBE_DATA"), help="folder of the real files")
    args = parser.parse_args()
    predicted, plots, environment, is_open, block = plots_at_surveys(args.config, args.data)
    result, of_place = held_out(predicted, plots, environment)
    for name in LISTS:
        both = result[f"{name} and place"] = np.zeros_like(result[name])
        for k in range(predicted.members):
            test, others = predicted.fold == k, is_open & (predicted.fold != k)
            mixture = best_mixture(result[name][others], {c: p[others] for c, p in of_place.items()}, plots.label[others])
            both[test] = mixture(result[name][test], of_place[mixture.strength][test])
            print(f"{name} and place, fold {k}: {mixture}", flush=True)
    label, block = plots.label[is_open], block[is_open]
    rows = [score_row("denmark places", name, p[is_open], label, None, print) for name, p in result.items()]
    answers = {name: p[is_open].argmax(axis=1) for name, p in result.items()}
    for peers in (METHODS, [name for name, with_environment in PEERS.items() if with_environment]):
        for key in FIGURES:
            best = max(peers, key=lambda m: next(r[key] for r in rows if r["method"] == m))
            middle, low, high = gain(label, answers["list and place"], answers[best], block)[key]
            print(f"  list and place over {best}, {key}: {middle:+.3f}, 95 % of block draws {low:+.3f} to {high:+.3f}")
            rows.append({"case": "denmark places", "method": f"list and place - {best}", key: middle, "low": low, "high": high})
    write_rows(args.json, rows)


if __name__ == "__main__":
    main()
