"""Builds on stores that fail, fill up or were left in the middle: what is not there is never claimed."""

from __future__ import annotations

import errno
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import zarr.storage
from distributed import LocalCluster

from cube.config.cluster import ClusterConfig
from cube.engine.build import build
from cube.engine.workers import Workers
from cube.errors import WorkersError
from cube.layers.inputs import INPUTS
from cube.storage import lock
from cube.storage.store import open_cube, resolution_of
from tests.support.builds import REGION, last_report, receipts_hold, stored, write_config, write_raster

PATIENT = Workers(first_wait=0.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_raster(tmp_path / "bio.tif", 19, 1000)
    write_raster(tmp_path / "srtm.tif", 1, 1000)
    return tmp_path


def _is_shard(path: str) -> bool:
    """Whether a path is a shard of a layer, and not of its axes and labels."""
    return re.search(r"/(bioclim|srtm|surface)/c/", path) is not None


@pytest.fixture
def disturb(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str, str], None]], None]:
    """Let every get and put of a local Zarr store go through a function of (`get` or `put`, path) that may raise."""
    monkeypatch.setenv("FLORACUBE_IO", "plain")

    def through(decide: Callable[[str, str], None]) -> None:
        module = zarr.storage._local
        for kind, name in (("get", "_get"), ("put", "_put")):
            real = getattr(module, name)

            def call(path: Path, *given: Any, real: Any = real, kind: str = kind, **named: Any) -> Any:
                decide(kind, str(path))
                return real(path, *given, **named)

            monkeypatch.setattr(module, name, call)

    return through


@pytest.mark.slow
def test_a_store_that_fails_anywhere_never_leaves_a_receipt_without_its_data(
    folder: Path, disturb: Callable[[Callable[[str, str], None]], None]
) -> None:
    undisturbed = write_config(folder, "undisturbed.zarr")
    assert build(undisturbed) == []
    expected = stored(open_cube(undisturbed.cube_url))
    rng, likely = random.Random(5), [0.0]

    def decide(kind: str, path: str) -> None:
        if _is_shard(path) and rng.random() < likely[0]:
            raise OSError(errno.EIO, f"injected {kind}", path)

    disturb(decide)
    config = write_config(folder)
    failed = 0
    for likely[0] in (0.5, 0.3, 0.2, 0.1, 0.0):
        failures = build(config, workers=PATIENT)
        cube = open_cube(config.cube_url)
        held = likely[0]
        likely[0] = 0.0
        receipts = receipts_hold(cube)
        report = last_report(folder)
        assert receipts == sum(report["units"][k] + report["squares"][k] for k in ("ready", "built"))
        assert report["units"]["failed"] + report["squares"]["failed"] == len(report["failures"])
        assert (report["ended"] == "complete") == (failures == []) == (receipts == 3 * 4 + 3)
        assert all("injected" in row["error"] for row in report["failures"])
        failed += len(report["failures"])
        likely[0] = held
    assert failed > 5
    for name, values in stored(open_cube(config.cube_url)).items():
        np.testing.assert_array_equal(values, expected[name], err_msg=name)


def test_errors_that_pass_are_no_news(folder: Path, disturb: Callable[[Callable[[str, str], None]], None]) -> None:
    rng, struck = random.Random(1), 0

    def decide(kind: str, path: str) -> None:
        nonlocal struck
        if _is_shard(path) and rng.random() < 0.2:
            struck += 1
            raise OSError(errno.EBUSY, "SlowDown")

    disturb(decide)
    config = write_config(folder)
    assert build(config, workers=Workers(retries=20, first_wait=0.0)) == []
    assert struck > 3
    rng.random = lambda: 1.0  # type: ignore[method-assign]  from here on nothing is disturbed
    assert receipts_hold(open_cube(config.cube_url)) == 15


@pytest.mark.parametrize(("number", "told"), [(errno.ENOSPC, "the disk is full; make room"), (errno.EROFS, "read-only")])
def test_a_store_without_room_ends_the_run_with_one_sentence_and_nothing_half_written(
    folder: Path, disturb: Callable[[Callable[[str, str], None]], None], number: int, told: str
) -> None:
    room = 5

    def decide(kind: str, path: str) -> None:
        nonlocal room
        if kind == "put" and _is_shard(path):
            room -= 1
            if room < 0:
                raise OSError(number, "no", path)

    disturb(decide)
    config = write_config(folder)
    with pytest.raises(WorkersError, match=f"{told}.*then run the same command again; finished units are kept"):
        build(config)
    room = 10**6
    assert told in last_report(folder)["ended"]
    cube = open_cube(config.cube_url)
    assert 0 < receipts_hold(cube) < 15
    for stage, names in ((s, set(cube.list_json(f"ledger/inputs/{s}"))) for s in cube.folders("ledger/inputs")):
        for unit in REGION.units():
            if unit.name not in names:
                layer = INPUTS[stage]
                values = cube.read_window(layer.path, REGION.square(unit, resolution_of(layer)))
                assert np.isnan(values).all() if layer.dtype.startswith("float") else (values == layer.fill).all()
    assert list(Path(config.cube_url).rglob("*.partial")) == []
    assert build(config) == []


def test_a_store_that_cannot_be_written_at_all_is_one_sentence(
    folder: Path, disturb: Callable[[Callable[[str, str], None]], None]
) -> None:
    config = write_config(folder)
    assert build(config) == []

    def decide(kind: str, path: str) -> None:
        if kind == "put":
            raise OSError(errno.EROFS, "Read-only file system", path)

    disturb(decide)
    second = write_config(
        folder, sources=[{"layer": "bioclim", "raster": "bio.tif"}, {"layer": "elevation", "raster": "srtm.tif"}]
    )
    with pytest.raises(WorkersError, match=r"cube\.zarr: .*the store is read-only; make it writable or choose another"):
        build(second)


def test_what_a_kill_left_is_swept_and_a_cut_off_shard_is_written_anew(folder: Path) -> None:
    config = write_config(folder)
    assert build(config) == []
    expected = stored(open_cube(config.cube_url))
    root = Path(config.cube_url)
    shard = next(path for path in (root / "inputs/1km/bioclim/c").rglob("*") if path.is_file())
    (shard.parent / "0.17ab.partial").write_bytes(b"half")
    (root / "ledger/inputs/bioclim/.x.json.17ab.partial").write_bytes(b"{")
    shard.write_bytes(shard.read_bytes()[:100])
    for receipt in (root / "ledger/inputs/bioclim").glob("*.json"):
        receipt.unlink()
    assert build(config) == []
    assert list(root.rglob("*.partial")) == []
    for name, values in stored(open_cube(config.cube_url)).items():
        np.testing.assert_array_equal(values, expected[name], err_msg=name)


def test_a_source_that_changed_is_built_anew_up_to_the_top_and_nothing_else_is(folder: Path) -> None:
    config = write_config(folder)
    assert build(config) == []
    with rasterio.open(folder / "srtm.tif", "r+") as target:
        values = target.read()
        values[0, :5, :5] += 50
        target.write(values)
    assert build(config) == []
    layers = last_report(folder)["layers"]
    assert (layers["srtm"]["built"], layers["bioclim"]["built"], layers["surface"]["built"]) == (4, 0, 0)
    assert last_report(folder)["squares"] == {"all": 3, "ready": 2, "built": 1, "failed": 0, "waiting": 0}
    cube = open_cube(config.cube_url)
    assert receipts_hold(cube) == 15
    np.testing.assert_array_equal(cube.array("inputs/1km/srtm")[:], values[0])


def test_a_failed_unit_leaves_what_is_above_it_unbuilt_and_says_so(folder: Path) -> None:
    path = folder / "srtm.tif"
    path.write_bytes(path.read_bytes()[:-300])
    config = write_config(folder)
    failures = build(config)
    assert any("srtm.tif: cannot be read" in failure for failure in failures)
    assert failures[-1] == "overviews of srtm: 1 squares wait for the units below them"
    cube = open_cube(config.cube_url)
    assert cube.list_json("ledger/inputs/srtm/overviews") == []
    assert cube.list_json("ledger/inputs/bioclim/overviews") == ["20kmE470N285"]
    report = last_report(folder)
    assert report["ended"] == "with failures"
    assert report["layers"]["srtm"]["squares_waiting"] == 1
    assert {row["layer"] for row in report["failures"]} == {"srtm"}
    assert report["cells"] == report["units"]["built"] * 200 * 200
    write_raster(path, 1, 1000)
    assert build(config) == []


def test_two_builds_of_one_cube_at_once_are_refused(folder: Path) -> None:
    config = write_config(folder)
    assert build(config) == []
    with (
        lock.hold(open_cube(config.cube_url, writable=True), "inputs"),
        pytest.raises(WorkersError, match="is writing inputs here"),
    ):
        build(config)
    assert build(config) == []


def test_a_build_on_dask_is_the_one_of_a_single_process(folder: Path) -> None:
    alone, spread = write_config(folder, "alone.zarr"), write_config(folder, "spread.zarr")
    assert build(alone) == []
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster:
        assert build(spread, workers=Workers(ClusterConfig(kind="address", address=cluster.scheduler_address))) == []
    cubes = [open_cube(config.cube_url) for config in (alone, spread)]
    for name, values in stored(cubes[0]).items():
        np.testing.assert_array_equal(values, cubes[1].array(name)[:], err_msg=name)
    assert receipts_hold(cubes[0]) == receipts_hold(cubes[1]) == 15
