"""How fast a unit becomes species, composition and indicators, step by step, compared with a patch a cell and with the machine.

A cube of generated inputs and a model of random weights (192 wide, embedding of 256, all modalities) of 100, 1,000 and 10,000
species; habitats are measured by `benchmarks/habitats.py`. Two figures a row: `wall`, as a user waits, and `processor`, cells
a second if all cores did nothing else, from the processor seconds that the process took: on a busy machine the second one
is that of the code. `per_patch` cuts the patch around every cell and runs the same encoders on each.

    python benchmarks/cascade.py                              1 to 2 minutes a size on two cores that are free
    python benchmarks/cascade.py --species 1000 --workers 2   scaling with workers too (bar 1.7), each with a core of its own
    python benchmarks/cascade.py --species --workers 2 --delay 0.02   and on a store like S3 that answers so late (bar 0.9)
    python benchmarks/cascade.py --device cuda --json gpu.json
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

# benchmarks/cube.py would be found before our own package otherwise.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from benchmarks import tile_web
from benchmarks.cascade_case import Case, make_case, make_cube, make_model
from benchmarks.cascade_floor import floors, rates
from benchmarks.cascade_projection import print_projection
from benchmarks.command import parser_of, write_rows
from benchmarks.ports import free_port
from cube.grid import Region
from inference.cascade.clock import Clock
from inference.cascade.unit import Job, open_job, run_unit
from inference.network.ensemble import survey_covariates
from tests.support.dense import read_window

SPEC = {"d": 256, "width": 192, "hidden": 256, "dilations": (1, 1, 2)}
PATCHES = 128  # cells that the per-patch way is timed on


def timed(job: Job, case: Case, repeats: int) -> dict[str, Any]:
    """Median of `repeats` units: seconds of wall and processor, cells, and processor seconds by step, encoders apart."""
    encoders: defaultdict[str, float] = defaultdict(float)
    local = threading.local()

    def begin(*_: Any) -> None:
        local.thread_start = time.thread_time()

    def add(step: str, *_: Any) -> None:
        encoders[step] += time.thread_time() - local.thread_start

    hooks: list[Any] = []
    for net in open_job(job)[1].ensemble.networks:
        for name, encoder in net.encoders.items():
            end = partial(add, f"encode {name}")
            hooks += [encoder.register_forward_pre_hook(begin), encoder.register_forward_hook(end)]
    run_unit(job, case.units[0])  # compiles what is compiled
    runs = []
    for _ in range(repeats):
        encoders.clear()
        clock, wall, processor = Clock(job.device), time.perf_counter(), time.process_time()
        cells = run_unit(job, case.units[0], clock)["counts"]["cells"]
        processor, wall = time.process_time() - processor, time.perf_counter() - wall
        steps = {k: v for k, v in clock.seconds.items() if not k.startswith("write") and k != "embed"}
        steps |= {k: v for k, v in encoders.items() if v > 0}
        steps["fuse"] = clock.seconds["embed"] - sum(encoders.values())
        # what compresses has threads of its own, which only the whole process knows of
        steps["write"] = processor - sum(steps.values())
        runs.append({"wall": wall, "processor": processor, "cells": cells, "steps": steps, "on device": clock.device_seconds()})
    for hook in hooks:
        hook.remove()
    middle = sorted(runs, key=lambda r: r["processor"])[len(runs) // 2]
    return middle | {"wall": statistics.median(r["wall"] for r in runs)}


def per_patch(job: Job, case: Case) -> dict[str, Any]:
    """Seconds of the encoders on single patches, a satellite patch and four 1 km cells for every place."""
    model = open_job(job)[1]
    ensemble, spec = model.ensemble, model.ensemble.spec
    window = read_window(case.cube, case.units[0], model.recipe, spec.halo)
    rng = np.random.default_rng(0)
    rows, cols = rng.integers(0, 200, (2, PATCHES))
    batch: dict[str, torch.Tensor] = {
        "landsat": torch.from_numpy(window["landsat"][:, :, rows, cols]).movedim(-1, 0),
        "table_50m": torch.from_numpy(window["table_50m"][:, rows, cols]).T,
        "survey": survey_covariates(job.year).expand(PATCHES, 1),
        "corner": torch.arange(4 * PATCHES).reshape(-1, 4),
        "weight": torch.full((PATCHES, 4), 0.25),
    }
    patches = [
        window["satellite"][:, 5 * r : 5 * r + spec.patch, 5 * c : 5 * c + spec.patch] for r, c in zip(rows, cols, strict=True)
    ]
    batch["satellite"] = torch.from_numpy(np.stack(patches))
    for name, axes in (("climate", 2), ("table_1km", 1)):
        cells = window[name].reshape(*window[name].shape[:axes], -1)
        batch[name] = torch.from_numpy(cells[..., rng.integers(0, cells.shape[-1], 4 * PATCHES)]).movedim(-1, 0)
    runs = []
    with torch.inference_mode():
        for _ in range(3):
            wall, processor = time.perf_counter(), time.process_time()
            ensemble.probability(ensemble.embed_places(batch), job.area_m2)
            runs.append((time.process_time() - processor, time.perf_counter() - wall))
    processor, wall = min(runs)
    return {"processor": processor, "wall": wall, "cells": PATCHES}


def workers(folder: Path, case: Case, count: int, address: str | None = None) -> dict[str, float]:
    """What `count` processes of one thread, each on a core of its own, take for four units with their receipts.

    `wall` and `processor` are seconds, `server` the processor seconds of the server. The cube is read and written on the disk,
    or through the server of `folder` at `address`.
    """
    code = (
        "import os, sys, pickle, time; sys.path.insert(0, sys.argv[1]); os.sched_setaffinity(0, {int(sys.argv[3])})\n"
        "import torch; torch.set_num_threads(1)\n"
        "from inference.cascade.unit import run_unit\n"
        "from inference.cascade.worker import predict_unit\n"
        "job, warm, units = pickle.load(open(sys.argv[2], 'rb'))\n"
        "run_unit(job, warm); print('ready', flush=True); sys.stdin.readline()\n"
        "start = time.process_time(); [predict_unit(job, 'predict/' + job.versions[0][1], u) for u in units]\n"
        "print(time.process_time() - start, flush=True)\n"
    )
    import pickle

    root, cores = str(Path(__file__).resolve().parents[1]), sorted(os.sched_getaffinity(0))
    version = f"workers{time.monotonic_ns()}"  # units that have receipts are left alone
    case.make(version)
    job = case.job(version)
    if address is not None:
        job = replace(job, cube_url=f"s3://{Path(case.cube.url).relative_to(folder)}")
    crew = []
    for i in range(count):
        task_file = folder / f"task{i}.pickle"
        task_file.write_bytes(pickle.dumps((job, case.units[i], case.units[i::count])))
        crew.append(
            subprocess.Popen(
                [sys.executable, "-c", code, root, str(task_file), str(cores[i % len(cores)])],
                env=os.environ | (tile_web.s3_environment(address) if address else {}),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
    for process in crew:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", "a worker could not begin"
    start, server_start = time.perf_counter(), tile_web.processor_seconds(address) if address else 0.0
    for process in crew:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    processor = sum(float(process.communicate()[0]) for process in crew)
    wall = time.perf_counter() - start
    return {
        "wall": wall,
        "processor": processor,
        "server": tile_web.processor_seconds(address) - server_start if address else 0.0,
    }


def compare_workers(folder: Path, count: int, delay: float, unit_km: int) -> list[dict[str, Any]]:
    """Print what one worker, `count` and, where answers come `delay` seconds late, `count` on S3 take; returns the records."""
    case = make_case(folder / "four", Region(4800, 2880, 4800 + 2 * unit_km, 2880 + 2 * unit_km, unit_km), 1000, SPEC)
    rows = {f"{n} on disk": workers(folder, case, n) for n in (1, count)}
    if delay:
        with tile_web.serve(folder, free_port(), delay) as address:
            rows[f"{count} on S3, {1000 * delay:.0f} ms away"] = workers(folder, case, count, address)
    cells, disk = sum(unit.cells**2 for unit in case.units), rows[f"{count} on disk"]
    titles = ("cells/s", "of disk", "processor s", "of disk", "of the server")
    print(f"\n{'workers of one thread':26}{''.join(f'{title:>14}' for title in titles)}")
    records = []
    for name, row in rows.items():
        share, processor_share = disk["wall"] / row["wall"], disk["processor"] / row["processor"]
        shares = f"{share:14.2f}{row['processor']:14.1f}{processor_share:14.2f}{row['server']:14.1f}"
        print(f"{name:26}{cells / row['wall']:14,.0f}{shares}")
        records.append({"way": "workers", "species": 1000, "step": name, "cells_per_second": cells / row["wall"]})
    print(f"{count} workers of one thread: {rows['1 on disk']['wall'] / disk['wall']:.2f} times one")
    return records


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--species", type=int, nargs="*", default=[100, 1000, 10_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=0, help="also time this many workers of one thread against one")
    parser.add_argument("--trees", type=int, default=0, help="of a forest beside the network, grown on 3,000 invented surveys")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds by which the store of the workers answers late, too")
    parser.add_argument("--unit-km", type=int, default=10, help="side of the workers' units")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="cascade"))
    cores = len(os.sched_getaffinity(0))
    records: list[dict[str, Any]] = []
    rows_by_species: dict[int, dict[str, Any]] = {}
    try:
        cube = make_cube(str(folder / "cube.zarr"), Region(4800, 2890, 4810, 2900, 10))
        for species in args.species:
            path = make_model(folder / f"model{species}", cube, species, SPEC, trees=args.trees)
            case = Case(cube, path, tuple(cube.region.units()))
            case.make(f"v{species}")
            job = case.job(f"v{species}", device=args.device)
            dense = timed(job, case, args.repeats)
            maps = np.asarray(cube.root[f"products/species/v{species}/0/occurrence"][:64])
            rate = rates(maps)
            floor = floors(open_job(job)[1].ensemble.spec, species, rate)
            stored_bytes = sum(
                f.stat().st_size for f in Path(cube.url, "products", "species", f"v{species}", "0").rglob("c/*/*/*")
            )
            rows_by_species[species] = dense | {"bytes": stored_bytes / dense["cells"] / species, "floor": floor, "rate": rate}
            records += show(species, dense, per_patch(job, case) if args.device == "cpu" else None, floor, rate, cores)
        print(f"peak memory of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB")
        if args.workers:
            records += compare_workers(folder, args.workers, args.delay, args.unit_km)
        if rows_by_species:
            records += print_projection(rows_by_species[max(rows_by_species)], max(rows_by_species), cores, args.device)
    finally:
        shutil.rmtree(folder)
    write_rows(args.json, records)


def show(
    species: int, dense: dict[str, Any], patch: dict[str, Any] | None, floor: dict[str, float], rate: dict[str, float], cores: int
) -> list[dict[str, Any]]:
    """Print one size and return its records."""
    cells, steps = dense["cells"], dense["steps"]
    print(
        f"\n{species:,} species, {cells:,} cells; one core: memcpy {rate['memcpy'] / 1e9:.1f} GB/s,"
        f" GEMM {rate['gemm'] / 1e9:.0f} GFLOP/s, zstd {rate['zstd'] / 1e6:.0f} MB/s"
    )
    print(f"{'step':34}{'us of a core':>14}{'share':>8}{'floor':>9}{'times':>7}")
    records = []
    for step, seconds in sorted(steps.items(), key=lambda s: -s[1]):
        microseconds, floor_seconds = 1e6 * seconds / cells, floor.get(step)
        floor_text = f"{1e6 * floor_seconds:9.1f}{microseconds / (1e6 * floor_seconds):7.1f}" if floor_seconds else ""
        print(f"{step:34}{microseconds:14.1f}{seconds / dense['processor']:8.1%}{floor_text}")
        if seconds > 0:
            records.append({"way": "dense", "species": species, "step": step, "cells_per_second": cores * cells / seconds})
    for step, seconds in sorted(dense["on device"].items(), key=lambda s: -s[1]):
        print(f"{step + ', on the GPU':34}{1e6 * seconds / cells:14.2f}{seconds / dense['wall']:8.1%} of the wall")
        records.append({"way": "GPU", "species": species, "step": step, "cells_per_second": cells / seconds})
    for way, run in (("dense", dense), ("per_patch", patch)):
        if run is None:
            continue
        processor, wall = cores * run["cells"] / run["processor"], run["cells"] / run["wall"]
        print(f"{way} total: {processor:,.0f} cells/s of {cores} cores by processor time, {wall:,.0f} by wall")
        records.append({"way": way, "species": species, "step": "total", "cells_per_second": processor, "wall": wall})
    return records


if __name__ == "__main__":
    main()
