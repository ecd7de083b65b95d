"""Does floracube use a GPU, and how much faster is it? Build, train, predict and the benchmark of the cascade on one GPU.

    python -m benchmarks.gpu                                  # within ten minutes; a table, exit code 1 if a step fails
    python -m benchmarks.gpu --device cpu --size-km 10 --species 30 --benchmark-species 100     # the same steps without a GPU

The demo's landscape is built and learned, then predicted twice by the same model: on the device, and on the processor. The last
row counts stored values of species that differ between the two maps, and by how many steps of 250.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cube.storage.store import CubeStore, open_cube

ROOT = Path(__file__).resolve().parents[1]
HIDDEN = {"CUDA_VISIBLE_DEVICES": ""}  # of a process that computes on the processor


def run(*words: object, **environment: str) -> str:
    """Standard output of a command of this checkout; raises `SystemExit` with the end of what it printed if it fails."""
    command = [sys.executable, *(str(word) for word in words)]
    process = subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    if process.returncode:
        raise SystemExit(f"{' '.join(command[1:])} failed:\n{(process.stdout + process.stderr)[-3000:]}")
    return process.stdout


def differences(cube: CubeStore, one: str, two: str) -> tuple[float, int]:
    """(share of stored species values at level 0 that differ between two versions, the largest difference in steps of 250)."""
    first, second = (np.asarray(cube.array(f"products/species/{name}/0/occurrence")[:]).astype(int) for name in (one, two))
    apart = np.abs(first - second)
    return float((apart > 0).mean()), int(apart.max())


def main() -> None:
    """Run the steps in their order and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--size-km", type=int, default=20, help="side of the landscape")
    parser.add_argument("--species", type=int, default=100)
    parser.add_argument("--benchmark-species", type=int, default=10_000)
    options = parser.parse_args()
    gpu = options.device == "cuda"
    if gpu and not torch.cuda.is_available():
        raise SystemExit("torch finds no GPU here; install torch for CUDA and its driver, or give --device cpu.")
    name = torch.cuda.get_device_name() if gpu else f"{os.cpu_count()} cores"
    print(f"torch {torch.__version__} on {name}")
    environment = {} if gpu else HIDDEN

    def step(label: str, *words: object, **environment: str) -> str:
        started = time.perf_counter()
        printed = run(*words, **environment)
        print(f"{label:44} {time.perf_counter() - started:7.0f} s", flush=True)
        return printed

    with tempfile.TemporaryDirectory(prefix="floracube-gpu-") as folder:
        demo = Path(folder) / "demo"
        sizes: tuple[Any, ...] = ("--size-km", options.size_km, "--species", options.species, "--no-serve")
        step(f"build, train and predict on {options.device}", "floracube.py", "demo", "--out", demo, *sizes, **environment)
        config = demo / "config.yaml"
        step(f"predict again on {options.device}", "floracube.py", "predict", config, "--version", "device", **environment)
        step("predict on the processor", "floracube.py", "predict", config, "--version", "processor", **HIDDEN)
        step(
            "two workers take turns",
            "floracube.py",
            "predict",
            config,
            "--version",
            "workers",
            "--workers",
            2,
            **environment,
        )
        cube = open_cube(str(demo / "cube.zarr"))
        species = ("--species", options.benchmark_species, "--device", options.device)
        table = step("benchmark of the cascade", "benchmarks/cascade.py", *species, "--repeats", 2, **environment)
        for other in ("processor", "workers"):
            share, most = differences(cube, "device", other)
            print(f"{f'values apart, {options.device} and {other}':44} {share:9.4%}, {most} steps at most")
    print(table)


if __name__ == "__main__":
    main()
