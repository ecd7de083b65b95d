"""Which zooms of a tile matrix set are worth asking for: from a few pixels of the region to a few beyond the cells' own size."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import morecantile
import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from server.drawing.tms import tile_matrix_set
from server.reading.io import MAX_CHUNKS
from server.reading.layers import MapLayer
from server.reading.snapshot import Snapshot

MAX_ZOOM: Final = 24
EQUATOR_PIXEL: Final = 156_543.0339  # m, Web Mercator pixel of 256-pixel tiles at zoom 0
_OVERZOOM: Final = 3  # zooms beyond the native one that are worth a tile of their own: cell edges stay sharp


def zooms(snapshot: Snapshot, layer: MapLayer) -> tuple[int, int]:
    """(minzoom, maxzoom) in Web Mercator: from where the region spans 32 pixels to a few beyond the cells' own size."""
    _, south, _, north = snapshot.bounds
    ground = EQUATOR_PIXEL * math.cos(math.radians((south + north) / 2))
    edges = snapshot.region.bounds
    span = max(edges[2] - edges[0], edges[3] - edges[1])
    min_zoom = max(0, math.floor(math.log2(ground * 32 / span)))
    if len(layer.paths) == 1:
        min_zoom = max(min_zoom, _readable(snapshot, layer, ground))
    native = math.ceil(math.log2(ground / layer.resolution))
    return min_zoom, max(min_zoom, native + _OVERZOOM)


def zooms_in(snapshot: Snapshot, layer: MapLayer, tms: str) -> tuple[int, int]:
    """(minzoom, maxzoom) in the tile matrix set `tms`: all it has where it is not Web Mercator, whose zooms count differently."""
    return zooms(snapshot, layer) if tms == "WebMercatorQuad" else zooms_of(tms)


def zooms_of(tms: str) -> tuple[int, int]:
    """First and last zoom of a tile matrix set that is served."""
    matrix_set = tile_matrix_set(tms)
    return max(0, matrix_set.minzoom), min(matrix_set.maxzoom, MAX_ZOOM)


Limits = dict[int, tuple[int, int, int, int]]  # zoom -> first and last row, first and last column


def limits_of(snapshot: Snapshot, tms: str) -> Limits:
    """The tiles that the region touches at each zoom, so that no client asks for the others."""
    matrix_set, (min_zoom, max_zoom) = tile_matrix_set(tms), zooms_of(tms)
    x, y = _transformer(matrix_set.crs.to_wkt()).transform(*np.array(snapshot.outline).T)
    limits: Limits = {}
    for zoom in range(min_zoom, max_zoom + 1):
        matrix, first = matrix_set.matrix(zoom), matrix_set.xy_bounds(morecantile.Tile(0, 0, zoom))
        rows = _span((first.top - y) / (first.top - first.bottom), matrix.matrixHeight - 1)
        cols = _span((x - first.left) / (first.right - first.left), matrix.matrixWidth - 1)
        limits[zoom] = (*rows, *cols)
    return limits


@lru_cache(maxsize=64)
def _transformer(crs: str) -> Transformer:
    return Transformer.from_crs(4326, crs, always_xy=True)


def _span(at: NDArray[np.float64], last: int) -> tuple[int, int]:
    """First and last of the tiles that hold the positions; all of them where a projection has no such place."""
    if not np.isfinite(at).all():
        return 0, last
    return int(np.clip(at.min(), 0, last)), int(np.clip(at.max(), 0, last))


def opening_zoom(snapshot: Snapshot) -> int:
    """The Web Mercator zoom at which the region fills about 800 pixels."""
    _, south, _, north = snapshot.bounds
    edges = snapshot.reader.cube.region.bounds
    ground = EQUATOR_PIXEL * math.cos(math.radians((south + north) / 2))
    span = max(edges[2] - edges[0], edges[3] - edges[1])
    return max(0, math.floor(math.log2(ground * 800 / span)))


def _readable(snapshot: Snapshot, layer: MapLayer, ground: float) -> int:
    """The lowest zoom at which a tile of a layer without overviews stays within the chunks it may read."""
    array = snapshot.reader.array(layer.paths[0])
    zoom = 0
    while zoom < 14:
        # A tile is turned against the grid, so its box is wider than itself.
        cells = 1.4 * 256 * ground / 2**zoom / layer.resolution
        counts = [min(-(-n // chunk), cells / chunk + 2) for n, chunk in zip(array.shape[-2:], array.chunks[-2:], strict=True)]
        if counts[0] * counts[1] <= MAX_CHUNKS:
            break
        zoom += 1
    return zoom
