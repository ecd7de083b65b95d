"""A build into any store: whatever happens on the way, the cube is the local one or the run says by name what is missing."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import s3fs
import yaml
import zarr

import floracube
from cube.config import load_config
from cube.engine.build import build
from cube.grid import Region
from cube.storage.store import open_cube
from tests.support.rasters import write_layer
from tests.support.s3 import FaultyS3
from tests.support.web import served

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
REGION = Region(4700, 2850, 4710, 2870, 10)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stores")
    for name, size in (("bioclim", 1000), ("elevation", 50)):
        write_layer(folder / f"{name}.tif", name, size, REGION)
    return folder


def config(sources: Path, url: str) -> Path:
    document = {
        "title": "anywhere",
        "cube": url,
        "reports": f"reports-{zlib.crc32(url.encode())}",
        "region": dict(zip(("west_km", "south_km", "east_km", "north_km"), (b // 1000 for b in REGION.bounds), strict=True)),
        "unit_km": 10,
        "sources": [
            {"layer": "bioclim", "raster": "bioclim.tif", "license": "CC0"},
            {"layer": "elevation", "raster": "elevation.tif", "derive": ["slope"]},
        ],
    }
    path = sources / f"{zlib.crc32(url.encode())}.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def contents(store: Any) -> dict[str, Any]:
    """Decoded values and attributes of everything, read by zarr-python alone."""
    out: dict[str, Any] = {}
    for name, node in zarr.open_group(store, mode="r", use_consolidated=False).members(max_depth=None):
        values = np.asarray(node[...]) if isinstance(node, zarr.Array) else None
        out[name] = (values, dict(node.attrs))
    return out


def assert_same(seen: dict[str, Any], expected: dict[str, Any]) -> None:
    assert seen.keys() == expected.keys()
    for name, (values, attributes) in expected.items():
        assert seen[name][1] == attributes, name
        if values is not None:
            np.testing.assert_array_equal(seen[name][0], values, err_msg=name)


@pytest.fixture(scope="module")
def local(sources: Path) -> Path:
    assert build(load_config(config(sources, "local.zarr"))) == []
    return sources / "local.zarr"


def on_s3(url: str) -> Any:
    return zarr.storage.FsspecStore.from_url(url, read_only=True)


def test_a_build_through_faults_of_every_kind_is_the_local_one(
    s3: FaultyS3, sources: Path, local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("fsspec").config.conf, "s3", {"config_kwargs": {"read_timeout": 1}})
    faults = [
        s3.inject("status", status=500, every=23),
        s3.inject("status", status=503, every=29),
        s3.inject("drop", every=31),
        s3.inject("lost", method="PUT", every=7),
        s3.inject("truncate", method="GET", every=19),
        s3.inject("delay", seconds=1.5, every=97),
        s3.inject("slow", method="GET", seconds=0.2, every=41),
    ]
    url = f"{s3.url}/cube.zarr"
    assert build(load_config(config(sources, url))) == []
    assert all(fault.struck for fault in faults), faults
    s3.fix()
    assert_same(contents(on_s3(url)), contents(local))
    receipts = [open_cube(u).list_json("ledger/inputs/elevation") for u in (url, str(local))]
    assert receipts[0] == receipts[1] == ["10kmE470N285", "10kmE470N286"]


def test_what_a_store_refuses_is_named_and_built_by_the_next_run(s3: FaultyS3, sources: Path, local: Path) -> None:
    url = f"{s3.url}/cube.zarr"
    path = config(sources, url)
    environment = {**os.environ, **s3.environment(), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "floracube.py"), "build", str(path)]
    s3.inject("status", status=403, method="PUT", path="inputs/50m/slope/c/1/0")
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert run.returncode == 1, run.stderr
    assert "10kmE470N285" in run.stderr
    assert "inputs/50m/slope/c/1/0" in run.stderr
    assert "Traceback" not in run.stderr
    assert "10kmE470N286" in open_cube(url).list_json("ledger/inputs/elevation")
    s3.fix()
    assert subprocess.run(command, env=environment, capture_output=True, timeout=300).returncode == 0
    assert_same(contents(on_s3(url)), contents(local))


def test_a_store_without_rights_ends_with_one_sentence(s3: FaultyS3, sources: Path) -> None:
    s3.inject("status", status=403)
    run = subprocess.run(
        [sys.executable, str(ROOT / "floracube.py"), "build", str(config(sources, f"{s3.url}/no.zarr"))],
        env={**os.environ, **s3.environment()},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 2
    assert "check the URL, the credentials and your permissions" in " ".join(run.stderr.split())
    assert "Traceback" not in run.stderr


def test_a_build_into_memory_is_the_local_one(sources: Path, local: Path) -> None:
    assert build(load_config(config(sources, "memory://stores.zarr"))) == []
    assert_same(contents(zarr.storage.FsspecStore.from_url("memory://stores.zarr", read_only=True)), contents(local))


def test_a_cube_is_opened_through_the_web_and_from_s3_as_from_the_disk(s3: FaultyS3, local: Path) -> None:
    s3fs.S3FileSystem().put(str(local), f"{s3.bucket}/cube.zarr", recursive=True)
    expected = floracube.open(str(local)).inputs.load()
    with served(local.parent) as web:
        for url in (f"{web}/local.zarr", f"{s3.endpoint}/{s3.bucket}/cube.zarr", f"{s3.url}/cube.zarr"):
            assert floracube.open(url).inputs.load().identical(expected), url
