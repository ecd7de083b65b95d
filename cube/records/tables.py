"""Tables as they are: CSV and Parquet read whole, what is missing named, what is skipped counted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import StringIO
from typing import Any, Final

import fsspec
import pandas as pd

from cube.errors import TableError

MISSING: Final = ["NA", "N/A", "", "nan", "NaN", "null"]
NAMED: Final = 5  # how many skipped rows a report names


@dataclass
class Report:
    """What a reader left out or filled in: a count and the first few rows, by reason."""

    title: str
    kept: dict[str, int] = field(default_factory=dict)
    remarks: dict[str, tuple[int, list[str]]] = field(default_factory=dict)

    def note(self, reason: str, rows: Sequence[Any]) -> None:
        """Count `rows` under `reason`; nothing is noted for none."""
        if len(rows):
            self.remarks[reason] = (len(rows), [str(r) for r in rows[:NAMED]])

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
                "remarks": {k: {"count": n, "first": names} for k, (n, names) in self.remarks.items()}}  # fmt: skip


def read_table(path: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """A CSV (UTF-8 with or without BOM, or Latin-1; gzip too) or Parquet table.

    Raises `TableError` naming the file, and the first of `columns` that it lacks.
    """
    try:
        with fsspec.open(path, "rb", compression="infer") as file:
            if path.endswith((".parquet", ".pq")):
                table = pd.read_parquet(file)
            else:
                data = file.read()
                try:
                    text = data.decode("utf-8-sig")
                except UnicodeDecodeError:
                    text = data.decode("latin-1")
                separator = "\t" if path.endswith((".tsv", ".tsv.gz")) else _separator(text)
                table = pd.read_csv(StringIO(text), sep=separator, na_values=MISSING, keep_default_na=False,
                                    low_memory=False)  # fmt: skip
    except FileNotFoundError:
        raise TableError(f"{path}: there is no such table; check the path in the configuration.") from None
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise TableError(f"{path}: cannot be read as a table ({str(error).splitlines()[0]}).") from None
    for column in columns or ():
        if column not in table.columns:
            raise TableError(
                f"{path}: there is no column '{column}' (it has {', '.join(map(str, table.columns[:12]))}"
                f"{', ...' if len(table.columns) > 12 else ''}); name the right one in the configuration."
            )
    return table


def _separator(text: str) -> str:
    head = text.split("\n", 1)[0]
    return max(",;\t", key=head.count)


def normal_name(name: str) -> str:
    """A scientific name with single spaces and without the ends': what names are matched by, exactly."""
    return re.sub(r"\s+", " ", str(name)).strip()
