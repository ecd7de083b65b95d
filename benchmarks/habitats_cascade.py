"""Habitats of a demo's cells: as maps read them, from lists alone, and told directly from image and environment.

Few plots have a habitat, many surveys have none: those teach the deep-SDM and the language, but not a direct classifier. A
seed draws other plots. Readers learn from its plots and from the lists predicted for them, as `floracube train` does;
`plots alone` without the latter. `maps` mixes the first reader with `places`, which reads the embedding of the deep-SDM.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier

import floracube
from benchmarks.habitats_skill import Methods, Say, scheme_of, score_row
from benchmarks.habitats_speed import Assemblages, first_unit
from cube.config import load_config
from cube.grid import CELL, EUROPE
from cube.storage.store import open_cube
from inference.cascade.model import load_settings
from inference.data.sampling import sample
from inference.network import checkpoint
from inference.network.batches import embed_surveys
from inference.plantbert.curation import Columns, make_plots
from inference.plantbert.evaluation import gain, trained_readers
from inference.plantbert.plots import Plots
from inference.plantbert.training import ReaderSpec
from inference.training.places import place_reader
from inference.training.predicted_lists import PredictedPlots, predicted_plots

LABELLED = 300  # plots with a habitat
SCORED_CELLS = 4000
FIGURES = ("accuracy", "macro_f1")
KM = 1000 // CELL  # cells
Array = NDArray[Any]


def predictors(demo: Path, row: Array, col: Array) -> Array:
    """(n, V) of cells: Sentinel-2 as mean and spread of 25 pixels and mean of 150 m around, and all layers of 50 m and 1 km."""
    cube = floracube.open(str(demo / "cube.zarr"))
    at = {"y": xr.DataArray(row, dims="cell"), "x": xr.DataArray(col, dims="cell")}
    columns = []
    for name, layer in cube.inputs.data_vars.items():
        if name in ("surface", "landsat", "sentinel2", "climate") or not {"y", "x"} <= set(layer.dims):
            continue
        columns.append(layer.isel(at).transpose("cell", ...).values.reshape(len(row), -1).astype(np.float32))
    store = open_cube(str(demo / "cube.zarr"))
    image = np.asarray(store.array("inputs/10m/sentinel2")[:]).astype(np.float32)
    image[image == 65535] = np.nan
    bands, height, width = image.shape
    pixels = image.reshape(bands, height // 5, 5, width // 5, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of cells whose pixels are all missing
        mean, spread = np.nanmean(pixels, axis=(2, 4)), np.nanstd(pixels, axis=(2, 4))
    mean_with_rim = np.pad(mean, ((0, 0), (1, 1), (1, 1)), mode="edge")
    around = np.stack([mean_with_rim[:, i : i + mean.shape[1], j : j + mean.shape[2]] for i in range(3) for j in range(3)]).mean(
        0
    )
    columns += [maps[:, row, col].T for maps in (mean, spread, around)]
    return np.nan_to_num(np.concatenate(columns, axis=1), nan=-1.0)


def few_plots(demo: Path, seed: int) -> tuple[Plots, pd.DataFrame]:
    """`LABELLED` plots with covers and habitat, all surveys as lists without either; and the table of the former."""
    sources = demo / "sources"
    table = pd.read_csv(sources / "vegetation" / "plots.csv").sample(LABELLED, random_state=seed)
    covers = pd.read_csv(sources / "vegetation" / "plot_species.csv")
    covers = covers[covers["PlotObservationID"].isin(table["PlotObservationID"])]
    names = pd.read_csv(sources / "species.csv").set_index("speciesId")["scientificName"]
    surveys = pd.read_csv(sources / "geoplant" / "PresenceAbsenceSurveys" / "PA_metadata_train.csv")
    species_covers = pd.DataFrame(
        {
            "PlotObservationID": "s" + surveys["surveyId"].astype(str),
            "Cover": 1.0,
            "Species": surveys["speciesId"].astype(int).map(names),
        }
    ).dropna()
    more = pd.DataFrame({"PlotObservationID": species_covers["PlotObservationID"].unique(), "Habitat": "~"})
    plots, _ = make_plots(
        pd.concat([table, more]),
        pd.concat([covers, species_covers]),
        Columns("PlotObservationID", "Species", "Cover", "Habitat"),
        min_plots=2,
    )
    return plots, table


def cells_of(demo: Path) -> tuple[Assemblages, Array, Array, dict[str, Any]]:
    """Predicted lists of `SCORED_CELLS` cells of the first unit, their row and column in the region, and the truth's facts."""
    facts = json.loads((demo / "truth" / "grid.json").read_text())
    cube = open_cube(str(demo / "cube.zarr"))
    unit = next(iter(cube.region.units()))
    square = cube.region.square(unit)
    size = cube.read_window("products/composition/v1/set_size", square)
    row, col = np.nonzero((size > 0) & (size != 65535))
    sampled_cells = np.sort(np.random.default_rng(0).permutation(len(row))[:SCORED_CELLS])
    return first_unit(demo).take(sampled_cells), row[sampled_cells] + square.row, col[sampled_cells] + square.col, facts


def true_lists(demo: Path, row: Array, col: Array, names: list[str], facts: dict[str, Any]) -> Assemblages:
    """The species that grow on 100 m2 of each cell, drawn once from their true probabilities, the likeliest first."""
    probability = np.load(demo / "truth" / "probability.npy", mmap_mode="r")
    place = {name: i for i, name in enumerate(names)}
    index = np.array([place.get(name, -1) for name in facts["species"]])
    p = np.stack([probability[:, r, c] for r, c in zip(row, col, strict=True)]).astype(np.float64)
    present = np.random.default_rng(1).random(p.shape) < p
    order = np.argsort(-np.where(present, p, -1.0), axis=1, kind="stable")
    return Assemblages(index[order].astype(np.int32), present.sum(axis=1).astype(np.int64), names)


def cascade(demo: Path, seeds: Sequence[int], reader_methods: Methods, say: Say) -> list[dict[str, Any]]:
    """Train on `LABELLED` plots, score on cells, a draw of plots for each seed; returns flat records."""
    records: list[dict[str, Any]] = []
    answers: dict[str, list[Array]] = {}  # of each method; `label` and `block` among them
    for seed in seeds:
        rows, of_seed = seed_rows(demo, seed, reader_methods, say)
        records += rows
        for name, values in of_seed.items():
            answers.setdefault(name, []).append(values)
    methods = dict.fromkeys(r["method"] for r in records if r["case"] == "cascade")
    mean, f1 = ({m: float(np.mean([r[key] for r in records if r["method"] == m])) for m in methods} for key in FIGURES)
    say("  mean of the seeds, accuracy (macro F1): " + ", ".join(f"{m} {v:.3f} ({f1[m]:.3f})" for m, v in mean.items()))
    method = "maps" if "maps" in mean else reader_methods.readers[0]
    label, block = (np.concatenate(answers[name]) for name in ("label", "block"))
    for key, values in zip(FIGURES, (mean, f1), strict=True):
        direct = max((m for m in values if m.startswith("direct")), key=values.__getitem__)
        pair = (np.concatenate(answers[name]) for name in (method, direct))
        middle, low, high = gain(label, *pair, block)[key]
        interval = f"{middle:+.3f}, 95 % of draws of blocks of 1 km {low:+.3f} to {high:+.3f}"
        say(f"  {method} over {direct}, {key.replace('_', ' ')}: {interval} (bar above 0)")
    return records


def seed_rows(demo: Path, seed: int, reader_methods: Methods, say: Say) -> tuple[list[dict[str, Any]], dict[str, Array]]:
    """`cascade` for one draw of plots: records, and the habitat of each cell that each method names, `label` and `block`."""
    plots, table = few_plots(demo, seed)
    lists, row, col, facts = cells_of(demo)
    codes = np.array(facts["habitats"])
    habitat = np.load(demo / "truth" / "habitat.npy")[row, col]
    has_label = np.isin(codes[np.minimum(habitat, len(codes) - 1)], plots.habitats) & (habitat != 255)
    label = np.array([plots.habitats.index(c) if k else -1 for c, k in zip(codes[habitat * has_label], has_label, strict=True)])
    row, col, label, lists = row[has_label], col[has_label], label[has_label], lists.take(np.flatnonzero(has_label))
    scheme = scheme_of(plots.habitats)
    say(
        f"\ncascade, seed {seed}: {LABELLED} plots with a habitat, {int((plots.label < 0).sum()):,} lists without;"
        f" {len(label):,} cells, {len(plots.habitats)} habitats"
    )
    true = true_lists(demo, row, col, lists.names, facts)
    records = []
    answers = {"label": label, "block": row // KM * 10_000 + col // KM}

    def score(method: str, probability: Array, rows: Array | slice = slice(None)) -> None:
        answers[method] = np.nan_to_num(probability).argmax(axis=1)
        records.append(score_row("cascade", method, probability[rows], label[rows], scheme, say) | {"seed": seed})

    at = table.set_index(table["PlotObservationID"].astype(str)).reindex([str(i) for i in plots.plot_id])
    maps = load_config(demo / "config.yaml").predict
    predicted = predicted_plots(
        open_cube(str(demo / "cube.zarr")), demo / "model", plots, at["Longitude"], at["Latitude"], maps.year, maps.area_m2, seed
    )
    first, spec = reader_methods.readers[0], ReaderSpec(seed=seed)
    alone = trained_readers((first,), plots, spec, None)
    both = trained_readers(reader_methods.readers, plots, spec, predicted.plots)
    for name, reader in [(f"{first}, plots alone", alone[first]), *both.items()]:
        for method, cells in ((f"{name}, true lists", true), (name, lists)):
            tokens, _ = reader.tokens_of(cells.names)
            from_lists = reader.classify(cells.order, cells.size, tokens)
            score(method, from_lists, np.isfinite(from_lists).all(axis=1))
            if method == first:
                _score_maps(demo, plots, predicted, from_lists, (row, col), score, say)
    x, y = EUROPE.project(table["Longitude"].to_numpy(), table["Latitude"].to_numpy())
    place = ((facts["north"] - y) // CELL).astype(int), ((x - facts["west"]) // CELL).astype(int)
    plot_predictors, cell_predictors = np.split(
        predictors(demo, np.append(place[0], row), np.append(place[1], col)), [len(table)]
    )
    with_habitat = table["Habitat"].isin(plots.habitats).to_numpy()
    true_class = np.array([plots.habitats.index(h) for h in table["Habitat"][with_habitat]])
    for name, tree in (
        ("trees", ExtraTreesClassifier(400, random_state=0)),
        ("boosted", HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=8, random_state=0)),
    ):
        tree.fit(plot_predictors[with_habitat], true_class)
        p = np.zeros((len(label), len(plots.habitats)), np.float32)
        p[:, tree.classes_] = tree.predict_proba(cell_predictors)
        score("direct" if name == "trees" else f"direct, {name}", p)
    return records, answers


def _score_maps(
    demo: Path,
    plots: Plots,
    predicted: PredictedPlots,
    from_lists: Array,
    cells: tuple[Array, Array],
    score: Callable[..., None],
    say: Say,
) -> None:
    """`places` and `maps` of cells (row, column) of the region, whose lists give the probabilities `from_lists` (n, C)."""
    of_places, _ = place_reader(plots, predicted)
    if of_places is None:
        say("  maps: lists alone")
        return
    store = open_cube(str(demo / "cube.zarr"))
    ensemble, _ = checkpoint.load(demo / "model" / "sdm")
    maps = load_config(demo / "config.yaml").predict
    west, _, _, north = store.region.bounds
    x, y = west + (cells[1] + 0.5) * CELL, north - (cells[0] + 0.5) * CELL
    inputs = sample(store, load_settings(demo / "model")[0], x, y, ensemble.spec.receptive_field)
    same = np.ones(len(x), np.float32)
    z = torch.cat([part for part, _ in embed_surveys(ensemble, inputs, same * maps.year, same * maps.area_m2)])
    log_probability = of_places.log_probability(z)
    both = of_places.mixed(from_lists, log_probability)
    say(f"  maps: {of_places.mixture}")
    score("places", np.exp(log_probability))
    score("maps", both, np.isfinite(both).all(axis=1))
