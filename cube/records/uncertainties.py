"""How far a position may be off, as tables write it: metres, by a stated rule."""

from __future__ import annotations

import re
from typing import Final

import numpy as np
import pandas as pd

from cube.records.numbers import clean_number, read_each
from cube.records.report import Report

EARTH_M: Final = 20_037_508.0  # half the Earth's circumference: no position is farther off
METRES: Final = {"": 1.0, "m": 1.0, "meter": 1.0, "meters": 1.0, "metre": 1.0, "metres": 1.0, "km": 1_000.0}

COMMA: Final = "uncertainties with a decimal comma, read as decimals"
THOUSANDS: Final = "uncertainties with a comma before three digits, read as thousands"
NOT_POSITIVE: Final = "uncertainties of zero or less, taken as not stated"
NO_NUMBER: Final = "uncertainties that are no number of metres, taken as not stated"

_NUMBER_AND_UNIT: Final = re.compile(r"([-+]?(?:\d+[.,]?\d*|[.,]\d+)(?:e[-+]?\d+)?)\s*([a-z]*)", re.IGNORECASE)
_THOUSANDS: Final = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")


def uncertainties(values: pd.Series, rows: pd.Series, report: Report) -> pd.Series:
    """Metres (float64 above 0, NaN: not stated) of numbers or texts; what is not taken as it stands is noted in `report`.

    `250,0` is 250 and `1,500` is 1500, the less certain of its two readings; `250 m` and `1 km` are read with their units,
    `1 000` is a thousand. Zero is no uncertainty (Darwin Core: "Zero is not a valid value"), and neither are negative
    numbers and words: they count as not stated. `rows` names the rows in the report, with the same index as `values`.
    """
    return read_each(values, rows, report, _metres)


def _metres(value: object) -> tuple[float, str]:
    """(metres or NaN, the reason to note or "") of one value."""
    if isinstance(value, int | float | np.number):
        return _positive(float(value), "")
    text, reason = clean_number(str(value)), ""
    if not text:
        return np.nan, ""
    if match := _THOUSANDS.match(text):
        text, reason = match[0].replace(",", "") + text[match.end() :], THOUSANDS
    match = _NUMBER_AND_UNIT.fullmatch(text)
    factor = METRES.get(match[2].lower()) if match else None
    if match is None or factor is None:
        return np.nan, NO_NUMBER
    if "," in match[1]:
        reason = COMMA
    return _positive(float(match[1].replace(",", ".")) * factor, reason)


def _positive(metres: float, reason: str) -> tuple[float, str]:
    if np.isnan(metres):
        return np.nan, ""
    return (metres, reason) if metres > 0 else (np.nan, NOT_POSITIVE)
