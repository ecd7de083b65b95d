"""A square survey learns from the mean of its cells, whatever their resolution; small ones from their cell as before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cube.grid import Region
from cube.layers.inputs import INPUTS
from cube.storage.store import CubeStore, create_cube, resolution_of
from inference.data.recipe import recipe
from inference.data.sampling import sample
from inference.data.shards import SampleStore, is_on_disk

REGION = Region(4700, 2850, 4710, 2860, 10)
WEST, NORTH = 4_700_000, 2_860_000


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> CubeStore:
    cube = create_cube(str(tmp_path_factory.mktemp("squares") / "c.zarr"), REGION, "t")
    rng = np.random.default_rng(0)
    for name in ("sentinel2", "elevation", "landcover", "bioclim"):
        layer = INPUTS[name]
        cube.ensure_group(layer.group, [layer], resolution_of(layer))
        array = cube.array(layer.path)
        high = 18 if name == "landcover" else 200
        values = rng.integers(1, high, array.shape).astype(layer.dtype)
        values[..., : values.shape[-1] // 10] = layer.fill
        array[:] = values
    return cube


def decoded(cube: CubeStore, name: str) -> np.ndarray:
    layer = INPUTS[name]
    return np.asarray(layer.decode(cube.array(layer.path)[:]), np.float64)


@pytest.mark.parametrize("on_disk", [False, True])
def test_predictors_of_a_square_are_the_means_of_its_cells(cube: CubeStore, tmp_path: Path, on_disk: bool) -> None:
    what = recipe(cube)
    # rows 40 to 79 and columns 10 to 49 of 50 m, partly without data; a plot of a cell; a square over the region's edge
    x = np.array([WEST + 30 * 50.0, WEST + 5_123.0, WEST + 9_900.0])
    y = np.array([NORTH - 60 * 50.0, NORTH - 777.0, NORTH - 9_900.0])
    side = np.array([2_000.0, 50.0, 1_000.0])
    sample_store = SampleStore(tmp_path, 0) if on_disk else None
    places = sample(cube, what, x, y, 3, sample_store=sample_store, side_m=side)
    assert is_on_disk(places) == on_disk
    plain = sample(cube, what, x, y, 3)
    elevation = places.table_50m_names.index("elevation")
    static, coarse = places.values["table_50m"][np.arange(3)], places.interpolated("table_1km") if not on_disk else None
    height = decoded(cube, "elevation")
    assert static[0, elevation] == pytest.approx(np.nanmean(height[40:80, 10:50]), rel=1e-6)
    assert static[2, elevation] == pytest.approx(np.nanmean(height[188:200, 188:200]), rel=1e-6)
    np.testing.assert_array_equal(static[1], plain.values["table_50m"][1])
    # a class becomes the share of its cells
    kind = decoded(cube, "landcover")
    kind = kind[0] if kind.ndim == 3 else kind
    part = kind[40:80, 10:50]
    share = [(part == value).sum() / np.isfinite(part).sum() for value in range(1, 18)]
    first = places.table_50m_names.index("landcover.igbp1")
    np.testing.assert_allclose(static[0, first : first + 17], share, atol=1e-6)
    red = decoded(cube, "sentinel2")[0, 200:400, 50:250]
    satellite = places.values["satellite"][np.array([0])]
    np.testing.assert_allclose(satellite[0, 0], np.full((15, 15), np.nanmean(red)), atol=5.1e-5)  # half a stored step
    if coarse is not None:
        # columns 10 to 49 are 10 cells of the first kilometre (without data), 20 of the second and 10 of the third
        temperature = decoded(cube, "bioclim")[0]
        wanted = np.nanmean(np.repeat(np.repeat(temperature, 20, 0), 20, 1)[40:80, 10:50])
        assert coarse[0, 0] == pytest.approx(wanted, rel=1e-6)
        np.testing.assert_allclose(coarse[1], plain.interpolated("table_1km")[1], rtol=1e-6)
