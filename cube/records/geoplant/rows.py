"""Rows of wide tables of numbers by id: a table is streamed by pyarrow, and only the rows that are wanted stay in memory."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow
import pyarrow.csv
import pyarrow.dataset
from numpy.typing import NDArray

from cube.errors import TableError

ID_COLUMNS: Final = ("surveyId", "timeSerieID", "glcID", "patchID")
MISSING: Final = ("", "eos", "NA", "na", "NaN", "nan", "null")  # `eos` ends a series of 2023

Floats = NDArray[np.float32]


def read_rows(path: Path, ids: NDArray[np.int64], columns: Sequence[str]) -> tuple[Floats, NDArray[np.bool_]]:
    """((n, k) float32, whether the id has a row): numbers of `columns` of a CSV file, NaN where there is none.

    Of an id that stands in several rows the first is taken. Raises `TableError` where no column holds ids, a row is
    shorter than the header, or a cell is no number.
    """
    with path.open(encoding="utf-8-sig") as file:
        line = file.readline()
    separator = max(",;\t", key=line.count)
    present = next(csv.reader([line], delimiter=separator), [])
    key = next((c for c in ID_COLUMNS if c in present), None)
    if key is None:
        raise TableError(f"{path}: none of its columns ({', '.join(present[:8])}) is an id such as {ID_COLUMNS[0]}; rename it.")
    read_columns = [c for c in columns if c in present]
    out, in_table = np.full((len(ids), len(columns)), np.nan, np.float32), np.zeros(len(ids), bool)
    if not read_columns:
        return out, in_table  # another version of the variable, with other columns
    table = pyarrow.dataset.dataset(
        path,
        # Ids are stored as floats in places.
        pyarrow.schema([(key, pyarrow.float64()), *((c, pyarrow.float32()) for c in read_columns)]),
        pyarrow.dataset.CsvFileFormat(
            pyarrow.csv.ParseOptions(delimiter=separator),
            pyarrow.dataset.CsvFragmentScanOptions(pyarrow.csv.ConvertOptions(null_values=MISSING)),
        ),
    )
    try:
        rows = table.to_table(filter=pyarrow.dataset.field(key).isin(np.unique(ids).astype(np.float64))).to_pandas()
    except pyarrow.ArrowInvalid as error:
        raise TableError(f"{path}: is no whole table of numbers ({str(error).splitlines()[0]}); fetch the file again.") from None
    rows = rows.drop_duplicates(key).set_index(key)
    at = rows.index.get_indexer(ids)
    in_table = at >= 0
    out[np.ix_(in_table, [columns.index(c) for c in read_columns])] = rows.to_numpy(np.float32)[at[in_table]]
    out[np.isinf(out)] = np.nan
    return out, in_table
