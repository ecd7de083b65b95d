"""What a training leaves in the model folder beside weights and intervals: applicability, importance, responses, protocol."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cube.config import Config
from inference.calibration.applicability import fit_applicability, save_applicability
from inference.data.blocks import Folds
from inference.data.dataset import Dataset
from inference.evaluation.out_of_fold import cross_calibrated
from inference.explanation.encoded import Encoded
from inference.explanation.importance import (
    Importance,
    column_importance,
    mean_importance,
    permutation_importance,
    write_importance,
)
from inference.explanation.odmap import Run, write_protocol
from inference.explanation.responses import response, save_curves, write_responses
from inference.explanation.skill import species_skill, write_skill
from inference.network.batches import covariates_of
from inference.network.ensemble import Ensemble
from inference.training.fit import TrainedModel

Progress = Callable[[int, int, str], None]
MAX_SURVEYS: Final = 1_000  # held-out surveys on which importance is measured
RESPONSE_SURVEYS: Final = 150  # surveys over which a response is averaged
CURVES: Final = 6  # inputs of the greatest importance
SPECIES: Final = 6  # with the most presences, where none is asked for
CANDIDATES: Final = 20_000  # training surveys among which references are chosen


def describe_model(
    folder: Path, config: Config, data: Dataset, trained_model: TrainedModel, progress: Progress
) -> dict[str, float]:
    """Write `applicability.*`, `explanation/` and `odmap.*` into a model folder; returns metrics worth keeping.

    Importance is measured on surveys of open blocks, by the members that did not learn from them.
    """
    folds = trained_model.folds
    # no survey was left out on which anything could be judged
    if folds is None or trained_model.out_of_fold is None or trained_model.record_places is not None:
        write_protocol(folder, Run(config, data, trained_model, [], float("nan")))
        return {}
    rng = np.random.default_rng(0)
    progress(0, 4, "importance of inputs")
    explanation_folder = folder / "explanation"
    explanation_folder.mkdir(exist_ok=True)
    measured_rows = np.sort(rng.permutation(np.flatnonzero(~folds.locked))[:MAX_SURVEYS])
    modalities, channels = _importance(trained_model, data, folds, measured_rows)
    rows = write_importance(explanation_folder, [*modalities, *channels])
    progress(1, 4, "area of applicability")
    train_rows = np.sort(rng.permutation(len(data.surveys))[:CANDIDATES])
    surveys = data.surveys.subset(train_rows)
    area = fit_applicability(
        trained_model.ensemble,
        data.predictors.subset(train_rows),
        covariates_of(surveys.year),
        folds.block[train_rows],
        column_importance(trained_model.ensemble.spec, channels),
        fold=folds.fold[train_rows],
    )
    save_applicability(folder, area)
    progress(2, 4, "response curves")
    _responses(explanation_folder, config, trained_model, data, rng.permutation(train_rows)[:RESPONSE_SURVEYS], rows)
    skill_metrics = _skill(explanation_folder, trained_model, data, folds, trained_model.out_of_fold)
    progress(3, 4, "protocol")
    all_modalities = (1 << len(area.modalities)) - 1
    threshold = area.inputs[all_modalities].threshold if all_modalities in area.inputs else float("nan")
    write_protocol(folder, Run(config, data, trained_model, rows, threshold))
    skill_metrics |= {f"importance_{r.modality}": r.more_log_loss for r in modalities}
    return skill_metrics | ({"applicability_threshold": threshold} if np.isfinite(threshold) else {})


def _importance(
    trained_model: TrainedModel, data: Dataset, folds: Folds, measured_rows: NDArray[np.int64]
) -> tuple[list[Importance], list[Importance]]:
    """(of modalities, of their channels): means over the folds of the surveys `measured_rows`, each by the members without it."""
    parts: list[tuple[int, list[Importance], list[Importance]]] = []
    for k in range(folds.count):
        rows = measured_rows[folds.fold[measured_rows] == k]
        if len(rows):
            places, presences = _places(trained_model.without(k), data, rows), data.surveys.presence[rows]
            parts.append(
                (
                    len(rows),
                    permutation_importance(places, presences, repeats=2),
                    permutation_importance(places, presences, channels=True, repeats=1),
                )
            )
    weight = [count for count, _, _ in parts]
    return mean_importance([m for _, m, _ in parts], weight), mean_importance([c for _, _, c in parts], weight)


def _places(ensemble: Ensemble, data: Dataset, rows: NDArray[np.int64]) -> Encoded:
    surveys = data.surveys.subset(rows)
    return Encoded.encode_all(ensemble, data.predictors.subset(rows), surveys.year, surveys.area_m2)


def _skill(folder: Path, trained_model: TrainedModel, data: Dataset, folds: Folds, eta: NDArray[np.float32]) -> dict[str, float]:
    """Write the skill of every species on open blocks; returns how much of the surveys it was learned from and measured on."""
    surveys, is_open = data.surveys, ~folds.locked
    p = cross_calibrated(eta, surveys, folds)[is_open]
    write_skill(folder, species_skill(surveys.species, surveys.presence, is_open, p, trained_model.learned_records))
    return {
        "learned_surveys": float(len(surveys)),
        "held_out_surveys": float(is_open.sum()),
        "held_out_blocks": float(len(np.unique(folds.block[is_open]))),
    }


def _responses(
    folder: Path,
    config: Config,
    trained_model: TrainedModel,
    data: Dataset,
    rows: NDArray[np.int64],
    importance: list[dict[str, Any]],
) -> None:
    """Curves along the inputs that matter most: all are kept, those that `species.responses` names, or the commonest, shown."""
    names = list(trained_model.ensemble.species)
    species_indices = [names.index(name) for name in config.species.responses if name in names]
    species = np.array(species_indices or np.argsort(-data.surveys.presence.sum(0))[:SPECIES], np.int64)
    places = _places(trained_model.ensemble, data, np.sort(rows))
    important_channels = [r for r in importance if r["channel"] and r["more_log_loss"] > 0][:CURVES]
    response_curves = [response(places, r["modality"], r["channel"], np.arange(len(names))) for r in important_channels]
    curves = [curve for curve in response_curves if curve is not None]
    save_curves(folder, curves)
    write_responses(folder, [curve.subset(species) for curve in curves], [names[i] for i in species])
    note = {"species": [names[i] for i in species], "unknown": [n for n in config.species.responses if n not in names]}
    (folder / "responses.json").write_text(json.dumps(note, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
