"""Attributes by which tools that never heard of us understand the cube: CF grid mapping and the GeoZarr conventions."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cube.grid import Region

GRID_MAPPING: Final = "spatial_ref"

# The identity of each convention as its one published release, v0.1, fixes it: a `zarr_conventions` entry with any
# other value does not validate against that release's schema.
_RAW: Final = "https://raw.githubusercontent.com/zarr-conventions"
_WEB: Final = "https://github.com/zarr-conventions"
PROJ: Final = {
    "schema_url": f"{_RAW}/proj/refs/tags/v0.1/schema.json",
    "spec_url": f"{_WEB}/proj/blob/v0.1/README.md",
    "uuid": "f17cb550-5864-4468-aeb7-f3180cfb622f",
    "name": "proj",
    "description": "Coordinate reference system information for geospatial data",
}
SPATIAL: Final = {
    "schema_url": f"{_RAW}/spatial/refs/tags/v0.1/schema.json",
    "spec_url": f"{_WEB}/spatial/blob/v0.1/README.md",
    "uuid": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
    "name": "spatial",
    "description": "Spatial coordinate information",
}
MULTISCALES: Final = {
    "schema_url": f"{_RAW}/multiscales/refs/tags/v0.1/schema.json",
    "spec_url": f"{_WEB}/multiscales/blob/v0.1/README.md",
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
        "proj:code": region.grid.code,
        "proj:wkt2": region.grid.crs.to_wkt("WKT2_2019"),
        "spatial:dimensions": ["y", "x"],
        "spatial:shape": [rows, cols],
        "spatial:transform": [t.a, t.b, t.c, t.d, t.e, t.f],
        "spatial:bbox": [t.c, t.f + rows * t.e, t.c + cols * t.a, t.f],
        "spatial:registration": "pixel",
    }


def multiscale_attributes(region: Region, pyramids: Mapping[int, Sequence[str]]) -> dict[str, Any]:
    """`multiscales` attributes of a group that holds one or several pyramids of `region`, each level half as fine.

    `pyramids` gives, for a resolution in metres, the paths of its levels 0, 1, 2, ... below the group: a product has
    `{50: ["0", "1", "2"]}`, the group `inputs` has `{10: ["10m", "overviews/10m/1"], 50: ["50m", "overviews/50m/1"]}`.
    The resampling is `average` by GDAL's name; layers of classes say `mode` themselves.
    """
    layout: list[dict[str, Any]] = []
    for resolution, assets in pyramids.items():
        for level, asset in enumerate(assets):
            t = region.transform(resolution, level)
            entry: dict[str, Any] = {
                "asset": asset,
                "spatial:shape": list(region.shape(resolution, level)),
                "spatial:transform": [t.a, t.b, t.c, t.d, t.e, t.f],
            }
            if level:
                entry |= {
                    "derived_from": assets[level - 1],
                    "transform": {"scale": [2.0, 2.0], "translation": [0.0, 0.0]},
                }
            layout.append(entry)
    west, south, east, north = region.grown_bounds
    return {
        "zarr_conventions": [MULTISCALES, PROJ, SPATIAL],
        "multiscales": {"layout": layout, "resampling_method": "average"},
        "proj:code": region.grid.code,
        "proj:wkt2": region.grid.crs.to_wkt("WKT2_2019"),
        # The convention forbids a transform or shape here: each level says its own.
        "spatial:dimensions": ["y", "x"],
        "spatial:bbox": [west, south, east, north],
    }


def grid_mapping_attributes(region: Region, resolution: int, level: int = 0) -> dict[str, Any]:
    """Attributes of the `spatial_ref` variable: CF grid mapping, plus the names that GDAL and rioxarray read."""
    t = region.transform(resolution, level)
    wkt = region.grid.crs.to_wkt()
    cf = {k: v for k, v in region.grid.crs.to_cf().items() if k != "crs_wkt"}
    return {
        "long_name": "Coordinate reference system",
        **cf,
        "crs_wkt": wkt,
        "spatial_ref": wkt,
        "GeoTransform": " ".join(str(v) for v in (t.c, t.a, t.b, t.f, t.d, t.e)),
    }


def axis_attributes(region: Region, axis: str) -> dict[str, Any]:
    """CF attributes of the coordinate variable `x` or `y` (metres, cell centres)."""
    return {
        "standard_name": f"projection_{axis}_coordinate",
        "long_name": f"{axis} coordinate of the cell centre, {region.grid.code}",
        "units": "m",
        "axis": axis.upper(),
    }


def fill_attribute(dtype: str, fill: int | float) -> int | str:
    """`_FillValue` as xarray writes it in Zarr v3: integers as they are, floats as base64 of a little-endian double."""
    if dtype.startswith("float"):
        return base64.standard_b64encode(struct.pack("<d", float(fill))).decode()
    return int(fill)
