"""The cube seen from a notebook: every input on the 50 m grid, exact means of 25 pixels, overviews out of sight."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import floracube
from cube import grid
from cube.errors import CubeError
from cube.grid import Region
from cube.inputs import INPUTS
from cube.storage.store import CubeStore, create_cube, resolution_of
from tests.support.good_cube import LAYERS, SPECIES, STEPS


def test_a_cell_is_the_exact_mean_of_its_valid_pixels(tmp_path: Path) -> None:
    region = Region(4450, 2650, 4453, 2652, 10)
    cube = create_cube(str(tmp_path / "c.zarr"), region, "t")
    layer = INPUTS["sentinel2"]
    cube.ensure_group(layer.group, [layer], resolution_of(layer))
    rng = np.random.default_rng(0)
    stored = rng.integers(0, 16000, (4, 1000, 1000)).astype(np.uint16)
    stored[rng.random(stored.shape) < 0.3] = layer.fill
    stored[:, :5, :5] = layer.fill
    stored[:, 5:10, :5] = layer.fill
    stored[:, 7, 3] = 1234
    cube.array(layer.path)[:] = stored
    seen = floracube.open(cube.url).inputs["sentinel2"]
    assert seen.shape == (4, 200, 200)
    assert bool(np.isnan(seen[:, 0, 0]).all())
    assert seen.values[:, 1, 0] == pytest.approx(0.1234, rel=1e-7)
    blocks = stored.reshape(4, 200, 5, 200, 5)
    valid = blocks != layer.fill
    total = np.where(valid, blocks, 0).sum(axis=(2, 4), dtype=np.int64)
    count = valid.sum(axis=(2, 4))
    exact = total / (np.maximum(count, 1) * 10_000.0)  # one division of two integers: the nearest double
    np.testing.assert_allclose(seen.values[count > 0], exact[count > 0], rtol=3e-7)  # float32, as it is decoded
    assert np.isnan(seen.values[count == 0]).all()
    band, row, col = np.argwhere(count > 20)[7]
    cells = [int(v) for v in blocks[band, row, :, col].ravel() if v != layer.fill]
    assert float(seen[band, row, col]) == pytest.approx(float(Fraction(sum(cells), 10_000 * len(cells))), rel=3e-7)


def test_a_cell_at_the_last_edge_has_its_own_pixels_and_its_own_square(tmp_path: Path) -> None:
    region = Region(4450, 2650, 4463, 2657, 10)  # grown to 2 x 1 units
    cube = create_cube(str(tmp_path / "c.zarr"), region, "t")
    for name in ("sentinel2", "bioclim"):
        cube.ensure_group(INPUTS[name].group, [INPUTS[name]], resolution_of(INPUTS[name]))
    fine, coarse = cube.array("inputs/10m/sentinel2"), cube.array("inputs/1km/bioclim")
    assert fine.shape[-2:] == (1000, 2000)
    fine[:, 995:, 1995:] = np.full((4, 5, 5), 5000, np.uint16)
    coarse[:, 9, 19] = np.full(19, 7.5, np.float32)
    inputs = floracube.open(cube.url).inputs
    corner = inputs.isel(y=-1, x=-1)
    assert corner.sentinel2.values == pytest.approx([0.5] * 4)
    assert corner.bioclim.values == pytest.approx([7.5] * 19)
    assert int(np.isfinite(inputs.sentinel2[0]).sum()) == 1
    assert int(np.isfinite(inputs.bioclim[0]).sum()) == 400
    y, x = region.coordinates()
    assert (float(corner.y), float(corner.x)) == (y[-1], x[-1])


def test_inputs_are_one_dataset_of_the_grid_without_overviews(good_cube: CubeStore) -> None:
    inputs = floracube.open(good_cube.url).inputs
    assert set(inputs.data_vars) == {name for names in LAYERS for name in names}
    assert {tuple(inputs[name].shape[-2:]) for name in inputs.data_vars} == {good_cube.region.shape()}
    assert good_cube.has("inputs/overviews/50m/1")


def test_species_are_multiplied_by_their_own_step_at_every_level(good_cube: CubeStore) -> None:
    opened = floracube.open(good_cube.url)
    assert list(opened.species) == list(SPECIES)
    stored = np.asarray(good_cube.array("products/species/v1/0/occurrence")[1])
    expected = np.where(stored == 255, np.nan, stored * STEPS[1])
    np.testing.assert_allclose(opened.species["Picea abies"].values, expected, rtol=1e-6)
    level1 = opened.product("species", level=1)
    assert level1.scale.values == pytest.approx(STEPS)
    with pytest.raises(CubeError, match="close names are Picea abies"):
        opened.species["Picea"]


def test_at_tells_every_input_and_product_of_the_cell_that_holds_the_point(good_cube: CubeStore) -> None:
    opened = floracube.open(good_cube.url)
    land = np.argwhere(opened.inputs["surface"].values == 0)
    row, col = (int(v) for v in land[len(land) // 2])
    y, x = (float(axis[i]) for axis, i in zip(good_cube.region.coordinates(), (row, col), strict=True))
    lon, lat = (float(v) for v in grid.unproject(x + 20, y - 20))
    cell = opened.at(lon, lat).load()
    assert (float(cell["x"]), float(cell["y"])) == (x, y)
    for name, data in opened.inputs.data_vars.items():
        np.testing.assert_array_equal(cell[f"inputs.{name}"].values, data.isel(y=row, x=col).values)
    np.testing.assert_array_equal(cell["species.probability"].values, [opened.species[s].values[row, col] for s in SPECIES])
    for product, held in (("indicators", opened.indicators), ("habitats", opened.habitats)):
        for name, data in held.data_vars.items():
            np.testing.assert_array_equal(cell[f"{product}.{name}"].values, data.isel(y=row, x=col).values)
    ranked = opened.product("composition")["species_id"].values[:, row, col]
    np.testing.assert_array_equal(cell["composition.species_id"].values, ranked)
    with pytest.raises(CubeError, match="outside the cube"):
        opened.at(0.0, 0.0)


def test_all_species_are_one_array_and_the_release_says_what_is_read(good_cube: CubeStore) -> None:
    opened = floracube.open(good_cube.url)
    both = opened.species.probability.sel(species=["Picea abies", "Carex alba"])
    for name in ("Picea abies", "Carex alba"):
        np.testing.assert_array_equal(both.sel(species=name).values, opened.species[name].values)
    assert opened.release["name"] == "first"
    assert opened.species.probability.attrs["units"] == "1"
