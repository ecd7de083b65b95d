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
from scipy.stats import spearmanr

from inference.data.blocks import Folds
from inference.data.records import Records
from inference.data.samples import Predictors, Surveys
from inference.evaluation.baselines.forest import DownSampledForest
from inference.evaluation.baselines.scores import record_scores
from inference.evaluation.baselines.table import table_of
from inference.evaluation.metrics import mean_of, species_auc
from inference.evaluation.tables import Record, Table
from inference.network.tensors import model_errors, write_tensors

MAX_RECORDS: Final = 20_000  # records that are judged
FEWEST: Final = 5  # of them, of a species that is scored
WINDOW: Final = 0.1  # of the range of scores, in the Boyce index
POSITIONS: Final = 100  # steps of its moving window, so 101 windows
TENSORS: Final = "out_of_fold.safetensors"
CARD: Final = "out_of_fold.json"
PUBLISHED_FOREST: Final = DownSampledForest()  # 1,000 trees


@dataclass(frozen=True)
class JudgedPlaces:
    """Records and background places that are judged, each by the member without its fold: all (m,)."""

    row: NDArray[np.int64]  # of the record predictors
    species: NDArray[np.int64]  # column of a record; -1: background
    fold: NDArray[np.int64]
    locked: NDArray[np.bool_]

    @classmethod
    def draw(cls, records: Records, folds: Folds) -> JudgedPlaces:
        """At most `MAX_RECORDS` records, drawn at random, and all of the background."""
        sampled_records = np.sort(np.random.default_rng(0).permutation(len(records))[:MAX_RECORDS])
        x, y = np.r_[records.x[sampled_records], records.background_x], np.r_[records.y[sampled_records], records.background_y]
        species = np.r_[records.species[sampled_records].astype(np.int64), np.full(len(records.background), -1)]
        return cls(np.r_[records.row[sampled_records], records.background], species, folds.at(x, y), folds.locked_at(x, y))


def predicted_to_expected(
    presences: NDArray[np.floating], background: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(middle of each window, ratio F in it): share of presences over share of background, NaN where no background is.

    What the continuous Boyce index is made of (Hirzel et al. 2006, doi:10.1016/j.ecolmodel.2006.05.017).
    `presences` (m,) scores of records, `background` (n,) scores of the area that they could have come from.
    """
    low = min(background.min(), presences.min())
    high = max(background.max(), presences.max())
    width = (high - low) * WINDOW
    lower = np.linspace(low, high - width, POSITIONS + 1)
    upper = lower + width
    upper[-1] = high  # so that rounding does not lose the highest score

    def share(values: NDArray[np.floating]) -> NDArray[np.float64]:
        sorted_values = np.sort(np.asarray(values, np.float64))
        count = np.searchsorted(sorted_values, upper, side="right") - np.searchsorted(sorted_values, lower, side="left")
        return np.asarray(count / len(sorted_values), np.float64)

    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = share(presences) / share(background)
    return (lower + upper) / 2, np.where(np.isfinite(ratio), ratio, np.nan)


def boyce_index(presences: NDArray[np.floating], background: NDArray[np.floating]) -> float:
    """Spearman correlation of F with the score, in [-1, 1]; above 0: better than chance.

    A run of equal ratios counts once, as in the R package ecospat (`rm.duplicate`): windows overlap, and a long stretch
    without presences would drown the rest. NaN with fewer than three different windows, or without a range of scores.
    """
    at_records, area = (np.asarray(scores)[np.isfinite(scores)] for scores in (presences, background))
    if not len(at_records) or not len(area) or np.ptp(np.concatenate([at_records, area])) == 0:
        return float("nan")
    middle, ratio = predicted_to_expected(at_records, area)
    is_finite = np.isfinite(ratio)
    middle, ratio = middle[is_finite], np.round(ratio[is_finite], 10)
    is_new_ratio = np.r_[np.diff(ratio) != 0, True]
    if is_new_ratio.sum() < 3:
        return float("nan")
    return float(spearmanr(middle[is_new_ratio], ratio[is_new_ratio]).statistic)


def record_table(eta: Mapping[str, NDArray[np.float32]], places: JudgedPlaces, locked: bool, what: str) -> Table:
    """A row a method of scores eta (m, S) of the open places, or of the locked ones."""
    rows: list[Record] = []
    rows_of_role = places.locked == locked
    kind = places.species[rows_of_role]
    for method, scores in eta.items():
        judged_scores, aucs, boyces = scores[rows_of_role], [], []
        for s in np.unique(kind[kind >= 0]):
            species_or_background = (kind == s) | (kind < 0)
            score, has_record = judged_scores[species_or_background, s], kind[species_or_background] == s
            if has_record.sum() >= FEWEST and not has_record.all():
                aucs.append(float(species_auc(score[:, None], has_record[:, None], FEWEST)[0]))
                boyces.append(boyce_index(score[has_record], score[~has_record]))
        rows.append(
            {"method": method, "AUC against background": mean_of(aucs), "Boyce index": mean_of(boyces), "species": len(aucs)}
        )
    count = int((kind >= 0).sum())
    return Table(f"{count:,} records against {len(kind) - count:,} places of background, {what}", rows)


def forest_of_records(
    records: Records,
    predictors: Predictors,
    places: JudgedPlaces,
    folds: Folds,
    count: int,
    forest: DownSampledForest = PUBLISHED_FOREST,
    threads: int = 1,
) -> NDArray[np.float32]:
    """(m, count) scores of the down-sampled forest of Valavi et al. (2021), each place by the forest without its fold.

    A forest learns from the very records and background that the member without the fold learned from.
    """
    table, no_surveys = table_of(predictors), Surveys.none(())
    out = np.zeros((len(places.row), count), np.float32)
    for k in range(folds.count):
        train_rows, test_rows = folds.records_of(k, no_surveys, records), places.fold == k
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


def save_places(folder: Path, places: JudgedPlaces, eta: NDArray[np.float32], folds: Folds, skill: list[dict[str, Any]]) -> None:
    """Write `out_of_fold.*` of a model without surveys."""
    arrays = {"row": places.row, "species": places.species, "fold": places.fold, "locked": places.locked, "eta": eta}
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / TENSORS, {name: np.ascontiguousarray(values) for name, values in arrays.items()})
    document = {"kind": "records", "folds": folds.count, "block_km": folds.block_km, "skill": skill}
    (folder / CARD).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def load_places(folder: Path) -> tuple[JudgedPlaces, NDArray[np.float32]]:
    """What `save_places` wrote. Raises: ModelError where there is nothing, or it is damaged."""
    from safetensors.numpy import load_file

    with model_errors(folder / TENSORS):
        tensors = load_file(folder / TENSORS)
        return JudgedPlaces(tensors["row"], tensors["species"], tensors["fold"], tensors["locked"]), tensors["eta"]
