"""What comes after the score, on generated landscapes of known truth: calibration, sets of species, intervals.

    python -m benchmarks.landscape_calibration --seeds 1,2 --modalities table_50m,table_1km,climate
    python -m benchmarks.landscape_calibration --seeds 201,202,203 --modalities table_50m,table_1km --json calibration.json

Members of an ensemble leave out one fold of the landscape's blocks each; every survey is judged by the member that did not
learn from it, calibrated on the other folds. About two minutes a seed on two cores, and two more where the landscape is not
there yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from benchmarks.command import parser_of, write_rows
from benchmarks.landscape_data import CACHE, LandscapeData, landscape_data
from cube.config.learning import TrainOptions
from inference.calibration.intervals import residual_scores, weighted_quantile
from inference.cascade.sums import plan_sums
from inference.data.blocks import make_folds
from inference.evaluation.out_of_fold import cross_calibrated
from inference.evaluation.reliability import calibration_record
from inference.evaluation.species_sets import best_size, best_threshold, score_sets, top_scores
from inference.evaluation.tables import Table, records
from inference.training.fit import spec_for, train
from inference.training.likelihood import cloglog_probability

BLOCK_KM = 2.5  # 8 on a side of the landscape, as `train` takes
COVERAGE = 0.9
FEWEST = 20  # surveys of a block whose own coverage counts
Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """Out-of-fold probabilities of one landscape, each by the member without the survey's fold, and presences."""

    seed: int
    probability: NDArray[np.float32]  # (n, S) calibrated on the other folds, for each survey's own area and year
    raw: NDArray[np.float32]  # (n, S) not calibrated
    presence: NDArray[np.bool_]
    weight: NDArray[np.float32]
    block: NDArray[np.int64]
    fold: NDArray[np.int64]
    pooling: float
    slope: float
    traits: dict[str, Any]


def make_case(data: LandscapeData, members: int, modalities: tuple[str, ...] | None) -> Case:
    """Train on one landscape; every survey is predicted by the member that did not learn from its fold."""
    surveys, predictors = data.surveys, data.predictors
    if modalities is not None:
        predictors = predictors.without(*(m for m in predictors.modalities if m not in modalities))
    folds = make_folds(surveys, BLOCK_KM, members, data.seed)
    trained_model = train(predictors, surveys, spec_for(predictors, surveys), TrainOptions(members=members), folds)
    eta = trained_model.out_of_fold
    assert eta is not None
    return Case(
        data.seed,
        cross_calibrated(eta, surveys, folds),
        cloglog_probability(torch.from_numpy(eta)).numpy(),
        surveys.presence,
        surveys.place_weight,
        folds.block,
        folds.fold,
        trained_model.metrics["calibration_pooling"],
        trained_model.metrics["calibration_slope"],
        _traits(len(surveys.species)),
    )


def _traits(species: int) -> dict[str, Any]:
    """A species table for indicators: every fifth species threatened, statuses and values of light that say nothing of niches."""
    flags = {name: np.arange(species) % every == 0 for name, every in (("invasive", 7), ("protected", 9), ("endemic", 11))}
    light = np.random.default_rng(0).integers(1, 10, species).astype(np.float32)
    return {"iucn": np.where(np.arange(species) % 5 == 0, "VU", "LC").astype(object), **flags, "ellenberg_light": light}


def calibration_rows(case: Case) -> list[Row]:
    """Reliability of raw and calibrated probabilities."""
    rows = []
    for name, p in (("raw", case.raw), ("calibrated", case.probability)):
        record = calibration_record(p, case.presence, np.maximum(case.presence.mean(0), 1e-4))
        rows.append({"probabilities": name, **record})
    rows[1] |= {"pooling": case.pooling, "fitted slope": case.slope}
    return rows


def set_rows(case: Case) -> list[Row]:
    """Mean F1 of sets; the best K and threshold of a fold are those of the others."""
    p, presence = case.probability, case.presence
    size, member = np.zeros(len(p), np.int64), np.zeros(p.shape, bool)
    for k in np.unique(case.fold):
        other_folds = case.fold != k
        size[~other_folds] = best_size(p[other_folds], presence[other_folds])
        member[~other_folds] = p[~other_folds] >= best_threshold(p[other_folds], presence[other_folds])
    scores = {
        "expected F1": top_scores(p, presence),
        "best K": top_scores(p, presence, size),
        "best threshold": score_sets(member, presence),
        "top 25": top_scores(p, presence, 25),
    }
    return [{"set": name, **s.means()} for name, s in scores.items()]


def interval_rows(case: Case) -> list[Row]:
    """Coverage of 90 % intervals: across folds of blocks, and of the worst block."""
    rows = []
    for name, scores in residual_scores(case.probability.T, case.presence.T, plan_sums(case.traits)).items():
        is_finite = np.isfinite(scores)
        score, weight, fold, block = scores[is_finite], case.weight[is_finite], case.fold[is_finite], case.block[is_finite]
        inside = np.zeros(len(score), bool)
        for k in np.unique(fold):
            inside[fold == k] = score[fold == k] <= weighted_quantile(score[fold != k], weight[fold != k], COVERAGE)
        by_block = [
            float(inside[block == b].mean())
            for b, count in zip(*np.unique(block, return_counts=True), strict=True)
            if count >= FEWEST
        ]
        rows.append(
            {
                "indicator": name,
                "across blocks": float(inside.mean()),
                "worst block": min(by_block),
                "blocks": len(by_block),
            }
        )
    return rows


TABLES: Final = {
    "calibration": calibration_rows,
    "sets": set_rows,
    "intervals": interval_rows,
}


def over_seeds(title: str, rows: list[Row]) -> Table:
    """Means over seeds of a table's rows, by its text columns; of a worst block, the worst of all."""
    frame = pd.DataFrame(rows)
    labels = list(frame.select_dtypes(exclude="number"))
    worst = {name: "min" if name == "worst block" else "mean" for name in frame if name not in (*labels, "seed")}
    means = frame.groupby(labels, sort=False).agg(worst).reset_index()
    return Table(f"{title}, means over {frame['seed'].nunique()} seeds (worst block: the worst of all)", means.to_dict("records"))


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--seeds", default="1,2,3,4,5", help="comma-separated; 1 to 40 are for development")
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--modalities", default=None, help="comma-separated; default: all of the landscape")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of generated landscapes")
    args = parser.parse_args()
    modalities = tuple(args.modalities.split(",")) if args.modalities else None
    rows: dict[str, list[Row]] = {}
    for seed in (int(s) for s in args.seeds.split(",")):
        case = make_case(landscape_data(seed, args.cache), args.members, modalities)
        for title, rows_of in TABLES.items():
            rows.setdefault(title, []).extend({"seed": seed, **row} for row in rows_of(case))
        print(f"seed {seed} is done", flush=True)
    tables = [over_seeds(title, table_rows) for title, table_rows in rows.items()]
    print("\n" + "\n\n".join(table.text() for table in tables))
    write_rows(args.json, records(tables))


if __name__ == "__main__":
    main()
