"""The inputs of a place as one row of numbers, for distances and for importance: the same from surveys and from windows.

Images and series are summarised (an image by the mean of the cell's own pixels, a series of 50 m by the mean of each band over
its steps, one of 1 km by mean and spread); tables are taken as they are. Missing is NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference.data.kilometres import CELLS_PER_KM, known_mean, weights_along
from inference.data.samples import Predictors
from inference.network.deep_sdm import ModelSpec

FINE: Final = 5  # 10 m pixels along a side of a cell
SUMMARIES: Final = ("mean", "spread")  # of a series of 1 km, over its steps


def column_names(spec: ModelSpec) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(modality, name) of every column of a model, in order; of the survey's own inputs there is none."""
    pairs: list[tuple[str, str]] = []
    for modality in spec.modalities:
        names = () if modality == "survey" else spec.channels(modality)
        if modality in spec.series and modality in spec.kilometres:
            names = tuple(f"{name}.{summary}" for summary in SUMMARIES for name in names)
        pairs += [(modality, name) for name in names]
    return tuple(m for m, _ in pairs), tuple(n for _, n in pairs)


def place_columns(predictors: Predictors, spec: ModelSpec) -> NDArray[np.float32]:
    """(n, C) columns of places."""
    missing = [modality for modality in spec.modalities if modality != "survey" and predictors.get(modality) is None]
    if missing:
        raise ValueError(f"the places hold no '{missing[0]}'")
    arrays: dict[str, NDArray[Any]] = dict(predictors.values)
    if predictors.corner is not None and predictors.weight is not None:
        arrays |= {"corner": predictors.corner, "weight": predictors.weight}
    return batch_columns({name: torch.from_numpy(np.asarray(values)) for name, values in arrays.items()}, spec).numpy()


def batch_columns(batch: Mapping[str, Tensor], spec: ModelSpec) -> Tensor:
    """(n, C) columns of the places of a batch (see `batches.gather`), on the CPU; a modality that it lacks is NaN throughout."""
    count = next(len(values) for name, values in batch.items() if name not in spec.kilometres)
    parts: list[Tensor] = []
    for modality in spec.modalities:
        if modality in batch and modality != "survey":
            parts.append(modality_columns(batch, modality, spec))
        elif modality != "survey":
            parts.append(torch.full((count, sum(m == modality for m in column_names(spec)[0])), torch.nan))
    return torch.cat(parts, 1)


def modality_columns(batch: Mapping[str, Tensor], modality: str, spec: ModelSpec) -> Tensor:
    """(n, c) the columns of one modality that a batch holds; see `batch_columns`."""
    values = batch[modality].cpu().float()
    if modality in spec.kilometres:
        corner, weight = (batch[name].cpu().numpy() for name in ("corner", "weight"))
        return torch.from_numpy(known_mean(_kilometre(values).numpy(), corner, weight))
    if modality in spec.images:
        middle = values.shape[-1] // 2
        centre_cell = slice(middle - FINE // 2, middle + FINE // 2 + 1)
        return values[:, :, centre_cell, centre_cell].flatten(2).nanmean(2)
    return values.nanmean(2) if modality in spec.series else values


def _kilometre(values: Tensor) -> Tensor:
    """(m, columns) of 1 km cells: a series (m, variables, steps) summarised, a table (m, W) as it is."""
    if values.ndim == 2:
        return values
    mean = values.nanmean(2)
    spread = (values - mean[:, :, None]).square().nanmean(2).sqrt()
    return torch.cat([mean, spread], 1)


def window_columns(window: Mapping[str, Tensor], spec: ModelSpec, height: int, width: int) -> Tensor:
    """(height x width, C) columns of the cells of a window (see `DeepSDM.embed_part`), row by row.

    A modality that the window lacks is NaN throughout.
    """
    cells = height * width
    parts: list[Tensor] = []
    for modality in spec.modalities:
        if modality == "survey":
            continue
        values = window.get(modality)
        if values is None:
            count = sum(m == modality for m in column_names(spec)[0])
            parts.append(torch.full((cells, count), torch.nan))
        elif modality in spec.images:
            halo = FINE * spec.halo
            inner = values[:, halo : halo + FINE * height, halo : halo + FINE * width]
            squares = inner.reshape(len(inner), height, FINE, width, FINE).permute(0, 1, 3, 2, 4)
            parts.append(_mean(squares.reshape(len(inner), cells, FINE * FINE), 2).T)
        elif modality in spec.kilometres:
            parts.append(_spread_over_cells(_kilometre(values.flatten(-2).movedim(-1, 0)), height, width))
        elif modality in spec.series:
            parts.append(_mean(values.flatten(2), 1).T)
        else:
            parts.append(values.flatten(1).T)
    return torch.cat(parts, 1)


def _mean(values: Tensor, dim: int) -> Tensor:
    """Mean over what is not NaN; the plain one where nothing is, which is several times faster."""
    mean = values.mean(dim)
    return mean if bool(torch.isfinite(mean).all()) else values.nanmean(dim)


def _spread_over_cells(values: Tensor, height: int, width: int) -> Tensor:
    """(height x width, columns) bilinear from 1 km cells with one cell of halo, row by row (cells, columns), over known ones."""
    sizes = [(side, side // CELLS_PER_KM + 2) for side in (height, width)]
    down, right = (torch.from_numpy(weights_along(0, side, k)).to(values.device) for side, k in sizes)

    def spread(kilometres: Tensor) -> Tensor:
        by_cell = torch.einsum("yi,ijc,xj->yxc", down, kilometres.reshape(sizes[0][1], sizes[1][1], -1), right)
        return by_cell.reshape(height * width, -1)

    finite, total = torch.isfinite(values), spread(values.nan_to_num(0.0))
    if bool(finite.all()):
        return total
    finite_share = spread(finite.to(values.dtype))
    return torch.where(finite_share > 1e-6, total / finite_share, torch.nan)
