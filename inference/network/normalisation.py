"""Normalisation constants of a network, computed once from the training rows and kept with its weights."""

from __future__ import annotations

from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cube.errors import ModelError
from inference.data.samples import Predictors
from inference.network.deep_sdm import DeepSDM

MOST_VALUES: Final = 1 << 26  # of a modality that constants are taken from: half a gigabyte in float64


def _spaced_rows(rows: NDArray[np.int64], each: int) -> NDArray[np.int64]:
    """All rows where their values are few, else as many evenly spaced ones as memory is spared for."""
    max_rows = max(MOST_VALUES // each, 1)
    return rows if len(rows) <= max_rows else rows[np.linspace(0, len(rows) - 1, max_rows).astype(np.int64)]


def _moments(values: NDArray[np.floating], axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Mean and spread over `axes` without NaN; constants spread by 1, time steps by a twentieth of their channel's."""
    with np.errstate(all="ignore"):
        values64 = np.asarray(values, np.float64)
        finite = np.isfinite(values64)
        count = np.maximum(finite.sum(axes, keepdims=True), 1)
        mean = np.where(finite, values64, 0).sum(axes, keepdims=True) / count
        std = np.sqrt(np.where(finite, (values64 - mean) ** 2, 0).sum(axes, keepdims=True) / count)
        if values64.ndim == 3:  # series: steps that hardly vary in space must not blow up noise
            std = np.maximum(std, 0.05 * np.ma.masked_invalid(values64).std((0, 2), keepdims=True).filled(0))
        std = np.where(np.isfinite(std) & (std > 1e-6 * (np.abs(mean) + 1e-6)), std, 1.0)
    return torch.from_numpy(mean[0].astype(np.float32)), torch.from_numpy(std[0].astype(np.float32))


def set_normalisation(net: DeepSDM, predictors: Predictors, rows: NDArray[np.int64], covariates: NDArray[np.float32]) -> None:
    """Fill every encoder's constants from the training rows (1 km layers: from the cells around them)."""
    for name, encoder in net.encoders.items():
        if name == "survey":
            values = covariates[rows]
        elif (samples := predictors.get(name)) is None:
            raise ModelError(f"The model is to use '{name}' but the predictors hold none.")
        elif name in net.spec.kilometres:
            assert predictors.corner is not None
            values = samples[_spaced_rows(np.unique(predictors.corner[rows]), int(np.prod(samples.shape[1:])))]
        else:
            values = samples[_spaced_rows(rows, int(np.prod(samples.shape[1:])))]
        mean, std = _moments(values, (0, 2, 3) if name in net.spec.images else (0,))
        constants = cast(Any, encoder).normalisation
        constants.mean.copy_(mean)
        constants.std.copy_(std)
