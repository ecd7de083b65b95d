"""Permutation importance: how much worse a model does on held-out blocks when some of its inputs are those of other places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference.calibration.columns import SUMMARIES, column_names
from inference.evaluation.metrics import log_loss, mean_of, species_auc
from inference.explanation.encoded import Encoded
from inference.network.deep_sdm import ModelSpec

REPEATS: Final = 5


@dataclass(frozen=True)
class Importance:
    """One row: log loss and mean AUC of species without permutation, and the mean loss of skill by it over repeats."""

    modality: str
    channel: str  # "" for the whole modality
    log_loss: float
    more_log_loss: float
    more_log_loss_sd: float  # between repeats
    auc: float
    less_auc: float


def permutation_importance(
    places: Encoded,
    presence: NDArray[np.bool_],
    channels: bool = False,
    repeats: int = REPEATS,
    seed: int = 0,
) -> list[Importance]:
    """Rows for each modality, or with `channels` for each column, band or variable of each modality (Breiman 2001).

    `presence` (n, S) of the surveys at `places`, which the model was not trained on. Permuting a whole modality keeps what
    its values have to do with each other; permuting a channel breaks that too (Strobl et al. 2008), so the sum of a
    modality's channels need not be that of the modality.
    """
    rng = np.random.default_rng(seed)
    base = places.probability()
    loss, auc = log_loss(base, presence), mean_of(species_auc(base, presence))
    rows = []
    for modality in places.ensemble.spec.modalities:
        values = places.values(modality)
        names = places.ensemble.spec.channels(modality) if channels else ("",)
        for i, name in enumerate(names):
            more, less = [], []
            for _ in range(repeats):
                order = torch.from_numpy(rng.permutation(len(places)))
                permuted_parts = places.encode(
                    (modality,), {modality: permuted(values, places.channel_axis(modality), order, i if channels else None)}
                )
                p = places.probability(permuted_parts)
                more.append(log_loss(p, presence) - loss)
                less.append(auc - mean_of(species_auc(p, presence)))
            rows.append(Importance(modality, name, loss, float(np.mean(more)), float(np.std(more)), auc, float(np.mean(less))))
    return rows


def mean_importance(parts: Sequence[Sequence[Importance]], weight: Sequence[int]) -> list[Importance]:
    """The same rows of several groups of surveys as one: means by the number of surveys, of figures that are known."""
    out = []
    for rows in zip(*parts, strict=True):
        values = np.array([[r.log_loss, r.more_log_loss, r.more_log_loss_sd, r.auc, r.less_auc] for r in rows])
        weights = np.isfinite(values) * np.asarray(weight, float)[:, None]
        with np.errstate(invalid="ignore"):
            mean = (np.nan_to_num(values) * weights).sum(0) / weights.sum(0)
        out.append(Importance(rows[0].modality, rows[0].channel, *mean.tolist()))
    return out


def permuted(values: Tensor, axis: int, order: Tensor, channel: int | None) -> Tensor:
    """Inputs (n, ...) with those of place `order[i]` at place i, of one channel (an index along `axis`) or of all."""
    if channel is None:
        return values[order]
    out = values.clone()
    out.select(axis, channel).copy_(values[order].select(axis, channel))
    return out


def column_importance(spec: ModelSpec, rows: Sequence[Importance]) -> NDArray[np.float32]:
    """(C,) more log loss of each of `columns.column_names`, from rows of channels.

    What a summary of a channel stands for is the whole channel; a series of 1 km has two summaries, which share it.
    """
    by_name = {(r.modality, r.channel): r.more_log_loss for r in rows}
    out = []
    for modality, name in zip(*column_names(spec), strict=True):
        if modality in spec.series and modality in spec.kilometres:
            out.append(by_name[modality, name.rpartition(".")[0]] / len(SUMMARIES))
        else:
            out.append(by_name[modality, name])
    return np.asarray(out, np.float32)


def write_importance(folder: Path, rows: Sequence[Importance]) -> list[dict[str, Any]]:
    """`importance.csv`, the greatest first; returns its rows."""
    table = pd.DataFrame([asdict(r) for r in rows]).sort_values("more_log_loss", ascending=False)
    table.to_csv(folder / "importance.csv", index=False)
    return [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]
