"""Results as tables: flat records for JSON and CSV, aligned columns for a person."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cube.storage.local_files import write_file

Record = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """Rows under a title; a row may lack columns that others have."""

    title: str
    rows: Sequence[Record]

    @property
    def columns(self) -> list[str]:
        """Names of columns in the order of their first appearance."""
        return list(dict.fromkeys(key for row in self.rows for key in row))

    def cells(self) -> list[list[str]]:
        """The header and every row as text."""
        return [self.columns, *([cell_text(row.get(c)) for c in self.columns] for row in self.rows)]

    def text(self) -> str:
        """Title and aligned columns."""
        cells = self.cells()
        widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
        lines = ["  ".join(v.ljust(w) for v, w in zip(row, widths, strict=True)).rstrip() for row in cells]
        return "\n".join([self.title, *lines])


def cell_text(value: Any) -> str:
    """A value as a table shows it: three decimals, nothing for what is unknown."""
    value = _plain(value)
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def records(tables: Iterable[Table]) -> list[Record]:
    """All rows as flat records, each with its table's title; a number that is not finite becomes null, as JSON knows no NaN."""
    return [{"table": t.title, **{k: _plain(v) for k, v in row.items()}} for t in tables for row in t.rows]


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def as_csv(rows: Sequence[Record]) -> str:
    """Records as CSV with the union of their columns."""
    return str(pd.DataFrame(rows, dtype=object).to_csv(index=False, lineterminator="\n"))


def write_tables(folder: Path, name: str, tables: Sequence[Table]) -> list[Path]:
    """Write `name`.json, .csv and .txt into `folder`, each whole or not at all; returns their paths."""
    rows = records(tables)
    texts = {
        "json": json.dumps(rows, indent=1, allow_nan=False) + "\n",
        "csv": as_csv(rows),
        "txt": "\n\n".join(t.text() for t in tables) + "\n",
    }
    out = []
    for ending, text in texts.items():
        out.append(folder / f"{name}.{ending}")
        write_file(out[-1], text.encode())
    return out
