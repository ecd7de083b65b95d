"""Tables as they are: CSV and Parquet read whole or in pieces, what is missing named, what is skipped counted."""

from __future__ import annotations

import codecs
import posixpath
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from io import StringIO
from typing import IO, Any, Final

import fsspec
import pandas as pd
import pyarrow
import pyarrow.csv
import pyarrow.parquet

from cube.errors import TableError

MISSING: Final = ["NA", "N/A", "", "nan", "NaN", "null"]
NAMED: Final = 5  # how many skipped rows a report names
PIECE: Final = 65_536  # most rows of a table in memory at a time, where it is read in pieces
BLOCK: Final = 1 << 20  # bytes of a CSV table parsed at a time


@dataclass
class Report:
    """What a reader left out or filled in: a count and the first few rows, by reason."""

    title: str
    kept: dict[str, int] = field(default_factory=dict)
    remarks: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)  # whole lists, for whoever mends a table by them

    def note(self, reason: str, rows: Sequence[Any]) -> None:
        """Count `rows` under `reason`, on top of what is counted there already; nothing is noted for none."""
        if len(rows):
            count, names = self.remarks.get(reason, (0, []))
            self.remarks[reason] = (count + len(rows), names + [str(r) for r in rows[: NAMED - len(names)]])

    def keep(self, what: str, count: int) -> None:
        """Add `count` to what was kept under the name `what`."""
        self.kept[what] = self.kept.get(what, 0) + count

    def lines(self) -> list[str]:
        """The report as sentences."""
        out = [f"{self.title}: " + ", ".join(f"{n:,} {what}" for what, n in self.kept.items())]
        for reason, (count, names) in self.remarks.items():
            more = ", ..." if count > len(names) else ""
            out.append(f"  {count:,} {reason} ({', '.join(names)}{more})")
        return out

    def document(self) -> dict[str, Any]:
        """The report for JSON."""
        return {"title": self.title, "kept": self.kept,
                "remarks": {k: {"count": n, "first": names} for k, (n, names) in self.remarks.items()},
                **({"lists": self.lists} if self.lists else {})}  # fmt: skip


def read_table(path: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """A CSV (UTF-8 with or without BOM, or Latin-1; gzip too) or Parquet table.

    Raises `TableError` naming the file, and the first of `columns` that it lacks.
    """
    try:
        with fsspec.open(path, "rb", compression="infer") as file:
            if path.endswith((".parquet", ".pq")):
                table = pd.read_parquet(file)
            else:
                text = _decoded(file.read())
                table = pd.read_csv(StringIO(text), sep=_separator_of(path, text), na_values=MISSING,
                                    keep_default_na=False, low_memory=False)  # fmt: skip
    except FileNotFoundError:
        raise _no_table(path) from None
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise _unreadable(path, error) from None
    require_columns(path, list(table.columns), columns or ())
    return table


def _no_table(path: str) -> TableError:
    return TableError(f"{path}: there is no such table; check the path in the configuration.")


def _unreadable(path: str, error: Exception) -> TableError:
    return TableError(f"{path}: cannot be read as a table ({str(error).splitlines()[0]}).")


def require_columns(path: str, present: Sequence[str], columns: Sequence[str]) -> None:
    """Raise `TableError` naming the first of `columns` that the table at `path` lacks."""
    for column in columns:
        if column not in present:
            raise TableError(
                f"{path}: there is no column '{column}' (it has {', '.join(map(str, present[:12]))}"
                f"{', ...' if len(present) > 12 else ''}); name the right one in the configuration."
            )


def header(path: str) -> list[str]:
    """Names of the columns of a CSV or Parquet table. Raises `TableError` where there is none."""
    try:
        with fsspec.open(path, "rb", compression="infer") as file:
            if path.endswith((".parquet", ".pq")):
                return [str(n) for n in pyarrow.parquet.ParquetFile(file).schema_arrow.names]
            line = file.readline()
        text = _decoded(line)
        return [str(c) for c in pd.read_csv(StringIO(text), sep=_separator_of(path, text), nrows=0).columns]
    except FileNotFoundError:
        raise _no_table(path) from None
    except (OSError, ValueError, pyarrow.ArrowInvalid) as error:
        raise _unreadable(path, error) from None


def stream_table(path: str, columns: Sequence[str], numbers: Collection[str] = (), piece: int = PIECE,
                 report: Report | None = None) -> Iterator[pd.DataFrame]:  # fmt: skip
    """`columns` of a CSV or Parquet table, at most `piece` rows at a time; the rest of the table is never in memory.

    Columns of `numbers` are float64, NaN where a cell is no number; other cells of a CSV table are text, missing where
    `MISSING` says so. Rows with more or fewer cells than the header are left out and noted in `report`; without one
    they are an error. Raises `TableError` as `read_table` does, before the first piece or where the file is damaged.
    """
    require_columns(path, header(path), columns)
    try:
        with fsspec.open(path, "rb", compression="infer") as file:
            if path.endswith((".parquet", ".pq")):
                batches = pyarrow.parquet.ParquetFile(file).iter_batches(piece, columns=list(columns))
            else:
                batches = _csv_batches(path, file, columns, report)
            for batch in batches:
                for start in range(0, batch.num_rows, piece):
                    part = batch.slice(start, piece)
                    yield pd.DataFrame({c: _cells(part[c], c in numbers) for c in columns})
    except (OSError, ValueError, pyarrow.ArrowInvalid) as error:
        raise _unreadable(path, error) from None


def _cells(column: pyarrow.Array, number: bool) -> pd.Series:
    if not number:
        return column.to_pandas()
    try:
        return column.cast(pyarrow.float64()).to_pandas()
    except pyarrow.ArrowInvalid:  # a word among them: slower, cell by cell
        return pd.to_numeric(column.to_pandas(), errors="coerce").astype(float)


def _csv_batches(path: str, file: IO[bytes], columns: Sequence[str], report: Report | None) -> Iterator[pyarrow.RecordBatch]:
    def invalid(row: pyarrow.csv.InvalidRow) -> str:
        if report is None:
            return "error"
        told = f"row {row.number - 1 if row.number else '?'} of {posixpath.basename(path)}"
        report.note(f"rows with {row.actual_columns} cells where the header has {row.expected_columns}, skipped", [told])
        return "skip"

    with fsspec.open(path, "rb", compression="infer") as head:
        separator = _separator_of(path, _decoded(head.readline()))
    return pyarrow.csv.open_csv(
        file,
        # One thread, so that a row knows its number.
        pyarrow.csv.ReadOptions(use_threads=False, block_size=BLOCK, encoding=_encoding(path)),
        pyarrow.csv.ParseOptions(delimiter=separator, newlines_in_values=True, invalid_row_handler=invalid),
        # A column of numbers may hold a word in its last row: what is a number is decided by whoever needs one.
        pyarrow.csv.ConvertOptions(
            include_columns=list(columns), column_types=dict.fromkeys(columns, pyarrow.string()),
            strings_can_be_null=True, quoted_strings_can_be_null=True, null_values=MISSING,
        ),
    )  # fmt: skip


def _encoding(path: str) -> str:
    """UTF-8 (with or without BOM) or Latin-1: the table is read once for it, a megabyte at a time."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with fsspec.open(path, "rb", compression="infer") as file:
        try:
            while block := file.read(1 << 20):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "latin-1"
    return "utf-8"


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _separator_of(path: str, text: str) -> str:
    return "\t" if path.endswith((".tsv", ".tsv.gz")) else _separator(text)


def _separator(text: str) -> str:
    head = text.split("\n", 1)[0]
    return max(",;\t", key=head.count)


def normal_name(name: str) -> str:
    """A scientific name with single spaces and without the ends': what names are matched by, exactly."""
    return re.sub(r"\s+", " ", str(name)).strip()
