"""The tutorial, word for word, by somebody with GeoTIFFs and tables of a place that is nowhere in the repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import morecantile
import numpy as np
import pandas as pd
import pytest
import rasterio
from typer.testing import CliRunner

import floracube
from benchmarks.ports import free_port
from cube import grid
from tests.docs import own_region
from tests.docs.pages import ROOT, Block, blocks

pytestmark = pytest.mark.slow

PAGE = list(blocks(ROOT / "docs/tutorial/own-region.md"))
# Beside what is shown once or for keeps: the same commands again, at full length.
RUN = [block for block in PAGE if block.language == "bash" and not block.title]
SERVE = next(block for block in PAGE if block.title == "serve")


def only(title: str) -> Block:
    return next(block for block in PAGE if block.title == title)


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the tutorial after all of its commands."""
    folder = tmp_path_factory.mktemp("sierra")
    own_region.write(folder)
    (folder / "sierra.yaml").write_text(only("sierra.yaml").body, encoding="utf-8")
    here = Path.cwd()
    os.chdir(folder)
    try:
        for block in RUN:
            for command in block.commands():
                run = CliRunner().invoke(floracube.app, command.split()[1:])
                assert run.exit_code == 0, f"{command}\n{run.output}\n{run.exception!r}"
        yield folder
    finally:
        os.chdir(here)


def test_the_tables_shown_are_those_that_are_read() -> None:
    shown = next(block.body for block in PAGE if block.body.startswith("plot,lon,lat"))
    columns = only("sierra.yaml").body
    for name in shown.splitlines()[0].replace(",", " ").split():
        assert f": {name}\n" in columns, name


def test_every_command_of_the_page_is_run() -> None:
    names = [command.split()[1] for block in RUN for command in block.commands()]
    assert names == ["inspect", "build", "build", "train", "evaluate", "predict", "check", "info", "export"]


def test_the_maps_show_what_the_plants_do(region: Path) -> None:
    cube = floracube.open(str(region / "out/cube.zarr"))
    height = cube.inputs["elevation"].values
    low, high = cube.species[own_region.LOW].values, cube.species[own_region.HIGH].values
    known = np.isfinite(low) & np.isfinite(height)
    assert known.sum() > 10_000
    top, bottom = known & (height > 2600), known & (height < 1700)
    assert min(top.sum(), bottom.sum()) > 500
    assert high[top].mean() > 2 * high[bottom].mean()
    assert low[bottom].mean() > 2 * low[top].mean()
    lake = cube.inputs["surface"].values == 1
    assert lake.any()
    assert np.isnan(low[lake]).all()
    assert cube.release["name"] == "v1"


def test_elevation_is_that_of_the_formula(region: Path) -> None:
    cube = floracube.open(str(region / "out/cube.zarr"))
    seen = cube.inputs["elevation"]
    x, y = np.meshgrid(seen.x.values, seen.y.values)
    lon, lat = grid.EUROPE.unproject(x, y)
    known = np.isfinite(seen.values)
    inner = known & (np.abs(lat - 37.06) > 0.005)  # at the ridge a mean of 25 m pixels is below its middle
    assert np.abs(seen.values - own_region.elevation(lon, lat))[inner].max() < 30


def test_the_map_is_served(region: Path) -> None:
    port = free_port()
    words = next(SERVE.commands()).replace("8000", str(port)).split()[1:]
    server = subprocess.Popen(
        [sys.executable, str(ROOT / "floracube.py"), *words],
        cwd=region,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        text=True,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_for(url, server)
        west, south, east, north = -3.38, 37.03, -3.29, 37.10
        tile = morecantile.tms.get("WebMercatorQuad").tile((west + east) / 2, (south + north) / 2, 12)
        with urllib.request.urlopen(f"{url}/layers?search=quercus&product=species") as answer:
            layer = json.load(answer)["layers"][0]
        assert layer["id"] == "species.quercus_rotundifolia"
        path = f"/layers/{layer['id']}/tiles/WebMercatorQuad/{tile.z}/{tile.x}/{tile.y}.png"
        with urllib.request.urlopen(url + path) as answer:
            assert answer.status == 200
            assert answer.read(8) == b"\x89PNG\r\n\x1a\n"
        with urllib.request.urlopen(url + "/") as answer:
            assert b"<title>" in answer.read()
    finally:
        server.terminate()
        server.wait(30)


def _wait_for(url: str, server: subprocess.Popen[str]) -> None:
    for _ in range(1200):
        try:
            urllib.request.urlopen(url + "/healthz", timeout=5).close()
            return
        except OSError:
            assert server.poll() is None, server.stderr.read() if server.stderr else ""
            time.sleep(0.1)
    raise AssertionError(f"{url} did not answer")


def test_the_exported_layer_is_the_layer_of_the_cube(region: Path) -> None:
    with rasterio.open(region / "richness.tif") as source:
        assert source.crs.to_epsg() == 3035
        assert source.count == 3
        top = np.nanmax(floracube.open(str(region / "out/cube.zarr")).indicators["richness"].values[0])
        assert source.read(1, masked=True).max() * source.scales[0] == pytest.approx(top, rel=1e-6)


def test_what_was_left_out_of_the_tables_is_told(region: Path) -> None:
    plots = pd.read_csv(region / "data/plots.csv")
    reports = {r["title"]: r for r in json.loads((region / "out/reports/tables.json").read_text())}
    kept = reports["surveys"]["kept"]["surveys"]
    wet = sum(row["count"] for reason, row in reports["surveys"]["remarks"].items() if "water" in reason)
    assert kept + wet == len(plots)
