"""The whole protocol for one set of test surveys: every method's probabilities to the tables and pictures of a report.

Definitions are the benchmark's (GeoPlant, Picek et al. 2024): sample-averaged precision, recall and F1 of the 25 most
probable species and of a predicted number of them, macro AUC over species that are found and not everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cube.errors import TableError
from inference.evaluation.metrics import best_thresholds, macro_auc, mean_of, sample_auc, true_skill
from inference.evaluation.pictures import classes_picture, reliability_picture, table_picture
from inference.evaluation.reliability import Curve, calibration_record, reliability_curve
from inference.evaluation.species_sets import TOP, best_size, best_threshold, score_sets, top_scores
from inference.evaluation.tables import Record, Table

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

MOST_CHOOSING: Final = 2_000  # surveys that the one probability is chosen on
CLASSES: Final = (0, 1, 10, 30, 100, 300)  # presences in training at which a class begins


@dataclass(frozen=True)
class Observed:
    """What was found: the same for all methods.

    `presence` (n, S) of the test surveys, `training_presences` (S,) those among the training surveys and `surveys` their
    number, `other_species` (n,) species found that no column stands for. Thresholds are chosen on other surveys: on those of
    `calibration` (m, S), or, where `fold` (n,) says which fold each survey lies in, on the other folds.
    """

    presence: Bools
    training_presences: NDArray[np.integer]
    surveys: int
    other_species: NDArray[np.integer] | None = None
    calibration: Bools | None = None
    fold: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        """Refuse an empty test. Raises: TableError."""
        if not self.presence.size or not self.presence.any():
            raise TableError(
                f"The test set has {len(self.presence)} surveys and no presence of a species that is modelled;"
                " nothing can be measured on it. Use another split or more surveys."
            )

    @property
    def prevalence(self) -> NDArray[np.float64]:
        """(S,) share of training surveys with each species."""
        return np.asarray(self.training_presences / max(1, self.surveys), np.float64)


@dataclass(frozen=True)
class Forecast:
    """Probabilities of one method: `p` (n, S) for the test surveys, `calibration` (m, S) for those that choose thresholds."""

    p: Floats
    calibration: Floats | None = None


@dataclass
class Report:
    """Tables and what the pictures draw."""

    tables: list[Table] = field(default_factory=list)
    curves: dict[str, Curve] = field(default_factory=dict)
    classes: list[Record] = field(default_factory=list)

    def pictures(self, folder: Path, name: str) -> list[Path]:
        """Write the pictures into `folder`; returns their paths."""
        paths = [table_picture(folder / f"{name}.png", self.tables)] if self.tables else []
        if self.curves:
            paths.append(reliability_picture(folder / f"{name}_reliability.png", self.curves, "Reliability on held-out surveys"))
        if self.classes:
            paths.append(classes_picture(folder / f"{name}_classes.png", self.classes, "AUC by how often a species was seen"))
        return paths


def judge(forecasts: Mapping[str, Forecast], truth: Observed, what: str) -> Report:
    """All tables for methods by name; `what` says on which surveys, for the titles.

    Raises `TableError` for an empty test or probabilities of another shape than the presences.
    """
    for name, forecast in forecasts.items():
        if forecast.p.shape != truth.presence.shape:
            raise TableError(f"'{name}' has probabilities of shape {forecast.p.shape}, the surveys {truth.presence.shape}.")
    report = Report()
    aucs = {name: macro_auc(f.p, truth.presence) for name, f in forecasts.items()}
    report.tables.append(
        Table(
            f"Sets of species and ranking on {what}",
            [{"method": name, **_skill(f, aucs[name], truth)} for name, f in forecasts.items()],
        )
    )
    report.tables.append(
        Table(
            f"Calibration on {what}",
            [{"method": name, **calibration_record(f.p, truth.presence, truth.prevalence)} for name, f in forecasts.items()],
        )
    )
    report.classes = [row for name in forecasts for row in _by_class(name, aucs[name], truth)]
    report.tables.append(Table(f"AUC by presences in training, {what}", report.classes))
    report.curves = {name: reliability_curve(f.p, truth.presence) for name, f in forecasts.items()}
    return report


def _skill(forecast: Forecast, auc: NDArray[np.float64], truth: Observed) -> Record:
    """One row: sets of 25 and of the predicted size, AUC, and where other surveys can choose them thresholds."""
    p, presence = forecast.p, truth.presence
    top, sets = (
        top_scores(p, presence, TOP, truth.other_species).means(),
        top_scores(p, presence, None, truth.other_species).means(),
    )
    row: Record = {
        f"F1@{TOP}": top["f1"],
        f"precision@{TOP}": top["precision"],
        f"recall@{TOP}": top["recall"],
        "F1": sets["f1"],
        "precision": sets["precision"],
        "recall": sets["recall"],
        "set size": sets["size"],
        "macro AUC": mean_of(auc),
        "species": int(np.isfinite(auc).sum()),
        "sample AUC": mean_of(sample_auc(p, presence)),
    }
    return row | _cross_selected_skill(forecast, truth)


def _cross_selected_skill(forecast: Forecast, truth: Observed) -> Record:
    """Skill of one K, one probability and one threshold a species, each chosen on other surveys than it is judged on."""
    p, presence = forecast.p, truth.presence
    parts: list[tuple[Bools, Floats, Bools]] = []  # surveys that are judged, and probabilities and presences of the others
    if truth.fold is not None:
        parts = [(truth.fold == k, p[truth.fold != k], presence[truth.fold != k]) for k in np.unique(truth.fold)]
    elif forecast.calibration is not None and truth.calibration is not None:
        parts = [(np.ones(len(p), bool), forecast.calibration, truth.calibration)]
    if not parts or not all(presences.any() for _, _, presences in parts):
        return {}
    size, member, over = np.zeros(len(p), np.int64), np.zeros(p.shape, bool), np.zeros(p.shape, np.float32)
    for rows, other_p, presences in parts:
        size[rows] = best_size(other_p, presences)
        sampled_rows = np.linspace(0, len(other_p) - 1, min(len(other_p), MOST_CHOOSING)).astype(np.int64)
        member[rows] = p[rows] >= best_threshold(other_p[sampled_rows], presences[sampled_rows])
        over[rows] = p[rows] - best_thresholds(other_p, presences)
    has_threshold = np.isfinite(over).all(0)
    skill = true_skill(over, presence, np.where(has_threshold, 0.0, np.nan))
    return {
        "best K": float(size.mean()),
        "F1 best K": top_scores(p, presence, size, truth.other_species).means()["f1"],
        "F1 best threshold": score_sets(member, presence, truth.other_species).means()["f1"],
        "TSS": mean_of(skill),
        "TSS species": int(np.isfinite(skill).sum()),
    }


def _by_class(name: str, auc: NDArray[np.float64], truth: Observed) -> list[Record]:
    rows: list[Record] = []
    for at, lower in enumerate(CLASSES):
        upper = CLASSES[at + 1] if at + 1 < len(CLASSES) else None
        inside = (truth.training_presences >= lower) & ((truth.training_presences < upper) if upper is not None else True)
        of_class = auc[inside]
        label = f"{lower}+" if upper is None else str(lower) if upper == lower + 1 else f"{lower}-{upper - 1}"
        rows.append({"method": name, "class": label, "species": int(np.isfinite(of_class).sum()), "auc": mean_of(of_class)})
    return rows
