"""How fast tables of records are read: rows a second of our reader beside pandas and pyarrow, on the same generated file.

Records have an id, a name (1,000 species, a tenth with authors), a position, a year and an uncertainty. `table` reads cells as
training asks for them (ids and names as text, numbers as float64); `records` goes on to names, positions on the grid and the
region, as training does. pandas and pyarrow only read. Each is the best of `--repeats`.

    python -m benchmarks.readers --rows 5000000 --json readers.json
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.csv
import pyarrow.parquet

from cube.config import Config
from cube.records.presence_only import read_records
from cube.records.tables import stream_table

COLUMNS = ["id", "species", "lon", "lat", "year", "uncertainty"]
NUMBERS = COLUMNS[2:]
TYPES = {"id": "str", "species": "str", **dict.fromkeys(NUMBERS, "float64")}
PIECE = 1_000_000  # rows written at a time


def write_records(folder: Path, rows: int, seed: int = 0) -> dict[str, Path]:
    """`rows` records as CSV, as CSV with every text quoted, and as Parquet."""
    draw = np.random.default_rng(seed)
    letters = "abcdefghijklmnopqrstuvwxyz"
    names = [f"Genus{letters[i % 26]} species{letters[i // 26 % 26]}{letters[i // 676]}" for i in range(1000)]
    names = [f"{name} L." if i % 10 == 0 else name for i, name in enumerate(names)]
    paths = {"csv": folder / "plain.csv", "quoted csv": folder / "quoted.csv", "parquet": folder / "records.parquet"}
    writer = None
    for start in range(0, rows, PIECE):
        count = min(PIECE, rows - start)
        frame = pd.DataFrame(
            {
                "id": [f"{i:09d}" for i in range(start, start + count)],
                "species": np.asarray(names, object)[draw.integers(0, len(names), count)],
                "lon": draw.uniform(15, 18, count).round(5),
                "lat": draw.uniform(48.7, 50, count).round(5),
                "year": draw.integers(1980, 2024, count),
                "uncertainty": draw.integers(1, 500, count),
            }
        )
        new = start == 0
        frame.to_csv(paths["csv"], index=False, mode="w" if new else "a", header=new)
        frame.to_csv(paths["quoted csv"], index=False, mode="w" if new else "a", header=new, quoting=2)
        table = pyarrow.Table.from_pandas(frame, preserve_index=False)
        writer = writer or pyarrow.parquet.ParquetWriter(paths["parquet"], table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()
    return paths


def stream(path: Path) -> int:
    """Rows that our reader yields."""
    return sum(len(part) for part in stream_table(str(path), COLUMNS, NUMBERS))


def records(path: Path) -> int:
    """Records that training is given."""
    columns = {
        "record": "id",
        "species": "species",
        "longitude": "lon",
        "latitude": "lat",
        "year": "year",
        "uncertainty_m": "uncertainty",
    }
    config = Config.model_validate(
        {
            "title": "readers",
            "cube": "cube.zarr",
            "unit_km": 10,
            "sources": (),
            "region": {"west_km": 4400, "south_km": 2700, "east_km": 5100, "north_km": 3200},
            "records": {"table": str(path), "columns": columns},
        }
    )
    return sum(len(chunk) for chunk in read_records(config))


def by_pandas(path: Path) -> int:
    """Rows that pandas reads."""
    if path.suffix == ".parquet":
        return len(pd.read_parquet(path, columns=COLUMNS).astype(TYPES))
    return len(pd.read_csv(path, usecols=COLUMNS, dtype=TYPES))


def by_pyarrow(path: Path) -> int:
    """Rows that pyarrow reads, with one thread as we do."""
    if path.suffix == ".parquet":
        return int(pyarrow.parquet.read_table(path, columns=COLUMNS, use_threads=False).num_rows)
    types = {c: pyarrow.string() if t == "str" else pyarrow.float64() for c, t in TYPES.items()}
    options = pyarrow.csv.ConvertOptions(include_columns=COLUMNS, column_types=types)
    return int(pyarrow.csv.read_csv(path, pyarrow.csv.ReadOptions(use_threads=False), convert_options=options).num_rows)


READERS: dict[str, Callable[[Path], int]] = {"table": stream, "records": records, "pandas": by_pandas, "pyarrow": by_pyarrow}


def main() -> None:
    """Print the table; write it as flat records with `--json`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, path in write_records(Path(folder), options.rows).items():
            for reader, read in READERS.items():
                seconds = []
                for _ in range(options.repeats):
                    started = time.perf_counter()
                    rows = read(path)
                    seconds.append(time.perf_counter() - started)
                    assert rows == options.rows, (reader, rows)
                found.append(
                    {
                        "table": "readers",
                        "file": kind,
                        "megabytes": round(path.stat().st_size / 1e6, 1),
                        "reader": reader,
                        "rows": options.rows,
                        "seconds": min(seconds),
                        "rows_per_second": round(options.rows / min(seconds)),
                    }
                )
    print(f"{'file':12}{'MB':>8}  {'reader':10}{'seconds':>9}{'rows/s':>12}")
    for row in found:
        print(f"{row['file']:12}{row['megabytes']:8.1f}  {row['reader']:10}{row['seconds']:9.2f}{row['rows_per_second']:12,}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
