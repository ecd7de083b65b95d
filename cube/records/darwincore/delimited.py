"""Rows of delimited text, quoted or not, of which an unbalanced quotation mark loses none."""

from __future__ import annotations

import csv
from collections.abc import Iterator


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
