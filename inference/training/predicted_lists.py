"""The species lists that the deep-SDM predicts where vegetation plots lie: what the reader will be given in the maps.

A predicted list is longer, surer of the common species and ordered by probability instead of cover. A reader that has seen
the lists of its labelled plots in both forms reads maps better, and plots no worse; `benchmarks/habitats.py cascade`
measures it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from cube.layers import RANKS
from cube.layers.inputs import SURFACE
from cube.layers.legends import LAND
from cube.storage.store import CubeStore
from inference.calibration.sets import set_size
from inference.cascade.model import load_settings
from inference.data.sampling import sample
from inference.evaluation.out_of_fold import load_out_of_fold
from inference.network import checkpoint
from inference.network.batches import predict_surveys
from inference.network.checksums import verify_checksums
from inference.plantbert.plots import Plots
from inference.plantbert.text import binomial
from inference.training.fit import without_fold
from inference.training.likelihood import cloglog_probability

MAX_PLOTS: Final = 20_000  # labelled plots that are predicted for: enough to learn what predicted lists are like
PART: Final = 1_000  # plots sampled at a time, for the sake of memory


def predicted_plots(
    cube: CubeStore,
    model: Path,
    plots: Plots,
    longitude: Sequence[Any] | pd.Series,
    latitude: Sequence[Any] | pd.Series,
    year: int,
    area_m2: float,
    seed: int = 0,
) -> Plots:
    """The labelled ones of `plots` with the lists that the deep-SDM in the folder `model` predicts for their cells out of fold.

    Each list is that of the members that learned nothing in the plot's block: where the network knows the surveys, its lists are
    surer than those of the maps, and the reader would learn to trust them.

    longitude, latitude (n): degrees of each plot. Lists are those of the composition layer of maps for `year` and `area_m2`
    (but that sensitive species are not spread over their squares): species by probability, as many as maximise
    expected F1; a species that the plots do not know is -1. Plots outside the region, on water, or where nothing is
    predicted are left out; of very many, `MAX_PLOTS` are drawn. Raises: ModelError where the model has no out-of-fold scores.
    """
    lon, lat = (np.asarray(pd.to_numeric(degrees, errors="coerce"), float) for degrees in (longitude, latitude))
    rows = np.flatnonzero((plots.label >= 0) & np.isfinite(lon) & np.isfinite(lat))
    x, y = (np.asarray(v, float) for v in cube.region.grid.project(lon[rows], lat[rows]))
    inside = cube.region.contains(x, y)
    rows, x, y = rows[inside], x[inside], y[inside]
    row, col = cube.region.index(x, y)
    land = np.asarray(cube.array(SURFACE).vindex[row, col]) == LAND if len(rows) else np.zeros(0, bool)
    sampled_cells = np.sort(np.random.default_rng(seed).permutation(np.flatnonzero(land))[:MAX_PLOTS])
    rows, x, y = rows[sampled_cells], x[sampled_cells], y[sampled_cells]
    verify_checksums(model)
    ensemble, _ = checkpoint.load(model / "sdm")
    folds = load_out_of_fold(model).folds
    fold, repeats = folds.at(x, y), len(ensemble.networks) // folds.count
    recipe = load_settings(model)[0]
    place = {name: i for i, name in enumerate(plots.species)}
    species_index = np.array([place.get(binomial(name), -1) for name in ensemble.species], np.int32)
    order, size = np.full((len(rows), min(RANKS, len(species_index))), -1, np.int32), np.zeros(len(rows), np.int32)
    for start in range(0, len(rows), PART):
        part = slice(start, start + PART)
        predictors = sample(cube, recipe, x[part], y[part], ensemble.spec.receptive_field)
        same = np.ones(len(x[part]), np.float32)
        for k in np.unique(fold[part]):
            fold_rows = np.flatnonzero(fold[part] == k)
            members = without_fold(ensemble, int(k), repeats)
            eta = predict_surveys(members, predictors.subset(fold_rows), same[fold_rows] * year, same[fold_rows] * area_m2)
            ranks, size[start + fold_rows] = ranked_lists(cloglog_probability(torch.from_numpy(eta)).numpy())
            order[start + fold_rows] = species_index[ranks]
    not_empty = size > 0
    return replace(plots.take(rows[not_empty]), order=order[not_empty], size=size[not_empty])


def ranked_lists(p: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.uint16]]:
    """(species (n, RANKS or all) by probability, best first; how many are in the set (n)) of p (n, S)."""
    ranks = np.argsort(-p, axis=1, kind="stable")[:, :RANKS]
    return ranks, set_size(np.take_along_axis(p, ranks, axis=1), p.sum(axis=1, dtype=np.float64))
