"""Our model on one group of the NCEAS benchmark: `training.fit.train`, the code of `floracube train`, on records alone.

Everything here was chosen by the AUC of held-out records against held-out background in spatial blocks of SWI and NZ
(`disdat.py --validate`), the same for every region; no survey was looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.disdat_data import Group
from cube.config.learning import TrainOptions
from inference.data.blocks import Folds, make_folds
from inference.data.records import Records
from inference.data.samples import Predictors, Surveys
from inference.evaluation.metrics import species_auc
from inference.network.batches import predict_surveys
from inference.network.deep_sdm import ModelSpec
from inference.training.fit import train

# Records are set against the background alone, as those of the peers are.
OPTIONS = TrainOptions(
    members=5, epochs=1, least_steps=400, batch=128, threads=1, device="cpu", modality_dropout=0.0, recorded_sites=0.0
)
# What `floracube train` does: half of the sites are places of records of the group. Against random sites alone one network for
# all species learns above all where people went; against records alone it is free where nobody went. AUC of held-out records
# against records of other species and against random sites, mean of both and of SWI and NZ: 0 .786, 0.5 .796, 0.75 .792, 1 .770.
MIXED_SITES = replace(OPTIONS, recorded_sites=0.5)
ALONG_SIDE = 8  # blocks along the side of a square as large as the region's extent
FOLDS = 3  # of `cross_validated`
SHAPE: dict[str, Any] = {"d": 64, "hidden": 128, "depth": 2, "dropout": 0.3}


def static_columns(group: Group) -> list[NDArray[np.float32]]:
    """Records, background and test sites as columns of `table_50m` (rows, V) of the network.

    Continuous predictors as they are and as their rank among the background's (skewed ones would lie in one corner);
    a column of 0 and 1 per level of a categorical one, all missing where the level was never learned.
    """
    train_rows = np.concatenate([group.records, group.background])
    plain = [c for c in range(train_rows.shape[1]) if c not in group.categorical]
    levels = {c: np.unique(train_rows[np.isfinite(train_rows[:, c]), c]) for c in group.categorical}
    tables = []
    for table in (group.records, group.background, group.test):
        columns = [table[:, plain], np.stack([_rank(group.background[:, c], table[:, c]) for c in plain], 1)]
        for c in group.categorical:
            match = table[:, [c]] == levels[c]
            columns.append(np.where(match.any(1, keepdims=True), match, np.nan))
        tables.append(np.concatenate(columns, 1).astype(np.float32))
    return tables


def _rank(reference: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of `reference` below each value, ties half; NaN stays."""
    sorted_reference = np.sort(reference[np.isfinite(reference)])
    below = np.searchsorted(sorted_reference, values, "left") + np.searchsorted(sorted_reference, values, "right")
    return np.where(np.isfinite(values), below / (2 * max(len(sorted_reference), 1)), np.nan)


def folds_of(places: NDArray[np.float64], count: int, seed: int) -> Folds:
    """Square blocks of places (n, 2) dealt to `count` folds."""
    block = np.sqrt(np.prod(np.ptp(places, 0))) / ALONG_SIDE
    return make_folds(Surveys.at(places[:, 0], places[:, 1]), block / 1000, count, seed)


def floracube_scores(group: Group, seed: int, options: TrainOptions = OPTIONS) -> NDArray[np.float32]:
    """(test sites, species) log relative intensity."""
    records, background, test = static_columns(group)
    names = tuple(f"column {i}" for i in range(records.shape[1]))
    places = Predictors({"table_50m": np.concatenate([records, background])}, table_50m_names=names)
    n, m = len(records), len(background)
    records_of_group = Records(
        species=group.record_species.astype(np.int32),
        row=np.arange(n),
        x=group.record_places[:, 0],
        y=group.record_places[:, 1],
        year=np.full(n, np.nan, np.float32),
        background=np.arange(n, n + m),
        background_x=group.background_places[:, 0],
        background_y=group.background_places[:, 1],
    )
    spec = ModelSpec(("table_50m",), len(group.species), table_50m_names=names, **SHAPE)
    folds = folds_of(group.record_places, options.members, seed).subset(np.zeros(0, np.int64))
    no_places, no_surveys = places.subset(np.zeros(0, np.int64)), Surveys.none(group.species)
    trained_model = train(
        no_places, no_surveys, spec, replace(options, seed=seed), folds, records=records_of_group, record_predictors=places
    )
    zero = np.zeros(len(test))
    return predict_surveys(trained_model.ensemble, Predictors({"table_50m": test}, table_50m_names=names), zero, zero + 100)


def cross_validated(group: Group, scores: Callable[[Group, int], NDArray[np.float32]], seed: int) -> NDArray[np.float64]:
    """(species,) AUC of held-out records against held-out background, mean over folds by the number of records."""
    fold = folds_of(np.concatenate([group.record_places, group.background_places]), FOLDS, seed).fold
    of_records, of_background = np.split(fold, [len(group.records)])
    auc = np.full((FOLDS, len(group.species)), np.nan)
    count = np.zeros((FOLDS, len(group.species)))
    for k in range(FOLDS):
        learn, held_out = of_records != k, of_background != k
        part = replace(
            group.subset(learn, held_out),
            test=np.concatenate([group.records[~learn], group.background[~held_out]]),
            test_places=np.concatenate([group.record_places[~learn], group.background_places[~held_out]]),
        )
        score = scores(part, seed)
        species = group.record_species[~learn]
        background = np.arange(len(species), len(score))
        for s in np.unique(species):
            species_rows = np.flatnonzero(species == s)
            rows = np.concatenate([species_rows, background])
            auc[k, s] = species_auc(score[rows, s, None], (rows < len(species))[:, None], fewest=1)[0]
            count[k, s] = len(species_rows)
    return np.where(np.isfinite(auc), auc * count, 0).sum(0) / np.where(np.isfinite(auc), count, 0).sum(0)
