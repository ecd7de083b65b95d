"""Land polygons out of a file that GDAL reads (GeoJSON, shapefile, GeoPackage, ...), on the grid, and which cells are land."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final

import fsspec
import numpy as np
import rasterio.features
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from cube.errors import SourceError
from cube.grid import CELL, EUROPE, FINE, Grid, Unit
from cube.storage.local_files import temporary_folder

LONGEST: Final = 0.05  # degrees; a longer edge is cut, since a straight line there is bent here (by 0.3 m at this length)
MAX_EDGE_M: Final = 1_000.0  # m: the same for edges in projected coordinates
SHAPEFILE: Final = (".shp", ".shx", ".dbf", ".prj", ".cpg")  # the files of one

Polygons = NDArray[np.object_]  # shapely polygons, x and y in metres of the grid


@dataclass(frozen=True)
class Coastline:
    """Land as polygons with their holes."""

    path: str
    polygons: Polygons

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree(self.polygons)

    def land(self, unit: Unit) -> NDArray[np.bool_]:
        """(rows, columns) of a unit's 50 m cells: whether most of the cell, by its 25 pixels of 10 m, lies on land."""
        fine = rasterize(self.polygons[self._tree.query(shapely.box(*unit.bounds))], unit, FINE)
        n = CELL // FINE
        inside: NDArray[np.int64] = fine.reshape(unit.cells, n, unit.cells, n).sum(axis=(1, 3), dtype=np.int64)
        return inside > n * n // 2


def rasterize(polygons: Polygons, unit: Unit, resolution: int) -> NDArray[np.uint8]:
    """(rows, columns) of a unit's pixels of `resolution` metres: 1 where the centre lies in one of the polygons, else 0."""
    side = unit.km * 1000 // resolution
    if not len(polygons):
        return np.zeros((side, side), np.uint8)
    west, _, _, north = unit.bounds
    transform = Affine(resolution, 0, west, 0, -resolution, north)
    return np.asarray(rasterio.features.rasterize(polygons, (side, side), transform=transform, dtype="uint8"))


@lru_cache(maxsize=2)
def open_coastline(path: str, where: str, state: str = "", grid: Grid = EUROPE) -> Coastline:
    """Read the land polygons in metres of a grid; raises `SourceError` for a file that is absent, unreadable or without any.

    Cached, so that a worker reads them once and not for every unit; `state` tells a changed file from the cached one.
    """
    try:
        import pyogrio  # type: ignore[import-untyped]
    except ImportError:
        raise SourceError(f"{path}: reading polygons needs pyogrio; `pip install pyogrio` ({where}).") from None
    try:
        with _local(path) as file:
            meta, _, wkb, _ = pyogrio.raw.read(file, columns=[])
    except FileNotFoundError:
        raise SourceError(f"{path}: there is no such file; check {where}.") from None
    except (RuntimeError, ValueError, IndexError) as error:
        raise SourceError(f"{path}: cannot be read as land polygons ({str(error).split(';')[0]}); check {where}.") from None
    if meta["crs"] is None:
        raise SourceError(f"{path}: declares no coordinate reference system; assign one with ogr2ogr -a_srs ({where}).")
    polygons = on_grid(shapely.from_wkb(np.asarray([] if wkb is None else wkb, object)), CRS(meta["crs"]), grid)
    if not len(polygons):
        raise SourceError(
            f"{path}: holds no polygon within the grid ({grid.code}); {where} takes areas of land, not lines of the coast."
        )
    return Coastline(path, polygons)


@contextmanager
def _local(path: str) -> Iterator[Path]:
    """The file at a path or URL on this disk; a remote shapefile with the files beside it. Raises `FileNotFoundError`."""
    if "://" not in path:
        if not Path(path).is_file():
            raise FileNotFoundError(path)
        yield Path(path)
        return
    system, inside = fsspec.core.url_to_fs(path)
    stem, suffix = str(Path(inside).with_suffix("")), Path(inside).suffix
    with temporary_folder() as folder:
        for ending in SHAPEFILE if suffix == ".shp" else (suffix,):
            if ending == suffix or system.exists(stem + ending):
                system.get_file(stem + ending, f"{folder}/land{ending}")
        yield Path(folder, f"land{suffix}")


def on_grid(geometries: NDArray[Any], crs: CRS, grid: Grid) -> Polygons:
    """The polygons of some geometries, one by one, in metres of a grid, without those that lie nowhere on the grid.

    Long edges are cut, so that they bend as they should; geometries of other kinds are left out.
    """
    parts = shapely.get_parts(shapely.get_parts(geometries[~shapely.is_missing(geometries)]))
    parts = shapely.force_2d(parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON])
    rings, part_of_ring = shapely.get_rings(parts, return_index=True)
    for i in np.unique(part_of_ring[shapely.length(rings) == 0]):  # rings that are one point, which GEOS does not cut
        parts[i] = _repaired(parts[i])
    to_grid = Transformer.from_crs(crs, grid.epsg, always_xy=True)
    segmented = shapely.segmentize(parts, LONGEST if crs.is_geographic else MAX_EDGE_M)
    projected_polygons = shapely.transform(segmented, lambda points: np.stack(to_grid.transform(*points.T), axis=1))
    out = [polygon if np.isfinite(polygon.bounds).all() else _repaired(polygon) for polygon in projected_polygons]
    return np.asarray([polygon for polygon in out if not polygon.is_empty], object)


def _repaired(polygon: shapely.Polygon) -> shapely.Polygon:
    """A polygon without points that lie nowhere on the grid, and without rings of fewer than two different points."""
    rings = [shapely.get_coordinates(ring) for ring in shapely.get_rings(polygon)]
    rings = [ring[np.isfinite(ring).all(axis=1)] for ring in rings]
    usable = [len(ring) >= 3 and bool(np.ptp(ring, axis=0).any()) for ring in rings]
    holes = [ring for ring, use in zip(rings[1:], usable[1:], strict=True) if use]
    return shapely.Polygon(rings[0], holes) if rings and usable[0] else shapely.Polygon()
