"""Small builds for tests: rasters, configurations, and whether what every receipt vouches for is really there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from cube.config import Config, load_config
from cube.grid import Region
from cube.layers.inputs import INPUTS
from cube.pyramids.squares import tree
from cube.square_names import eea_corner
from cube.storage.ledger import checksum
from cube.storage.store import CubeStore, resolution_of
from tests.support.rasters import write_layer

REGION = Region(4700, 2850, 4720, 2870, 10)  # 2 x 2 units, one level of overviews
SHARED = ({"layer": "bioclim", "raster": "bio.tif"}, {"layer": "srtm", "raster": "srtm.tif"})


def write_raster(path: Path, bands: int, size: int, region: Region = REGION) -> None:
    """Write `bands` of noise, `size` metres a pixel, over the whole of a region."""
    write_layer(path, {1: "srtm", 13: "landcover", 19: "bioclim"}[bands], size, region)


def write_config(
    folder: Path, cube: str = "cube.zarr", sources: list[dict[str, Any]] | None = None, region: Region = REGION
) -> Config:
    """A configuration in `folder` with the two rasters of `SHARED`, or with `sources`."""
    path = folder / "config.yaml"
    window = {"west_km": region.west_km, "south_km": region.south_km, "east_km": region.east_km, "north_km": region.north_km}
    sources = sources or list(SHARED)
    path.write_text(yaml.safe_dump({"title": "t", "cube": cube, "region": window, "unit_km": 10, "sources": sources}))
    return load_config(path)


def last_report(folder: Path) -> dict[str, Any]:
    """What the last build of the configuration in `folder` wrote down."""
    return dict(json.loads((folder / "reports/build.json").read_text()))


def stored(cube: CubeStore) -> dict[str, np.ndarray[Any, Any]]:
    """Stored values of the layers that `SHARED` fills."""
    names = ("inputs/1km/bioclim", "inputs/1km/srtm", "inputs/50m/surface")
    return {name: np.asarray(cube.array(name)[:]) for name in names}


def receipts_hold(cube: CubeStore, region: Region = REGION) -> int:
    """Assert that what every receipt vouches for is there, value for value; how many there are."""
    count = 0
    for stage in cube.folders("ledger/inputs"):
        for name, receipt in cube.read_folder(f"ledger/inputs/{stage}"):
            size, west, south = eea_corner(name)
            unit = next(u for u in region.units() if u.bounds[:2] == (west, south))
            assert unit.km * 1000 == size
            for layer, crc in receipt["checksums"].items():
                window = region.square(unit, resolution_of(INPUTS[layer]))
                assert checksum(cube.read_window(INPUTS[layer].path, window)) == crc, (stage, name)
            count += 1
        for name, receipt in cube.read_folder(f"ledger/inputs/{stage}/overviews"):
            square = next(s for s in tree(region, region.units()) if s.name == name)
            for layer, crc in receipt["checksums"].items():
                stored_layer = INPUTS[layer]
                window = square.window(resolution_of(stored_layer))
                assert checksum(cube.read_window(f"inputs/overviews/{stored_layer.resolution}/1/{layer}", window)) == crc
            count += 1
    return count
