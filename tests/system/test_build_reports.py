"""Builds that meet damaged scenes, empty months and failing servers: named at the end, everything else built, memory small."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from cube.engine.build import build
from cube.engine.workers import Workers
from cube.grid import Region, Unit
from cube.storage.store import open_cube
from tests.support.builds import REGION, last_report, receipts_hold, write_config, write_raster
from tests.support.s3 import FaultyS3
from tests.support.scenes import Scenes

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_raster(tmp_path / "bio.tif", 19, 1000)
    write_raster(tmp_path / "srtm.tif", 1, 1000)
    return tmp_path


def test_a_500_that_passes_is_no_news_and_one_that_lasts_names_the_unit(
    folder: Path, s3: FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")  # botocore would try five times before s3fs does
    west = Region(4700, 2850, 4710, 2870, 10)  # requests take their time: two units are enough
    sources = [{"layer": "srtm", "raster": "srtm.tif"}]
    config = write_config(folder, f"{s3.url}/cube.zarr", sources, west)
    lasting = s3.inject("status", method="PUT", path=r"/srtm/c/1/0", status=500)
    passing = s3.inject("status", method="PUT", path=r"/surface/c/", status=503, every=2, times=2)
    failures = build(config, workers=Workers(retries=1, first_wait=0.0))
    assert lasting.struck > 0
    assert passing.struck == 2
    assert [failure[:25] for failure in failures] == ["10kmE470N285: srtm: OSErr", "overviews of srtm: 1 squar"[:25]]
    assert "(tried 2 times)" in failures[0]
    cube = open_cube(config.cube_url)
    assert cube.list_json("ledger/inputs/srtm") == ["10kmE470N286"]
    assert receipts_hold(cube, west) == 4
    s3.fix()
    assert build(config) == []
    assert receipts_hold(open_cube(config.cube_url), west) == 6


def _scenes(folder: Path) -> str:
    """Four units: one well, one with an empty month, one with a damaged scene, one with a scene in another projection."""
    (folder / "scenes").mkdir()
    scenes = Scenes(folder / "scenes", "sentinel-2-l2a")
    bands = ("red", "green", "blue", "nir")
    well, empty, damaged, other = REGION.units()

    def add(unit: Unit, month: int, crs: str = "EPSG:3035") -> None:
        # Four kilometres in the middle: what is wrong with one unit must not touch its neighbours.
        (x,), (y,) = rasterio.warp.transform("EPSG:3035", crs, [unit.west + 5000], [unit.north - 5000])
        corner = Affine(100, 0, round(x, -2) - 2000, 0, -100, round(y, -2) + 2000)
        flat = dict.fromkeys(bands, np.full((40, 40), 100.0 * month))
        scl = ("scl", np.full((20, 20), 4), 0)
        scenes.add(f"{unit.name}-{month}", f"2020-0{month}-11", crs, corner, flat, scl, coarser=2)

    for unit in (well, damaged):
        add(unit, 6)
        add(unit, 7)
    add(empty, 6)
    add(other, 6)
    add(other, 7, "EPSG:32633")
    path = folder / "scenes" / f"{damaged.name}-7-green.tif"
    path.write_bytes(path.read_bytes()[:-1000])
    return scenes.save()


def test_damaged_scenes_and_empty_months_are_named_and_everything_else_is_built(folder: Path) -> None:
    search = {"catalog": _scenes(folder), "start": "2020-01-01", "end": "2020-12-31", "months": [6, 7]}
    sources = [{"layer": "bioclim", "raster": "bio.tif"}, {"layer": "sentinel2", "stac": search}]
    config = write_config(folder, sources=sources)
    command = [sys.executable, str(ROOT / "floracube.py"), "build", str(config.path)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert ended.returncode == 1, ended.stderr
    well, empty, damaged, other = (unit.name for unit in REGION.units())
    failures = {row["unit"]: row["error"] for row in last_report(folder)["failures"]}
    assert set(failures) == {empty, damaged}
    assert f"touches unit {empty} in month 7" in failures[empty]
    assert f"scene {damaged}-7" in failures[damaged]
    assert "-7-green.tif cannot be read" in failures[damaged]
    for name, error in failures.items():
        assert f"failed: {name}: sentinel2: " in ended.stderr
        assert " ".join(error.split())[:60] in " ".join(ended.stderr.split())
    assert "Fix the sources" in ended.stderr
    cube = open_cube(config.cube_url)
    assert cube.list_json("ledger/inputs/sentinel2") == sorted([well, other])
    assert len(cube.list_json("ledger/inputs/bioclim")) == len(cube.list_json("ledger/inputs/surface")) == 4
    for unit in REGION.units():
        middle = cube.read_window("inputs/10m/sentinel2", REGION.square(unit, 10))[:, 400:600, 400:600]
        assert (middle == (650 if unit.name in (well, other) else 65535)).all()


def _peak(folder: Path, region: Region) -> float:
    """Peak memory in MB of a process that builds a region."""
    folder.mkdir()
    write_raster(folder / "elevation.tif", 1, 25, region)
    config = write_config(folder, sources=[{"layer": "elevation", "raster": "elevation.tif"}], region=region)
    # Not `ru_maxrss`: that of a new process begins with what its parent held.
    code = (
        "import sys; from cube.engine.build import build; from cube.config import load_config\n"
        "assert build(load_config(sys.argv[1])) == []\n"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    # One arena: how many the C library opens for threads, and how full each gets, differs from machine to machine.
    command = [sys.executable, "-c", code, str(config.path)]
    env = os.environ | {"MALLOC_ARENA_MAX": "1"}
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True, env=env)
    return int(run.stdout) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory of a process is read from /proc")
def test_memory_does_not_grow_with_the_region(tmp_path: Path) -> None:
    small = _peak(tmp_path / "small", Region(4700, 2850, 4720, 2870, 10))
    large = _peak(tmp_path / "large", Region(4700, 2850, 4770, 2920, 10))
    # Twelve times the units. A build that kept its source would need 28 MB more (31 instead of 3).
    assert large - small < 24, (small, large)
