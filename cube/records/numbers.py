"""Numbers, uncertainties in metres, presence and absence as people write them; what has two readings is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import numpy as np
import pandas as pd

from cube.errors import TableError
from cube.records.report import Report

_PLAIN: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_COMMA: Final = re.compile(r"[+-]?\d*,\d+")
_WITH_THOUSANDS: Final = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")
_POINTS: Final = re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+,\d+|[+-]?[1-9]\d{0,2}(\.\d{3}){2,}")
_BLANKS: Final = re.compile(r"(?<=\d)[\s\u00a0\u202f\u2009'\u2019](?=\d{3}(?!\d))")

EARTH_M: Final = 20_037_508.0  # half the Earth's circumference: no position is farther off
METRES: Final = {"": 1.0, "m": 1.0, "meter": 1.0, "meters": 1.0, "metre": 1.0, "metres": 1.0, "km": 1_000.0}
COMMA: Final = "uncertainties with a decimal comma, read as decimals"
THOUSANDS: Final = "uncertainties with a comma before three digits, read as thousands"
NOT_POSITIVE: Final = "uncertainties of zero or less, taken as not stated"
NO_NUMBER: Final = "uncertainties that are no number of metres, taken as not stated"
_NUMBER_AND_UNIT: Final = re.compile(r"([-+]?(?:\d+[.,]?\d*|[.,]\d+)(?:e[-+]?\d+)?)\s*([a-z]*)", re.IGNORECASE)
_THOUSANDS: Final = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
# Words of tables and of GBIF's parsers of occurrenceStatus, without blanks and underscores between them.
_PRESENT: Final = """
    true t yes y 1 + x p present presence detected observed found seen common rare abundant occasional frequent irregular
    presente présent vorhanden ja oui
"""
_ABSENT: Final = """
    false f no n 0 - . a absent absence undetected notdetected notobserved notpresent notfound nonobserved excluded extinct
    ausente assente absente abwesend nein non
"""
# Names of columns that may tell presence from absence.
_NAMES: Final = """
    presence present pres pa occ occurrence occurrencestatus presenceabsence presabs detected detection observed seen status
    abundance individualcount individuals count organismquantity cover coverage coverperc coverpercent percentcover
"""
PRESENT, ABSENT, NAMES = (frozenset(words.split()) for words in (_PRESENT, _ABSENT, _NAMES))


def clean_number(text: str) -> str:
    """`text` without blanks around it, with ASCII signs and without blanks or apostrophes between thousands."""
    text = str(text).replace("\u00a0", " ").replace("\u2212", "-").replace("\u2013", "-").strip()
    return _BLANKS.sub("", text)


def parse_numbers(
    column: pd.Series, where: str = "column", report: Report | None = None, label: str = "number", small: bool = False
) -> pd.Series:
    """`column` as float64: numbers as they are, texts read; NaN for what is missing or no number.

    `40,5` is 40.5, counted in `report` under `label`; `12 345` and `1.234,5` are numbers with thousands separated. A column
    whose commas all stand before three digits (`1,250`) has two readings and is refused, naming `where`, unless `small`
    says that its numbers are below a thousand (degrees, percent). Raises `TableError`.
    """
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return column.astype(float)
    texts = column.astype("string")
    plain = pd.to_numeric(texts, errors="coerce").astype(float)
    open_cells = texts[plain.isna() & texts.notna()].map(clean_number)
    if open_cells.empty:
        return plain
    unique = open_cells.unique()
    commas = [t for t in unique if _COMMA.fullmatch(t)]
    with_thousands = [t for t in unique if _WITH_THOUSANDS.fullmatch(t)]
    if with_thousands and not small and len(commas) == len([t for t in with_thousands if _COMMA.fullmatch(t)]):
        raise TableError(
            f"{where}: '{with_thousands[0]}' could be a number with a decimal comma or with a separator of thousands; write"
            f" {with_thousands[0].replace(',', '')} or {float(with_thousands[0].replace(',', '.', 1)):g}."
        )
    values = {t: read_number(t) for t in unique}
    decimal = open_cells[open_cells.map(lambda t: _COMMA.fullmatch(t) is not None)]
    if report is not None:
        report.note(f"decimal commas of {label}, read as points", list(decimal))
    plain.loc[open_cells.index] = open_cells.map(values).astype(float)
    return plain


def read_each(values: pd.Series, rows: pd.Series, report: Report, parse: Callable[[object], tuple[float, str]]) -> pd.Series:
    """float64: what `parse` makes of each value, NaN for missing ones; the reasons that it gives are noted in `report`.

    `parse` gives (number or NaN, reason to note or ""), and is asked once for each different value. `rows` names the rows.
    """
    codes, different = pd.factorize(values)
    values_and_notes = [parse(value) for value in different] + [(np.nan, "")]  # the last, -1: missing
    reasons = np.array([reason for _, reason in values_and_notes], object)[codes]
    for reason in dict.fromkeys(reason for _, reason in values_and_notes if reason):
        report.note(reason, list(rows.iloc[np.flatnonzero(reasons == reason)]))
    return pd.Series(np.array([number for number, _ in values_and_notes])[codes], index=values.index, dtype=float)


def read_number(text: str) -> float:
    """The number that a clean `text` is; NaN for none."""
    if _PLAIN.fullmatch(text):
        return float(text)
    if _COMMA.fullmatch(text):
        return float(text.replace(",", "."))
    if _POINTS.fullmatch(text):
        return float(text.replace(".", "").replace(",", "."))
    if _WITH_THOUSANDS.fullmatch(text):
        return float(text.replace(",", ""))
    return np.nan


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


def parse_presence(column: pd.Series, where: str = "column") -> pd.Series:
    """1.0 where `column` says present or a number above zero, 0.0 where absent or zero; NaN where it says neither."""
    words = column.astype("string").str.strip().str.lower()
    numbers = parse_numbers(words, where)
    out = pd.Series(np.where(numbers.isna(), np.nan, (numbers > 0).astype(float)), index=column.index)
    out = out.mask(words.isin(PRESENT).fillna(False).astype(bool), 1.0)
    return out.mask(words.isin(ABSENT).fillna(False).astype(bool), 0.0)


def tells_absence(name: str, column: pd.Series, any_name: bool = False) -> bool:
    """Whether `column` has presences and absences and nothing else, and is called so (or `any_name`)."""
    is_status_name = "".join(c for c in name.lower() if c.isalnum()) in NAMES
    if not (is_status_name or any_name):
        return False
    values = column.dropna().drop_duplicates()
    if not is_status_name and len(values) > 2:
        return False
    presence = parse_presence(values)
    return bool(presence.notna().all() and (presence == 0).any() and (presence == 1).any())
