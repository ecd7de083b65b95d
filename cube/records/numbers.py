"""Numbers as people write them: decimal commas, percent signs; what has two readings is refused."""

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
