"""Copied pixels against those of stackstac's own reader, on lattices that agree, that do not, and at a file's edge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import Resampling

stackstac = pytest.importorskip("stackstac", reason="scenes are stacked by stackstac")
from stackstac.rio_reader import AutoParallelRioReader  # noqa: E402

from cube.sources.lattice import LatticeReader  # noqa: E402

EDGE = (500_000.0, 5_000_000.0)


def stacked(path: Path, reader: Any, bounds: tuple[float, float, float, float], resolution: float) -> np.ndarray[Any, Any]:
    item = {
        "id": "s",
        "properties": {"datetime": "2020-01-01T00:00:00Z", "proj:epsg": 32633, "proj:bbox": bounds},
        "assets": {"b": {"href": str(path)}},
    }
    return np.asarray(
        stackstac.stack(
            [item],
            assets=["b"],
            epsg=32633,
            resolution=resolution,
            bounds=bounds,
            snap_bounds=False,
            rescale=False,
            dtype=np.dtype("uint16"),
            fill_value=np.uint16(7),
            xy_coords=False,
            errors_as_nodata=(),
            reader=reader,
            resampling=Resampling.nearest,
        ).compute(scheduler="sync")
    )[0, 0]


@pytest.mark.parametrize("nodata", [None, 0])
@pytest.mark.parametrize(
    ("size", "offset", "resolution", "copied"),
    [
        (10, 0.0, 10.0, True),
        (20, 0.0, 10.0, True),
        (30, 0.0, 10.0, True),
        (20, 10.0, 10.0, True),
        (10, 5.0, 10.0, False),
        (15, 0.0, 10.0, False),
        (10, 0.0, 20.0, False),
    ],
)
def test_a_copy_is_what_the_warp_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nodata: int | None, size: int, offset: float, resolution: float, copied: bool
) -> None:
    values = np.random.default_rng(0).integers(0, 20, (41, 37)).astype(np.uint16)
    with rasterio.open(
        tmp_path / "b.tif",
        "w",
        driver="GTiff",
        height=41,
        width=37,
        count=1,
        dtype="uint16",
        crs="EPSG:32633",
        nodata=nodata,
        transform=Affine(size, 0, EDGE[0] + offset, 0, -size, EDGE[1]),
    ) as target:
        target.write(values, 1)
    calls = []
    theirs = AutoParallelRioReader.read
    monkeypatch.setattr(AutoParallelRioReader, "read", lambda *a, **k: calls.append(1) or theirs(*a, **k))
    for west, north in ((-40, 60), (120, -100), (200, -300), (5000, 0)):
        bounds = (EDGE[0] + west, EDGE[1] + north - 400, EDGE[0] + west + 400, EDGE[1] + north)
        expected = stacked(tmp_path / "b.tif", AutoParallelRioReader, bounds, resolution)
        calls.clear()
        np.testing.assert_array_equal(stacked(tmp_path / "b.tif", LatticeReader, bounds, resolution), expected)
        assert bool(calls) is not copied
