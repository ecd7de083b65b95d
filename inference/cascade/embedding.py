"""A unit's inputs to the embeddings of its predicted cells: read band by band ahead of the computing, embedded tile by tile.

Stored values are what is copied to a GPU, and decoded there. On a processor every tile has the one shape `Batch.side` x
`Batch.side`, so results depend neither on the unit, nor on the number of threads, each of which computes tiles of its own on one
core; on a GPU a tile is a whole band.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cube.grid import CELL, COARSE, FINE, Unit, Window
from cube.layers import Layer
from cube.storage.store import CubeStore
from inference.calibration.applicability import Applicability, columns_of_part, dissimilarity_of_part
from inference.cascade.clock import Clock
from inference.cascade.device import Device
from inference.data.channels import decoded
from inference.data.recipe import Recipe
from inference.data.sampling import read_kilometres
from inference.network.deep_sdm import Part
from inference.network.ensemble import Ensemble, survey_covariates
from inference.training.likelihood import REFERENCE_AREA_M2

LAYERS_AT_ONCE: Final = 8  # that are read: of a store in the cloud each answer takes its time, and chunks are asked for in turn
StoredBand = dict[str, Tensor]  # stored values by layer, on the device


@dataclass(frozen=True)
class Task:
    """What the tiles of one unit share."""

    ensemble: Ensemble
    recipe: Recipe
    kilometre: list[dict[str, Tensor]]  # embeddings of each member
    kilometre_has_value: NDArray[np.bool_]  # (k + 2, k + 2) 1 km cells with a value
    survey: Tensor
    log_area_ratio: float  # log(area / 100 m2), which a forest reads
    cells_to_predict: NDArray[np.bool_]  # (U, U) cells to predict
    area: Applicability | None
    kilometres: dict[str, Tensor]  # 1 km inputs of the unit
    device: Device
    clock: Clock

    def embed(self, band: StoredBand, top: int, part: Part) -> tuple[NDArray[np.int64], Tensor, Tensor]:
        """(flat indices (m,), embeddings (m, D), dissimilarity (m,)) of the wanted cells of `part` with any known value.

        `band` begins at row `top`. Without an area of applicability the dissimilarity is empty.
        """
        side = self.cells_to_predict.shape[0]
        part_cells = self.cells_to_predict[part.slices]
        if not part_cells.any():
            return np.zeros(0, np.int64), torch.zeros(0, self.ensemble.dimension), torch.zeros(0)
        with self.clock("read"):
            local = Part(part.top - top, part.left, part.height, part.width)
            tile, has_value = _decoded(band, local, self.recipe, self.ensemble.spec.halo, self.device)
            has_value = has_value | self.device.put(torch.from_numpy(_at_cells(self.kilometre_has_value, part)))
            is_predicted = self.device.put(torch.from_numpy(part_cells)) & has_value
            cell_positions = torch.nonzero(is_predicted.flatten())[:, 0]
            rows, cols = np.divmod(cell_positions.cpu().numpy(), part.width)
        with self.clock("embed"), self.device.precision():
            z = self.ensemble.embed_part(tile, self.kilometre, part, self.survey).float()
        z, unlike = z[cell_positions], torch.zeros(0)
        if self.ensemble.forest is not None:
            with self.clock("forest"):
                columns = columns_of_part(self.ensemble, tile, self.kilometres, part)[cell_positions]
                z = self.ensemble.with_leaves(z, columns, {"survey": self.survey}, self.log_area_ratio)
        if self.area is not None:
            with self.clock("applicability"):
                unlike = dissimilarity_of_part(self.area, self.ensemble, tile, self.kilometres, part, z, cell_positions)
        return (part.top + rows) * side + part.left + cols, z, unlike


def embed_unit(
    cube: CubeStore,
    ensemble: Ensemble,
    recipe: Recipe,
    unit: Unit,
    cells_to_predict: NDArray[np.bool_],
    year: float,
    area_m2: float,
    device: Device,
    threads: Executor,
    clock: Clock,
    area: Applicability | None = None,
) -> tuple[NDArray[np.int64], Tensor, NDArray[np.float64] | None]:
    """(flat indices (n,), embeddings (n, D) on the device) of the `cells_to_predict` (U, U) that have a known predictor.

    For `year` and, where a forest reads it, plots of `area_m2`.

    The third is their dissimilarity (n,) over its threshold where an `area` of applicability is given. Cells are in the
    order of rows within bands of tiles.
    """
    side = min(device.batch.side, unit.cells)
    width = unit.cells if device.batch.whole_rows else side
    bands = _bands(cube, recipe, unit, cells_to_predict, side, ensemble.spec.halo, device, clock)
    with ThreadPoolExecutor(1, "read kilometres") as reader:
        coming = reader.submit(read_kilometres, cube, unit, recipe)
        first_band = iter(list(islice(bands, 1)))  # read meanwhile
        kilometres = coming.result()
    kilometre_has_value = np.zeros((unit.cells * CELL // COARSE + 2,) * 2, bool)
    for values in kilometres.values():
        kilometre_has_value |= np.isfinite(values).reshape(-1, *kilometre_has_value.shape).any(0)
    on_device = {name: device.put(torch.from_numpy(v)) for name, v in kilometres.items()}
    task = Task(
        ensemble,
        recipe,
        ensemble.encode_kilometres(on_device),
        kilometre_has_value,
        device.put(survey_covariates(year)),
        float(np.log(area_m2 / REFERENCE_AREA_M2)),
        cells_to_predict,
        area,
        on_device,
        device,
        clock,
    )
    n = 0
    index = np.empty(int(cells_to_predict.sum()), np.int64)
    z = torch.empty(len(index), ensemble.dimension, device=device.torch)
    unlike = np.empty(len(index) if area is not None else 0)
    for top, band in chain(first_band, bands):
        parts = [Part(top, left, side, width) for left in range(0, unit.cells, width)]
        embedded_parts = list(threads.map(lambda part, b=band, t=top: task.embed(b, t, part), parts))
        at = np.concatenate([i for i, _, _ in embedded_parts])
        order = np.argsort(at, kind="stable")  # by rows of the whole band: long runs are stored faster than short ones
        index[n : n + len(at)] = at[order]
        z[n : n + len(at)] = torch.cat([part.to(z.device) for _, part, _ in embedded_parts])[torch.from_numpy(order).to(z.device)]
        if area is not None:
            unlike[n : n + len(at)] = torch.cat([part.cpu() for _, _, part in embedded_parts]).numpy()[order]
        n += len(at)
    return index[:n], z[:n], unlike[:n] if area is not None else None


def _bands(
    cube: CubeStore,
    recipe: Recipe,
    unit: Unit,
    cells_to_predict: NDArray[np.bool_],
    side: int,
    halo: int,
    device: Device,
    clock: Clock,
) -> Iterator[tuple[int, StoredBand]]:
    """(first row, stored values) of each band of `side` rows that has a wanted cell; the next one is read meanwhile."""
    tops = [top for top in range(0, unit.cells, side) if cells_to_predict[top : top + side].any()]

    def read(top: int) -> StoredBand:
        return device.upload(_read_band(cube, recipe, unit, top, side, halo, pool, clock))

    with ThreadPoolExecutor(1, "read") as reader, ThreadPoolExecutor(LAYERS_AT_ONCE, "read layer") as pool:
        coming: list[Future[StoredBand]] = [reader.submit(read, top) for top in tops[:1]]
        for i, top in enumerate(tops):
            band = coming.pop().result()
            coming += [reader.submit(read, following) for following in tops[i + 1 : i + 2]]
            yield top, band


def _read_band(
    cube: CubeStore, recipe: Recipe, unit: Unit, top: int, side: int, halo: int, pool: Executor, clock: Clock
) -> dict[str, NDArray[Any]]:
    """Stored values of rows `top` to `top + side` of each 10 m and 50 m layer, images with their halo."""
    square, fine = cube.region.square(unit), cube.region.square(unit, FINE)
    rows = Window(square.row + top, square.col, side, square.width)
    pad, per_cell = halo * CELL // FINE, CELL // FINE
    with_halo = Window(fine.row + per_cell * top - pad, fine.col - pad, per_cell * side + 2 * pad, fine.width + 2 * pad)

    def read(layer: Layer) -> tuple[str, NDArray[Any]]:
        with clock("read"):
            return layer.name, cube.read_window(layer.path, with_halo if layer.resolution == "10m" else rows)

    return dict(pool.map(read, [layer for group in recipe.places.values() for layer in group]))


def _decoded(band: StoredBand, part: Part, recipe: Recipe, halo: int, device: Device) -> tuple[dict[str, Tensor], Tensor]:
    """The 10 m and 50 m modalities of a part of a band, in physical units with NaN where missing.

    And (height, width) cells with a value of their own in any of their layers.
    """
    tile: dict[str, Tensor] = {}
    has_value = torch.zeros(part.height, part.width, dtype=torch.bool, device=device.torch)
    for modality, layers in recipe.places.items():
        channels = []
        for layer in layers:
            is_image = layer.resolution == "10m"
            values, has_own = decoded(layer, band[layer.name][(..., *(part.pixels(halo) if is_image else part.slices))])
            channels.append(values)
            if is_image:
                inner = has_own[5 * halo : len(has_own) - 5 * halo, 5 * halo : has_own.shape[1] - 5 * halo]
                has_own = inner.reshape(part.height, 5, part.width, 5).any(3).any(1)
            has_value |= has_own
        tile[modality] = channels[0] if len(channels) == 1 else torch.cat(channels)
    return tile, has_value


def _at_cells(kilometre: NDArray[np.bool_], part: Part) -> NDArray[np.bool_]:
    """(height, width) what 1 km cells (k + 2, k + 2) say of the 50 m cells of a part."""
    factor = COARSE // CELL
    rows, cols = (np.arange(s.start, s.stop) // factor + 1 for s in part.slices)
    return kilometre[np.ix_(rows, cols)]
