"""A build killed at any moment and started again ends in the cube of an undisturbed run: values, metadata and receipts."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
import zarr

from cube.config import Config, load_config
from cube.engine.build import build
from cube.grid import Region
from tests.support.rasters import layer_values, names_of, write_bands

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
REGION = Region(4700, 2850, 4715, 2885, 10)  # 2 x 4 units of 10 km, two levels of overviews
KILLS = 10
UNREPEATED = ("seconds", "memory")  # of a receipt: how long a unit took, and the peak of its process


def _raster(folder: Path, layer: str, size: int) -> None:
    rows, cols = REGION.shape(size)
    values = layer_values(layer, rows, cols)
    values[:, : rows // 3, : cols // 3] = -9999  # units without data leave no shard, which is no sign of a missing unit
    write_bands(folder / f"{layer}.tif", values, REGION.transform(size), names_of(layer), -9999)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("kills")
    _raster(out, "bioclim", 1000)
    _raster(out, "elevation", 50)
    _raster(out, "srtm", 1000)
    return out


def _config(folder: Path, name: str) -> Config:
    document = {
        "title": "killed",
        "cube": f"{name}.zarr",
        "reports": f"{name}-reports",
        "region": {"west_km": 4700, "south_km": 2850, "east_km": 4715, "north_km": 2885},
        "unit_km": 10,
        "note": "never finished at the first go",
        "sources": [
            {"layer": "bioclim", "raster": "bioclim.tif", "license": "CC0"},
            {"layer": "elevation", "raster": "elevation.tif", "derive": ["slope", "topographic_position_500m"]},
            {"layer": "srtm", "raster": "srtm.tif"},
        ],
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(document))
    return load_config(path)


def _receipts(cube: Path) -> list[Path]:
    """The receipts of a build; what a memo says of them depends on when their files were written."""
    return sorted(path for path in cube.glob("ledger/**/*.json") if path.parent.name != "memo")


def _contents(cube: Path) -> dict[str, Any]:
    """Everything that a reader can see: metadata documents, decoded values, and receipts but for what no run repeats."""
    out: dict[str, Any] = {}
    for path in sorted(cube.rglob("zarr.json")):
        out[str(path.relative_to(cube))] = json.loads(path.read_text())
    for name, node in zarr.open_group(cube, mode="r", use_consolidated=False).members(max_depth=None):
        if isinstance(node, zarr.Array):
            out[name] = np.asarray(node[...])
    for path in _receipts(cube):
        out[str(path.relative_to(cube))] = {k: v for k, v in json.loads(path.read_text()).items() if k not in UNREPEATED}
    return out


def _assert_same(seen: Path, expected: Path) -> None:
    a, b = _contents(seen), _contents(expected)
    assert a.keys() == b.keys()
    for name in a:
        if isinstance(a[name], np.ndarray):
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)
        else:
            assert a[name] == b[name], name
    left = [str(path) for path in seen.rglob("*") if path.name.endswith(".partial") or path.parent.name == "locks"]
    assert left == []


@pytest.fixture(scope="module")
def undisturbed(folder: Path) -> Path:
    assert build(_config(folder, "undisturbed")) == []
    return folder / "undisturbed.zarr"


def _start(config: Config) -> BaseProcess:
    # Forked from a server that has imported everything: a moment falls into the build and not into Python's start.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["cube.engine.build"])
    process = context.Process(target=build, args=(config,))
    process.start()
    return process


def test_a_build_killed_at_ten_random_moments_is_the_undisturbed_one(folder: Path, undisturbed: Path) -> None:
    seed = int(os.environ.get("FLORACUBE_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
    print(f"FLORACUBE_SEED={seed}")  # pytest shows it where the test fails
    rng = random.Random(seed)
    config = _config(folder, "killed")
    cube = folder / "killed.zarr"
    warm = _start(_config(folder, "measured"))
    warm.join()
    started = time.monotonic()
    measured = _start(_config(folder, "measured again"))
    measured.join()
    length = time.monotonic() - started
    assert (warm.exitcode, measured.exitcode) == (0, 0)
    _assert_same(folder / "measured again.zarr", undisturbed)

    kills, rounds = 0, 0
    while kills < KILLS:
        rounds += 1
        assert rounds < 5 * KILLS, "runs end before their moment comes; the measured length is wrong"
        process = _start(config)
        process.join(rng.uniform(0, length))
        if process.exitcode is None:
            process.kill()
            kills += 1
        process.join()
        if process.exitcode == 0:
            _assert_same(cube, undisturbed)
            for name in ("ledger", "inputs"):  # done before its moment: the next kills need a cube to be built
                subprocess.run(["rm", "-r", str(cube / name)], check=True)
    assert build(config) == []
    _assert_same(cube, undisturbed)


def test_a_build_with_two_workers_killed_with_them_is_the_undisturbed_one(folder: Path, undisturbed: Path) -> None:
    config = _config(folder, "workers")
    cube = folder / "workers.zarr"
    command = [sys.executable, str(ROOT / "floracube.py"), "build", str(config.path), "--workers", "2"]

    def receipts() -> int:
        return len(_receipts(cube))

    every = len(_receipts(undisturbed))
    for least in (1, every // 2):
        with subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True, cwd=folder) as run:
            while receipts() < least and run.poll() is None:
                time.sleep(0.01)
            assert run.poll() is None, run.communicate()[1]
            os.killpg(run.pid, signal.SIGKILL)
        assert least <= receipts() < every
    ended = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert ended.returncode == 0, ended.stderr
    _assert_same(cube, undisturbed)


def test_ctrl_c_ends_what_is_in_flight_and_says_how_to_go_on(folder: Path, undisturbed: Path) -> None:
    config = _config(folder, "interrupted")
    cube = folder / "interrupted.zarr"
    command = [sys.executable, str(ROOT / "floracube.py"), "build", str(config.path)]
    with subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True, cwd=folder) as run:
        while not _receipts(cube) and run.poll() is None:
            time.sleep(0.005)
        os.killpg(run.pid, signal.SIGINT)
        said = run.communicate()[1]
    assert run.returncode == 130, said
    assert "Interrupted; run the same command again to resume." in said
    report = json.loads((folder / "interrupted-reports/build.json").read_text())
    assert report["ended"] == "interrupted"
    built = report["units"]["built"] + report["squares"]["built"]
    assert 0 < built == len(_receipts(cube)) < len(_receipts(undisturbed))
    assert build(config) == []
    _assert_same(cube, undisturbed)
