"""Pyramids of stored layers: every level equals plain numpy on level 0, to the edge of any region, within bounded memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cube.grid import Region
from cube.layers import Layer, occurrence
from cube.layers.inputs import INPUTS
from cube.pyramids import pyramid
from cube.pyramids.levels import make_levels
from cube.pyramids.pyramid import Pyramid, build_square
from cube.pyramids.squares import tree
from cube.storage.ledger import checksum
from cube.storage.store import CubeStore, create_cube, resolution_of

Array = NDArray[Any]


def filled(cube: CubeStore, names: tuple[str, ...], seed: int = 0, gaps: float = 0.4) -> None:
    """Write random values with gaps, and one whole unit without data, into input layers."""
    rng = np.random.default_rng(seed)
    for name in names:
        layer = INPUTS[name]
        cube.ensure_group(layer.group, [layer], resolution_of(layer))
        array = cube.array(layer.path)
        top = 4 if layer.kind == "class" else 250
        values = rng.integers(0, top, array.shape).astype(layer.dtype)
        values[rng.random(array.shape) < gaps] = layer.fill
        side = cube.region.unit_km * 1000 // resolution_of(layer)
        values[..., :side, :side] = layer.fill
        array[:] = values


def built(cube: CubeStore, resolution: str, names: tuple[str, ...]) -> Pyramid:
    made = Pyramid.of_inputs(resolution, [INPUTS[name] for name in names])
    make_levels(cube, made)
    for square in tree(cube.region, cube.region.units()):
        build_square(cube, made, square)
    return made


def plain(values: Array, layer: Layer, factor: int) -> Array:
    """The level with `factor` cells along a pixel, from level 0, by numpy alone."""
    edges = [(0, 0)] * (values.ndim - 2) + [(0, -n % factor) for n in values.shape[-2:]]
    wide = np.pad(values, edges, constant_values=layer.fill)
    shape = (*wide.shape[:-2], wide.shape[-2] // factor, factor, wide.shape[-1] // factor, factor)
    cells = wide.reshape(shape)
    if layer.kind == "class":
        counts = np.stack([(cells == value).sum(axis=(-3, -1)) for value in range(5)])
        return np.where(counts.max(0) > 0, counts.argmax(0), layer.fill).astype(layer.dtype)
    gaps = np.isnan(cells) if np.isnan(layer.fill) else cells == layer.fill
    mean = np.ma.masked_array(cells.astype(np.float64), gaps).mean(axis=(-3, -1))
    rounded = mean if values.dtype.kind == "f" else np.floor(mean + 0.5)
    return np.asarray(np.ma.filled(rounded, layer.fill).astype(layer.dtype))


def assert_equals_plain(cube: CubeStore, made: Pyramid) -> None:
    for layer in made.layers:
        # Of hundreds of quarters and months a few tell whether the rest is right.
        some = (slice(None, None, 3), slice(None, None, 41)) if len(layer.dims) == 2 else ()
        level0 = np.asarray(cube.array(f"{made.source}/{layer.name}")[:])[some]
        for level in range(1, cube.region.levels() + 1):
            seen = np.asarray(cube.array(f"{made.group(level)}/{layer.name}")[:])[some]
            np.testing.assert_array_equal(seen, plain(level0, layer, 2**level), err_msg=f"{layer.name} {level}")


@pytest.mark.parametrize(
    ("resolution", "names", "region"),
    [
        ("50m", ("elevation", "surface", "footprint"), Region(4450, 2650, 4480, 2680, 10)),
        ("50m", ("landcover",), Region(4450, 2650, 4465, 2660, 10)),
        ("10m", ("sentinel2",), Region(4450, 2650, 4465, 2660, 10)),
        ("50m", ("landsat",), Region(4450, 2650, 4465, 2660, 10)),
        ("1km", ("climate", "bioclim"), Region(4450, 2650, 4500, 2670, 10)),
    ],
)
def test_every_level_is_made_of_the_cells_of_level_0(
    tmp_path: Path, resolution: str, names: tuple[str, ...], region: Region
) -> None:
    cube = create_cube(str(tmp_path / "c.zarr"), region, "t")
    filled(cube, names)
    assert_equals_plain(cube, built(cube, resolution, names))


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**16), st.floats(0, 1))
def test_any_shape_of_region_and_any_gaps_give_the_levels_of_numpy(
    tmp_path: Path, rows: int, cols: int, seed: int, gaps: float
) -> None:
    region = Region(4450, 2650, 4450 + 10 * cols, 2650 + 10 * rows, 10)
    cube = create_cube(str(tmp_path / f"{rows}-{cols}-{seed}-{gaps}.zarr"), region, "t")
    filled(cube, ("srtm",), seed, gaps)
    assert_equals_plain(cube, built(cube, "1km", ("srtm",)))


def test_means_stay_exact_when_they_are_made_from_kept_sums(tmp_path: Path) -> None:
    region = Region(4450, 2650, 4580, 2660, 10)  # 13 units: levels 1 to 4, level 4 from the sums of level 3
    cube = create_cube(str(tmp_path / "c.zarr"), region, "t")
    filled(cube, ("elevation", "slope"))
    made = built(cube, "50m", ("elevation", "slope"))
    assert_equals_plain(cube, made)
    assert cube.has("inputs/overviews/50m/sums/3/elevation_sum")
    total, count = (np.asarray(cube.array(f"{made.sums(3)}/slope_{part}")[:]) for part in ("sum", "count"))
    level0 = np.asarray(cube.array("inputs/50m/slope")[:])
    assert count.sum() == (level0 != 65535).sum()
    assert total[count > 0].sum() == level0[level0 != 65535].sum()


def test_a_majority_of_majorities_would_be_another(tmp_path: Path) -> None:
    region = Region(4450, 2650, 4480, 2660, 10)
    cube = create_cube(str(tmp_path / "c.zarr"), region, "t")
    layer = INPUTS["surface"]
    cube.ensure_group(layer.group, [layer])
    array = cube.array(layer.path)
    corner = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [2, 2, 2, 0], [2, 0, 0, 2]], np.uint8)
    array[:4, :4] = corner
    built(cube, "50m", ("surface",))
    assert list(np.asarray(cube.array("inputs/overviews/50m/1/surface")[:2, :2]).ravel()) == [1, 0, 2, 0]
    assert cube.array("inputs/overviews/50m/2/surface")[0, 0] == 0


def test_the_receipt_of_a_square_carries_its_valid_pixels_and_checksums(tmp_path: Path) -> None:
    region = Region(4450, 2650, 4480, 2660, 10)
    cube = create_cube(str(tmp_path / "c.zarr"), region, "t")
    group = "products/species/v1/0"
    layer = occurrence(group, 100.0)
    names = np.asarray([f"Planta {i}" for i in range(150)], object)  # two shards of species
    cube.ensure_group(group, [layer], labels={"species": names})
    rng = np.random.default_rng(1)
    cube.array(layer.path)[:] = rng.integers(0, 256, (150, 200, 600), np.uint8)
    made = Pyramid.of_product("species", "v1", [layer])
    make_levels(cube, made)
    for square in tree(region, region.units()):
        done = build_square(cube, made, square)
        rows, cols = square.window().slices
        values = np.asarray(cube.array(f"{made.group(square.level)}/occurrence")[:, rows, cols])
        assert done.checksums == {"occurrence": checksum(values)}
        assert done.counts == {"occurrence valid": int((values != 255).sum())}
    assert_equals_plain(cube, made)


def test_levels_carry_labels_columns_licence_and_coordinates_and_open_in_plain_xarray(tmp_path: Path) -> None:
    region = Region(4450, 2650, 4480, 2660, 10)
    cube = create_cube(str(tmp_path / "c.zarr"), region, "t")
    filled(cube, ("footprint", "surface"))
    cube.array("inputs/50m/footprint").attrs.update({"license": "CC-BY-4.0"})
    built(cube, "50m", ("footprint", "surface"))
    data = xr.open_zarr(f"{cube.url}/inputs/overviews/50m/1")
    assert data.footprint.attrs["license"] == "CC-BY-4.0"
    assert data.footprint.attrs["cell_methods"] == "area: mean"
    assert data.surface.attrs["cell_methods"] == "area: mode"
    assert list(data.footprint_variable.values) == ["hfp1993", "hfp2009"]
    y, x = region.coordinates(50, 1)
    np.testing.assert_array_equal(data.x, x)
    np.testing.assert_array_equal(data.y, y)
    layout: Any = cube.group("inputs").attrs["multiscales"]
    assert [entry["asset"] for entry in layout["layout"]] == ["50m", "overviews/50m/1", "overviews/50m/2"]
    assert all(cube.has(f"inputs/{entry['asset']}") for entry in layout["layout"])


@pytest.mark.slow
def test_memory_does_not_grow_with_the_level(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyramid, "BLOCK_BYTES", 2**18)
    region = Region(4400, 2600, 4500, 2700, 10)
    cube = create_cube(str(tmp_path / "c.zarr"), region, "t")
    filled(cube, ("surface", "slope"), gaps=0.1)
    made = Pyramid.of_inputs("50m", [INPUTS["surface"], INPUTS["slope"]])
    make_levels(cube, made)
    peaks: dict[int, int] = {}
    for square in tree(region, region.units()):
        if square.row or square.col:
            if square.level <= 3:
                build_square(cube, made, square)
            continue
        tracemalloc.start()
        build_square(cube, made, square)
        peaks[square.level] = max(peaks.get(square.level, 0), tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # Level 4 spans the 10 x 10 units: 4 MB of classes and 8 MB of slopes as stored, 32 MB as indices of votes.
    assert set(peaks) == {1, 2, 3, 4}
    assert max(peaks.values()) < 8 * 2**20, peaks
    assert peaks[4] < 1.5 * peaks[3], peaks
