"""Years as tables write them: numbers, dates and intervals. One rule for surveys and for records."""

from __future__ import annotations

import calendar
import re
from datetime import UTC, datetime
from typing import Final

import numpy as np
import pandas as pd

from cube.records.numbers import read_each
from cube.records.report import Report

EARLIEST: Final = 1700  # herbaria hold few dated plants from before
LONGEST: Final = 20  # years of an interval whose middle still says when a plant grew

UNREADABLE: Final = "years that are not a number or a date, taken as unknown"
SEVERAL: Final = f"intervals of 2 to {LONGEST} years, dated to their middle year"
TOO_LONG: Final = f"intervals longer than {LONGEST} years, year taken as unknown"

_NUMBER: Final = re.compile(r"([-+]?\d+)(?:\.0*)?")
_YEAR_FIRST: Final = re.compile(r"(\d{4})(?:[-/](\d{1,2})|[-/.](\d{1,2})[-/.](\d{1,2}))?(?:[T ].*)?")
_YEAR_LAST: Final = re.compile(r"\d{1,2}(?:[-/. ]\s?)(?:\d{1,2}|[^\W\d_]{3,9})\.?[-/., ]\s?(\d{4})(?:[T ].*)?")
_MONTHS: Final = "|".join([*calendar.month_name[1:], *calendar.month_abbr[1:], "Sept"])
_MONTH_YEAR: Final = re.compile(rf"(?:0?[1-9]|1[0-2]|(?:{_MONTHS})\.?)\s?[-/., ]\s?(\d{{4}})", re.IGNORECASE)
_BASIC: Final = re.compile(r"(\d{4})(\d{2})(\d{2})(?:T.*)?")
_INTERVAL: Final = re.compile(r"(\d{4})\s*[-–—]\s*(\d{4})")
_SHORT_END: Final = re.compile(r"(?:\d{1,2}-)?\d{1,2}(?:T.*)?|T?\d{1,2}:.*")


def outside(latest: int) -> str:
    """The reason under which implausible years are counted."""
    return f"years outside {EARLIEST} to {latest}, taken as unknown"


def years(values: pd.Series, rows: pd.Series, report: Report, latest: int | None = None) -> pd.Series:
    """Years (float64, NaN: unknown) of numbers, dates or texts; what is not taken as it stands is noted in `report`.

    Read are a year, an ISO 8601 date or date and time of any precision (`2015-06`, `20150601`), a date with the year last
    (`1.6.2015`, `06/2015`, `June 2015`), and an interval of them (`2015-06-01/2015-07-15`, `1990/2000`, `1990-2000`). An
    interval within one year is of that year; one of up to `LONGEST` years is of its middle year, rounded down; a longer one
    is of no year. Years before `EARLIEST` or after `latest` (this year) are unknown, and so are two-digit years: nobody says
    of which century.
    `rows` names the rows in the report, with the same index as `values`.
    """
    latest = datetime.now(UTC).year if latest is None else latest
    if isinstance(values.dtype, pd.DatetimeTZDtype) or values.dtype.kind == "M":
        values = values.dt.year
    return read_each(values, rows, report, lambda value: _year(value, latest))


def _year(value: object, latest: int) -> tuple[float, str]:
    """(year or NaN, the reason to note or "") of one value."""
    text = f"{value:.10g}" if isinstance(value, float | np.floating) else str(value).strip()
    if not text:
        return np.nan, ""
    # A number such as 10.2019 is no month and year: the tenth month of 2020 would be 10.202.
    first, last = (None, None) if isinstance(value, float | np.floating) and "." in text else _span(text)
    if first is None or last is None or last < first:
        return np.nan, UNREADABLE
    if not EARLIEST <= first <= last <= latest:
        return np.nan, outside(latest)
    if first == last:
        return float(first), ""
    return (float((first + last) // 2), SEVERAL) if last - first <= LONGEST else (np.nan, TOO_LONG)


def _span(text: str) -> tuple[int | None, int | None]:
    """First and last year of a date or an interval; None where there is none to read."""
    if match := _INTERVAL.fullmatch(text):
        return int(match[1]), int(match[2])
    if match := _MONTH_YEAR.fullmatch(text):
        return int(match[1]), int(match[1])
    start, slash, end = text.partition("/")
    if slash and "/" not in end:
        first = _single(start.strip())
        if first is not None:
            return first, first if _SHORT_END.fullmatch(end.strip()) else _single(end.strip())
    year = _single(text)
    return year, year


def _single(text: str) -> int | None:
    """The year of a number or a date."""
    if (match := _BASIC.fullmatch(text)) and _is_day(match[2], match[3]):
        return int(match[1])
    if match := _NUMBER.fullmatch(text):
        return int(match[1])
    if match := _YEAR_FIRST.fullmatch(text):
        return int(match[1]) if _is_day(match[2] or match[3], match[4]) else None
    match = _YEAR_LAST.fullmatch(text)
    return int(match[1]) if match else None


def _is_day(month: str | None, day: str | None) -> bool:
    """Whether these may be a month and a day; 00 is a part of a date that somebody did not know."""
    return int(month or 0) <= 12 and int(day or 0) <= 31
