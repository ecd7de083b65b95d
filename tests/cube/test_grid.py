"""The grid: names as the EEA writes them, exact nesting, and windows that come back to where they started."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rasterio.warp import transform

from cube import grid
from cube.config.place import check_grid, grid_of
from cube.errors import ConfigError
from cube.grid import CELL, COARSE, FINE, Grid, Region, Unit
from cube.square_names import eea_corner, eea_name, square_name

SIZES = (10, 50, 1_000, 10_000, 20_000, 40_000, 80_000, 100_000)


def test_names_follow_the_eea_reference_grid() -> None:
    assert square_name(40_000, 900_000, 5_460_000) == "40kmE90N546"
    assert eea_name(1_000, 4_321_000, 3_210_000) == "1kmE4321N3210"
    assert eea_name(100_000, 4_321_999, 3_299_999) == "100kmE43N32"
    assert eea_name(50, 4_321_075, 3_210_000) == "50mE432105N321000"


@given(
    st.sampled_from(SIZES),
    st.integers(grid.EUROPE.west, grid.EUROPE.east - 1),
    st.integers(grid.EUROPE.south, grid.EUROPE.north - 1),
)
def test_the_name_of_a_square_gives_its_corner_back(size: int, x: int, y: int) -> None:
    assert eea_corner(eea_name(size, x, y)) == (size, x // size * size, y // size * size)


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="10kmX1"):
        eea_corner("10kmX1")


@st.composite
def regions(draw: st.DrawFn) -> Region:
    unit = draw(st.sampled_from(grid.UNIT_KM))
    west, south = draw(st.integers(900, 7300)), draw(st.integers(860, 5300))
    width, height = draw(st.integers(1, 160)), draw(st.integers(1, 200))
    return Region(west, south, min(west + width, 7460), min(south + height, 5500), unit)


@given(regions())
def test_units_tile_the_grown_region_and_start_at_index_zero(region: Region) -> None:
    units = list(region.units())
    west, south, east, north = region.grown_bounds
    assert len(units) * (region.unit_km * 1000) ** 2 == (east - west) * (north - south)
    first = region.square(units[0])
    assert (first.row, first.col) == (0, 0)
    last = region.square(units[-1])
    assert (last.row + last.height, last.col + last.width) == region.shape()
    assert len({u.name for u in units}) == len(units)


@given(regions())
def test_resolutions_nest_exactly(region: Region) -> None:
    rows, cols = region.shape(CELL)
    assert region.shape(FINE) == (5 * rows, 5 * cols)
    assert region.shape(COARSE) == (rows // 20, cols // 20)
    y10, x10 = region.coordinates(FINE)
    y50, x50 = region.coordinates(CELL)
    np.testing.assert_allclose(y10.reshape(-1, 5).mean(1), y50)
    np.testing.assert_allclose(x10.reshape(-1, 5).mean(1), x50)


@given(regions(), st.data())
def test_a_cell_centre_is_found_in_its_own_cell(region: Region, data: st.DataObject) -> None:
    y, x = region.coordinates()
    row, col = data.draw(st.integers(0, len(y) - 1)), data.draw(st.integers(0, len(x) - 1))
    assert [int(v) for v in region.index(x[col], y[row])] == [row, col]


@given(regions(), st.sampled_from(sorted(grid.RESOLUTIONS.values())), st.data())
def test_the_name_of_a_cell_leads_back_to_the_cell(region: Region, resolution: int, data: st.DataObject) -> None:
    y, x = region.coordinates(resolution)
    row, col = data.draw(st.integers(0, len(y) - 1)), data.draw(st.integers(0, len(x) - 1))
    size, west, south = eea_corner(eea_name(resolution, x[col], y[row]))
    across, down = ~region.transform(resolution) * (west + size / 2, south + size / 2)
    assert (int(down), int(across)) == (row, col)


@given(regions(), st.integers(0, 6))
def test_levels_halve_and_the_coarsest_fits_into_one_unit(region: Region, level: int) -> None:
    rows, cols = region.shape()
    assert region.shape(CELL, level) == (-(-rows // 2**level), -(-cols // 2**level))
    side = region.unit_km * 20
    assert max(region.shape(CELL, region.levels())) <= side


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((4000, 2000, 3999, 2100, 10), "west_km"),
        ((4000, 2000, 4010, 2010, 15), "unit_km"),
        ((0, 2000, 4010, 2010, 10), "leaves the grid"),
    ],
)
def test_a_region_that_is_none_is_refused_by_name(arguments: tuple[int, ...], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        Region(*arguments)


def test_projection_agrees_with_gdal() -> None:
    lon, lat = np.array([16.6, -9.0, 30.0]), np.array([49.2, 38.7, 65.0])
    x, y = grid.EUROPE.project(lon, lat)
    gx, gy = transform("EPSG:4326", "EPSG:3035", lon, lat)
    np.testing.assert_allclose(x, gx, atol=1e-3)
    np.testing.assert_allclose(y, gy, atol=1e-3)
    back = grid.EUROPE.unproject(x, y)
    np.testing.assert_allclose(back, (lon, lat), atol=1e-9)


def test_the_first_unit_of_the_grid_has_the_name_of_the_design() -> None:
    assert Unit(40, 0, 0).name == "40kmE90N546"


@given(st.sampled_from(grid.UNIT_KM), st.integers(0, 50), st.integers(0, 50))
def test_the_name_of_a_unit_gives_its_corner_back(km: int, row: int, col: int) -> None:
    unit = Unit(km, row, col)
    assert eea_corner(unit.name) == (km * 1000, unit.west, unit.bounds[1])


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("EPSG:4326", "coordinates in degree"),
        ("EPSG:2263", "US survey foot"),
        ("EPSG:3031", "do not run to the east and north"),
        ("EPSG:99999", "PROJ knows no EPSG:99999"),
        ("ESRI:54009", "found 'ESRI:54009'"),
    ],
)
def test_a_grid_takes_projections_in_metres_alone(code: str, words: str) -> None:
    with pytest.raises(ConfigError, match=f"grid.crs: expected the code of a projection in metres, .*{words}"):
        Grid.of(code)


@pytest.mark.parametrize("code", ["EPSG:3577", "EPSG:2193", "EPSG:32721"])
def test_units_of_other_grids_have_their_own_corners_in_their_names(code: str) -> None:
    region = Region(-1_445, 5_171, -1_412, 5_190, 20, Grid.of(code))
    units = list(region.units())
    west, _, east, north = region.grown_bounds
    assert {unit.bounds[0] for unit in units} == set(range(west, east, 20_000))
    assert (west % 20_000, north % 20_000) == (0, 0)
    assert all(eea_corner(unit.name) == (20_000, *unit.bounds[:2]) for unit in units)
    assert all(region.unit(unit.row, unit.col) == unit for unit in units)


def test_the_scale_of_areas_is_that_of_the_projection() -> None:
    mercator = Grid.of("EPSG:3857")
    x, y = (float(v) for v in mercator.project(20.0, 60.0))
    assert mercator.scales(x, y) == (pytest.approx(4.0, rel=0.01), pytest.approx(2.0, rel=0.01))  # 1 / cos(60 degrees), squared
    for lon, lat in ((10.0, 52.0), (-9.0, 38.0), (30.0, 70.0)):
        assert grid.EUROPE.scales(*(float(v) for v in grid.EUROPE.project(lon, lat)))[0] == pytest.approx(1, abs=1e-6)


def test_a_region_whose_units_cross_the_antimeridian_is_refused_by_its_units() -> None:
    of_fiji = grid_of({"grid": {"crs": 32760}})  # a bare number is a code of the EPSG
    assert of_fiji.code == "EPSG:32760"
    with pytest.raises(ConfigError, match=r"its units of 40 km cross the meridian of 180 degrees; .*smaller units"):
        check_grid(Region(800, 8140, 810, 8150, 40, of_fiji))
    check_grid(Region(800, 8140, 810, 8150, 10, of_fiji))
