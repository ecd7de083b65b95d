"""Baselines on the folds of a cross-validation, and whose sets of species come nearest to what surveys found.

Ranking within species (AUC, gains, intervals) is `folds.py`; one split with calibration blocks is `protocol.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from inference.calibration.calibrate import fit_calibration
from inference.data.samples import Predictors, Surveys
from inference.evaluation.baselines.named import named, table_for
from inference.evaluation.baselines.scores import survey_scores
from inference.evaluation.species_sets import TOP, best_size, top_scores
from inference.training.likelihood import cloglog, cloglog_probability

Scores = NDArray[np.float32]
SUREST: Final = (1e-4, 0.999)  # of a baseline's probabilities before they are calibrated: a forest says 0, which nothing mends


def peer_scores(
    name: str,
    predictors: Predictors,
    surveys: Surveys,
    fold: NDArray[np.int64],
    leaf: int = 5,
    trees: int = 100,
    threads: int = 1,
    report: Callable[[str], None] = lambda text: None,
) -> Scores:
    """(n, S) probabilities of every survey by the baseline `name` learned without the survey's fold (n,).

    Same inputs as the network: its predictors as a table, log area, year. `leaf` and `trees` are the forest's.
    Raises: ModelError for a name that is no baseline.
    """
    fit, table = named(name, leaf, trees), table_for(name, predictors, surveys)
    score = np.full(surveys.presence.shape, np.nan, np.float32)
    for k in np.unique(fold):
        held = fold == k
        score[held] = survey_scores(fit, table, surveys.presence, ~held, held, threads)
        report(f"{name}, fold {k + 1}")
    return score


def cross_calibrated(
    eta: Scores, presence: NDArray[np.bool_], fold: NDArray[np.int64], weight: NDArray[np.float32], block: NDArray[np.int64]
) -> Scores:
    """(n, S) probabilities of scores `eta` (n, S) on the cloglog scale, each fold's calibrated on all others' surveys.

    `weight` and `block` (n,) as in `fit_calibration`. Whatever the method was, this is what its own calibration blocks would do.
    """
    p = np.empty_like(eta)
    for k in np.unique(fold):
        held = fold == k
        fit = fit_calibration(eta[~held], presence[~held], weight[~held], block[~held])
        p[held] = cloglog_probability(torch.from_numpy(np.asarray(fit.slope * eta[held] + fit.intercept, np.float32))).numpy()
    return p


def set_rows(
    p: Mapping[str, Scores], presence: NDArray[np.bool_], fold: NDArray[np.int64], calibrated: Mapping[str, Scores]
) -> list[dict[str, Any]]:
    """A row per method: sample-averaged F1 of four sets of species of each survey, on surveys that a fold held out.

    `p`: by method, probabilities (n, S), each from the model that did not see the fold; `calibrated`: the same after
    `cross_calibrated`. The sets: the K that maximises the expected F1 under calibrated probabilities (with precision, recall and
    size) and under the method's own (`F1 raw`); the one K that was best on the other folds; the 25 most probable.
    """
    rows = []
    for method, probability in p.items():
        best = np.zeros(len(fold), np.int64)
        for k in np.unique(fold):
            best[fold == k] = best_size(probability[fold != k], presence[fold != k])
        sets = top_scores(calibrated[method], presence).means()
        raw, common, top = (top_scores(probability, presence, size).means() for size in (None, best, TOP))
        rows.append({
            "method": method, "F1": sets["f1"], "precision": sets["precision"], "recall": sets["recall"],
            "set size": sets["size"], "F1 raw": raw["f1"], "F1 best K": common["f1"], f"F1@{TOP}": top["f1"],
        })  # fmt: skip
    return rows


def compared_sets(
    scores: Mapping[str, Scores],
    surveys: Surveys,
    fold: NDArray[np.int64],
    block: NDArray[np.int64],
    baselines: Sequence[str],
    peer: Callable[[str], Scores],
) -> list[dict[str, Any]]:
    """`set_rows` of our network and of `baselines`, forests included where `scores` (by method) has them already.

    `surveys` of the species compared; `fold` and `block` (n,). The network's scores are eta of the cloglog scale. A forest's
    species that are too rare in a fold to be fitted there take frequencies. `peer` fits what is not there yet.
    """
    p: dict[str, Scores] = {}
    for name in baselines:
        fitted = [method for method in scores if method.startswith(name)]
        p |= {method: filled_by(scores[method], peer("frequency")) for method in fitted} if fitted else {name: peer(name)}
    eta = {"floracube": scores["floracube"]}
    eta |= {method: cloglog(np.clip(probability, *SUREST)).astype(np.float32) for method, probability in p.items()}
    p = {"floracube": cloglog_probability(torch.from_numpy(scores["floracube"])).numpy()} | p
    presence, weight = surveys.presence, surveys.place_weight
    calibrated = {method: cross_calibrated(e, presence, fold, weight, block) for method, e in eta.items()}
    return set_rows(p, presence, fold, calibrated)


def mean_rows(drawn: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Rows of several draws, the same methods in the same order, as one: means of what are numbers, and how many draws."""
    return [
        {"method": rows[0]["method"], "draws": len(rows)}
        | {name: float(np.mean([row[name] for row in rows])) for name in rows[0] if name != "method"}
        for rows in zip(*drawn, strict=True)
    ]


def filled_by(score: Scores, other: Scores) -> Scores:
    """`score` (n, S) with what it lacks (species too rare in a fold to be fitted) from `other`."""
    return np.where(np.isfinite(score), score, other)
