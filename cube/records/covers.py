"""Covers in percent from what tables hold: numbers, or the codes of a scale that the configuration names.

A code stands for the middle of its class. Codes and percents in one column are refused: `5` is 5 % or 87.5 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd

from cube.errors import TableError
from cube.records.numbers import clean_number, parse_numbers, read_number
from cube.records.report import Report
from cube.yaml_tables import yaml_table

PERCENT: Final = "percent"
ABSENT: Final = frozenset({".", "-", "\u2013", "\u2014"})  # how tables of vegetation write "not there"
SCALES: Final[Mapping[str, Mapping[str, float]]] = yaml_table(__file__, "cover_scales.yaml")


def parse_covers(column: pd.Series, scale: str | None, where: str, report: Report, key: str = "cover_scale") -> pd.Series:
    """Covers of `column` in percent, float64; 0 for `.` and `-`, NaN for missing cells.

    `scale` is a name of `SCALES`, "percent", or None: percents, unless the cells look like codes. A percent may have a
    decimal comma and a percent sign; `<1` is half of its bound. Raises `TableError` that names `where` and a cell that is
    neither, or that the column seems to hold codes.
    """
    if scale is None and pd.api.types.is_numeric_dtype(column):
        return column.astype(float)
    texts = column.astype("string").str.strip()
    texts = texts.mask((texts == "").fillna(True).astype(bool))
    unique = [str(t) for t in texts.dropna().unique()]
    if scale is not None and scale != PERCENT:
        codes = SCALES[scale]
        values = {t: 0.0 if t in ABSENT or _code(t) == "0" else codes.get(_code(t, scale), np.nan) for t in unique}
        unknown = [t for t, v in values.items() if np.isnan(v)]
        if unknown:
            raise TableError(
                f"{where}: '{unknown[0]}' is no code of the scale {scale} ({', '.join(codes)}); correct the cell, or the scale"
                f" ({key})."
            )
        return texts.map(values).astype(float)
    values = {t: read_percent(t) for t in unique}
    _refuse_codes([t for t in unique if np.isnan(values[t])], unique, where, key, report)
    numbers = parse_numbers(
        texts.map(lambda t: clean_number(t).rstrip("%").strip(), na_action="ignore"), where, report, "cover", True
    )
    below = texts[texts.str.startswith("<").fillna(False).astype(bool)]
    report.note("covers below a bound, read as half of it", [f"{t}" for t in below])
    out = numbers.where(numbers.notna(), texts.map(values).astype(float))
    report.note("covers above 100 %, used as they are", [f"{v:g}" for v in out[out > 100]])
    if (
        scale is None
        and len(texts.dropna()) >= 100
        and set(out.dropna().unique()) <= {0.0, 1.0, 2.0, 3.0, 4.0, 5.0}
        and (out >= 4).any()
    ):
        raise TableError(
            f"{where}: holds whole numbers up to 5 only, as the codes of Braun-Blanquet do; say what they are ({key}:"
            f" braun-blanquet, or {key}: percent)."
        )
    return out


def _code(text: str, scale: str = "") -> str:
    code = text.replace(",", ".").replace("\u2013", "-").replace("\u2212", "-").replace(" ", "").lower()
    if code.endswith(".0"):
        code = code[:-2]  # a column of codes that a spreadsheet took for decimals
    if scale == "londo":
        code = code.removeprefix("0") if code.startswith("0.") else code
        if len(code) == 2 and code[0] in "rpam" and code[1] in "124":  # with a letter for the number of plants
            code = f".{code[1]}"
        elif len(code) == 3 and code[0] in "rpam" and code[1] == ".":
            code = code[1:]
    return code


def read_percent(text: str) -> float:
    """The percent that a text is, `<1` half of its bound, 0 for `.` and `-`; NaN for none."""
    text = clean_number(text).rstrip("%").strip()
    if text in ABSENT:
        return 0.0
    if text.startswith("<"):
        return 0.5 * read_percent(text[1:]) if text[1:].strip()[:1].isdigit() else np.nan
    return read_number(text)


def _refuse_codes(strange: list[str], unique: list[str], where: str, key: str, report: Report) -> None:
    """Refuse a column with cells that are no percents, naming the scale that has them all."""
    if not strange:
        return
    fitting = [name for name, codes in SCALES.items() if all(t in ABSENT or _code(t, name) in codes for t in unique)]
    scales = [name for name, codes in SCALES.items() if all(_code(t, name) in codes for t in strange)]
    if fitting:
        raise TableError(f"{where}: holds codes such as '{strange[0]}', no percents; name their scale ({key}: {fitting[0]}).")
    if scales:
        unfitting = next(t for t in unique if t not in ABSENT and _code(t, scales[0]) not in SCALES[scales[0]])
        raise TableError(
            f"{where}: holds '{strange[0]}' of the scale {scales[0]} beside '{unfitting}'; use percents or the codes of one"
            f" scale, and name it ({key}: {', '.join(SCALES)})."
        )
    raise TableError(f"{where}: '{strange[0]}' is no cover in percent; correct the cell, or name the scale ({key}).")
