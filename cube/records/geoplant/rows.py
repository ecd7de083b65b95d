"""Rows of wide tables of numbers by id, without the table in memory: an index on disk says where each row begins."""

from __future__ import annotations

import tempfile
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cube.errors import TableError

OPEN_TABLES: Final = 16  # indices kept; each is a file without a name, 16 bytes a row
ID_COLUMNS: Final = ("surveyId", "timeSerieID", "glcID", "patchID")
MISSING: Final = frozenset({"", "eos", "na", "nan", "null", "inf", "-inf"})  # `eos` ends a series of 2023

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class IndexedTable:
    """A CSV file of numbers, one row an id; `ids` are sorted and `starts` are the bytes at which their rows begin."""

    path: Path
    columns: tuple[str, ...]
    separator: str
    ids: NDArray[np.int64]
    starts: NDArray[np.int64]

    def read(self, ids: NDArray[np.int64], columns: Sequence[str]) -> tuple[Floats, NDArray[np.bool_]]:
        """((n, k) float32, whether the id has a row): numbers of `columns`, NaN where there is none.

        Of an id that stands in several rows the first is taken. Rows are read in the order of the file.
        Raises `TableError` for a row that is shorter than the header.
        """
        at = np.searchsorted(self.ids, ids)
        known = at < len(self.ids)
        known[known] = np.asarray(self.ids[at[known]]) == ids[known]
        out = np.full((len(ids), len(columns)), np.nan, np.float32)
        places = [self.columns.index(c) if c in self.columns else -1 for c in columns]
        wanted = [(int(self.starts[at[i]]), i) for i in np.flatnonzero(known)]
        with open(self.path, "rb") as file:
            for start, i in sorted(wanted):
                file.seek(start)
                cells = _cells(file.readline(), self.separator)
                if len(cells) < len(self.columns):
                    raise TableError(
                        f"{self.path}: the row of id {ids[i]} has {len(cells)} cells, the header {len(self.columns)};"
                        " fetch the file again."
                    )
                out[i] = [_number(cells[p]) if p >= 0 else np.nan for p in places]
        return out, known


def _cells(line: bytes, separator: str) -> list[str]:
    return [c.strip('"') for c in line.decode("utf-8", "replace").strip("\r\n").split(separator)]


def _number(cell: str) -> float:
    text = cell.strip().lower()
    if text in MISSING:
        return np.nan
    try:
        return float(text)
    except ValueError:
        return np.nan


def header_of(path: Path) -> tuple[tuple[str, ...], str]:
    """(columns, separator) of a CSV file: the separator is the most frequent of comma, semicolon and tab."""
    with open(path, "rb") as file:
        head = file.readline()
    text = head.decode("utf-8-sig", "replace")
    separator = max(",;\t", key=text.count)
    return tuple(_cells(text.encode(), separator)), separator


def index_table(path: Path) -> IndexedTable:
    """Read `path` once and remember where the row of each id begins: 16 bytes a row, in a file without a name.

    Raises `TableError` where no column holds ids.
    """
    columns, separator = header_of(path)
    key = next((c for c in ID_COLUMNS if c in columns), None)
    if key is None:
        raise TableError(f"{path}: none of its columns ({', '.join(columns[:8])}) is an id such as {ID_COLUMNS[0]}.")
    place, sep = columns.index(key), separator.encode()
    ids, starts = array("q"), array("q")
    with open(path, "rb") as file:
        at = len(file.readline())
        for line in file:
            cells = line.split(sep, place + 1)
            if len(cells) > place and (text := cells[place].strip(b'"\r\n ')):
                try:
                    ids.append(int(float(text)))
                except ValueError:
                    raise TableError(
                        f"{path}: '{text.decode('utf-8', 'replace')}' in column {key} is no id; fetch the file again."
                    ) from None
                starts.append(at)
            at += len(line)
    order = np.argsort(np.frombuffer(ids, np.int64), kind="stable") if ids else np.zeros(0, np.int64)
    return IndexedTable(path, columns, separator, _kept(ids, order), _kept(starts, order))


def _kept(values: array[int], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """`values[order]` in a file without a name, mapped: pages that the system may drop and read again."""
    if not len(order):
        return np.zeros(0, np.int64)
    with tempfile.TemporaryFile(prefix="floracube-") as file:
        np.frombuffer(values, np.int64)[order].tofile(file)
        file.flush()
        return np.memmap(file, np.int64, "r", shape=(len(order),))


class OpenTables:
    """Indices of tables in use; the one that was not asked for longest leaves when there are too many."""

    def __init__(self, limit: int = OPEN_TABLES) -> None:
        """Keep at most `limit` indices."""
        self._limit = limit
        self._open: OrderedDict[Path, IndexedTable] = OrderedDict()

    def __getitem__(self, path: Path) -> IndexedTable:
        """The index of the table at `path`, made now if it is not there."""
        if path not in self._open:
            self._open[path] = index_table(path)
            while len(self._open) > self._limit:
                self._open.popitem(last=False)
        self._open.move_to_end(path)
        return self._open[path]

    def __len__(self) -> int:
        return len(self._open)
