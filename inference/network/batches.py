"""Plain arrays to the tensors that a network reads: one batch of places with the 1 km cells it needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference.data.samples import Predictors
from inference.network.ensemble import Ensemble
from inference.training.likelihood import clean_areas


def covariates_of(year: NDArray[np.floating]) -> NDArray[np.float32]:
    """(n, 1) the `survey` modality of surveys: the year. Their area is in the likelihood alone."""
    return np.asarray(year, np.float32)[:, None]


def gather(
    predictors: Predictors,
    index: NDArray[np.int64],
    modalities: Sequence[str],
    covariates: NDArray[np.float32] | None = None,
) -> dict[str, Tensor]:
    """The batch of the places `index`, with each place's own four 1 km cells (4 b of them, in order)."""
    batch: dict[str, Tensor] = {}
    for name, values in predictors.values.items():
        if name not in modalities:
            continue
        if not predictors.at_kilometres(name):
            batch[name] = torch.from_numpy(np.ascontiguousarray(values[index], np.float32))
            continue
        assert predictors.corner is not None
        assert predictors.weight is not None
        cells = predictors.corner[index].ravel()
        batch[name] = torch.from_numpy(np.ascontiguousarray(values[cells], np.float32))
        batch["corner"] = torch.arange(len(cells)).reshape(-1, 4)
        batch["weight"] = torch.from_numpy(predictors.weight[index].astype(np.float32))
    if covariates is not None and "survey" in modalities:
        batch["survey"] = torch.from_numpy(covariates[index])
    return batch


@torch.inference_mode()
def embed_surveys(
    ensemble: Ensemble,
    predictors: Predictors,
    year: NDArray[np.floating],
    area_m2: NDArray[np.floating],
    batch: int = 2048,
) -> Iterator[tuple[Tensor, Tensor]]:
    """(embeddings (b, D), log(A / 100 m2) (b, 1)) of surveys of their own year and area, batch by batch, on the device."""
    log_ratio = clean_areas(area_m2, ensemble.median_area_m2.item()).log_ratio
    covariates = covariates_of(year)
    device = ensemble.slope.device
    for start in range(0, len(predictors), batch):
        index = np.arange(start, min(start + batch, len(predictors)))
        inputs = gather(predictors, index, ensemble.spec.modalities, covariates)
        offset = torch.from_numpy(log_ratio[index])[:, None].to(device)
        yield ensemble.embed_places({name: values.to(device) for name, values in inputs.items()}, offset), offset


@torch.inference_mode()
def predict_surveys(
    ensemble: Ensemble,
    predictors: Predictors,
    year: NDArray[np.floating],
    area_m2: NDArray[np.floating],
    calibrated: bool = True,
    batch: int = 2048,
) -> NDArray[np.float32]:
    """Scores eta (n, S) on the cloglog scale for surveys of their own year and area (unknown: training's median)."""
    batches = embed_surveys(ensemble, predictors, year, area_m2, batch)
    return np.concatenate([ensemble.eta(z, offset, calibrated=calibrated).cpu().numpy() for z, offset in batches])
