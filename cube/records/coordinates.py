"""Positions of rows in degrees: decimal, degrees-minutes-seconds, or projected with the system that the configuration names.

Coordinates that are no degrees are refused with the systems that fit the numbers, not left out row by row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyproj import CRS

from cube.errors import TableError
from cube.grid import NATIONAL_SYSTEMS, Region, transformer
from cube.records.numbers import clean_number, parse_numbers
from cube.records.report import MAX_NAMES, Report

DEGREES: Final = "EPSG:4326"
TURN: Final = 360.0  # degrees of longitude around the globe
SAMPLE: Final = 1000  # positions of a piece of a table that are tried with the columns exchanged
SYSTEMS: Final = (3035, *range(32628, 32639), *NATIONAL_SYSTEMS, 3857)  # Europe's, zones of UTM, national ones, web Mercator
MINUTES: Final = re.compile(
    r"""(?P<before>[NSEW])?\s*(?P<sign>[+-])?(?P<degrees>\d+(?:[.,]\d+)?)\s*(?:[°ºd:]|deg|\s)?\s*
        (?:(?P<minutes>\d+(?:[.,]\d+)?)\s*(?:['`´\u2019\u2032m:]|min|\s)?\s*)?
        (?:(?P<seconds>\d+(?:[.,]\d+)?)\s*(?:["\u201d\u2033s]|''|\u2019\u2019|\u2032\u2032|sec)?)?\s*(?P<after>[NSEW])?""",
    re.VERBOSE | re.IGNORECASE,
)


def positions(
    rows: pd.DataFrame,
    where: str,
    report: Report,
    crs: str | None = None,
    region: Region | None = None,
    labels: tuple[str, str] = ("longitude", "latitude"),
) -> pd.DataFrame:
    """Columns longitude and latitude (degrees, WGS 84; NaN: none) of `rows`, whose own are in `crs` (None: degrees).

    `labels` are the table's words for the two columns, `where` names the table. Raises `TableError` where most positions
    are no degrees and `crs` is None or of degrees, where most are degrees and `crs` is projected, and where longitude and
    latitude are swapped, the latter by letters (`49.2 N`) or because their places lie in `region` only when swapped; also
    where they lie in `region` only in another system than `crs`, such as the neighbouring UTM zone.
    """
    first, second = labels
    is_projected = crs is not None and not CRS.from_user_input(crs).is_geographic
    if is_projected:
        x = parse_numbers(rows["longitude"], f"{where}: column '{first}'", report, first).to_numpy()
        y = parse_numbers(rows["latitude"], f"{where}: column '{second}'", report, second).to_numpy()
    else:
        x = _degrees(rows["longitude"], "EW", f"{where}: column '{first}'", report, first)
        y = _degrees(rows["latitude"], "NS", f"{where}: column '{second}'", report, second)
        _refuse_projected(x, y, where, region, labels)
        x = _within_half_turn(x, report, first)
    if crs is not None:
        lon, lat = (np.where(np.isfinite(v), v, np.nan) for v in transformer(crs, DEGREES).transform(x, y))
    else:
        lon, lat = x, y
    if is_projected:
        _refuse_degrees(x, y, str(crs), where, labels)
    if region is not None:
        _refuse_elsewhere(x, y, lon, lat, crs, where, region, labels)
    return pd.DataFrame({"longitude": lon, "latitude": lat}, index=rows.index)


def _degrees(column: pd.Series, letters: str, where: str, report: Report, label: str) -> NDArray[np.float64]:
    """Degrees of `column`, decimal or with minutes and seconds; NaN for what is neither."""
    if pd.api.types.is_numeric_dtype(column):
        return np.asarray(column, np.float64)
    texts = column.astype("string").str.strip()
    values = pd.to_numeric(texts, errors="coerce").astype(float)
    unparsed_texts = texts[values.isna() & texts.notna()]
    if unparsed_texts.empty:
        return np.asarray(values, np.float64)
    degrees_by_text = {t: parse_degrees(t, letters, where) for t in unparsed_texts.unique()}
    commas = unparsed_texts.map(lambda t: re.fullmatch(r"[+-]?\d+,\d+", clean_number(t)) is not None)
    minutes = ~commas & unparsed_texts.map(lambda t: np.isfinite(degrees_by_text[t]))
    report.note(f"decimal commas of {label}, read as points", list(unparsed_texts[commas]))
    report.note(f"degrees of {label} with letters or minutes, read as decimals", list(unparsed_texts[minutes]))
    values.loc[unparsed_texts.index] = unparsed_texts.map(degrees_by_text).astype(float)
    return np.asarray(values, np.float64)


def _within_half_turn(longitude: NDArray[np.float64], report: Report, label: str) -> NDArray[np.float64]:
    """Longitudes from -180 to 180 degrees of those that count on to 360 or -360, as tables of the Pacific do; others stay."""
    is_over_180 = (np.abs(longitude) > 180) & (np.abs(longitude) <= TURN)
    examples = [f"{value:g} is {value - np.copysign(TURN, value):g}" for value in longitude[is_over_180][:MAX_NAMES]]
    report.note(f"values of {label} beyond 180 degrees, taken once around the globe", examples, int(is_over_180.sum()))
    return np.where(is_over_180, longitude - np.copysign(TURN, longitude), longitude)


def without_place(rows: pd.DataFrame, ids: str, account: str, report: Report) -> pd.Series:
    """Which of `rows` (longitude and latitude in degrees, a column `ids`) have no place on the Earth; each is left out.

    Rows without a number are counted apart from those beyond 180 degrees of longitude or 90 of latitude.
    """
    missing = rows["longitude"].isna() | rows["latitude"].isna()
    is_outside = ~missing & ~(rows["longitude"].between(-180, 180) & rows["latitude"].between(-90, 90))
    report.leave_out(account, f"{account} without a position in degrees", list(rows.loc[missing, ids]))
    first_rows = rows[is_outside].head(MAX_NAMES)
    examples = [
        f"{i} at {x:g} E {y:g} N"
        for i, x, y in zip(first_rows[ids], first_rows["longitude"], first_rows["latitude"], strict=True)
    ]
    report.leave_out(account, f"{account} beyond 360 degrees of longitude or 90 of latitude", examples, int(is_outside.sum()))
    return missing | is_outside


def parse_degrees(text: str, letters: str = "NSEW", where: str = "column") -> float:
    """Decimal degrees of a text such as `49°12'30"N`, `49 12.5 N`, `E 16,6` or `-16.6`; NaN where it is none.

    `letters` are those of the column's axis: another one means swapped columns and raises `TableError`.
    """
    number = clean_number(text)
    match = MINUTES.fullmatch(number)
    if match is None:
        return np.nan
    degrees, minutes, seconds = (float((match[k] or "0").replace(",", ".")) for k in ("degrees", "minutes", "seconds"))
    letter = ((match["before"] or "") + (match["after"] or "")).upper()
    integer_degrees = not (minutes or seconds) or float(degrees).is_integer()
    if len(letter) > 1 or minutes >= 60 or seconds >= 60 or not integer_degrees:
        return np.nan
    if letter and letter not in letters:
        raise TableError(
            f"{where}: holds '{text}'; longitude and latitude seem swapped: exchange the two names in the configuration."
        )
    value = degrees + minutes / 60 + seconds / 3600
    return -value if match["sign"] == "-" or letter in ("S", "W") else value


def _refuse_projected(
    x: NDArray[np.float64], y: NDArray[np.float64], where: str, region: Region | None, labels: tuple[str, str]
) -> None:
    """Refuse coordinates most of which are no degrees, with what they may be."""
    has_place = np.isfinite(x) & np.isfinite(y)
    is_outside = has_place & ~((np.abs(x) <= TURN) & (np.abs(y) <= 90))
    if not has_place.any() or is_outside.sum() <= 0.5 * has_place.sum():
        return
    a, b = x[is_outside], y[is_outside]
    if ((np.abs(x) <= 90) & (np.abs(y) > 90) & (np.abs(y) <= TURN)).sum() > 0.5 * has_place.sum() and not _is_packed_degrees(
        a, b, region
    ):
        raise TableError(
            f"{where}: columns '{labels[0]}' and '{labels[1]}' seem swapped (the first is {a[0]:.10g}, {b[0]:.10g}): no latitude"
            " is beyond 90 degrees; exchange the two names in the configuration."
        )
    text = f"{where}: columns '{labels[0]}' and '{labels[1]}' are not degrees (the first is {a[0]:.10g}, {b[0]:.10g})"
    if _is_packed_degrees(a, b, region):
        raise TableError(
            f"{text}; they look like degrees, minutes and seconds written together (DDMMSS): write 49°12'30\" or 49.2083."
        )
    middle = float(np.median(a)), float(np.median(b))
    fitting = list(islice(_fitting(*middle, region), 4))
    crs_if_swapped = [] if fitting else list(islice(_fitting(*middle[::-1], region), 1))
    if not fitting and crs_if_swapped:
        raise TableError(
            f"{text}; exchange the two names and name their coordinate system in the columns (crs: {crs_if_swapped[0]})."
        )
    if not fitting:
        raise TableError(f"{text}; name their coordinate system in the columns (crs: EPSG:...), or give degrees (WGS 84).")
    more = f"; these also fit: {', '.join(fitting[1:4])}" if len(fitting) > 1 else ""
    raise TableError(f"{text}; name their coordinate system in the columns, such as crs: {fitting[0]}{more}.")


def _refuse_degrees(x: NDArray[np.float64], y: NDArray[np.float64], crs: str, where: str, labels: tuple[str, str]) -> None:
    """Refuse coordinates of a projected system most of which are degrees."""
    has_place = np.isfinite(x) & np.isfinite(y)
    degrees = has_place & (np.abs(x) <= TURN) & (np.abs(y) <= 90) & ((x != 0) | (y != 0))
    if degrees.sum() > 0.5 * has_place.sum():
        first = f"{x[degrees][0]:.10g}, {y[degrees][0]:.10g}"
        raise TableError(
            f"{where}: columns '{labels[0]}' and '{labels[1]}' are degrees (the first is {first}), not metres of {crs}; remove"
            " 'crs' from the columns, or name the columns of the projected coordinates."
        )


def _is_packed_degrees(x: NDArray[np.float64], y: NDArray[np.float64], region: Region | None) -> bool:
    """Whether all values read as degrees, minutes and seconds without separators, of places in `region` or Europe."""
    for values in (x, y):
        size = np.abs(values)
        if (size % 1).any() or (size % 100 >= 60).any() or (size // 100 % 100 >= 60).any() or (size > 1_800_000).any():
            return False
    lon, lat = (float(np.median(v // 10_000 + v // 100 % 100 / 60)) for v in (x, y))
    return _inside(lon, lat, region)


def _inside(lon: float, lat: float, region: Region | None) -> bool:
    """Whether a place lies in `region`; without one, in Europe."""
    if region is None:
        return -25 <= lon <= 45 and 34 <= lat <= 72
    return bool(region.contains(*region.grid.project(np.array([lon]), np.array([lat])))[0])


def _fitting(x: float, y: float, region: Region | None) -> Iterator[str]:
    """Systems in which (x, y) lies in `region`; without one, where the system is used."""
    utm = 100_000 <= x <= 900_000 and 3_700_000 <= y <= 8_000_000
    for code in SYSTEMS:
        if 32600 < code < 32700 and not utm:
            continue
        if code == 32628 and region is None:
            yield "EPSG:326zz (UTM, zz the zone: 33 between 12 and 18 E)"
        elif not 32600 < code < 32700 or region is not None:
            lon, lat = transformer(code, DEGREES).transform(x, y)
            crs = CRS.from_epsg(code)
            assert crs.area_of_use is not None
            west, south, east, north = crs.area_of_use.bounds
            if west <= lon <= east and south <= lat <= north and _inside(lon, lat, region):
                yield f"EPSG:{code} ({crs.name})"


def _refuse_elsewhere(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    lon: NDArray[np.float64],
    lat: NDArray[np.float64],
    crs: str | None,
    where: str,
    region: Region,
    labels: tuple[str, str],
) -> None:
    """Refuse positions hardly any of which lie in `region`, and most of which do with the columns exchanged or in another CRS.

    Shares are those of a sample: every piece of millions of rows is looked at.
    """
    x, y, lon, lat = (values[:: -(-len(lon) // SAMPLE) or 1] for values in (x, y, lon, lat))

    def share(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        is_possible = (np.abs(a) <= TURN) & (np.abs(b) <= 90)
        inside = region.contains(*region.grid.project(a[is_possible], b[is_possible]))
        return float(np.count_nonzero(inside)) / max(len(a), 1)

    if len(lon) == 0 or share(lon, lat) > 0.1:
        return
    columns = f"{where}: columns '{labels[0]}' and '{labels[1]}'"
    if share(*((y, x) if crs is None else transformer(crs, DEGREES).transform(y, x))) > 0.5:
        raise TableError(
            f"{columns} seem swapped: the places lie in the region only when exchanged; exchange the two names in the"
            " configuration."
        )
    finite = np.isfinite(x) & np.isfinite(y)
    if crs is None or CRS.from_user_input(crs).is_geographic or not finite.any():
        return
    for system in _fitting(float(np.median(x[finite])), float(np.median(y[finite])), region):
        if share(*transformer(system.split(" ")[0], DEGREES).transform(x, y)) > 0.5:
            raise TableError(
                f"{columns} lie outside the region in {crs}, and within it in {system}; correct 'crs' of the columns."
            )


def where_they_lie(longitude: pd.Series, latitude: pd.Series, region: Region) -> str:
    """Where the rows of a table lie, none of them in `region`. `longitude`, `latitude` (n,) in degrees, NaN: no number.

    Swapped and projected columns are refused before.
    """
    x, y = longitude.to_numpy(float), latitude.to_numpy(float)
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = x[finite], y[finite]
    if not len(x):
        return "none has coordinates that are numbers"
    west, south, east, north = (float(f(v)) for f, v in ((np.min, x), (np.min, y), (np.max, x), (np.max, y)))
    left, bottom, right, top = region.degrees
    return (
        f"they lie at {west:.2f} to {east:.2f} E, {south:.2f} to {north:.2f} N, the region at about {left:.2f} to {right:.2f} E,"
        f" {bottom:.2f} to {top:.2f} N; check the key region"
    )
