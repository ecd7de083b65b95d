"""Rasters onto the grid: exact means, GDAL's own warp, and wrong files refused in one sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from cube.errors import SourceError
from cube.grid import Region
from cube.sources import opening
from cube.sources.opening import raster_exists
from cube.sources.raster_grid import RasterGrid
from cube.sources.warp import ResampleSpec, check_raster, read_raster

REGION = Region(4700, 2850, 4710, 2860, 10)


def write(path: Path, values: np.ndarray[Any, Any], transform: Affine, crs: str | None, nodata: float | None = None) -> str:
    bands = values if values.ndim == 3 else values[None]
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=bands.shape[1],
        width=bands.shape[2],
        count=len(bands),
        dtype=bands.dtype,
        crs=crs,
        transform=transform,
        nodata=nodata,
    ) as target:
        target.write(bands)
    return str(path)


def test_25_fine_pixels_become_their_exact_mean_and_missing_ones_do_not_count(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    values = rng.uniform(0, 100, (1000, 1000)).astype(np.float32)
    values[rng.random(values.shape) < 0.1] = np.nan
    path = write(tmp_path / "a.tif", values, REGION.transform(10), "EPSG:3035", np.nan)
    seen = read_raster(path, RasterGrid(REGION.transform(50), (200, 200)), ResampleSpec("x", [1]))[0]
    expected = np.nanmean(values.reshape(200, 5, 200, 5), axis=(1, 3))
    np.testing.assert_allclose(seen, expected, rtol=1e-5)


def test_a_warp_from_degrees_equals_gdals_own(tmp_path: Path) -> None:
    row, col = np.mgrid[:400, :400]
    values = (50 + 40 * np.sin(row / 20) * np.cos(col / 15)).astype(np.float32)
    path = write(tmp_path / "a.tif", values, Affine(0.001, 0, 15.0, 0, -0.001, 48.75), "EPSG:4326", -1.0)
    seen = read_raster(path, RasterGrid(REGION.transform(50), (200, 200)), ResampleSpec("x", [1]))[0]
    with (
        rasterio.open(path) as source,
        WarpedVRT(
            source,
            crs="EPSG:3035",
            transform=REGION.transform(50),
            width=200,
            height=200,
            resampling=Resampling.bilinear,
            nodata=np.nan,
        ) as warped,
    ):
        expected = warped.read(1)
    both = np.isfinite(seen) & np.isfinite(expected)
    assert both.sum() > 10_000
    np.testing.assert_allclose(seen[both], expected[both], atol=0.5)


def test_classes_are_the_majority_of_their_cell(tmp_path: Path) -> None:
    values = np.zeros((1000, 1000), np.uint8)
    values[:5, :5].flat[:13] = 7
    values[:5, 5:10].flat[:12] = 7
    path = write(tmp_path / "a.tif", values, REGION.transform(10), "EPSG:3035", 255)
    seen = read_raster(path, RasterGrid(REGION.transform(50), (200, 200)), ResampleSpec("x", [1], classes=True))[0]
    assert list(seen[0, :3]) == [7, 0, 0]


def test_an_absent_class_is_filled_before_it_is_interpolated(tmp_path: Path) -> None:
    values = np.full((2, 40, 40), np.nan, np.float32)
    values[0, :, :20] = 1.0
    values[1, :, 20:] = 1.0
    path = write(tmp_path / "a.tif", values, Affine(1000, 0, 4690_000, 0, -1000, 2870_000), "EPSG:3035", np.nan)
    seen = read_raster(path, RasterGrid(REGION.transform(50), (200, 200)), ResampleSpec("x", [1, 2], absent=0.0))
    assert np.isfinite(seen).all()
    np.testing.assert_allclose(seen.sum(axis=0), 1.0, atol=1e-5)


def test_band_scales_of_the_file_are_applied(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.tif", np.full((30, 30), 2931, np.uint16), Affine(1000, 0, 4690_000, 0, -1000, 2870_000), "EPSG:3035", 65535
    )
    with rasterio.open(path, "r+") as target:
        target.scales = (0.1,)
    seen = read_raster(path, RasterGrid(REGION.transform(1000), (10, 10)), ResampleSpec("x", [1]))
    np.testing.assert_allclose(seen, 293.1, atol=1e-3)


SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
data, asked = open(sys.argv[1], "rb").read(), {}

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        asked[self.path] = asked.get(self.path, 0) + 1
        busy = "broken" in self.path or "fixed" in self.path and asked[self.path] <= 12
        bad = 404 if "gone" in self.path else 500 if busy else 0
        if bad:
            return self.send_error(bad)
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)
    do_HEAD = do_GET
    def log_message(self, *_):
        pass

server = HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


def test_a_tile_that_is_not_there_is_a_hole_and_a_server_in_trouble_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And who asks a second time, after GDAL has given up, hears of a file that has come back."""
    monkeypatch.setattr(opening, "GDAL", {**opening.GDAL, "GDAL_HTTP_MAX_RETRY": 1, "GDAL_HTTP_RETRY_DELAY": 0.01})
    path = write(tmp_path / "a.tif", np.ones((30, 30), np.uint8), Affine(1000, 0, 4690_000, 0, -1000, 2870_000), "EPSG:3035")
    server = subprocess.Popen([sys.executable, "-c", SERVER, path], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        base = f"http://127.0.0.1:{int(server.stdout.readline())}"
        assert raster_exists(f"{base}/a.tif", "x")
        assert not raster_exists(f"{base}/gone.tif", "x")
        with pytest.raises(SourceError, match=r"cannot be read as a raster .*500"):
            raster_exists(f"{base}/broken.tif", "sources[0].raster")
        with pytest.raises(SourceError, match="500"):
            read_raster(f"{base}/fixed.tif", RasterGrid(REGION.transform(1000), (10, 10)), ResampleSpec("x", [1]))
        for _ in range(3):  # as the engine does
            try:
                seen = read_raster(f"{base}/fixed.tif", RasterGrid(REGION.transform(1000), (10, 10)), ResampleSpec("x", [1]))
                break
            except SourceError:
                continue
        assert (seen == 1).all()
    finally:
        server.kill()
        server.wait()


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_wrong_rasters_are_one_sentence_each(tmp_path: Path) -> None:
    t = Affine(1000, 0, 4690_000, 0, -1000, 2870_000)
    region = RasterGrid.of_place(REGION)
    with pytest.raises(SourceError, match="there is no such file"):
        check_raster(str(tmp_path / "nowhere.tif"), "sources[0].raster", 1, region)
    with pytest.raises(SourceError, match="no CRS"):
        check_raster(write(tmp_path / "a.tif", np.zeros((30, 30), np.uint8), t, None), "sources[0].raster", 1, region)
    with pytest.raises(SourceError, match="has 1 bands"):
        check_raster(write(tmp_path / "b.tif", np.zeros((30, 30), np.uint8), t, "EPSG:3035"), "sources[0].raster", 4, region)
    with pytest.raises(SourceError, match="has no georeferencing"):
        check_raster(write(tmp_path / "e.tif", np.zeros((30, 30), np.uint8), Affine.identity(), "EPSG:3035"), "x", 1, region)
    far = Affine(1000, 0, 2690_000, 0, -1000, 2870_000)
    with pytest.raises(SourceError, match="does not touch the region"):
        check_raster(write(tmp_path / "c.tif", np.zeros((30, 30), np.uint8), far, "EPSG:3035"), "x", 1, region)
    (tmp_path / "d.tif").write_text("not a raster")
    with pytest.raises(SourceError, match="cannot be read as a raster"):
        check_raster(str(tmp_path / "d.tif"), "x", 1, region)
