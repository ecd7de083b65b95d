"""The inputs of a place as one row of numbers, for distances and for importance: the same from surveys and from windows.

Pictures and series are summarised (a picture by the mean of the cell's own pixels, Landsat by the mean of each band over its
quarters, climate by mean and spread over its months); tables are taken as they are. Missing is NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference.data.kilometres import CELLS_PER_KM, known_mean, weights_along
from inference.data.samples import Predictors
from inference.network.deep_sdm import ModelSpec

FINE: Final = 5  # 10 m pixels along a side of a cell
CLIMATE: Final = ("mean", "spread")


def column_names(spec: ModelSpec) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(modality, name) of every column of a model, in order; of the survey's own inputs there is none."""
    pairs: list[tuple[str, str]] = []
    for modality in spec.modalities:
        if modality == "satellite":
            pairs += [(modality, f"satellite.{band}") for band in range(spec.satellite_bands)]
        elif modality == "landsat":
            pairs += [(modality, f"landsat.{band}") for band in range(spec.landsat_shape[0])]
        elif modality == "climate":
            pairs += [(modality, f"climate.{v}.{kind}") for kind in CLIMATE for v in range(spec.climate_shape[0])]
        elif modality == "static":
            pairs += [(modality, name) for name in spec.static_names]
        elif modality == "coarse":
            pairs += [(modality, name) for name in spec.coarse_names]
    return tuple(m for m, _ in pairs), tuple(n for _, n in pairs)


def place_columns(predictors: Predictors, spec: ModelSpec) -> NDArray[np.float32]:
    """(n, C) columns of places."""
    parts: list[Tensor] = []
    for modality in spec.modalities:
        values = getattr(predictors, modality, None)
        if modality == "survey":
            continue
        if values is None:
            raise ValueError(f"the places hold no '{modality}'")
        held = torch.from_numpy(np.asarray(values, np.float32))
        if modality == "satellite":
            middle = held.shape[-1] // 2
            own = slice(middle - FINE // 2, middle + FINE // 2 + 1)
            parts.append(held[:, :, own, own].flatten(2).nanmean(2))
        elif modality == "landsat":
            parts.append(held.nanmean(2))
        elif modality == "static":
            parts.append(held)
        else:
            assert predictors.corner is not None
            assert predictors.weight is not None
            columns = known_mean(_kilometre(modality, held).numpy(), predictors.corner, predictors.weight)
            parts.append(torch.from_numpy(columns))
    return torch.cat(parts, 1).numpy()


def _kilometre(modality: str, values: Tensor) -> Tensor:
    """(m, columns) of 1 km cells: climate (m, variables, months) summarised, coarse (m, W) as it is."""
    if modality == "coarse":
        return values
    mean = values.nanmean(2)
    spread = (values - mean[:, :, None]).square().nanmean(2).sqrt()
    return torch.cat([mean, spread], 1)


def window_columns(window: Mapping[str, Tensor], spec: ModelSpec, side: int) -> Tensor:
    """(side x side, C) columns of the cells of a window (see `DeepSDM.embed_window`), row by row.

    A modality that the window lacks is NaN throughout.
    """
    cells = side * side
    parts: list[Tensor] = []
    for modality in spec.modalities:
        if modality == "survey":
            continue
        values = window.get(modality)
        if values is None:
            width = sum(m == modality for m in column_names(spec)[0])
            parts.append(torch.full((cells, width), torch.nan))
        elif modality == "satellite":
            halo = FINE * spec.halo
            own = values[:, halo : halo + FINE * side, halo : halo + FINE * side]
            squares = own.reshape(len(own), side, FINE, side, FINE).permute(0, 1, 3, 2, 4)
            parts.append(_mean(squares.reshape(len(own), cells, FINE * FINE), 2).T)
        elif modality == "landsat":
            parts.append(_mean(values.flatten(2), 1).T)
        elif modality == "static":
            parts.append(values.flatten(1).T)
        else:
            parts.append(_spread_over_cells(_kilometre(modality, values.flatten(-2).movedim(-1, 0)), side))
    return torch.cat(parts, 1)


def _mean(values: Tensor, dim: int) -> Tensor:
    """Mean over what is not NaN; the plain one where nothing is, which is several times faster."""
    mean = values.mean(dim)
    return mean if bool(torch.isfinite(mean).all()) else values.nanmean(dim)


def _spread_over_cells(values: Tensor, side: int) -> Tensor:
    """(side x side, columns) bilinear from 1 km cells ((k + 2)^2, columns) with one cell of halo, over known ones."""
    k = side // CELLS_PER_KM + 2
    along = torch.from_numpy(weights_along(0, side, k)).to(values.device)
    known = torch.isfinite(values)
    square = values.nan_to_num(0.0).reshape(k, k, -1)
    total = torch.einsum("yi,ijc,xj->yxc", along, square, along).reshape(side * side, -1)
    if bool(known.all()):
        return total
    seen = torch.einsum("yi,ijc,xj->yxc", along, known.to(values.dtype).reshape(k, k, -1), along).reshape(side * side, -1)
    return torch.where(seen > 1e-6, total / seen, torch.nan)
