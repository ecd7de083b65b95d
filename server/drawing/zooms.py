"""Which zooms of a tile matrix set are worth asking for: from a few pixels of the region to a few beyond the cells' own size."""

from __future__ import annotations

import math
from typing import Final

from server.reading.io import MAX_CHUNKS
from server.reading.layers import MapLayer
from server.reading.snapshot import Snapshot

EQUATOR_PIXEL: Final = 156_543.0339  # m, Web Mercator pixel of 256-pixel tiles at zoom 0
_OVERZOOM: Final = 3  # zooms beyond the native one that are worth a tile of their own: cell edges stay sharp


def zooms(snapshot: Snapshot, layer: MapLayer) -> tuple[int, int]:
    """(minzoom, maxzoom) in Web Mercator: from where the region spans 32 pixels to a few beyond the cells' own size."""
    _, south, _, north = snapshot.bounds
    ground = EQUATOR_PIXEL * math.cos(math.radians((south + north) / 2))
    edges = snapshot.region.bounds
    span = max(edges[2] - edges[0], edges[3] - edges[1])
    least = max(0, math.floor(math.log2(ground * 32 / span)))
    if len(layer.paths) == 1:
        least = max(least, _readable(snapshot, layer, ground))
    native = math.ceil(math.log2(ground / layer.resolution))
    return least, max(least, native + _OVERZOOM)


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
