"""Skill on records held out in spatial blocks: what options may be chosen by, since surveys are for testing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.disdat_data import Group
from inference.evaluation.metrics import species_auc

SIDE = 8  # blocks along the side of a square as large as the region's extent


def spatial_folds(group: Group, folds: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Fold of each record and of each background site: square blocks, dealt one by one to the fold that holds least."""
    places = np.concatenate([group.record_places, group.background_places])
    corner = places.min(0)
    side = np.sqrt(np.prod(places.max(0) - corner)) / SIDE
    _, block = np.unique(np.floor((places - corner) / side), axis=0, return_inverse=True)
    size = np.bincount(block.ravel())
    load, fold = np.zeros(folds), np.zeros(len(size), np.int64)
    for number in np.random.default_rng(seed).permutation(len(size)):
        fold[number] = load.argmin()
        load[fold[number]] += size[number]
    return np.split(fold[block.ravel()], [len(group.records)])  # type: ignore[return-value]


def cross_validated(
    group: Group, scores: Callable[[Group, int], NDArray[np.float32]], seed: int, folds: int = 3
) -> NDArray[np.float64]:
    """(species,) AUC of held-out records against held-out background, mean over folds by the number of records."""
    of_records, of_background = spatial_folds(group, folds, seed)
    auc = np.full((folds, len(group.species)), np.nan)
    count = np.zeros((folds, len(group.species)))
    for k in range(folds):
        learn, rest = of_records != k, of_background != k
        part = replace(
            group, records=group.records[learn], record_species=group.record_species[learn],
            record_places=group.record_places[learn], background=group.background[rest],
            background_places=group.background_places[rest],
            test=np.concatenate([group.records[~learn], group.background[~rest]]),
            test_places=np.concatenate([group.record_places[~learn], group.background_places[~rest]]),
        )  # fmt: skip
        score = scores(part, seed)
        species = group.record_species[~learn]
        background = np.arange(len(species), len(score))
        for s in np.unique(species):
            species_rows = np.flatnonzero(species == s)
            rows = np.concatenate([species_rows, background])
            auc[k, s] = species_auc(score[rows, s, None], (rows < len(species))[:, None], fewest=1)[0]
            count[k, s] = len(species_rows)
    return np.where(np.isfinite(auc), auc * count, 0).sum(0) / np.where(np.isfinite(auc), count, 0).sum(0)
