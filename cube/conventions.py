"""Attributes by which tools that never heard of us understand the cube: CF grid mapping and the GeoZarr conventions."""

from __future__ import annotations

import base64
import struct
from typing import Any, Final

from cube import grid
from cube.grid import Region

GRID_MAPPING: Final = "spatial_ref"

PROJ: Final = {
    "schema_url": "https://raw.githubusercontent.com/zarr-conventions/proj/refs/tags/v1/schema.json",
    "spec_url": "https://github.com/zarr-conventions/proj/blob/v1/README.md",
    "uuid": "f17cb550-5864-4468-aeb7-f3180cfb622f",
    "name": "proj:",
    "description": "Coordinate reference system information for geospatial data",
}
SPATIAL: Final = {
    "schema_url": "https://raw.githubusercontent.com/zarr-conventions/spatial/refs/tags/v1/schema.json",
    "spec_url": "https://github.com/zarr-conventions/spatial/blob/v1/README.md",
    "uuid": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
    "name": "spatial:",
    "description": "Spatial coordinate information",
}
MULTISCALES: Final = {
    "schema_url": "https://raw.githubusercontent.com/zarr-conventions/multiscales/refs/tags/v1/schema.json",
    "spec_url": "https://github.com/zarr-conventions/multiscales/blob/v1/README.md",
    "uuid": "d35379db-88df-4056-af3a-620245f8e347",
    "name": "multiscales",
    "description": "Multiscale layout of zarr datasets",
}


def spatial_attributes(region: Region, resolution: int, level: int = 0) -> dict[str, Any]:
    """`proj` and `spatial` convention attributes of a group or array of `region` at `resolution` metres."""
    rows, cols = region.shape(resolution, level)
    t = region.transform(resolution, level)
    return {
        "zarr_conventions": [PROJ, SPATIAL],
        "proj:code": f"EPSG:{grid.EPSG}",
        "proj:wkt2": grid.crs().to_wkt("WKT2_2019"),
        "spatial:dimensions": ["y", "x"],
        "spatial:shape": [rows, cols],
        "spatial:transform": [t.a, t.b, t.c, t.d, t.e, t.f],
        "spatial:bbox": [t.c, t.f + rows * t.e, t.c + cols * t.a, t.f],
        "spatial:registration": "pixel",
    }


def multiscale_attributes(region: Region, levels: int, method: str) -> dict[str, Any]:
    """`multiscales` attributes of a pyramid whose groups are called 0 (50 m) to `levels` - 1, each half as fine."""
    layout: list[dict[str, Any]] = []
    for level in range(levels):
        t = region.transform(grid.CELL, level)
        entry: dict[str, Any] = {
            "asset": str(level),
            "spatial:shape": list(region.shape(grid.CELL, level)),
            "spatial:transform": [t.a, t.b, t.c, t.d, t.e, t.f],
        }
        if level:
            entry |= {
                "derived_from": str(level - 1),
                "transform": {"scale": [2.0, 2.0], "translation": [0.0, 0.0]},
            }
        layout.append(entry)
    return {
        "zarr_conventions": [MULTISCALES, PROJ, SPATIAL],
        "multiscales": {"layout": layout, "resampling_method": method},
        "proj:code": f"EPSG:{grid.EPSG}",
        "spatial:dimensions": ["y", "x"],
    }


def grid_mapping_attributes(region: Region, resolution: int, level: int = 0) -> dict[str, Any]:
    """Attributes of the `spatial_ref` variable: CF grid mapping, plus the names that GDAL and rioxarray read."""
    t = region.transform(resolution, level)
    wkt = grid.crs().to_wkt()
    cf = {k: v for k, v in grid.crs().to_cf().items() if k != "crs_wkt"}
    return {**cf, "crs_wkt": wkt, "spatial_ref": wkt,
            "GeoTransform": " ".join(str(v) for v in (t.c, t.a, t.b, t.f, t.d, t.e))}  # fmt: skip


def axis_attributes(axis: str) -> dict[str, Any]:
    """CF attributes of the coordinate variable `x` or `y` (metres, cell centres)."""
    return {
        "standard_name": f"projection_{axis}_coordinate",
        "long_name": f"{axis} coordinate of the cell centre, EPSG:{grid.EPSG}",
        "units": "m",
        "axis": axis.upper(),
    }


def fill_attribute(dtype: str, fill: int | float) -> int | str:
    """`_FillValue` as xarray writes it in Zarr v3: integers as they are, floats as base64 of a little-endian double."""
    if dtype.startswith("float"):
        return base64.standard_b64encode(struct.pack("<d", float(fill))).decode()
    return int(fill)
