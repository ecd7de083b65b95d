"""Training sees what prediction sees: predictors sampled at a cell are those of the cell in its unit's window."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cube.grid import CELL, Region
from cube.inputs import INPUTS
from cube.store import CubeStore, create_cube, resolution_of
from inference.batches import predict_surveys
from inference.cascade import Cells, blur
from inference.ensemble import Ensemble
from inference.indicators import zero_sums
from inference.network import ModelSpec
from inference.sampling import read_window, recipe, sample

REGION = Region(4700, 2850, 4720, 2870, 10)


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> CubeStore:
    cube = create_cube(str(tmp_path_factory.mktemp("sampling") / "c.zarr"), REGION, "t")
    rng = np.random.default_rng(0)
    for name in ("sentinel2", "landsat", "elevation", "soil", "landcover", "climate", "bioclim"):
        layer = INPUTS[name]
        size = resolution_of(layer)
        cube.ensure_group(layer.group, [layer], size)
        array = cube.array(layer.path)
        if layer.dtype == "float32":
            values = rng.normal(0, 1, array.shape).astype(np.float32)
        else:
            values = rng.integers(1, 200, array.shape).astype(layer.dtype)
        if name == "landcover":
            values = rng.integers(1, 18, array.shape).astype(np.uint8)
        values[..., : values.shape[-1] // 7] = layer.fill  # a part without data
        array[:] = values
    return cube


def test_dense_prediction_equals_prediction_at_sampled_places(cube: CubeStore) -> None:
    what = recipe(cube)
    assert set(what.modalities) == {"satellite", "landsat", "static", "climate", "coarse"}
    torch.manual_seed(0)
    spec = ModelSpec(
        (*what.modalities, "survey"), 5, what.static_names, what.coarse_names, d=8, hidden=16, width=8, dilations=(1, 2)
    )
    ensemble = Ensemble(spec, 2, [f"s{i}" for i in range(5)])
    unit = list(REGION.units())[3]
    window = {k: torch.from_numpy(v) for k, v in read_window(cube, unit, what, spec.halo).items()}
    dense = ensemble.probability(ensemble.embed_window(window, 2020, 100.0)).numpy()
    rng = np.random.default_rng(1)
    rows = np.r_[rng.integers(0, 200, 40), 0, 0, 199, 199]
    cols = np.r_[rng.integers(0, 200, 40), 0, 199, 0, 199]
    x = unit.west + (cols + rng.uniform(0.01, 0.99, len(cols))) * CELL
    y = unit.north - (rows + rng.uniform(0.01, 0.99, len(rows))) * CELL
    places = sample(cube, what, x, y, spec.receptive_field)
    eta = predict_surveys(ensemble, places, np.full(len(x), 2020.0), np.full(len(x), 100.0))
    seen = 1 - np.exp(-np.exp(eta))
    np.testing.assert_allclose(seen, dense[:, rows, cols].T, atol=1e-5)


def test_the_land_cover_is_one_column_a_class(cube: CubeStore) -> None:
    what = recipe(cube, ("static",))
    places = sample(cube, what, np.array([4_715_025.0]), np.array([2_855_025.0]), 1)
    columns = [i for i, n in enumerate(what.static_names) if n.startswith("landcover")]
    assert places.static is not None
    assert places.static[0, columns].sum() == 1
    assert places.modalities == ("static",)


def test_a_blurred_species_has_one_value_a_square_and_keeps_its_mean() -> None:
    rng = np.random.default_rng(0)
    index = np.sort(rng.choice(200 * 200, 30_000, replace=False))
    cells = Cells(index, 200, zero_sums(len(index)), np.zeros((0, 0), np.float32), np.zeros((0, 0), np.int32))
    p = rng.uniform(0, 1, len(index)).astype(np.float32)
    seen = blur(p, cells, 1)
    row, col = np.divmod(index, 200)
    square = row // 20 * 10 + col // 20
    for number in range(0, 100, 7):
        inside = square == number
        np.testing.assert_allclose(seen[inside], p[inside].mean(), rtol=1e-4)
    assert len(np.unique(blur(p, cells, 10))) == 1
