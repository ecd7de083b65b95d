"""What a training leaves in the model folder beside weights and intervals: applicability, importance, responses, protocol."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from cube.config import Config
from inference.calibration.applicability import fit_applicability, save_applicability
from inference.data.dataset import Dataset
from inference.data.samples import Surveys
from inference.explanation.encoded import Encoded
from inference.explanation.importance import column_importance, permutation_importance, write_importance
from inference.explanation.odmap import Run, write_protocol
from inference.explanation.responses import response, save_curves, write_responses
from inference.explanation.skill import species_skill, write_skill
from inference.network.batches import covariates_of, predict_surveys
from inference.training.fit import Trained
from inference.training.likelihood import clean_areas, cloglog_probability

Progress = Callable[[int, int, str], None]
JUDGED: Final = 1_000  # held-out surveys on which importance is measured
SHOWN: Final = 150  # surveys over which a response is averaged
CURVES: Final = 6  # inputs of the greatest importance
SPECIES: Final = 6  # with the most presences, where none is asked for
CANDIDATES: Final = 20_000  # training surveys among which references are chosen


def describe_model(
    folder: Path, config: Config, data: Dataset, trained: Trained, roles: NDArray[np.str_], block: NDArray[np.int64],
    progress: Progress,
) -> dict[str, float]:  # fmt: skip
    """Write `applicability.*`, `explanation/` and `odmap.*` into a model folder; returns metrics worth keeping.

    `roles` and `block` (n,) of the surveys. Importance is measured on surveys of held-out blocks (test, else calibrate).
    """
    if trained.statement != "probability":  # no survey was left out on which anything could be judged
        write_protocol(folder, Run(config, data, trained, roles, [], float("nan")))
        return {}
    rng = np.random.default_rng(0)
    held = np.flatnonzero(np.isin(roles, ("calibrate", "test")))
    held = np.sort(rng.permutation(held)[:JUDGED])
    progress(0, 4, "importance of inputs")
    there = folder / "explanation"
    there.mkdir(exist_ok=True)
    judged = _places(trained, data, held)
    seen = data.surveys.presence[held]
    channels = permutation_importance(judged, seen, channels=True, repeats=1)
    modalities = permutation_importance(judged, seen)
    rows = write_importance(there, [*modalities, *channels])
    progress(1, 4, "area of applicability")
    learned = np.flatnonzero(roles == "train")
    learned = np.sort(rng.permutation(learned)[:CANDIDATES])
    surveys = data.surveys.subset(learned)
    area = fit_applicability(
        trained.ensemble, data.predictors.subset(learned), _covariates(trained, surveys), block[learned],
        column_importance(judged, channels),
    )  # fmt: skip
    save_applicability(folder, area)
    progress(2, 4, "response curves")
    _responses(there, config, trained, data, rng.permutation(learned)[:SHOWN], rows)
    told = _skill(there, trained, data, roles, block)
    progress(3, 4, "protocol")
    whole = (1 << len(area.modalities)) - 1
    threshold = area.inputs[whole].threshold if whole in area.inputs else float("nan")
    write_protocol(folder, Run(config, data, trained, roles, rows, threshold))
    told |= {f"importance_{r.modality}": r.more_log_loss for r in modalities}
    return told | ({"applicability_threshold": threshold} if np.isfinite(threshold) else {})


def _places(trained: Trained, data: Dataset, rows: NDArray[np.int64]) -> Encoded:
    surveys = data.surveys.subset(rows)
    return Encoded.of(trained.ensemble, data.predictors.subset(rows), surveys.year, surveys.area_m2)


def _covariates(trained: Trained, surveys: Surveys) -> NDArray[np.float32]:
    return covariates_of(surveys.year, clean_areas(surveys.area_m2, trained.ensemble.median_area_m2.item()).log_ratio)


def _skill(there: Path, trained: Trained, data: Dataset, roles: NDArray[np.str_], block: NDArray[np.int64]) -> dict[str, float]:
    """Write the skill of every species; returns how much of the surveys it was learned from and measured on."""
    test, surveys = np.flatnonzero(roles == "test"), data.surveys
    p = np.zeros((0, len(surveys.species)), np.float32)
    if len(test):
        eta = predict_surveys(trained.ensemble, data.predictors.subset(test), surveys.year[test], surveys.area_m2[test])
        p = cloglog_probability(torch.from_numpy(eta)).numpy()
    table = species_skill(surveys.species, surveys.presence, roles, p, trained.learned_records)
    write_skill(there, table)
    return {"learned_surveys": float((roles == "train").sum()), "held_out_surveys": float(len(test)),
            "held_out_blocks": float(len(np.unique(block[test])))}  # fmt: skip


def _responses(
    there: Path, config: Config, trained: Trained, data: Dataset, rows: NDArray[np.int64], importance: list[dict[str, Any]]
) -> None:
    """Curves along the inputs that matter most: all are kept, those that `species.responses` names, or the commonest, shown."""
    names = list(trained.ensemble.species)
    asked = [names.index(name) for name in config.species.responses if name in names]
    species = np.array(asked or np.argsort(-data.surveys.presence.sum(0))[:SPECIES], np.int64)
    places = _places(trained, data, np.sort(rows))
    wanted = [r for r in importance if r["channel"] and r["more_log_loss"] > 0][:CURVES]
    found = [response(places, r["modality"], r["channel"], np.arange(len(names))) for r in wanted]
    curves = [curve for curve in found if curve is not None]
    save_curves(there, curves)
    write_responses(there, [curve.of(species) for curve in curves], [names[i] for i in species])
    note = {"species": [names[i] for i in species], "unknown": [n for n in config.species.responses if n not in names]}
    (there / "responses.json").write_text(json.dumps(note, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
