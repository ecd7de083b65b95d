"""What the cube costs: how fast it is built, how many bytes a cell takes.

    python -m benchmarks.cube                                  # everything; some minutes
    python -m benchmarks.cube --only bytes --cube /data/cube.zarr
    python -m benchmarks.cube --only throughput --json cube.json

Each part is a file of its own: `cube_throughput.py` (compared with odc-stac, stackstac and gdalwarp on the same scenes) and
`cube_storage.py`. Machines are shared and noisy: read the ratios, which compare ways within one run, before the rates.
"""

from __future__ import annotations

import os
import platform
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import cube_storage, cube_throughput
from benchmarks.command import parser_of, write_rows
from inference.evaluation.tables import Table

PARTS = ("throughput", "bytes")


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts, separated by commas: {', '.join(PARTS)}")
    parser.add_argument("--cube", type=Path, help="a local cube whose bytes are counted instead of a generated one's")
    parser.add_argument("--size-km", type=int, default=10, help="side of the generated landscape")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    parts = options.only.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"--only: '{min(unknown)}' is no part; parts are {', '.join(PARTS)}")
    print(f"{os.cpu_count()} cores, {platform.machine()}, load {os.getloadavg()[0]:.1f} at the start\n")
    rows: list[dict[str, Any]] = []
    for part in parts:
        if part == "throughput":
            part_rows = cube_throughput.records(repeats=options.repeats)
        else:
            with tempfile.TemporaryDirectory() as folder:
                part_rows = cube_storage.bytes_records(options.cube or cube_storage.demo_cube(Path(folder), options.size_km))
        print(Table(part, part_rows).text() + "\n")
        rows += ({"part": part} | row for row in part_rows)
    write_rows(options.json, rows)


if __name__ == "__main__":
    main()
