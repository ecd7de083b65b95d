"""Land polygons out of GeoJSON or an ESRI shapefile, in EPSG:3035, and the share of land in each cell.

Two formats need two short readers and no further dependency; anything else is converted with ogr2ogr.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import fsspec
import numpy as np
import rasterio.features
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError

from cube import grid
from cube.errors import SourceError
from cube.grid import CELL, FINE, Unit

LONGEST: Final = 0.05  # degrees; a longer edge is cut, since a straight line there is bent here (by 0.3 m at this length)
MOST: Final = 1_000.0  # m: the same for edges in projected coordinates
POLYGONS: Final = (5, 15, 25)  # shapefile polygons, plain, with Z, with M (ESRI shapefile technical description 1998)

Ring = NDArray[np.float64]  # (points, 2) x, y


@dataclass(frozen=True)
class Coastline:
    """Land as polygons; every polygon is a list of rings, holes among them, with its bounds (EPSG:3035, m)."""

    path: str
    polygons: tuple[tuple[Ring, ...], ...]
    bounds: NDArray[np.float64]  # (polygons, 4) west, south, east, north

    def land(self, unit: Unit) -> NDArray[np.bool_]:
        """(rows, columns) of a unit's 50 m cells: whether most of the cell, by its 25 pixels of 10 m, lies on land."""
        west, south, east, north = unit.bounds
        b = self.bounds
        near = np.flatnonzero((b[:, 0] < east) & (b[:, 2] > west) & (b[:, 1] < north) & (b[:, 3] > south))
        side = unit.km * 1000 // FINE
        shapes = [{"type": "Polygon", "coordinates": [ring.tolist() for ring in self.polygons[i]]} for i in near]
        if not shapes:
            return np.zeros((unit.cells, unit.cells), bool)
        transform = Affine(FINE, 0, west, 0, -FINE, north)
        fine = rasterio.features.rasterize(shapes, (side, side), transform=transform, dtype="uint8")
        n = CELL // FINE
        inside: NDArray[np.int64] = fine.reshape(unit.cells, n, unit.cells, n).sum(axis=(1, 3), dtype=np.int64)
        return inside > n * n // 2


@lru_cache(maxsize=2)
def open_coastline(path: str, where: str, state: str = "") -> Coastline:
    """Read the land polygons; raises `SourceError` for a file that is absent, of another kind, or without polygons.

    Kept, so that a worker reads them once and not for every unit; `state` tells a changed file from the one that is kept.
    """
    try:
        suffix = Path(path).suffix.lower()
        if suffix in (".geojson", ".json"):
            rings, crs = _geojson(path)
        elif suffix == ".shp":
            rings, crs = _shapefile(path)
        else:
            raise SourceError(f"{path}: land polygons are read from .geojson or .shp; convert it with ogr2ogr ({where}).")
    except FileNotFoundError as error:
        raise SourceError(f"{error.filename or path}: there is no such file; check {where}.") from None
    except (ValueError, KeyError, TypeError, struct.error, CRSError) as error:
        raise SourceError(f"{path}: cannot be read as land polygons ({error}); check {where}.") from None
    polygons = project_polygons(rings, crs)
    if not polygons:
        raise SourceError(f"{path}: holds no polygon within Europe; {where} takes areas of land, not lines of the coast.")
    bounds = [[*np.concatenate(p).min(axis=0), *np.concatenate(p).max(axis=0)] for p in polygons]
    return Coastline(path, polygons, np.asarray(bounds))


def project_polygons(polygons: Sequence[Sequence[Ring]], crs: CRS) -> tuple[tuple[Ring, ...], ...]:
    """Polygons in EPSG:3035, long edges cut so that they bend as they should; without rings that lie nowhere on the grid."""
    to_grid = Transformer.from_crs(crs, grid.EPSG, always_xy=True)
    longest = LONGEST if crs.is_geographic else MOST
    return tuple(projected for polygon in polygons if (projected := _project(polygon, to_grid, longest)))


def _project(polygon: Sequence[Ring], to_grid: Transformer, longest: float) -> tuple[Ring, ...]:
    out = []
    for ring in polygon:
        x, y = to_grid.transform(*_cut(ring, longest).T)
        points = np.stack([np.asarray(x), np.asarray(y)], axis=1)
        points = points[np.isfinite(points).all(axis=1)]
        if len(points) >= 3:
            out.append(points)
    return tuple(out)


def _cut(ring: Ring, longest: float) -> Ring:
    """The ring with points added on edges longer than `longest`."""
    steps = np.maximum(1, np.ceil(np.abs(np.diff(ring, axis=0)).max(axis=1) / longest)).astype(int)
    starts = np.repeat(np.arange(len(steps)), steps)
    part = (np.arange(len(starts)) - np.repeat(np.cumsum(steps) - steps, steps)) / steps[starts]
    cut = ring[starts] + part[:, None] * (ring[starts + 1] - ring[starts])
    return np.concatenate([cut, ring[-1:]])


def _geojson(path: str) -> tuple[list[list[Ring]], CRS]:
    with fsspec.open(path, "rb") as file:
        document = json.load(file)
    return polygons_of(document), crs_of(document)


def crs_of(document: Mapping[str, Any]) -> CRS:
    """Coordinates of a GeoJSON document: RFC 7946 knows WGS 84 alone; files of before may name another."""
    named = (document.get("crs") or {}).get("properties", {}).get("name")
    return CRS(named or "OGC:CRS84")


def polygons_of(document: dict[str, Any]) -> list[list[Ring]]:
    """All polygons of a GeoJSON object, each a list of rings; other geometries are passed over."""
    return [polygon for geometry in _geometries(document) for polygon in _polygons(geometry)]


def _geometries(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    kind = document["type"]
    if kind == "FeatureCollection":
        for feature in document["features"]:
            yield from _geometries(feature)
    elif kind == "Feature":
        if document["geometry"] is not None:
            yield from _geometries(document["geometry"])
    elif kind == "GeometryCollection":
        for geometry in document["geometries"]:
            yield from _geometries(geometry)
    else:
        yield document


def _polygons(geometry: dict[str, Any]) -> list[list[Ring]]:
    parts = {"Polygon": [geometry["coordinates"]], "MultiPolygon": geometry["coordinates"]}.get(geometry["type"], [])
    return [[np.asarray([point[:2] for point in ring], float) for ring in part] for part in parts]


def _shapefile(path: str) -> tuple[list[list[Ring]], CRS]:
    with fsspec.open(path, "rb") as file:
        data = file.read()
    with fsspec.open(str(Path(path).with_suffix(".prj")) if "://" not in path else path[:-4] + ".prj", "rt") as file:
        crs = CRS(file.read())
    if struct.unpack(">i", data[:4])[0] != 9994:
        raise ValueError("its file code is not 9994")
    polygons, at = [], 100
    while at + 12 <= len(data):
        words = struct.unpack(">i", data[at + 4 : at + 8])[0]
        (kind,) = struct.unpack("<i", data[at + 8 : at + 12])
        if kind in POLYGONS:
            parts, points = struct.unpack("<2i", data[at + 44 : at + 52])
            first = at + 52 + 4 * parts
            starts = [*struct.unpack(f"<{parts}i", data[at + 52 : first]), points]
            xy = np.frombuffer(data, "<f8", 2 * points, first).reshape(-1, 2)
            # Outer rings and holes alike: filled by the even-odd rule, a hole is what lies within two of them.
            polygons.append([xy[a:b] for a, b in pairwise(starts)])
        elif kind != 0:
            raise ValueError(f"its shapes are of type {kind}, not polygons")
        at += 8 + 2 * words
    return polygons, crs
