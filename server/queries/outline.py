"""An area as a client draws it: GeoJSON in longitude and latitude, checked, to a shape in metres of the cube's grid.

Nothing here reads the cube; `server.queries.tally` counts the cells in the shape.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, ClassVar, Final

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import Geod

from cube.grid import Region
from server.errors import RequestError

MAX_VERTICES: Final = 100_000
MAX_RINGS: Final = 10_000
# An edge is straight in degrees (RFC 7946, 3.1.1) and curved on our grid: cut into pieces of at most this, its pieces
# stray from it by less than 5 m anywhere in Europe.
STEP: Final = 0.1  # degrees
_MAX_STEPS: Final = 200_000
_MAX_PAIRS: Final = 20_000_000  # of edges whose boxes may meet: what checking a polygon costs, here some two seconds
_MARGIN: Final = 0.5  # degrees around the cube that an outline is cut to before it is projected
_KINDS: Final = "The area must be a GeoJSON Polygon, MultiPolygon, Feature or FeatureCollection"
_GEOD: Final = Geod(ellps="WGS84")


class OutlineError(RequestError):
    """An outline that is no area (422)."""

    status: ClassVar[int] = 422
    name: ClassVar[str] = "invalid_area"


def parse(document: Any) -> shapely.Geometry:
    """A GeoJSON Polygon, MultiPolygon, Feature or FeatureCollection as a valid shape in degrees, WGS 84.

    Of a FeatureCollection the shape is the union of its features, which may overlap. Raises `OutlineError`.
    """
    try:
        shape = shapely.from_geojson(json.dumps(document, allow_nan=False))
    except (shapely.errors.GEOSException, ValueError, RecursionError) as error:
        # GEOS says `ParseException: Error parsing JSON: '[json.exception.type_error.302] type must be number, but is string'`.
        reason = re.split(r"\] |: ", str(error))[-1].strip("'")[:80]
        raise OutlineError(f"{_KINDS}, with positions of two or three finite numbers in closed rings: {reason}.") from None
    polygons = shapely.get_parts(shapely.get_parts(shape))
    if any(polygon.geom_type != "Polygon" for polygon in polygons):
        raise OutlineError(f"{_KINDS}, or name a region.")
    points, rings = shapely.get_coordinates(shapely.get_rings(polygons), return_index=True)
    if len(points) > MAX_VERTICES:
        raise OutlineError(f"The area has more than {MAX_VERTICES} positions; simplify it.")
    if len(polygons) > MAX_RINGS or rings.max(initial=0) >= MAX_RINGS:
        raise OutlineError(f"The area has more than {MAX_RINGS} rings; simplify it.")
    if (np.abs(points) > (180.0, 90.0)).any():
        raise OutlineError(
            "Positions of the area must be degrees, WGS 84: longitude from -180 to 180 first, then latitude from -90 to 90."
        )
    edges = np.stack([points[:-1], points[1:]])[:, rings[1:] == rings[:-1]]
    if (np.abs(np.diff(edges[..., 0], axis=0)) > 180).any():
        raise OutlineError("The area crosses the antimeridian; cut it there into a MultiPolygon (RFC 7946, section 3.1.9).")
    if _meetings(edges) > _MAX_PAIRS:
        raise OutlineError("The outline of the area is too intricate: too many long edges lie beside each other; simplify it.")
    if not shapely.is_valid(shape):
        raise OutlineError(f"The area is not a valid polygon ({_reason(shape)}); correct its outline.")
    if shape.is_empty or shape.area <= 0:
        raise OutlineError("The area is empty: its outline encloses nothing.")
    return shapely.force_2d(shapely.union_all(shapely.get_parts(shape)) if shape.geom_type == "GeometryCollection" else shape)


def _meetings(edges: NDArray[np.float64]) -> int:
    """At most how many pairs of edges (2 ends, n, 2) have boxes that meet: along x, or along y, whichever is less."""
    counts = []
    for axis in (0, 1):
        ends = np.sort(edges[..., axis], axis=0)
        starts, stops = ends[:, np.argsort(ends[0])]
        counts.append(int((np.searchsorted(starts, stops, side="right") - np.arange(1, len(starts) + 1)).sum()))
    return min(counts)


def _reason(shape: shapely.Geometry) -> str:
    # GEOS says `Self-intersection[16.7 49.02]`.
    what, _, place = str(shapely.is_valid_reason(shape)).partition("[")
    return f"{what.strip().lower()} at longitude and latitude {place.rstrip(']')}" if place else what.strip().lower()


def square_kilometres(shape: shapely.Geometry) -> float:
    """Area on the ellipsoid of a shape in degrees, km2: edges are straight in degrees, as `on_grid` takes them."""
    pieces = shapely.segmentize(shapely.orient_polygons(shape), max(STEP, shape.length / _MAX_STEPS))
    return abs(float(_GEOD.geometry_area_perimeter(pieces)[0])) / 1e6


def on_grid(shape: shapely.Geometry, region: Region) -> shapely.Geometry:
    """The part of a shape in degrees that lies in `region`, in metres of its grid; empty where none does.

    It is cut as a rectangle cuts, in time that no outline can draw out: right for areas and for cells, but not always a valid
    geometry. Raises `OutlineError` for an outline too long to follow.
    """
    near = shapely.clip_by_rect(shape, *_window(region))
    if near.length / STEP > _MAX_STEPS:
        raise OutlineError("The outline of the area is too long; simplify it.")
    return shapely.clip_by_rect(
        shapely.transform(shapely.segmentize(near, STEP), region.grid.project, interleaved=False), *region.bounds
    )


def _window(region: Region) -> tuple[float, float, float, float]:
    """A box in degrees (west, south, east, north) with room around `region`."""
    west, south, east, north = region.bounds
    lon, lat = region.grid.unproject(*np.meshgrid(np.linspace(west, east, 33), np.linspace(south, north, 33)))
    return lon.min() - _MARGIN, lat.min() - _MARGIN, lon.max() + _MARGIN, lat.max() + _MARGIN


def centres_within(shape: shapely.Geometry, transform: tuple[float, float, float], rows: int, cols: int) -> NDArray[np.bool_]:
    """(rows, columns) which cells of a grid have their centre in `shape`; `transform` is (west, north, cell), metres."""
    from rasterio.features import rasterize

    west, north, cell = transform
    burnt = rasterize([(shape, 1)], (rows, cols), transform=Affine(cell, 0, west, 0, -cell, north), dtype="uint8")
    return np.asarray(burnt, bool)


def cells_across(shape: shapely.Geometry, region: Region, cell: int) -> tuple[int, int, int, int]:
    """(first row, first column, rows, columns) of the cells of `cell` metres that the shape's box touches, from the
    corner of the region's arrays."""
    west, south, east, north = shape.bounds
    left, _, _, top = region.grown_bounds
    row, col = math.floor((top - north) / cell), math.floor((west - left) / cell)
    return row, col, math.ceil((top - south) / cell) - row, math.ceil((east - left) / cell) - col
