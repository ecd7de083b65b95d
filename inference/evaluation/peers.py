"""Baselines on the folds of a cross-validation, and whose sets of species come nearest to what surveys found.

Ranking within species (AUC, gains, intervals) is `folds.py`; one split with calibration blocks is `protocol.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.data.samples import Predictors, Surveys
from inference.evaluation.baselines.named import named, table_for
from inference.evaluation.baselines.scores import survey_scores
from inference.evaluation.species_sets import TOP, best_size, top_scores

Scores = NDArray[np.float32]


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


def set_rows(p: Mapping[str, Scores], presence: NDArray[np.bool_], fold: NDArray[np.int64]) -> list[dict[str, Any]]:
    """A row per method: sample-averaged F1 of three sets of species of each survey, on surveys that a fold held out.

    `p`: by method, probabilities (n, S), each from the model that did not see the fold. The sets: the K that maximises
    the expected F1 under the method's own probabilities; the one K that was best on the other folds; the 25 most probable.
    """
    rows = []
    for method, probability in p.items():
        best = np.zeros(len(fold), np.int64)
        for k in np.unique(fold):
            best[fold == k] = best_size(probability[fold != k], presence[fold != k])
        own, common, top = (top_scores(probability, presence, size).means() for size in (None, best, TOP))
        rows.append({
            "method": method, "F1": own["f1"], "precision": own["precision"], "recall": own["recall"], "set size": own["size"],
            "F1 best K": common["f1"], f"F1@{TOP}": top["f1"],
        })  # fmt: skip
    return rows


def compared_sets(
    scores: Mapping[str, Scores],
    presence: NDArray[np.bool_],
    fold: NDArray[np.int64],
    baselines: Sequence[str],
    peer: Callable[[str], Scores],
) -> list[dict[str, Any]]:
    """`set_rows` of our network and of `baselines`, forests included where `scores` (by method) has them already.

    The network's scores are eta of the cloglog scale. A forest's species that are too rare in a fold to be fitted there take
    frequencies. `peer` fits what is not there yet.
    """
    p: dict[str, Scores] = {"floracube": -np.expm1(-np.exp(np.clip(scores["floracube"], -25, 4)))}
    for name in baselines:
        fitted = [method for method in scores if method.startswith(name)]
        p |= {method: filled_by(scores[method], peer("frequency")) for method in fitted} if fitted else {name: peer(name)}
    return set_rows(p, presence, fold)


def filled_by(score: Scores, other: Scores) -> Scores:
    """`score` (n, S) with what it lacks (species too rare in a fold to be fitted) from `other`."""
    return np.where(np.isfinite(score), score, other)
