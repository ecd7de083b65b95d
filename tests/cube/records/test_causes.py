"""A table of which nothing is left names the likely cause, and the key that fixes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyproj import Transformer

from cube.errors import TableError
from cube.grid import Region
from cube.records.coordinates import positions, where_they_lie
from cube.records.report import Report
from cube.records.tables import near_column, require_columns
from tests.cube.records.test_surveys import config_of, read

MORAVIA = Region(4700, 2850, 4900, 2950, 10)
SWITZERLAND = Region(4040, 2580, 4100, 2640, 10)
DEGREES = Transformer.from_crs(3035, 4326, always_xy=True)


def points(region: Region, n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Degrees of points within a region."""
    rng = np.random.default_rng(0)
    west, south, east, north = region.bounds
    lon, lat = DEGREES.transform(rng.uniform(west, east, n), rng.uniform(south, north, n))
    return np.asarray(lon), np.asarray(lat)


def cause(x: np.ndarray, y: np.ndarray, region: Region = MORAVIA) -> str:
    return where_they_lie(pd.Series(x), pd.Series(y), region)


@pytest.mark.parametrize(
    ("epsg", "region"),
    [(3035, MORAVIA), (32633, MORAVIA), (5514, MORAVIA), (21781, SWITZERLAND), (2056, SWITZERLAND), (3857, MORAVIA)],
)
def test_projected_coordinates_are_named_by_the_system_that_fits(epsg: int, region: Region) -> None:
    x, y = Transformer.from_crs(4326, epsg, always_xy=True).transform(*points(region))
    rows = pd.DataFrame({"longitude": x, "latitude": y})
    with pytest.raises(TableError, match=rf"are not degrees .*EPSG:{epsg}"):
        positions(rows, "plots.csv", Report("surveys"), None, region)


def test_another_place_is_told_beside_the_region() -> None:
    lon, lat = points(SWITZERLAND)
    text = cause(lon, lat)
    assert "the region at about" in text
    assert "check the key region" in text
    assert cause(np.array([np.nan]), np.array([1.0])) == "none has coordinates that are numbers"


def test_a_survey_table_of_which_nothing_is_left_says_why(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"'lon' and 'lat' seem swapped: .*; exchange the two names in the configuration\."):
        read(config_of(tmp_path, "id,lon,lat,area,year\n1,49.20,16.60,16,2001\n2,49.21,16.61,16,2001\n"))
    with pytest.raises(TableError, match=r"no survey is left: 2 surveys outside the region.*; check the key region\."):
        read(config_of(tmp_path, "id,lon,lat,area,year\n1,2.3,48.8,16,2001\n2,2.3,48.9,16,2001\n"))
    x, y = Transformer.from_crs(4326, 32633, always_xy=True).transform(10.5, 52.3)
    table = f"id,lon,lat,area,year\n1,{x},{y},16,2001\n2,{x},{y},16,2001\n"
    with pytest.raises(TableError, match=r"they lie at 10\.50 to 10\.50 E, 52\.30 to 52\.30 N, the region at about"):
        read(config_of(tmp_path, table, crs="EPSG:32633"))
    with pytest.raises(TableError, match=r"no survey is left: the table has no rows\."):
        read(config_of(tmp_path, "id,lon,lat,area,year\n"))


def test_a_column_whose_name_differs_by_a_dot_or_case_is_asked_for() -> None:
    assert near_column("plot id", ["x", "plot.id"]) == "; did you mean 'plot.id' (R writes a dot for a blank)?"
    assert near_column("plot_id", ["Plot.ID"]) == "; did you mean 'Plot.ID' (R writes a dot for a blank)?"
    assert near_column("plot", ["survey"]) == ""
    with pytest.raises(TableError, match=r"there is no column 'Longitude'; did you mean 'longitude'\?"):
        require_columns("a.csv", ["longitude"], ["Longitude"])
