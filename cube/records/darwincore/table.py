"""A data file of an archive or a package: its terms by name, its rows streamed and counted.

An unbalanced quotation mark loses no row of delimited text.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from typing import IO, Final

import pandas as pd

from cube.errors import TableError
from cube.records.darwincore.vocabulary import word
from cube.records.report import Report
from cube.records.tables import PIECE

KEY: Final = "key"  # the event of a row, or a core row's id
UNDECODABLE: Final = "\ufffd"


def split_lines(lines: Iterator[str], delimiter: str, quote: str) -> Iterator[list[str]]:
    """Cells of each row; blank lines are no rows. Without `quote` a line is a row.

    A quotation mark that is never closed would take the rows behind it into one cell, up to the next such mark: rows of
    several lines with another number of cells than the first row, with a row's worth of delimiters in one cell, or with a
    mark that does not close a cell, are read again line by line.
    """
    if not quote:
        for line in lines:
            if line := line.rstrip("\r\n"):
                yield line.split(delimiter)
        return
    raw: list[str] = []
    width = 0

    def recorded() -> Iterator[str]:
        for line in lines:
            raw.append(line)
            yield line

    while True:
        try:
            for row in csv.reader(recorded(), delimiter=delimiter, quotechar=quote):
                width = width or len(row)
                if row and (_is_swallowed(row, width, delimiter) or (len(raw) > 1 and not _is_closed(raw, delimiter, quote))):
                    yield from _line_by_line(raw, width, delimiter, quote)
                elif row:
                    yield row
                raw.clear()
            return
        except csv.Error:  # a cell longer than the library allows
            yield from _line_by_line(raw, width, delimiter, quote)
            raw.clear()


def _is_swallowed(row: list[str], width: int, delimiter: str) -> bool:
    return len(row) != width or any("\n" in cell and cell.count(delimiter) >= max(width - 1, 1) for cell in row)


def _is_closed(raw: list[str], delimiter: str, quote: str) -> bool:
    """Whether quotes of a row's lines close where they should, and before the end of the file."""
    try:
        return len(list(csv.reader(raw, delimiter=delimiter, quotechar=quote, strict=True))) == 1
    except csv.Error:
        return False


def _line_by_line(raw: list[str], width: int, delimiter: str, quote: str) -> Iterator[list[str]]:
    for line in raw:
        text = line.rstrip("\r\n")
        if text:
            row = next(csv.reader([text], delimiter=delimiter, quotechar=quote))
            yield row if len(row) == width else text.split(delimiter)


@dataclass(frozen=True)
class Table:
    """Rows of one kind. `columns`: by `word` of a term, its position in a row and what stands for it where that is empty."""

    source: str  # the archive or package, for messages
    kind: str  # Occurrence, Event, ...
    files: tuple[str, ...]
    open: Callable[[str], AbstractContextManager[IO[bytes]]]
    columns: Mapping[str, tuple[int | None, str | None]]
    key: int | None
    delimiter: str = "\t"
    quote: str = ""
    encoding: str = "utf-8"
    header_lines: int = 1
    line_end: str = "\n"

    def has(self, term: str) -> bool:
        """Whether the rows give a term."""
        return word(term) in self.columns

    def stream(
        self, terms: Sequence[str], report: Report, account: str | None = None, piece: int = PIECE
    ) -> Iterator[pd.DataFrame]:
        """Columns `key` and `terms` as strings, `piece` rows at a time; missing where absent or empty.

        Rows are counted under `account` of `report`, and those that are too short left out. Raises `TableError` for a file
        that cannot be read.
        """
        column_keys = [(KEY, self.key, None), *((term, *self.columns.get(word(term), (None, None))) for term in terms)]
        need = 1 + max((i for _, i, _ in column_keys if i is not None), default=-1)
        for name in self.files:
            rows = self._rows(name)
            number = self.header_lines
            while part := list(islice(rows, piece)):
                full = [r for r in part if len(r) >= need]
                short = [f"{name} row {number + k + 1}" for k, r in enumerate(part) if len(r) < need]
                number += len(part)
                if account is not None:
                    report.count(account, len(part))
                    report.leave_out(account, "rows with fewer cells than the file's columns", short)
                columns = {}
                for term, index, default in column_keys:
                    values = [default] * len(full) if index is None else [r[index].strip() or default for r in full]
                    columns[term] = pd.Series(values, dtype=object)
                yield pd.DataFrame(columns)

    def _rows(self, name: str) -> Iterator[list[str]]:
        try:
            with self.open(name) as binary:
                # Carriage returns: files say \n and are written with \r\n; a quoted cell may hold either.
                text = io.TextIOWrapper(binary, self.encoding, "replace", newline="" if self.quote else self.line_end)
                rows = split_lines(iter(text), self.delimiter, self.quote)
                yield from islice(rows, self.header_lines, None)
        except (LookupError, OSError, zipfile.BadZipFile, EOFError) as error:
            raise TableError(f"{self.source}: {name} cannot be read ({error}); fetch the archive again.") from None


def short_name(term: str) -> str:
    """The last part of a term's address: `http://rs.tdwg.org/dwc/terms/eventDate` is eventDate, and so is `dwc:eventDate`.

    Terms whose values are addresses (`dwciri:`, `ecoiri:`) are other terms than those of their names.
    """
    name = term.rstrip("/").rsplit("/", 1)[-1].rsplit("#", 1)[-1].rsplit(":", 1)[-1]
    return f"iri {name}" if "iri:" in term or "/iri/" in term else name
