"""Skill where there are records and no surveys: records of blocks that were left out against background of the same blocks.

Nobody says where a species is absent: an AUC of records against background says how well places of a species are told from
places at large, recorders' habits included, and is no AUC of presences against absences.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from inference.data.blocks import Folds
from inference.data.records import Records
from inference.data.samples import Predictors, Surveys
from inference.evaluation.baselines.forest import DownSampledForest
from inference.evaluation.baselines.scores import record_scores
from inference.evaluation.baselines.table import table_of
from inference.evaluation.boyce import boyce_index
from inference.evaluation.metrics import mean_of, species_auc
from inference.evaluation.tables import Record, Table
from inference.network.tensors import damage_told, write_tensors

MOST: Final = 20_000  # records that are judged
FEWEST: Final = 5  # of them, of a species that is scored
TENSORS: Final = "out_of_fold.safetensors"
CARD: Final = "out_of_fold.json"
PUBLISHED: Final = DownSampledForest()  # 1,000 trees


@dataclass(frozen=True)
class JudgedPlaces:
    """Records and background places that are judged, each by the member without its fold: all (m,)."""

    row: NDArray[np.int64]  # of the record predictors
    species: NDArray[np.int64]  # column of a record; -1: background
    fold: NDArray[np.int64]
    locked: NDArray[np.bool_]

    @classmethod
    def of(cls, records: Records, folds: Folds) -> JudgedPlaces:
        """At most `MOST` records, drawn at random, and all of the background."""
        sampled_records = np.sort(np.random.default_rng(0).permutation(len(records))[:MOST])
        x, y = np.r_[records.x[sampled_records], records.background_x], np.r_[records.y[sampled_records], records.background_y]
        species = np.r_[records.species[sampled_records].astype(np.int64), np.full(len(records.background), -1)]
        return cls(np.r_[records.row[sampled_records], records.background], species, folds.at(x, y), folds.locked_at(x, y))


def record_table(eta: Mapping[str, NDArray[np.float32]], places: JudgedPlaces, locked: bool, what: str) -> Table:
    """A row a method of scores eta (m, S) of the open places, or of the locked ones."""
    rows: list[Record] = []
    chosen = places.locked == locked
    kind = places.species[chosen]
    for method, scores in eta.items():
        judged_scores, aucs, boyces = scores[chosen], [], []
        for s in np.unique(kind[kind >= 0]):
            species_or_background = (kind == s) | (kind < 0)
            score, noted = judged_scores[species_or_background, s], kind[species_or_background] == s
            if noted.sum() >= FEWEST and not noted.all():
                aucs.append(float(species_auc(score[:, None], noted[:, None], FEWEST)[0]))
                boyces.append(boyce_index(score[noted], score[~noted]))
        rows.append({"method": method, "AUC against background": mean_of(aucs), "Boyce index": mean_of(boyces),
                     "species": len(aucs)})  # fmt: skip
    count = int((kind >= 0).sum())
    return Table(f"{count:,} records against {len(kind) - count:,} places of background, {what}", rows)


def forest_of_records(records: Records, predictors: Predictors, places: JudgedPlaces, folds: Folds, count: int,
                      forest: DownSampledForest = PUBLISHED, threads: int = 1) -> NDArray[np.float32]:  # fmt: skip
    """(m, count) scores of the down-sampled forest of Valavi et al. (2021), each place by the forest without its fold.

    A forest learns from the very records and background that the member without the fold learned from.
    """
    table, nowhere = table_of(predictors), Surveys.none(())
    out = np.zeros((len(places.row), count), np.float32)
    for k in range(folds.count):
        train_rows, test_rows = folds.records_of(k, nowhere, records), places.fold == k
        out[test_rows] = record_scores(
            forest,
            table[train_rows.row],
            train_rows.species,
            table[train_rows.background],
            table[places.row[test_rows]],
            count,
            threads,
        )
    return out


def save_judged(folder: Path, places: JudgedPlaces, eta: NDArray[np.float32], folds: Folds, skill: list[dict[str, Any]]) -> None:
    """Write `out_of_fold.*` of a model without surveys."""
    named = {"row": places.row, "species": places.species, "fold": places.fold, "locked": places.locked, "eta": eta}
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / TENSORS, {name: np.ascontiguousarray(values) for name, values in named.items()})
    document = {"kind": "records", "folds": folds.count, "block_km": folds.block_km, "skill": skill}
    (folder / CARD).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def load_judged(folder: Path) -> tuple[JudgedPlaces, NDArray[np.float32]]:
    """What `save_judged` wrote. Raises: ModelError where there is nothing, or it is damaged."""
    from safetensors.numpy import load_file

    with damage_told(folder / TENSORS):
        tensors = load_file(folder / TENSORS)
        return JudgedPlaces(tensors["row"], tensors["species"], tensors["fold"], tensors["locked"]), tensors["eta"]
