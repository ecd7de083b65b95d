"""A cell's code names a square; its centre and places within it are where GDAL's and PROJ's coordinates say."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from cube.grid import EUROPE, Grid
from cube.records.squares import Squares, parse_cell


@pytest.mark.parametrize(
    ("code", "square"),
    [
        ("1kmE4321N3210", ("EPSG:3035", 4_321_000, 3_210_000, 1_000)),
        ("10kmE432N321", ("EPSG:3035", 4_320_000, 3_210_000, 10_000)),
        ("100kmE43N32", ("EPSG:3035", 4_300_000, 3_200_000, 100_000)),
        ("250mE432125N321050", ("EPSG:3035", 4_321_250, 3_210_500, 250)),
        ("100mE43210N32101", ("EPSG:3035", 4_321_000, 3_210_100, 100)),
        ("1KME4321N3210", ("EPSG:3035", 4_321_000, 3_210_000, 1_000)),
        (" 1km E4321 N3210 ", ("EPSG:3035", 4_321_000, 3_210_000, 1_000)),
        ("1kmN3210E4321", ("EPSG:3035", 4_321_000, 3_210_000, 1_000)),
        ("RES10kmN321E432", ("EPSG:3035", 4_320_000, 3_210_000, 10_000)),
        ("CRS3035RES1000mN3210000E4321000", ("EPSG:3035", 4_321_000, 3_210_000, 1_000)),
        # the Eiffel Tower in the examples of chrisveness/geodesy: zone 31, E 448251, N 5411932
        ("31UDQ4825111932", ("EPSG:32631", 448_251, 5_411_932, 1)),
        ("31U DQ 48251 11932", ("EPSG:32631", 448_251, 5_411_932, 1)),
        ("31udq4811", ("EPSG:32631", 448_000, 5_411_000, 1_000)),
        ("31UDQ41", ("EPSG:32631", 440_000, 5_410_000, 10_000)),
        ("31UDQ", ("EPSG:32631", 400_000, 5_400_000, 100_000)),
        ("31UFS12", ("EPSG:32631", 610_000, 5_620_000, 10_000)),
        ("31UFS123456", ("EPSG:32631", 612_300, 5_645_600, 100)),
        ("4QFJ1234567890", ("EPSG:32604", 612_345, 2_367_890, 1)),  # Honolulu, of the encyclopaedia's page on MGRS
        ("31UFS123", None),
        ("31UFS12A", None),
        ("31UAS12", ("EPSG:32631", 110_000, 5_620_000, 10_000)),
        ("31UJS12", None),  # no such column in the zone
        ("61UFS12", None),
        ("kmE4321N3210", None),
        ("0kmE4321N3210", None),
        ("1000kmE4N3", None),
        ("E016N49", None),
        ("Brno", None),
    ],
)
def test_codes_name_squares(code: str, square: tuple[str, float, float, float] | None) -> None:
    assert parse_cell(code) == square


@settings(max_examples=60, deadline=None)
@given(st.floats(-10, 35), st.floats(36, 70))
def test_the_mgrs_square_of_a_place_holds_it(lon: float, lat: float) -> None:
    zone = int((lon + 180) // 6) + 1
    x, y = Transformer.from_crs(4326, 32600 + zone, always_xy=True).transform(lon, lat)
    # the letters anew, by counting: 24 rows of 8 columns and 20 rows from the equator
    columns = "ABCDEFGHJKLMNPQRSTUVWXYZ"
    column = columns[(zone - 1) % 3 * 8 + int(x // 100_000) - 1]
    rows = columns[:20]
    row = rows[(int(y // 100_000) + (5 if zone % 2 == 0 else 0)) % 20]
    band = "CDEFGHJKLMNPQRSTUVWX"[min(int((lat + 80) // 8), 19)]
    code = f"{zone}{band}{column}{row}{int(x % 100_000 // 1000):02d}{int(y % 100_000 // 1000):02d}"
    square = parse_cell(code)
    assert square is not None
    crs, west, south, size = square
    assert crs == f"EPSG:{32600 + zone}"
    assert west <= x < west + size
    assert south <= y < south + size


def test_places_of_a_square_lie_within_it() -> None:
    codes = pd.Series(["10kmE432N321", "32UMF7684", None, "nowhere"])
    squares = Squares.of_codes(codes)
    x, y = squares.at(0.5, 0.5)
    assert (x[0], y[0]) == (4_325_000, 3_215_000)
    expected = Transformer.from_crs(32632, 3035, always_xy=True).transform(476_500, 6_084_500)
    np.testing.assert_allclose([x[1], y[1]], expected, atol=1e-6)
    assert np.isnan(x[2:]).all()
    again = Squares.of_rows(pd.DataFrame(squares.columns()))
    np.testing.assert_array_equal(again.at(0.25, 1), squares.at(0.25, 1))


@pytest.mark.skipif("FLORACUBE_DATA" not in os.environ, reason="FLORACUBE_DATA names no folder of real files")
@pytest.mark.parametrize("grid", ["eea", "mgrs"])
def test_cells_of_a_real_cube_lie_in_its_waters(grid: str) -> None:
    path = Path(os.environ["FLORACUBE_DATA"]) / "formats/gbif-cubes" / f"denmark_mammals_cube_{grid}.csv"
    table = pd.read_csv(path, sep="\t")
    squares = Squares.of_codes(table[f"{grid}cellcode"])
    lon, lat = EUROPE.unproject(*squares.at(0.5, 0.5))
    known = np.isfinite(lon)
    assert known.mean() > 0.99
    assert ((lon[known] > 3) & (lon[known] < 17) & (lat[known] > 54) & (lat[known] < 59)).all()


def test_squares_of_one_system_lie_right_on_another_grid() -> None:
    squares = Squares.of_codes(pd.Series(["1kmE4680N2940", "33UXQ12"]))
    utm = Grid.of("EPSG:32633")
    truth, seen = EUROPE.unproject(*squares.at(0.5, 0.5)), utm.unproject(*squares.at(0.5, 0.5, utm))
    np.testing.assert_allclose(seen, truth, atol=1e-8)
    x, y = squares.at(0.5, 0.5, utm)
    assert (x[1], y[1]) == (615_000.0, 5_425_000.0)  # of MGRS itself, 10 km from 610 km E and 5,420 km N
