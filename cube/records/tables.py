"""Tables as they are: text or other formats, whole or in pieces; what is missing is named, what is left out counted.

Rows may be asked for by the values of their columns, `where: {kingdom: Plantae}`.
"""

from __future__ import annotations

import posixpath
import re
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

import fsspec
import numpy as np
import pandas as pd
import pyarrow
import pyarrow.csv
import pyarrow.parquet
import shapely.errors

from cube.errors import TableError
from cube.records import formats
from cube.records.decoding import Dialect, dialect_of
from cube.records.numbers import parse_numbers
from cube.records.report import Report

MISSING: Final = ["NA", "N/A", "", "nan", "NaN", "null"]
PIECE: Final = 65_536  # most rows of a table in memory at a time, where it is read in pieces
DAMAGED: Final = (
    OSError,
    EOFError,
    ValueError,
    zlib.error,
    pyarrow.ArrowInvalid,
    shapely.errors.ShapelyError,
)  # what a damaged file raises
BLOCK: Final = 1 << 22  # bytes of a text table parsed at a time


def read_table(
    path: str,
    columns: Sequence[str] | None = None,
    numbers: Collection[str] = (),
    *,
    encoding: str | None = None,
    report: Report | None = None,
    account: str | None = None,
) -> pd.DataFrame:
    """The table at `path`, `columns` first; as `stream_table`, whole. Without `columns`, all of them.

    Raises `TableError` naming the file, and the first of `columns` that it lacks.
    """
    read_columns = list(dict.fromkeys(columns)) if columns is not None else None
    parts = list(stream_table(path, read_columns, numbers, report=report, account=account, encoding=encoding))
    if parts:
        # Column by column, so that no more than one is there twice.
        names = [*map(str, parts[0])]
        return pd.DataFrame({name: pd.concat([part.pop(name) for part in parts], ignore_index=True) for name in names})
    return pd.DataFrame(columns=read_columns if read_columns is not None else header(path, encoding), dtype=object)


def header(path: str, encoding: str | None = None) -> list[str]:
    """Names of the columns of a table. Raises `TableError` where there is none."""
    return [n for n in _open(path, encoding)[1] if n]


def require_columns(path: str, present: Sequence[str], columns: Sequence[str]) -> None:
    """Raise `TableError` naming the first of `columns` that the table at `path` lacks."""
    for column in columns:
        if column not in present:
            raise TableError(
                f"{path}: there is no column '{column}'{near_column(column, present)} (it has {', '.join(map(str, present[:12]))}"
                f"{', ...' if len(present) > 12 else ''}); name the right one in the configuration."
            )


def near_column(column: str, present: Sequence[str]) -> str:
    """The column that differs from `column` by case, dots, blanks or underscores alone, as a question; empty without one."""
    for name in map(str, present):
        if _letters(name) == _letters(column):
            dots = " (R writes a dot for a blank)" if "." in name and "." not in column else ""
            return f"; did you mean '{name}'{dots}?"
    return ""


def _letters(name: str) -> str:
    return re.sub(r"[\s._-]+", "", name).casefold()


def stream_table(
    path: str,
    columns: Sequence[str] | None,
    numbers: Collection[str] = (),
    piece: int = PIECE,
    report: Report | None = None,
    account: str | None = None,
    encoding: str | None = None,
    degrees: Collection[str] = (),
) -> Iterator[pd.DataFrame]:
    """`columns` of a table (all: None), at most `piece` rows at a time; the rest of a CSV or Parquet table is not in memory.

    Formats: text (comma, semicolon, tab or bar; UTF-8, UTF-16 or what `encoding` says; also compressed), Parquet and
    GeoParquet, Excel, GeoPackage, FlatGeobuf and what else `formats` names. Columns of `numbers` are float64 (see
    `parse_numbers`), NaN where a cell is no number; so are those of `degrees` where all cells of a piece are numbers. All
    other cells are text (a whole number without decimals), missing where `MISSING` says so. Rows of text with more or fewer
    cells than the header are left out, and counted in `report` under `account` with all rows read; without a report they
    are an error.
    Raises `TableError` before the first piece, or where the file is damaged.
    """
    dialect, present = _open(path, encoding)
    read_columns = list(columns) if columns is not None else [n for n in present if n]
    require_columns(path, present, columns or ())
    if twice := next((c for c in columns or () if dialect is not None and c in dialect.twice), None):
        raise TableError(f"{path}: the column '{twice}' stands twice; rename one of them.")
    if dialect is not None and report is not None:
        report.note("remarks on the form of a table", [f"{posixpath.basename(path)}: {remark}" for remark in dialect.remarks])
    account = account or f"rows of {posixpath.basename(path)}"
    try:
        rows = (
            formats.batches(path, read_columns, piece) if dialect is None else _text(path, dialect, read_columns, report, account)
        )
        for batch in rows:
            for start in range(0, batch.num_rows, piece):
                part = batch.slice(start, piece)
                if report is not None:
                    report.count(account, part.num_rows)
                yield pd.DataFrame({c: _cells(path, c, part[c], c in numbers, c in degrees, report) for c in read_columns})
    except DAMAGED as error:
        raise _unreadable(path, error) from None


def _open(path: str, encoding: str | None) -> tuple[Dialect | None, list[str]]:
    """(how a text table is written, None for other formats; names of its columns)."""
    try:
        if formats.is_text(path):
            dialect = dialect_of(path, encoding)
            return dialect, list(dialect.header)
        return None, formats.names(path)
    except FileNotFoundError:
        raise TableError(f"{path}: there is no such table; check the path in the configuration.") from None
    except DAMAGED as error:
        raise _unreadable(path, error) from None


def _unreadable(path: str, error: Exception) -> TableError:
    return TableError(f"{path}: cannot be read as a table ({str(error).splitlines()[0]}); export or fetch it again.")


def _cells(path: str, name: str, column: pyarrow.Array, number: bool, degrees: bool, report: Report | None) -> pd.Series:
    if not (number or degrees):
        return _as_text(path, name, column).to_pandas()
    try:
        return column.cast(pyarrow.float64()).to_pandas()
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError):  # a word among them: slower, cell by cell
        if degrees:
            return _as_text(path, name, column).to_pandas()
        return parse_numbers(column.to_pandas(), f"{path}: column '{name}'", report, name)


def _as_text(path: str, name: str, column: pyarrow.Array) -> pyarrow.Array:
    """Cells as text: a whole number stored as decimals is written without them."""
    kind = column.type
    if pyarrow.types.is_dictionary(kind):
        return _as_text(path, name, column.dictionary_decode())
    if pyarrow.types.is_floating(kind):
        numbers = column.dictionary_encode()  # a column has far fewer numbers than rows
        values = numbers.dictionary.to_numpy(zero_copy_only=False)
        if np.any(np.abs(values[np.isfinite(values)]) >= 2**53):
            raise TableError(
                f"{path}: column '{name}': holds numbers above 2^53 stored as decimals, whose last digits are lost; store them"
                " as text or whole numbers."
            )
        texts = [None if np.isnan(v) else f"{v:.0f}" if v == np.floor(v) else repr(float(v)) for v in values]
        return pyarrow.array(texts, pyarrow.string()).take(numbers.indices)
    return column if pyarrow.types.is_string(kind) else column.cast(pyarrow.string())


def _text(
    path: str, dialect: Dialect, columns: Sequence[str], report: Report | None, account: str
) -> Iterator[pyarrow.RecordBatch]:
    def invalid(row: pyarrow.csv.InvalidRow) -> str:
        if report is None:
            return "error"
        name = f"row {row.number - dialect.skip if row.number else '?'} of {posixpath.basename(path)}"
        report.count(account, 1)
        report.leave_out(account, f"rows with {row.actual_columns} cells where the header has {row.expected_columns}", [name])
        return "skip"

    with fsspec.open(path, "rb", compression="infer") as file:
        yield from pyarrow.csv.open_csv(
            file,
            # One thread, so that a row knows its number.
            pyarrow.csv.ReadOptions(
                use_threads=False,
                block_size=BLOCK,
                encoding="utf-8" if dialect.encoding == "utf-8-sig" else dialect.encoding,
                skip_rows=dialect.skip,
                column_names=dialect.header,
            ),
            pyarrow.csv.ParseOptions(
                delimiter=dialect.separator,
                quote_char='"' if dialect.quoted else False,
                newlines_in_values=dialect.quoted,
                invalid_row_handler=invalid,
            ),
            # Cells are text until somebody needs a number: an id stays as it is written.
            pyarrow.csv.ConvertOptions(
                include_columns=list(columns),
                column_types=dict.fromkeys(columns, pyarrow.string()),
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
                null_values=MISSING,
            ),
        )


def keep_where(
    rows: pd.DataFrame, where: Mapping[str, tuple[str, ...]], names: pd.Series, report: Report, account: str
) -> pd.DataFrame:
    """The rows whose columns have one of the values; the others are left out of `account`, by the first column that differs.

    Upper and lower case are one, and so are 6 and 6.0. `names` names the rows in the report, with the same index.
    """
    for column, values in where.items():
        texts = {_comparable(value) for value in values}
        codes, different = pd.factorize(rows[column])
        matches = np.array([*(_comparable(value) in texts for value in different), "" in texts])[codes]
        reason = f"records where {column} is not {' or '.join(map(str, values))}"
        report.leave_out(account, reason, list(names[rows.index[~matches]]))
        rows = rows[matches]
    return rows


def _comparable(value: object) -> str:
    text = str(value).strip().casefold()
    return text[:-2] if text.endswith(".0") else text
