"""Time, memory and skill of the whole way, each stage a process of its own, as a table.

    python -m benchmarks.first_map --out /tmp/demo              # the generated landscape
    python -m benchmarks.first_map --config examples/moravia.yaml   # a configuration that exists
    python -m benchmarks.first_map --config examples/moravia.yaml --table-only   # what its last evaluation printed

Rows of skill are those of `floracube evaluate`: the peer (a random forest per species) comes from the same run.
Machines are shared and noisy: read the shares, not the seconds.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.command import parser_of, write_rows
from cube.config import load_config
from demo.journey import prepare
from demo.landscape import LandscapeSpec
from inference.evaluation.tables import Table

ROOT = Path(__file__).resolve().parents[1]
STAGES = ("build", "train", "evaluate", "predict")


def timed(arguments: list[str]) -> tuple[float, float, float]:
    """(wall seconds, CPU seconds, peak memory of its largest process in GB) of one command of ours."""
    start = time.perf_counter()
    pid = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, str(ROOT / "floracube.py"), *arguments])
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"floracube {' '.join(arguments)} failed")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e6


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--config", type=Path, help="an existing configuration; default: a new landscape in --out")
    parser.add_argument("--out", type=Path, default=Path("demo-out"))
    parser.add_argument("--size-km", type=int, default=20)
    parser.add_argument("--species", type=int, default=100)
    parser.add_argument("--table-only", action="store_true", help="run nothing, print the last evaluation")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    config = options.config
    if config is None:
        start = time.perf_counter()
        config = prepare(options.out, LandscapeSpec(size_km=options.size_km, n_species=options.species), lambda text: None)
        rows.append({"stage": "landscape", "wall_s": time.perf_counter() - start})
    if not options.table_only:
        for stage in STAGES:
            wall, cpu, memory = timed([stage, str(config)])
            rows.append({"stage": stage, "wall_s": wall, "cpu_s": cpu, "peak_GB": memory})
        print("\n" + Table("stages", rows).text())
    report = load_config(config).report_path / "evaluation.json"
    skill = json.loads(report.read_text(encoding="utf-8"))
    for title in dict.fromkeys(row["table"] for row in skill):
        rows_of_table = [{k: v for k, v in row.items() if k != "table"} for row in skill if row["table"] == title]
        print("\n" + Table(title, rows_of_table).text())
    write_rows(options.json, [*rows, *skill])


if __name__ == "__main__":
    main()
