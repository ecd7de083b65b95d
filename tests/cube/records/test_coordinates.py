"""Positions in degrees from what tables hold, compared with PROJ and arithmetic; what is no degrees is refused with advice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Transformer

from cube.errors import TableError
from cube.grid import Region
from cube.records.coordinates import parse_degrees, positions, without_place
from cube.records.report import Report

MORAVIA = Region(4700, 2850, 4900, 2950, 10)
LON, LAT = [16.6, 16.7, 16.8], [49.2, 49.3, 49.2]


def read(lon: list[Any], lat: list[Any], crs: str | None = None, region: Region | None = MORAVIA) -> np.ndarray:
    rows = pd.DataFrame({"longitude": lon, "latitude": lat})
    return positions(rows, "plots.csv", Report("t"), crs, region, ("x", "y")).to_numpy().T


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("49°12'30\"N", 49 + 12.5 / 60),
        ("49° 12′ 30″ N", 49 + 12.5 / 60),
        ("49 12 30", 49 + 12.5 / 60),
        ("49:12:30", 49 + 12.5 / 60),
        ("N49°12.5'", 49 + 12.5 / 60),
        ("49d12m30s", 49 + 12.5 / 60),
        ("49,2", 49.2),
        ("49.2°", 49.2),
        ("49.2 N", 49.2),
        ("N 49.2", 49.2),
        ("49.2S", -49.2),
        ("-49.2", -49.2),
        ("\u221249.2", -49.2),
        ("49º12'30''n", 49 + 12.5 / 60),
        ("49° 12' 30,5\" S", -(49 + 12 / 60 + 30.5 / 3600)),
        ("49°12’30”", 49 + 12.5 / 60),
        ("49°", 49.0),
    ],
)
def test_degrees_are_read_however_they_are_written(text: str, value: float) -> None:
    assert parse_degrees(text, "NS") == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("text", ["49°72'", "forty", "", "49.5°12'30\"", "N49N", "49°12'30\"10", "4°9°2"])
def test_other_texts_are_no_degrees(text: str) -> None:
    assert np.isnan(parse_degrees(text, "NS"))


@given(st.integers(0, 89), st.integers(0, 59), st.integers(0, 59), st.sampled_from("NS"))
def test_minutes_and_seconds_are_read_exactly(degrees: int, minutes: int, seconds: int, letter: str) -> None:
    value = degrees + minutes / 60 + seconds / 3600
    expected = value if letter == "N" else -value
    assert parse_degrees(f"{degrees}°{minutes:02}'{seconds:02}\"{letter}", "NS") == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("epsg", [32633, 25833, 3035, 5514, 3857])
def test_projected_columns_with_their_crs_are_where_proj_puts_them(epsg: int) -> None:
    x, y = Transformer.from_crs(4326, epsg, always_xy=True).transform(LON, LAT)
    np.testing.assert_allclose(read(list(x), [f"{v:.3f}".replace(".", ",") for v in y], f"EPSG:{epsg}"), [LON, LAT], atol=1e-5)


@pytest.mark.parametrize(
    ("epsg", "region", "words"),
    [
        (32633, MORAVIA, r"are not degrees .*crs: EPSG:32633 \(WGS 84 / UTM zone 33N\)"),
        (3035, MORAVIA, r"crs: EPSG:3035 \(ETRS89-extended / LAEA Europe\)"),
        (5514, MORAVIA, r"crs: EPSG:5514 \(S-JTSK"),
        (3035, None, r"EPSG:3035"),
        (32633, None, r"EPSG:326zz \(UTM"),
    ],
)
def test_projected_columns_without_crs_are_refused_with_one_that_fits(epsg: int, region: Region | None, words: str) -> None:
    x, y = Transformer.from_crs(4326, epsg, always_xy=True).transform(LON, LAT)
    with pytest.raises(TableError, match=words):
        read(list(x), list(y), None, region)
    with pytest.raises(TableError, match=r"exchange the two names|these also fit|name their coordinate system"):
        read(list(y), list(x), None, region)


def test_swiss_coordinates_are_known_by_their_numbers() -> None:
    with pytest.raises(TableError, match=r"crs: EPSG:21781 \(CH1903 / LV03\)"):
        read([600_000.0, 610_000.0], [200_000.0, 190_000.0], None, Region(4050, 2600, 4250, 2750, 10))


def test_packed_degrees_are_refused_with_advice() -> None:
    with pytest.raises(TableError, match="DDMMSS"):
        read([163630.0, 164200.0], [491230.0, 491800.0])


def test_swapped_columns_are_refused() -> None:
    with pytest.raises(TableError, match="'x' and 'y' seem swapped: the places lie in the region only when exchanged"):
        read(LAT, LON)
    with pytest.raises(TableError, match=r"seem swapped \(the first is -40.89, 175.29\): no latitude is beyond 90 degrees"):
        read([-40.89] * 3, [175.29] * 3)
    with pytest.raises(TableError, match=r"column 'x': holds '49\.2N'; longitude and latitude seem swapped"):
        read(["49.2N"], ["16.6E"])
    x, y = Transformer.from_crs(4326, 32633, always_xy=True).transform(LON, LAT)
    with pytest.raises(TableError, match="seem swapped"):
        read(list(y), list(x), "EPSG:32633")


def test_another_utm_zone_is_named() -> None:
    x, y = Transformer.from_crs(4326, 32633, always_xy=True).transform(LON, LAT)
    for wrong in ("EPSG:32632", "EPSG:32634", "EPSG:3035"):
        with pytest.raises(TableError, match=rf"outside the region in {wrong}, and within it in EPSG:32633 .*; correct 'crs'"):
            read(list(x), list(y), wrong)


def test_single_wrong_rows_have_no_position() -> None:
    lon, lat = read(["16.6", None, "here", "16,7"], ["49.2", "49.3", "49.2", "N 49°18'"])
    np.testing.assert_allclose(lon, [16.6, np.nan, np.nan, 16.7])
    np.testing.assert_allclose(lat, [49.2, 49.3, 49.2, 49.3])


def test_degrees_under_a_projected_system_and_metres_under_degrees_are_refused() -> None:
    degrees = pd.DataFrame({"longitude": [16.6, 0.0], "latitude": [49.2, 0.0]})
    with pytest.raises(TableError, match=r"are degrees \(the first is 16.6, 49.2\), not metres of EPSG:25833; remove 'crs'"):
        positions(degrees.head(1), "a.csv", Report(""), "EPSG:25833")
    metres = pd.DataFrame({"longitude": [616_000.0], "latitude": [5_451_000.0]})
    with pytest.raises(TableError, match=r"are not degrees \(the first is 616000, 5451000\)"):
        positions(metres, "a.csv", Report(""), "EPSG:4258")


def test_longitudes_that_count_on_beyond_180_are_taken_once_around_the_globe() -> None:
    """Tables of New Zealand and Fiji hold 0 to 360 degrees; a map that was panned westward gives -180 to -360."""
    report = Report("t")
    rows = pd.DataFrame({"longitude": ["183.5", "175,25", "190 E", "-184", "360", None], "latitude": [-44.0] * 6})
    lon = positions(rows, "plots.csv", report, None, None, ("x", "y"))["longitude"]
    np.testing.assert_allclose(lon, [-176.5, 175.25, -170, 176, 0, np.nan])
    assert report.remarks["values of x beyond 180 degrees, taken once around the globe"] == (
        4,
        ["183.5 is -176.5", "190 is -170", "-184 is 176", "360 is 0"],
    )
    # In New Zealand's own datum, too: PROJ alone leaves them as they are.
    np.testing.assert_allclose(read([183.5, 175.0], [-44.0, -41.0], "EPSG:4167", None)[0], [-176.5, 175], atol=1e-6)
    with pytest.raises(TableError, match=r"are degrees \(the first is 183.5, -44\), not metres of EPSG:2193"):
        read([183.5], [-44.0], "EPSG:2193", None)
    with pytest.raises(TableError, match=r"seem swapped \(the first is -44, 183.5\): no latitude is beyond 90 degrees"):
        read([-44.0], [183.5], None, None)


def test_rows_without_a_place_are_left_out_by_their_reason() -> None:
    report = Report("t")
    rows = pd.DataFrame(
        {"id": list("abcdef"), "longitude": [16.6, np.nan, 400, 16.6, np.inf, 180], "latitude": [49.2, 49.2, 49.2, -95, 49.2, 90]}
    )
    assert list(without_place(rows, "id", "surveys", report)) == [False, True, True, True, True, False]
    assert report.tallies["surveys"].left_out == {
        "surveys without a position in degrees": 1,
        "surveys beyond 360 degrees of longitude or 90 of latitude": 3,
    }
    assert report.remarks["surveys beyond 360 degrees of longitude or 90 of latitude, skipped"][1] == [
        "c at 400 E 49.2 N",
        "d at 16.6 E -95 N",
        "e at inf E 49.2 N",
    ]
