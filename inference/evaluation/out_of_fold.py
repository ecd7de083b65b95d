"""Scores of surveys by the members that did not learn from their fold: kept with the model, and calibrated fold by fold."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from cube.errors import ModelError
from cube.storage.identity import digest
from inference.calibration.calibrate import fit_calibration
from inference.data.blocks import Folds
from inference.data.holdout import shown_km
from inference.data.samples import Surveys
from inference.network.tensors import model_errors, write_tensors
from inference.training.likelihood import cloglog, cloglog_probability

Scores = NDArray[np.float32]
TENSORS: Final = "out_of_fold.safetensors"
CARD: Final = "out_of_fold.json"
KINDS: Final = ("networks", "forest")  # of members, where there is a forest
ALONE: Final = "alone."  # names of tensors of `OutOfFold.alone` begin with it
SUREST: Final = (1e-4, 0.999)  # of a peer's probabilities before they are calibrated: a forest says 0, which nothing corrects


@dataclass(frozen=True)
class OutOfFold:
    """What an ensemble says of surveys that its members left out in turn, and where the folds came from."""

    eta: Scores  # (n, S) uncalibrated, cloglog scale
    folds: Folds
    min_records: int  # surveys from which a species is scored
    why: str  # the blocks are as large as they are
    surveys: str  # fingerprint of the surveys, row for row
    alone: Mapping[str, Scores] = field(default_factory=dict)  # beside a forest: networks and forest alone (n, S), by name

    def require_surveys(self, surveys: Surveys) -> OutOfFold:
        """Itself. Raises: ModelError where `surveys` are not those that the scores are of."""
        if fingerprint(surveys) != self.surveys:
            raise ModelError(
                "The surveys, species or sources of the configuration are not those that the model was trained on; run"
                " `floracube train` again."
            )
        return self


def fingerprint(surveys: Surveys) -> str:
    """Of presences, places and species, row for row."""
    return digest((surveys.presence.tobytes(), surveys.x.tobytes(), surveys.y.tobytes(), list(surveys.species)))


def save_out_of_fold(folder: Path, scores: OutOfFold, skill: list[dict[str, Any]]) -> None:
    """Write `out_of_fold.safetensors` and `out_of_fold.json`, which has the `skill` as flat records, into a model folder."""
    folds = scores.folds
    folder.mkdir(parents=True, exist_ok=True)
    corner = np.array(list(folds.of_block), np.int64).reshape(-1, 2)
    of_block = np.array(list(folds.of_block.values()), np.int64)
    write_tensors(
        folder / TENSORS,
        {
            "eta": scores.eta,
            "fold": folds.fold,
            "block": folds.block,
            "locked": folds.locked,
            "corner": corner,
            "fold_of_block": of_block,
        }
        | {f"{ALONE}{name}": eta for name, eta in scores.alone.items()},
    )
    document = {
        "folds": folds.count,
        "block_km": folds.block_km,
        "reach_m": folds.reach_m,
        "seed": folds.seed,
        "min_records": scores.min_records,
        "why": scores.why,
        "surveys": scores.surveys,
        "skill": skill,
    }
    (folder / CARD).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def load_out_of_fold(folder: Path) -> OutOfFold:
    """What `save_out_of_fold` wrote. Raises: ModelError where there is nothing, or it is damaged."""
    from safetensors.numpy import load_file

    if not (folder / CARD).is_file():
        raise ModelError(
            f"{folder}: has no out-of-fold scores: it was trained without surveys, or by an earlier version; run `floracube"
            " train` again."
        )
    with model_errors(folder / CARD):
        document: dict[str, Any] = json.loads((folder / CARD).read_text(encoding="utf-8"))
        tensors = load_file(folder / TENSORS)
        corners = [(int(column), int(row)) for column, row in tensors["corner"]]
        of_block = dict(zip(corners, tensors["fold_of_block"].tolist(), strict=True))
        folds = Folds(
            tensors["fold"],
            tensors["block"],
            tensors["locked"],
            int(document["folds"]),
            float(document["block_km"]),
            float(document["reach_m"]),
            int(document["seed"]),
            of_block,
        )
        alone = {name: tensors[f"{ALONE}{name}"] for name in KINDS if f"{ALONE}{name}" in tensors}
        settings = int(document["min_records"]), str(document["why"]), str(document["surveys"])
        return OutOfFold(tensors["eta"], folds, *settings, alone)


def cross_calibrated(eta: Scores, surveys: Surveys, folds: Folds) -> Scores:
    """(n, S) probabilities of scores `eta` (n, S) on the cloglog scale, each fold's calibrated on all others' surveys."""
    p = np.empty_like(eta)
    weight = surveys.place_weight
    for k in range(folds.count):
        inside = folds.fold == k
        fit = fit_calibration(eta[~inside], surveys.presence[~inside], weight[~inside], folds.block[~inside])
        p[inside] = cloglog_probability(torch.from_numpy(np.asarray(fit.slope * eta[inside] + fit.intercept, np.float32))).numpy()
    return p


def as_eta(probability: Scores) -> Scores:
    """Probabilities of a peer, any shape, on the cloglog scale."""
    return cloglog(np.clip(probability, *SUREST)).astype(np.float32)


def describe_surveys(scores: OutOfFold, locked: bool = False) -> str:
    """Which surveys are judged, for the titles of tables."""
    rows = scores.folds.locked == locked
    kind = f"locked blocks, read on {datetime.date.today().isoformat()}" if locked else "open blocks"
    return (
        f"{int(rows.sum()):,} of {len(rows):,} surveys, {kind} of {shown_km(scores.folds.block_km)} km ({scores.why}), each by"
        f" the member of {scores.folds.count} that did not learn from its fold"
    )
