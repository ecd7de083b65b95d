"""The cube seen from a notebook: one release, every input on the 50 m grid, means of 25 pixels, no overviews."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from dask.blockwise import fuse_roots, optimize_blockwise

import floracube
from benchmarks import continent
from cube import grid
from cube.errors import CubeError
from cube.export.selection import select
from cube.grid import Region
from cube.layers.inputs import INPUTS
from cube.reader import Cube
from cube.storage import releases
from cube.storage.store import CubeStore, create_cube, resolution_of
from tests.support.good_cube import LAYERS, REGION, SPECIES, STEPS, copy_of

CENTRE = tuple(float(v) for v in grid.EUROPE.unproject(sum(REGION.bounds[::2]) / 2 + 20.0, sum(REGION.bounds[1::2]) / 2 + 20.0))


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


@pytest.mark.slow
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
    with pytest.raises(CubeError, match="Did you mean Picea abies"):
        opened.species["Picea"]


def test_one_value_makes_tasks_of_its_own_block(tmp_path: Path) -> None:
    folder = str(tmp_path / "cube.zarr")
    continent.make(folder, Region(4180, 2620, 4420, 2860, 40), 3)  # 36 units, so 36 blocks
    first, second, _ = floracube.open(folder).species.values()
    assert first.data.numblocks == (6, 6)
    for maps in (first, first + second):
        value = maps[0, 0].data
        layers = fuse_roots(optimize_blockwise(value.dask, value.__dask_keys__()), value.__dask_keys__()).layers
        assert max(len(layer) for layer in layers.values() if layer.is_materialized()) == 1


def test_at_tells_every_input_and_product_of_the_cell_that_holds_the_point(good_cube: CubeStore) -> None:
    opened = floracube.open(good_cube.url)
    land = np.argwhere(opened.inputs["surface"].values == 0)
    row, col = (int(v) for v in land[len(land) // 2])
    y, x = (float(axis[i]) for axis, i in zip(good_cube.region.coordinates(), (row, col), strict=True))
    lon, lat = (float(v) for v in grid.EUROPE.unproject(x + 20, y - 20))
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
    with pytest.raises(CubeError, match=r"`at` reads one cell\. For many points .* cube\.indicators\.sel\(points, "):
        opened.at([lon, lon], [lat, lat])  # type: ignore[arg-type]


def test_all_species_are_one_array_and_the_release_says_what_is_read(good_cube: CubeStore) -> None:
    opened = floracube.open(good_cube.url)
    both = opened.species.probability.sel(species=["Picea abies", "Carex alba"])
    for name in ("Picea abies", "Carex alba"):
        np.testing.assert_array_equal(both.sel(species=name).values, opened.species[name].values)
    assert opened.release["name"] == "first"
    assert opened.species.probability.attrs["units"] == "1"


@pytest.fixture
def second(good_cube: CubeStore, tmp_path: Path) -> CubeStore:
    """A copy of the good cube with a release `second` of other species, values and tables, which nobody follows yet."""
    cube = copy_of(good_cube, tmp_path)
    root = Path(cube.url)
    for product in releases.PRODUCTS:
        shutil.copytree(root / f"products/{product}/v1", root / f"products/{product}/v2")
        if product in releases.TABLE_ROWS:
            columns = cube.read_table(releases.table_path(product, "v1"))
            rows = len(next(iter(columns.values())))
            releases.ensure_table(cube, product, "v2", {**columns, "note": np.full(rows, "new", object)})
    for path, value in (("species/v2/0/occurrence", 7), ("indicators/v2/0/richness", 77), ("habitats/v2/0/level3", 1)):
        cube.array(f"products/{path}")[...] = value
    releases.write_release(cube, "second", dict.fromkeys(releases.PRODUCTS, "v2"), {})
    return cube


def everything(cube: Cube) -> xr.Dataset:
    """What `at` and the properties give of one cell."""
    cell = cube.at(*CENTRE).load()
    row, col = (int(v) for v in cube.region.index(*grid.EUROPE.project(*CENTRE)))
    seen = {
        "one": cube.species[SPECIES[0]][row, col].load(),
        "richness": cube.indicators["richness"][:, row, col].load(),
        "class": cube.habitats["level3"][row, col].load(),
    }
    return cell.merge({name: data.drop_vars(list(data.coords)) for name, data in seen.items()}, compat="override")


def test_a_cube_is_read_at_one_release_until_it_is_refreshed(second: CubeStore) -> None:
    opened, untouched = floracube.open(second.url), floracube.open(second.url)
    first = everything(opened)
    releases.publish(second, "second")
    # `untouched` reads nothing before the publication: what it reads afterwards is of its own release all the same.
    for cube in (opened, untouched):
        xr.testing.assert_identical(everything(cube), first)
        assert "note" not in cube.table("species")
        assert cube.release["name"] == "first"
    new = everything(floracube.open(second.url))
    assert float(new["species.probability"][0]) == pytest.approx(7 * STEPS[0])
    assert float(new["indicators.richness"][0]) == pytest.approx(0.77)
    assert opened.refresh() is opened
    assert opened.release["name"] == "second"
    xr.testing.assert_identical(everything(opened), new)
    assert set(opened.table("habitats")["note"]) == {"new"}
    assert untouched.release["name"] == "first"


def test_a_release_that_nobody_follows_is_opened_by_its_name(second: CubeStore) -> None:
    chosen = floracube.open(second.url, release="second")
    assert float(chosen.species[SPECIES[0]][0, 0]) == pytest.approx(7 * STEPS[0])
    assert chosen.refresh().release["name"] == "first"
    with pytest.raises(KeyError, match=r"Unknown release .third.\. Choose one of: first, second"):
        floracube.open(second.url, release="third")


def test_a_pointer_of_an_older_floracube_opens_by_the_root(good_cube: CubeStore, tmp_path: Path) -> None:
    cube = copy_of(good_cube, tmp_path)
    pointer = cube.read_json("current.json")
    assert pointer.pop("cube") == {"crs": "EPSG:3035", "format": 2, "region_km": [4803, 2894, 4815, 2900], "unit_km": 10}
    cube.write_json("current.json", pointer)
    older, newer = floracube.open(cube.url), floracube.open(good_cube.url)
    assert (older.region, older.release, older.title) == (newer.region, newer.release, newer.title)
    cube.write_json("current.json", {**pointer, "cube": {"format": 99}})
    with pytest.raises(CubeError, match="cube format 99 is newer"):
        floracube.open(cube.url)


def test_unknown_names_are_key_errors_of_one_sentence(good_cube: CubeStore) -> None:
    cube = floracube.open(good_cube.url)
    assert "Picea abies" in cube.species
    assert "Picea" not in cube.species
    assert 5 not in cube.species
    assert cube.species.get("Picea") is None
    for name, ask in (
        ("Picea", lambda: cube.species["Picea"]),
        ("mosses", lambda: cube.product("mosses")),
        ("mosses", lambda: cube.table("mosses")),
        ("indicators", lambda: cube.table("indicators")),
        ("r9", lambda: floracube.open(good_cube.url, release="r9")),
        ("../current", lambda: floracube.open(good_cube.url, release="../current")),
        ("inputs.nothing", lambda: select(good_cube, {}, "inputs.nothing")),
    ):
        with pytest.raises(KeyError) as raised:
            ask()
        assert isinstance(raised.value, CubeError)
        assert f"'{name}'" in str(raised.value)
        assert str(raised.value)[0] not in "'\""


def test_a_version_of_an_older_floracube_is_refused_with_what_makes_a_new_one(good_cube: CubeStore, tmp_path: Path) -> None:
    cube = copy_of(good_cube, tmp_path)
    shutil.move(tmp_path / "copy.zarr/products/species/v1/table", tmp_path / "copy.zarr/tables")  # where it lay before
    for ask in (lambda: Cube(cube).table("species"), lambda: select(cube, releases.current(cube)["products"], "Picea abies")):
        with pytest.raises(CubeError, match="an older floracube made it; run `floracube predict` with another --version"):
            ask()
