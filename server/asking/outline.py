"""An area as a client draws it: GeoJSON in longitude and latitude, checked, to a shape in metres of the cube's grid.

Nothing here reads the cube; `server.asking.tally` counts the cells in the shape.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import Geod

from cube import grid
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
_GEOD: Final = Geod(ellps="WGS84")


class OutlineError(RequestError):
    """An outline that is no area (422)."""

    status: ClassVar[int] = 422
    name: ClassVar[str] = "invalid_area"


def parse(document: Any) -> shapely.Geometry:
    """A GeoJSON Polygon, MultiPolygon, Feature or FeatureCollection as a valid shape in degrees, WGS 84.

    Of a FeatureCollection the shape is the union of its features. Raises `OutlineError`.
    """
    if isinstance(document, Mapping) and document.get("type") == "FeatureCollection":
        return _united(document.get("features"))
    if isinstance(document, Mapping) and document.get("type") == "Feature":
        document = document.get("geometry")
    if not isinstance(document, Mapping) or document.get("type") not in ("Polygon", "MultiPolygon"):
        raise OutlineError("The area must be a GeoJSON Polygon, MultiPolygon, Feature or FeatureCollection, or name a region.")
    held: Any = document.get("coordinates")
    polygons: Any = [held] if document["type"] == "Polygon" else held
    if not _is_list(polygons) or not all(_is_list(polygon) and len(polygon) for polygon in polygons):
        raise OutlineError("The area is empty: coordinates must hold at least one ring of positions.")
    if sum(map(len, polygons)) > MAX_RINGS:
        raise OutlineError(f"The area has more than {MAX_RINGS} rings; simplify it.")
    if sum(len(ring) for polygon in polygons for ring in polygon if _is_list(ring)) > MAX_VERTICES:
        raise OutlineError(f"The area has more than {MAX_VERTICES} positions; simplify it.")
    shapes = []
    for polygon in polygons:
        shell, *holes = [_ring(ring) for ring in polygon]
        shapes.append(shapely.Polygon(shell, holes))
    shape = shapes[0] if len(shapes) == 1 else shapely.MultiPolygon(shapes)
    if _meetings(shape) > _MAX_PAIRS:
        raise OutlineError("The outline of the area is too intricate: too many long edges lie beside each other; simplify it.")
    if not shapely.is_valid(shape):
        raise OutlineError(f"The area is not a valid polygon ({_reason(shape)}); correct its outline.")
    if shape.is_empty or shape.area <= 0:
        raise OutlineError("The area is empty: its outline encloses nothing.")
    return shape


def _united(features: Any) -> shapely.Geometry:
    """The union of the features of a collection, which may overlap; the limits are those of one outline."""
    if not _is_list(features) or not len(features):
        raise OutlineError("The area is empty: the FeatureCollection has no features.")
    if len(features) > MAX_RINGS:
        raise OutlineError(f"The area has more than {MAX_RINGS} features; simplify it.")
    shapes = [
        parse(feature if isinstance(feature, Mapping) and feature.get("type") == "Feature" else None) for feature in features
    ]
    if shapely.get_num_coordinates(shapes).sum() > MAX_VERTICES:
        raise OutlineError(f"The area has more than {MAX_VERTICES} positions; simplify it.")
    if _meetings(shapely.MultiPolygon([part for shape in shapes for part in shapely.get_parts(shape)])) > _MAX_PAIRS:
        raise OutlineError("The outline of the area is too intricate: too many long edges lie beside each other; simplify it.")
    return shapely.union_all(shapes)


def _meetings(shape: shapely.Geometry) -> int:
    """At most how many pairs of edges have boxes that meet: pairs that meet along x, or along y, whichever is less."""
    points, rings = shapely.get_coordinates(shapely.get_rings(shape), return_index=True)
    edges = rings[1:] == rings[:-1]
    found = []
    for axis in (0, 1):
        ends = np.sort(np.stack([points[:-1, axis], points[1:, axis]])[:, edges], axis=0)
        starts, stops = ends[:, np.argsort(ends[0])]
        found.append(int((np.searchsorted(starts, stops, side="right") - np.arange(1, len(starts) + 1)).sum()))
    return min(found)


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _reason(shape: shapely.Geometry) -> str:
    # GEOS says `Self-intersection[16.7 49.02]`.
    what, _, place = str(shapely.is_valid_reason(shape)).partition("[")
    return f"{what.strip().lower()} at longitude and latitude {place.rstrip(']')}" if place else what.strip().lower()


def _ring(ring: Any) -> NDArray[np.float64]:
    """(n, 2) longitude and latitude of a closed ring."""
    if not _is_list(ring) or len(ring) < 4:
        raise OutlineError("A ring of the area has fewer than four positions; the last one repeats the first.")
    try:
        found = np.array(ring)
    except (ValueError, TypeError, OverflowError):
        found = np.empty(0)
    if found.ndim != 2 or found.dtype.kind not in "if" or not 2 <= found.shape[1] <= 4:
        raise OutlineError("A position of the area must be two numbers, longitude and latitude.")
    found = found[:, :2].astype(np.float64)
    if not np.isfinite(found).all():
        raise OutlineError("A position of the area is not a finite number; write degrees.")
    if (np.abs(found) > (180.0, 90.0)).any():
        raise OutlineError(
            "Positions of the area must be degrees, WGS 84: longitude from -180 to 180 first, then latitude from -90 to 90."
        )
    if (found[0] != found[-1]).any():
        raise OutlineError("A ring of the area is not closed; its last position must repeat the first.")
    if (np.abs(np.diff(found[:, 0])) > 180).any():
        raise OutlineError("The area crosses the antimeridian; cut it there into a MultiPolygon (RFC 7946, section 3.1.9).")
    return found


def square_kilometres(shape: shapely.Geometry) -> float:
    """Area on the ellipsoid of a shape in degrees, km2."""
    return abs(float(_GEOD.geometry_area_perimeter(shapely.orient_polygons(shape))[0])) / 1e6


def on_grid(shape: shapely.Geometry, region: Region) -> shapely.Geometry:
    """The part of a shape in degrees that lies in `region`, in metres of EPSG:3035; empty where none does.

    Where the region cuts a bay off, the pieces hang together along the region's edge: right for areas and for cells,
    but no valid geometry. Raises `OutlineError` for an outline too long to follow.
    """
    window, steps = _window(region), 0.0
    parts = []
    for part in shapely.get_parts(shape):
        rings = [_clip_ring(shapely.get_coordinates(ring)[:-1], window) for ring in shapely.get_rings(part)]
        steps += sum(float(_steps(ring).sum()) for ring in rings)
        if steps > _MAX_STEPS:
            raise OutlineError("The outline of the area is too long; simplify it.")
        if len(rings[0]) < 3:
            continue
        shell, *holes = [_clip_ring(np.stack(grid.project(*_densify(ring).T), axis=1), region.bounds) for ring in rings]
        if len(shell) > 2:
            polygon = shapely.Polygon(shell, [hole for hole in holes if len(hole) > 2])
            if polygon.area > 0:
                parts.append(polygon)
    return shapely.MultiPolygon(parts)


def _window(region: Region) -> tuple[float, float, float, float]:
    """A box in degrees (west, south, east, north) with room around `region`."""
    west, south, east, north = region.bounds
    lon, lat = grid.unproject(*np.meshgrid(np.linspace(west, east, 33), np.linspace(south, north, 33)))
    return lon.min() - _MARGIN, lat.min() - _MARGIN, lon.max() + _MARGIN, lat.max() + _MARGIN


def _steps(ring: NDArray[np.float64]) -> NDArray[np.int64]:
    """Into how many pieces each edge of an open ring (n, 2) in degrees is cut."""
    edges = np.hypot(*(np.roll(ring, -1, axis=0) - ring).T)
    return np.maximum(1, np.ceil(edges / STEP)).astype(np.int64)


def _densify(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    """The open ring with edges no longer than `STEP`."""
    steps = _steps(ring)
    first = np.repeat(np.cumsum(steps) - steps, steps)
    share = (np.arange(steps.sum()) - first) / np.repeat(steps, steps)
    return np.repeat(ring, steps, axis=0) + share[:, None] * np.repeat(np.roll(ring, -1, axis=0) - ring, steps, axis=0)


def _clip_ring(points: NDArray[np.float64], box: tuple[float, float, float, float]) -> NDArray[np.float64]:
    """An open ring cut by a box (west, south, east, north): Sutherland and Hodgman 1974, doi:10.1145/360767.360802.

    GEOS cuts into valid pieces, and takes a minute for an outline that was made to be slow.
    """
    for axis, edge, sign in ((0, box[0], 1.0), (1, box[1], 1.0), (0, box[2], -1.0), (1, box[3], -1.0)):
        if len(points) == 0:
            break
        inside = sign * (points[:, axis] - edge)
        following, further = np.roll(points, -1, axis=0), np.roll(inside, -1)
        crosses = (inside >= 0) != (further >= 0)
        share = np.where(crosses, inside / np.where(crosses, inside - further, 1.0), 0.0)
        crossing = points + share[:, None] * (following - points)
        crossing[:, axis] = edge
        both = np.stack([points, crossing], axis=1).reshape(-1, 2)
        points = both[np.stack([inside >= 0, crosses], axis=1).ravel()]
    return points


def centres_within(shape: shapely.Geometry, transform: tuple[float, float, float], rows: int, cols: int) -> NDArray[np.bool_]:
    """(rows, columns) which cells of a grid have their centre in `shape`; `transform` is (west, north, cell), metres."""
    from rasterio.features import rasterize

    west, north, cell = transform
    burnt = rasterize([(shape, 1)], (rows, cols), transform=Affine(cell, 0, west, 0, -cell, north), dtype="uint8")
    return np.asarray(burnt, bool)


def cells_across(shape: shapely.Geometry, region: Region, cell: int) -> tuple[int, int, int, int]:
    """(first row, first column, rows, columns) of the cells of `cell` metres that the shape's box touches, from the
    corner of the region's arrays."""  # fmt: skip
    west, south, east, north = shape.bounds
    left, _, _, top = region.grown_bounds
    row, col = math.floor((top - north) / cell), math.floor((west - left) / cell)
    return row, col, math.ceil((top - south) / cell) - row, math.ceil((east - left) / cell) - col
