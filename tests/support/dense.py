"""The inputs of a whole unit and a dense pass over them as one call each: what the cascade does part by part."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cube.grid import CELL, FINE, Unit, Window
from cube.layers import Layer
from cube.storage.store import CubeStore
from inference.calibration.columns import window_columns
from inference.data.channels import as_channels
from inference.data.kilometres import CELLS_PER_KM
from inference.data.recipe import Recipe
from inference.data.sampling import concatenated, read_kilometres
from inference.network import deep_sdm
from inference.network.deep_sdm import DeepSDM, Part
from inference.network.ensemble import Ensemble, survey_covariates


def read_window(cube: CubeStore, unit: Unit, what: Recipe, halo: int) -> dict[str, NDArray[np.float32]]:
    """Predictors of every cell of a unit, physical units, NaN where missing.

    Images such as `satellite` (4, 5 (U + 2 halo), same), series of 50 m such as `landsat` (6, 84, U, U), `table_50m` (V, U, U);
    series of 1 km such as `climate` (4, 228, k + 2, k + 2) and `table_1km` (W, k + 2, k + 2) with k = U / 20: one 1 km cell more
    on each side for the bilinear interpolation.
    """
    what = what.in_cube(cube)
    square, fine, pad = cube.region.square(unit), cube.region.square(unit, FINE), halo * CELL // FINE
    grown = Window(fine.row - pad, fine.col - pad, fine.height + 2 * pad, fine.width + 2 * pad)

    def read(layer: Layer) -> NDArray[np.float32]:
        window = grown if layer.resolution == "10m" else square
        return as_channels(layer, layer.decode(cube.read_window(layer.path, window)))

    out = {modality: concatenated([read(layer) for layer in layers]) for modality, layers in what.places.items()}
    return out | read_kilometres(cube, unit, what)


def embed_window(net: DeepSDM, window: Mapping[str, Tensor], survey: Tensor | None = None) -> Tensor:
    """Embeddings (d, U, U) of a square window of U x U cells.

    `window` holds any of the images (C, 5(U+R-1), 5(U+R-1)), series of 50 m (C, steps, U, U), table_50m (V, U, U), series of
    1 km (C, steps, k+2, k+2), coarse (W, k+2, k+2) with one 1 km cell of halo, k = U / 20. `survey`: (1,) as in a batch.
    """
    spec, tile = net.spec, deep_sdm.TILE
    of_model = {name: values for name, values in window.items() if name in net.encoders}
    name, side = next((name, values.shape[-1]) for name, values in of_model.items())
    cells = side
    if name in spec.images:
        cells = side // 5 - spec.receptive_field + 1
    elif name in spec.kilometres:
        cells = (side - 2) * CELLS_PER_KM
    kilometre = net.encode_kilometres(of_model)
    out = torch.empty(cells, cells, spec.d)
    for top in range(0, cells, tile):
        for left in range(0, cells, tile):
            part = Part(top, left, min(tile, cells - top), min(tile, cells - left))
            z = net.embed_part(part.cut(of_model, spec), kilometre, part, survey)
            out[part.slices] = z.reshape(part.height, part.width, -1)
    return out.permute(2, 0, 1)


@torch.inference_mode()
def embed_cells(ensemble: Ensemble, window: Mapping[str, Tensor], year: float) -> Tensor:
    """(U x U, D) joint embeddings of the cells of a window, row by row, as surveys of 100 m2 in `year` would see it."""
    covariates = survey_covariates(year)
    z = torch.cat([embed_window(net, window, covariates) for net in ensemble.networks])
    columns = window_columns(window, ensemble.spec, *z.shape[1:])
    return ensemble.with_leaves(z.flatten(1).T, columns, {"survey": covariates})
