"""Skill on blocks that were left out in turn: our out-of-fold scores, and peers that are fitted on the very same folds.

Scores come in, tables go out. Our own are made by the training (`training.fit`) and are never made anew here.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cube.storage.local_files import write_file
from inference.data.blocks import Folds
from inference.data.samples import Predictors, Surveys
from inference.evaluation.baselines.methods import scores_without, table_for
from inference.evaluation.metrics import macro_auc, mean_of, resampled_auc, species_auc
from inference.evaluation.out_of_fold import cross_calibrated
from inference.evaluation.protocol import Forecast, Observed, Report, judge
from inference.evaluation.tables import Record, Table

Tell = Callable[[str], None]
Scores = NDArray[np.float32]
Flags = NDArray[np.bool_]

FLORACUBE: Final = "floracube"
RARE: Final = (10, 99)  # surveys of a species that counts as rare
BOOTSTRAPS: Final = 200  # of blocks


def skill_report(
    eta: Mapping[str, Scores],
    surveys: Surveys,
    folds: Folds,
    min_records: int,
    rows: Flags,
    what: str,
    bootstraps: int = BOOTSTRAPS,
) -> Report:
    """All tables of scores by method, ours first; `rows` (n,) are the surveys that are judged, `what` says which.

    `eta` (n, S): out-of-fold scores of all surveys on the cloglog scale. Every method is calibrated fold by fold on the surveys
    of the others. Raises `TableError` where nothing can be measured.
    """
    p = {method: cross_calibrated(scores, surveys, folds) for method, scores in eta.items()}
    fold, presence, count = folds.fold[rows], surveys.presence[rows], surveys.presence.sum(0)
    groups = {
        f"in {min_records} surveys or more": np.flatnonzero(count >= min_records),
        f"in {RARE[0]} to {RARE[1]}": np.flatnonzero((count >= RARE[0]) & (count <= RARE[1])),
    }
    auc_rows: list[Record] = []
    for group, in_group in groups.items():
        group_scores = {method: scores[rows][:, in_group] for method, scores in eta.items()}
        auc = {method: within_fold_auc(scores, presence[:, in_group], fold) for method, scores in group_scores.items()}
        for method in eta:
            pooled_auc = mean_of(macro_auc(p[method][rows][:, in_group], presence[:, in_group]))
            auc_rows.append(
                {
                    "species": group,
                    "method": method,
                    "AUC in folds": mean_over_species(auc[method]),
                    "pooled AUC": pooled_auc,
                    "count": len(in_group),
                }
            )
        for method in list(eta)[1:]:
            gain = mean_over_species(auc[FLORACUBE]) - mean_over_species(auc[method])
            lower, upper = bootstrap_gain(
                group_scores[FLORACUBE], group_scores[method], presence[:, in_group], fold, folds.block[rows], bootstraps
            )
            auc_rows.append(
                {"species": group, "method": f"gain over {method}", "AUC in folds": gain, "lower": lower, "upper": upper}
            )
    truth = Observed(presence, count, len(surveys), fold=fold)
    report = judge({method: Forecast(values[rows]) for method, values in p.items()}, truth, what)
    interval = "; gain with its 95 % block bootstrap interval" if len(eta) > 1 else ""
    report.tables.insert(0, Table(f"AUC on {what}{interval}", auc_rows))
    return report


def within_fold_auc(score: Scores, presence: Flags, fold: NDArray[np.int64]) -> NDArray[np.float64]:
    """(folds, S) AUC of each species within each fold, NaN with under 5 presences or absences there."""
    return np.stack([species_auc(score[fold == k], presence[fold == k]) for k in np.unique(fold)])


def mean_over_species(auc: NDArray[np.float64]) -> float:
    """Mean over the folds of a species, then over species; NaN are left out. `auc`: (folds, S)."""
    finite = np.isfinite(auc)
    per_species = np.where(finite, auc, 0).sum(0) / np.maximum(finite.sum(0), 1)
    return mean_of(per_species[finite.any(0)])


def bootstrap_gain(
    scores: Scores,
    peer_scores: Scores,
    presence: Flags,
    fold: NDArray[np.int64],
    block: NDArray[np.int64],
    bootstraps: int = BOOTSTRAPS,
) -> tuple[float, float]:
    """95 % interval of the gain in mean within-fold AUC when blocks are drawn anew with replacement.

    `scores`, `peer_scores`, `presence` (n, S), `fold` and `block` (n,).
    """
    rng = np.random.default_rng(0)
    numbers, block = np.unique(block, return_inverse=True)
    times = rng.multinomial(len(numbers), np.full(len(numbers), 1 / len(numbers)), bootstraps)
    kinds = np.unique(fold)
    gain = np.full((len(kinds), presence.shape[1], bootstraps), np.nan)
    for at, k in enumerate(kinds):
        inside = fold == k
        blocks, place = np.unique(block[inside], return_inverse=True)
        for s in np.flatnonzero(np.isfinite(species_auc(scores[inside], presence[inside]))):
            a, b = (
                resampled_auc(score[inside, s], presence[inside, s], place, times[:, blocks]) for score in (scores, peer_scores)
            )
            gain[at, s] = a - b
    finite = np.isfinite(gain)
    per_species = np.where(finite, gain, 0).sum(0) / np.maximum(finite.sum(0), 1)
    scored_species = finite.any(0)
    gains = np.where(scored_species, per_species, 0).sum(0) / np.maximum(scored_species.sum(0), 1)
    lower, upper = np.quantile(gains, [0.025, 0.975])
    return float(lower), float(upper)


def peer_scores(
    name: str,
    predictors: Predictors,
    surveys: Surveys,
    folds: Folds,
    leaf: int = 5,
    trees: int = 100,
    threads: int = 1,
    report: Tell = lambda text: None,
) -> Scores:
    """(n, S) probabilities of every survey by the baseline `name` learned without the survey's fold; NaN for species too rare.

    Same inputs as the network: its predictors as a table, log area, year; same surveys: those near the fold are left out.
    `leaf` and `trees` are the forest's. Raises: ModelError for a name that is no baseline.
    """
    table = table_for(name, predictors, surveys)
    score = np.full(surveys.presence.shape, np.nan, np.float32)
    fitted_species = np.flatnonzero(surveys.presence.sum(0) >= (0 if name == "frequency" else RARE[0]))
    for k in range(folds.count):
        inside = folds.fold == k
        train_rows = folds.surveys_without(k, surveys)
        score[np.ix_(inside, fitted_species)] = scores_without(
            name, table, surveys.presence[:, fitted_species], train_rows, inside, leaf, trees, threads
        )
        report(f"{name}, fold {k + 1} of {folds.count}")
    return score


def peers_key(predictors: Predictors, surveys: Surveys, folds: Folds, options: str) -> str:
    """Hash of all that a peer's scores depend on."""
    parts = hashlib.sha256(f"{options} {folds.reach_m}".encode())
    for values in (*vars(surveys).values(), *vars(predictors).values(), folds.fold):
        parts.update(np.ascontiguousarray(values).tobytes() if isinstance(values, np.ndarray) else repr(values).encode())
    return parts.hexdigest()[:12]


def remembered(folder: Path | None, name: str, compute: Callable[[], Scores]) -> Scores:
    """What `compute` gave before under `name`, or gives now; written whole or not at all. Without a folder nothing is kept."""
    if folder is None:
        return compute()
    path = folder / f"{name}.npy"
    if not path.is_file():
        values = compute()
        buffer = io.BytesIO()
        np.save(buffer, values)
        write_file(path, buffer.getvalue())
    return np.asarray(np.load(path, allow_pickle=False), np.float32)
