"""Opening is cheap: few requests, few tasks, whole shards; and what is shown on the 50 m grid is what xarray would compute."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given
from hypothesis import strategies as st

import floracube
from cube.errors import CubeError
from cube.grid import CELL, COARSE, EUROPE, FINE, Region
from cube.layers import occurrence
from cube.layers.conventions import grid_mapping_attributes
from cube.layers.inputs import INPUTS
from cube.storage import releases
from cube.storage.datasets import BLOCK_BYTES, block_shape, in_blocks, on_cells, open_leaf
from cube.storage.leaves import ensure_column
from cube.storage.store import CubeStore, create_cube, resolution_of
from tests.support.good_cube import SPECIES, STEPS
from tests.support.web import served

SMALL = Region(4450, 2650, 4460, 2660, 10)
WHOLE = Region(900, 860, 7460, 5500, 40)  # 92,800 x 131,200 cells


def with_species(folder: Path, region: Region, count: int) -> CubeStore:
    """A cube with a release of `count` species and no values."""
    cube = create_cube(str(folder / "c.zarr"), region, "t")
    names = np.asarray([f"Planta {i}" for i in range(count)], object)
    path = "products/species/v1/0"
    group = cube.ensure_group(path, [occurrence(path, 100.0)], CELL, 0, {"species": names}, consolidate=False)
    ensure_column(group, "scale", np.full(count, 0.004, np.float32), "species", {})
    zarr.consolidate_metadata(cube.root.store, path=path)
    releases.ensure_table(cube, "species", "v1", {"scientific_name": names})
    releases.write_release(cube, "r", {"species": "v1"}, {})
    releases.publish(cube, "r")
    return cube


def test_a_value_among_ten_thousand_species_needs_the_fewest_requests(tmp_path: Path) -> None:
    cube = with_species(tmp_path, SMALL, 10_000)
    cube.array("products/species/v1/0/occurrence")[192:384] = np.ones((192, 200, 200), np.uint8)
    log: list[str] = []
    with served(tmp_path, log=log) as url:
        opened = floracube.open(f"{url}/c.zarr")
        assert log == ["200 /c.zarr/current.json"]
        log.clear()
        group = "/c.zarr/products/species/v1/0"
        assert float(opened.species["Planta 200"][5, 5]) == pytest.approx(0.004)
        assert log == [
            f"200 {group}/zarr.json",
            f"200 {group}/species/c/0",
            *[f"206 {group}/occurrence/c/1/0/0"] * 2,  # the index of the shard, and a chunk
        ]
        log.clear()
        assert float(opened.species["Planta 201"][5, 5]) == pytest.approx(0.004)
        assert log == [f"206 {group}/occurrence/c/1/0/0"] * 2


@pytest.mark.slow
def test_one_cell_of_a_continent_is_chosen_before_its_arrays_are_cut_into_blocks(tmp_path: Path) -> None:
    cube = with_species(tmp_path, WHOLE, 10_000)
    for name in ("sentinel2", "landsat", "elevation", "climate", "bioclim"):
        cube.ensure_group(INPUTS[name].group, [INPUTS[name]], resolution_of(INPUTS[name]))
    opened = floracube.open(cube.url)
    cell = opened.at(15.0, 49.5)
    assert sum(len(value.__dask_graph__()) for value in cell.variables.values() if value.chunks is not None) <= 30
    assert cell["species.probability"].sizes == {"species": 10_000}
    assert np.isnan(cell["inputs.sentinel2"].values).all()
    for name, blocks in {"elevation": 116 * 164, "sentinel2": 4 * 116 * 164, "bioclim": 116 * 164}.items():
        assert opened.inputs[name].data.npartitions == blocks
    assert opened.species["Planta 7"].data.npartitions == 116 * 164
    assert opened.species.maps(["Planta 7", "Planta 9999"]).data.npartitions == 116 * 164
    assert opened.species.probability.data.npartitions < 2_100_000  # with inner chunks 761 million


@given(st.integers(1, 300), st.sampled_from([1, 20, 300]), st.sampled_from([50, 400]), st.integers(1, 4))
def test_a_block_is_whole_inner_chunks_of_a_shard_where_that_is_small_enough(
    lead: int, inner_lead: int, side: int, times: int
) -> None:
    inner, shard = (min(inner_lead, lead), side, side), (lead, side * times, side * times)
    for item in (4, 1600):
        block = block_shape(inner, shard, item)
        assert math.prod(block) * item <= BLOCK_BYTES or block == (1, side, side)
        assert all(size % least == 0 for size, least in zip(block[1:], inner[1:], strict=True))
        if math.prod(shard) * item <= BLOCK_BYTES:
            assert block == shard


@pytest.mark.parametrize("resolution", [FINE, COARSE])
def test_other_resolutions_on_the_cells_are_what_xarray_computes(resolution: int) -> None:
    y, x = SMALL.coordinates(CELL)
    rows, cols = SMALL.shape(resolution)
    values = np.random.default_rng(0).normal(size=(2, rows, cols)).astype(np.float32)
    values[values > 1] = np.nan
    values[:, :10, :10] = np.nan
    data = xr.DataArray(values, dims=("band", "y", "x"), coords={"band": ["a", "b"]}, attrs={"units": "m"}, name="n")
    if resolution == FINE:
        expected = data.astype(np.float64).coarsen(y=5, x=5).mean()
    else:
        expected = data.isel(y=np.arange(y.size) // 20, x=np.arange(x.size) // 20)
    seen = on_cells(data.chunk(y=rows // 2, x=cols // 2), resolution, y, x)
    xr.testing.assert_allclose(seen.drop_vars(["y", "x"]), expected, rtol=1e-6)
    assert seen.attrs == {"units": "m"}
    assert (seen.y.values == y).all()


def test_a_leaf_has_the_axes_and_the_mapping_that_lie_in_the_cube(good_cube: CubeStore) -> None:
    for path, resolution, level in (("inputs/10m", FINE, 0), ("products/indicators/v1/1", CELL, 1), ("inputs/1km", COARSE, 0)):
        leaf = open_leaf(good_cube, path)
        for axis in "yx":
            assert (leaf[axis].values == np.asarray(good_cube.array(f"{path}/{axis}")[:])).all()
            assert leaf[axis].attrs == dict(good_cube.array(f"{path}/{axis}").attrs)
        assert leaf["spatial_ref"].attrs == grid_mapping_attributes(good_cube.region, resolution, level)
        with xr.open_zarr(f"{good_cube.url}/{path}", chunks=None, consolidated=True) as plain:
            seen = in_blocks(leaf, resolution).load()
            xr.testing.assert_equal(plain.load(), seen.drop_vars(set(seen.coords) - set(plain.variables)))


def test_units_go_with_the_band_that_is_chosen(good_cube: CubeStore) -> None:
    bioclim = floracube.open(good_cube.url).inputs["bioclim"]
    chosen = [bioclim.sel(bioclim_variable=name) for name in ("bio1", "bio12")]
    assert [str(one.coords["bioclim_variable_units"].values) for one in chosen] == ["degC", "mm"]
    assert str(chosen[1].coords["bioclim_variable_long_name"].values) == "Annual precipitation"
    west, south, _, _ = good_cube.region.bounds
    lon, lat = (float(v) for v in EUROPE.unproject(west + 1025.0, south + 1025.0))
    cell = floracube.open(good_cube.url).at(lon, lat)
    assert str(cell["inputs.bioclim"].sel(bioclim_variable="bio5").coords["bioclim_variable_units"].values) == "degC"


def test_some_species_are_chosen_before_they_are_read(good_cube: CubeStore) -> None:
    species = floracube.open(good_cube.url).species
    chosen = species.maps([SPECIES[2], SPECIES[0]])
    one = species.maps(SPECIES[2])
    assert (one.sizes["species"], one["species"].item()) == (1, SPECIES[2])
    np.testing.assert_array_equal(chosen.values, species.probability.sel(species=[SPECIES[2], SPECIES[0]]).values)
    stored = np.asarray(good_cube.array("products/species/v1/0/occurrence")[2])
    np.testing.assert_allclose(chosen[0].values, np.where(stored == 255, np.nan, stored * STEPS[2]), rtol=1e-6)


def test_a_group_that_is_absent_or_damaged_is_one_sentence(tmp_path: Path) -> None:
    cube = create_cube(str(tmp_path / "c.zarr"), SMALL, "t")
    with pytest.raises(CubeError, match="there is no group 'inputs/50m'; run the stage"):
        open_leaf(cube, "inputs/50m")
    cube.ensure_group("inputs/50m", [INPUTS["slope"]])
    document = tmp_path / "c.zarr/inputs/50m/zarr.json"
    whole = document.read_text()
    for key in ("spatial:transform", "spatial:shape"):
        document.write_text(whole.replace(key, "spatial:lost"))
        with pytest.raises(CubeError, match=rf"inputs/50m/zarr\.json: is no metadata .*{key} is missing"):
            open_leaf(cube, "inputs/50m")
    document.write_text('{"zarr_format": 3, "node_type": "group"')
    with pytest.raises(CubeError, match=r"inputs/50m/zarr\.json: is no metadata of a Zarr array or group"):
        open_leaf(cube, "inputs/50m")
