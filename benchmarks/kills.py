"""Predictions with a SIGKILL each to a random process at a random moment, resumed until done, compared with the undisturbed one.

A scheduler, two nannies with a worker each and the coordinator are processes of their own. In every run one of them is
killed; whoever watches them (here this program, elsewhere Kubernetes or systemd) starts what is gone again, and the
coordinator's command is given again until it exits with 0. Meanwhile a reader looks at every release that `current.json`
names and at all of its values. Every product must be, value for value and receipt for receipt, the undisturbed one's.

Examples: python -m benchmarks.kills               twenty runs on a tiny cube
          python -m benchmarks.kills --runs 4 --json kills.json --seed 7
          python -m benchmarks.kills --delay 0.01      in a bucket of a store like S3 that answers so late
          python -m benchmarks.kills --config CONFIG   of a cube that is built and a model that is trained
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil

from benchmarks import tile_web
from benchmarks.command import parser_of, write_rows
from benchmarks.ports import free_port
from cube.config import Config, load_config
from cube.storage import releases
from cube.storage.ledger import checksum
from cube.storage.store import CubeStore, open_cube
from inference.evaluation.tables import Table
from tests.support import tiny_run

ROOT = Path(__file__).resolve().parents[1]
Row = dict[str, Any]
ROLES = ("worker", "nanny", "scheduler", "coordinator")
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
PATIENCE = 1800.0  # seconds for a run with its commands; longer is a hang, and a hang is a failure
PREDICT = (sys.executable, str(ROOT / "floracube.py"), "predict", "--version", "v1")
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


@dataclass
class Cluster:
    """A scheduler and two nannies with one worker each, started again when they are gone."""

    port: int
    folder: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Where the scheduler listens."""
        return f"tcp://127.0.0.1:{self.port}"

    def restart_missing(self) -> None:
        """Start whatever is not there."""
        scheduler = ["scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard", "--no-show"]
        nanny = [*f"worker {self.address} --nworkers 1 --nthreads 1 --no-dashboard --death-timeout 60".split()]
        nanny += ["--local-directory", str(self.folder)]
        for name, arguments in (("scheduler", scheduler), ("nanny 1", nanny), ("nanny 2", nanny)):
            process = self.processes.get(name)
            if process is None or process.poll() is not None:
                self.processes[name] = subprocess.Popen(
                    [sys.executable, "-m", "dask", *arguments], env=os.environ | ENVIRONMENT, cwd=ROOT, **QUIET
                )

    def victim(self, role: str, rng: random.Random) -> int | None:
        """The process to be killed, None if there is none of the role at this moment."""
        nanny = self.processes[rng.choice(("nanny 1", "nanny 2"))]
        if role == "scheduler":
            return self.processes["scheduler"].pid
        if role == "nanny":
            return nanny.pid
        try:
            born = [child.pid for child in psutil.Process(nanny.pid).children() if "spawn_main" in " ".join(child.cmdline())]
        except psutil.Error:
            return None
        return born[-1] if born else None

    def stop(self) -> None:
        """End all of them."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Reader(threading.Thread):
    """Follows `current.json`: whatever release it names has a receipt for each unit, and values as the receipts say."""

    def __init__(self, config: Config) -> None:
        """Begins with `start()`."""
        super().__init__(daemon=True)
        self.config, self.looks, self.partial_looks, self.stop = config, 0, [], threading.Event()

    def run(self) -> None:
        """Look again and again until `stop` is set."""
        while not self.stop.wait(0.05):
            self.look()

    def look(self) -> None:
        """One look at all that a reader sees now; what is not whole is kept as a sentence."""
        try:
            cube = open_cube(self.config.cube_url)
            products = releases.current(cube)["products"]
            if not products:
                return
            for unit in self.config.predict_region().units():
                for version in set(products.values()):
                    receipt = cube.read_json(f"ledger/predict/{version}/{unit.name}.json")
                    if receipt is None:
                        raise ValueError(f"{version}: unit {unit.name} has no receipt")
                    for key, crc in receipt["checksums"].items():
                        product, _, name = key.partition(" ")
                        if product == "species" or products.get(product) != version:
                            continue  # read as maps below
                        path = f"{releases.group_of(product, version)}/{name}"
                        if checksum(cube.read_window(path, cube.region.square(unit))) != crc:
                            raise ValueError(f"{path}: other values than its receipt says in {unit.name}")
            species = cube.array(f"{releases.group_of('species', products['species'])}/occurrence")[0]
            if not (species != 255).any():
                raise ValueError("the map of the first species is empty")
            self.looks += 1
        except Exception as error:
            self.partial_looks.append(f"{type(error).__name__}: {error}")


def command(config: Config, cluster: Cluster) -> subprocess.Popen[bytes]:
    arguments = [*PREDICT, str(config.path), "--scheduler", cluster.address]
    return subprocess.Popen(arguments, cwd=ROOT, env=os.environ | ENVIRONMENT, **QUIET)


def disturbed(number: int, config: Config, cluster: Cluster, role: str, moment: float, rng: random.Random) -> tuple[Row, Reader]:
    """One run: its first command is disturbed after `moment` (a share) of the units, the next ones are left to end."""
    reader, cube, start = Reader(config), _on_disk(config), time.monotonic()
    reader.start()
    units = len(list(config.predict_region().units()))
    process, commands = command(config, cluster), 1

    def n_receipts() -> int:
        return len(cube.list_json("ledger/predict/v1"))

    # A share of the units and then of a second: kills fall into the beginning, into units and between them, into overviews.
    while process.poll() is None and n_receipts() < int(moment * units):
        time.sleep(0.005)
    time.sleep(rng.uniform(0, 1.0))
    at, receipts = time.monotonic() - start, n_receipts()
    pid = process.pid if role == "coordinator" else cluster.victim(role, rng)
    if pid is not None:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pid = None
    while True:
        cluster.restart_missing()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            if time.monotonic() - start > PATIENCE:
                process.kill()
                process.wait()
                break
            continue
        if process.returncode == 0 or time.monotonic() - start > PATIENCE:
            break
        cluster.restart_missing()
        process, commands = command(config, cluster), commands + 1
    seconds = time.monotonic() - start
    reader.stop.set()
    reader.join()
    reader.look()  # and once at what is left
    row = {
        "run": number,
        "killed": role if pid is not None else f"{role} (none there)",
        "after s": round(at, 1),  # of the command in which the kill fell
        "units": receipts,  # done at the moment of the kill
        "commands": commands,  # until it was done
        "seconds": round(seconds, 1),
        "looks": reader.looks,  # of the reader at whole releases
        "torn": len(reader.partial_looks),  # looks that found something that was not whole
        "same": process.returncode == 0,
    }
    return row, reader


def _on_disk(config: Config) -> CubeStore:
    """The cube of a run in the folder that is served, so that this program's own looks cost the store nothing."""
    return open_cube(str(config.path.parent / "cube.zarr"))


def kills(
    config: Config, folder: Path, runs: int, seed: int, roles: tuple[str, ...] = ROLES, delay: float | None = None
) -> tuple[list[Row], list[str]]:
    """`runs` disturbed runs, the roles in turn; their rows, and a sentence for everything that was not as it should be.

    With a `delay` they lie in a bucket that answers so many seconds late; the undisturbed run is always on the disk.
    """
    rng, wrong, rows = random.Random(seed), [], []
    calm = tiny_run.copy(config, folder / "undisturbed")
    process = subprocess.run([*PREDICT, str(calm.path)], cwd=ROOT, env=os.environ | ENVIRONMENT, capture_output=True, text=True)
    if process.returncode:
        raise SystemExit(f"the undisturbed run failed: {process.stderr[-2000:]}")
    truth = tiny_run.digests(open_cube(calm.cube_url), "v1")
    with ExitStack() as stack:
        if delay is not None:
            address = stack.enter_context(tile_web.serve(folder, free_port(), delay))
            stack.enter_context(patch.dict(os.environ, tile_web.s3_environment(address)))
        cluster = Cluster(free_port(), folder)
        stack.callback(cluster.stop)
        cluster.restart_missing()
        for number in range(1, runs + 1):
            name = f"run-{number}"
            run_config = tiny_run.copy(config, folder / name, parent="" if delay is None else f"s3://{name}/")
            row, reader = disturbed(number, run_config, cluster, roles[(number - 1) % len(roles)], rng.uniform(0, 1), rng)
            run_digests = tiny_run.digests(_on_disk(run_config), "v1")
            differ = sorted(name for name in truth.keys() | run_digests.keys() if truth.get(name) != run_digests.get(name))
            row["same"] = row["same"] and not differ
            wrong += [f"run {number}, {row['killed']}: {name} differs" for name in differ[:3]]
            wrong += [f"run {number}, {row['killed']}: the reader saw {sentence}" for sentence in reader.partial_looks[:3]]
            rows.append(row)
            print(", ".join(f"{key} {value}" for key, value in row.items()), file=sys.stderr, flush=True)
            shutil.rmtree(folder / name)
    return rows, wrong


def main() -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of roles and moments; 0: another each time, printed")
    parser.add_argument("--delay", type=float, help="seconds by which a store like S3 answers late; default: a disk")
    parser.add_argument("--config", type=Path, help="a configuration with a built cube and a trained model; default: a tiny one")
    args = parser.parse_args()
    seed = args.seed or random.SystemRandom().randrange(1, 10**6)
    with tempfile.TemporaryDirectory(prefix="floracube-kills-") as name:
        folder = Path(name)
        config = load_config(args.config) if args.config else tiny_run.make(folder)
        print(f"seed {seed}, {len(list(config.predict_region().units()))} units", flush=True)
        rows, wrong = kills(config, folder, args.runs, seed, delay=args.delay)
    write_rows(args.json, rows)
    print(Table("", rows).text())
    same, partial_looks = sum(row["same"] for row in rows), sum(row["torn"] for row in rows)
    looks = sum(row["looks"] for row in rows) + partial_looks
    print(f"{same} of {len(rows)} runs ended in the undisturbed products; {partial_looks} of {looks} looks were partial")
    for sentence in wrong:
        print(sentence)
    return 1 if wrong or same < len(rows) else 0


if __name__ == "__main__":
    sys.exit(main())
