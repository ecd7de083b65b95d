"""Where a raster lies: copies of it one turn of the globe away, whether it touches a region, and advice where it has no CRS."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from affine import Affine
from rasterio.crs import CRS
from rasterio.io import DatasetReader

from cube import grid
from cube.grid import EUROPE, NATIONAL_SYSTEMS, Bounds
from cube.sources.raster_grid import RasterGrid

LONLAT: Final = "EPSG:4326"
_NORTH: Final = {"degrees_north", "degree_north", "degree_n", "degrees_n", "degreen", "degreesn"}  # CF conventions, 4.1 and 4.2
_EAST: Final = {"degrees_east", "degree_east", "degree_e", "degrees_e", "degreee", "degreese"}


def edit_command(dataset: DatasetReader, options: str) -> str:
    """What to type to change what a file says of itself: GDAL changes a GeoTIFF in place and writes other formats anew."""
    path = shlex.quote(dataset.name)
    if dataset.driver == "GTiff":
        return f"`gdal_edit.py {options} {path}`"
    options = options.replace("-scale", "-a_scale").replace("-offset", "-a_offset")
    return f"`gdal_translate {options} {path} new.tif`"


def grid_of(dataset: DatasetReader) -> RasterGrid:
    """The pixels of a raster that has a CRS."""
    crs = crs_of(dataset)
    return RasterGrid(dataset.transform, dataset.shape, str(crs.to_wkt()))


def crs_of(dataset: DatasetReader) -> Any:
    """The CRS of a raster, None without; longitudes and latitudes of a NetCDF file are degrees of WGS 84 unless it says more.

    A file whose rows and columns run along other axes, a rotated pole's or a swath's, gives its degrees as `coordinates`.
    """
    if dataset.crs is not None or dataset.driver != "netCDF":
        return dataset.crs
    tags = dataset.tags()
    units = {value.lower() for name, value in tags.items() if name.endswith("#units")}
    has_other_crs = any(name.endswith("#coordinates") for name in tags) or any(
        name.endswith("#standard_name") and value.startswith(("grid_", "projection_")) for name, value in tags.items()
    )
    return None if has_other_crs or not (units & _NORTH and units & _EAST) else CRS.from_epsg(4326)


def copies(dataset: DatasetReader) -> tuple[RasterGrid, ...]:
    """The pixels of a raster, or copies of them one turn of the globe away, that reach into longitudes -180 to 180.

    Longitudes of a file may run from 0 to 360, or over the date line; those of a projection never do.
    """
    crs, pixels = crs_of(dataset), grid_of(dataset)
    if not crs.is_geographic:
        return (pixels,)
    turn = 2 * math.pi / crs.units_factor[1]
    west, _, east, _ = pixels.bounds
    t = pixels.transform
    return tuple(
        replace(pixels, transform=Affine(t.a, t.b, t.c + k * turn, t.d, t.e, t.f))
        for k in (0, -1, 1, -2, 2)
        if west + k * turn < turn / 2 and east + k * turn > -turn / 2
    )


def touches(dataset: DatasetReader, region: RasterGrid) -> bool:
    """Whether a raster reaches into a region, whichever turn its longitudes count."""
    left, bottom, right, top = grid.bounds_in(crs_of(dataset), region.bounds, region.crs)
    return any(
        left < east and right > west and bottom < north and top > south
        for west, south, east, north in (copy.bounds for copy in copies(dataset))
    )


def place(dataset: DatasetReader, region: RasterGrid) -> str:
    """Where a raster lies and where a region lies, for a sentence: both in the raster's own coordinates."""
    crs, covers = crs_of(dataset), extent(dataset)
    bounds = grid.bounds_in(crs, region.bounds, region.crs)
    degrees = not crs.is_geographic and max(map(abs, covers)) <= 540
    hint = f"; its numbers are degrees rather: write {edit_command(dataset, f'-a_srs {LONLAT}')}" if degrees else ""
    return f"it covers {_corners(covers)} of {_name(crs)}, the region {_corners(bounds)}{hint}"


def extent(dataset: DatasetReader) -> Bounds:
    """(west, south, east, north) of a raster in its own coordinates, with or without a CRS."""
    return RasterGrid(dataset.transform, dataset.shape).bounds


def advice(dataset: DatasetReader, region: RasterGrid | None) -> str:
    """What to write into a raster without CRS, judged by its numbers and, where it is given, by the region."""
    west, south, east, north = extent(dataset)
    numbers = f"its coordinates run from {_corners((west, south, east, north))}"
    if west >= -360 and east <= 540 and south >= -90.01 and north <= 90.01:
        return f"{numbers}, as degrees do: write it with {edit_command(dataset, f'-a_srs {LONLAT}')}"
    likely = dict.fromkeys(_likely(region)) if region else ()
    fitting = [code for code in likely if region and _overlaps((west, south, east, north), code, region)]
    if fitting:
        codes = " or ".join(fitting[:3])
        return (
            f"{numbers}, metres of a projection: the region would lie on it in {codes}; if its documentation agrees, write"
            f" that with {edit_command(dataset, f'-a_srs {fitting[0]}')}"
        )
    return (
        f"{numbers}, metres of a projection that its documentation names: write it with"
        f" {edit_command(dataset, '-a_srs EPSG:<code>')}"
    )


def _likely(region: RasterGrid) -> Iterator[str]:
    """Projections that a raster of a region may be in: the cube's, Europe's, the UTM zones around it, national ones, Mercator."""
    yield from (region.crs, EUROPE.code)
    west, south, east, _ = grid.bounds_in(4326, region.bounds, region.crs)
    first, last = (int((value + 180) // 6) + 1 for value in (west, east))
    codes = (32600, 25800) if south >= 0 else (32700,)
    yield from (f"EPSG:{code + zone}" for zone in range(first, last + 1) for code in codes)
    yield from (f"EPSG:{code}" for code in (3857, *NATIONAL_SYSTEMS))


def _overlaps(box: Bounds, code: str, region: RasterGrid) -> bool:
    left, bottom, right, top = grid.bounds_in(code, region.bounds, region.crs)
    west, south, east, north = box
    return bool(left <= east and right >= west and bottom <= north and top >= south)


def _corners(box: Bounds) -> str:
    west, south, east, north = (f"{value:.10g}" for value in (round(v, 4) for v in box))
    return f"{west}, {south} to {east}, {north}"


def _name(crs: CRS) -> str:
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else "its CRS"
