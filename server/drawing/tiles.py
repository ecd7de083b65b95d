"""One layer and one tile to an image: level, warp grid, cells, resampling, colours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from server import palettes
from server.drawing import png
from server.drawing.resample import WIDEST, bilinear, kernel_radius, nearest, steps
from server.drawing.warp import is_outside, warp_grid
from server.reading.layers import MapLayer
from server.reading.snapshot import Snapshot

MEDIA: Final = {"png": "image/png", "webp": "image/webp"}


@dataclass(frozen=True, slots=True)
class TileRequest:
    """A tile of a tile matrix set, `size` pixels a side (256, or 512 for @2x)."""

    tms: str
    z: int
    x: int
    y: int
    size: int = 256


@dataclass(frozen=True, slots=True)
class Style:
    """How a continuous layer is drawn where the request overrides the layer's own palette and range (in units)."""

    palette: str
    low: float
    high: float
    above: float | None = None  # then only what is above it is drawn, hatched, to lie over another layer


# Nothing, a veil of paper that leaves the layer beneath to be guessed, and a dark line across it: the other diagonal than
# the page's mark of no data, so that "we know nothing" and "do not trust this" are told apart.
HATCH: Final = np.array([(0, 0, 0, 0), (252, 251, 247, 140), (29, 38, 33, 190)], np.uint8)
_LINES: Final = 32  # across a tile


@dataclass(frozen=True, slots=True)
class Level:
    """A pyramid level: its array, and where no level is coarse enough, the thinning that stands for one."""

    path: str
    step: int
    pixel: float  # m


def choose_level(layer: MapLayer, screen_pixel: float) -> Level:
    """The coarsest level whose pixel is not coarser than a screen pixel (metres), or the finest there is.

    Below the coarsest one its cells are thinned until four at most lie side by side in a screen pixel: the kernel takes
    in all of those (`resample.WIDEST`).
    """
    ratio = screen_pixel / layer.resolution
    # A pixel coarser by a hair (the scale of a map projection varies) is still the right level.
    ideal_level = max(0, math.floor(math.log2(ratio * 1.01))) if ratio > 0 and math.isfinite(ratio) else 0
    level = min(ideal_level, len(layer.paths) - 1)
    step = 2 ** max(0, ideal_level - level - 1)
    return Level(layer.paths[level], step, layer.resolution * 2.0**level * step)


@dataclass(frozen=True, slots=True)
class Cells:
    """A window of stored values and where the tile's control points lie in it (pixels from its upper left corner)."""

    stored_values: NDArray[np.generic]
    rows: NDArray[np.float64]  # (n, n), evenly spaced from the first to the last pixel of the tile
    cols: NDArray[np.float64]
    size: int  # pixels a side of the tile
    radius: tuple[float, float]


def read_cells(snapshot: Snapshot, layer: MapLayer, request: TileRequest, cached_only: bool = False) -> Cells | None:
    """The cells under a tile, or None where it lies outside the data; raises `StoreError`, `TooLargeError`.

    With `cached_only` nothing is read: raises `NotCachedError` unless all of it is in memory.
    """
    region = snapshot.reader.cube.region
    bounds, epsg = region.grown_bounds, region.grid.epsg
    if is_outside(request.tms, request.z, request.x, request.y, bounds, epsg):
        return None
    warp = warp_grid(request.tms, request.z, request.x, request.y, request.size, epsg)
    level = choose_level(layer, warp.pixel)
    height, width = (-(-n // level.step) for n in snapshot.reader.shape(level.path, cached_only))
    west, _, _, north = bounds
    rows, cols = (north - warp.y) / level.pixel, (warp.x - west) / level.pixel
    spans = _span(rows), _span(cols)
    if spans[0][1] < 0 or spans[1][1] < 0 or spans[0][0] > height or spans[1][0] > width:
        return None
    radius = _radii(spans, request.size) if layer.kind == "continuous" else (1.0, 1.0)
    margins = [math.ceil(r) + 1 for r in radius]
    windows = [
        (max(math.floor(low) - margin, -margin), min(math.floor(high) + 1 + margin, size + margin))
        for (low, high), size, margin in zip(spans, (height, width), margins, strict=True)
    ]
    stored_values = snapshot.window(layer, level.path, level.step, windows[0], windows[1], cached_only)
    return Cells(stored_values, rows - windows[0][0], cols - windows[1][0], request.size, radius)


def _radii(spans: tuple[tuple[float, float], tuple[float, float]], pixels: int) -> tuple[float, float]:
    """Kernel radius along rows and columns for a tile whose `pixels` a side cover the positions `spans`.

    GDAL's rule for a tile that lies inside its source: source pixels under the tile by pixels of the tile. At the
    edge of its source GDAL's own scale depends on how it cuts the work; ours stays the same, so tiles join unseen.
    """
    rows, cols = (min(WIDEST, kernel_radius((high - low) / (pixels - 1))) for low, high in spans)
    return rows, cols


def _span(positions: NDArray[np.float64]) -> tuple[float, float]:
    low, high = float(positions.min()), float(positions.max())
    if math.isfinite(low) and math.isfinite(high):
        return low, high
    finite = positions[np.isfinite(positions)]
    return (float(finite.min()), float(finite.max())) if finite.size else (math.inf, -math.inf)


def class_tile(layer: MapLayer, cells: Cells) -> NDArray[np.uint16]:
    """(size, size) rows of the layer's class colours; 0 where there is no data or no such class."""
    index, _ = layer.class_lookup
    unknown = len(index) - 1  # the last entry is no class
    values = nearest(cells.stored_values.astype(np.int32), cells.rows, cells.cols, cells.size, unknown)
    # Seen without a sign, what is negative lies beyond the last class as well.
    return index.take(np.minimum(values.view(np.uint32), np.uint32(unknown)))


def value_tile(layer: MapLayer, cells: Cells) -> NDArray[np.float32]:
    """(size, size) values in the layer's units, NaN where there is no data."""
    stored_values = cells.stored_values
    plain = stored_values.astype(np.float32)
    if stored_values.dtype.kind == "f":
        plain[~np.isfinite(plain)] = np.nan
    else:
        plain[stored_values == stored_values.dtype.type(layer.fill)] = np.nan
    values = bilinear(plain, cells.rows, cells.cols, cells.size, cells.radius)
    if layer.scale != 1.0 or layer.offset != 0.0:
        values *= np.float32(layer.scale)
        values += np.float32(layer.offset)
    return values


def hatched(values: NDArray[np.float32], above: float) -> NDArray[np.uint8]:
    """Values of a square tile (NaN: no data) to rows of `HATCH`: 0 up to `above`, lines on a veil where a value exceeds it."""
    size = values.shape[0]
    period = size // _LINES
    row, col = np.ogrid[:size, :size]
    line = (col - row) % period < period // 4
    return np.where(values > above, np.where(line, np.uint8(2), np.uint8(1)), np.uint8(0))


def draw(layer: MapLayer, cells: Cells, form: str, style: Style | None) -> bytes | None:
    """The tile as bytes of `form` (`png`, `webp`), or None where no pixel of it has data; `style` of a continuous layer."""
    index: NDArray[np.integer]
    if style is None:
        index, colours = class_tile(layer, cells), layer.class_lookup[1]
    else:
        values = value_tile(layer, cells)
        if style.above is None:
            index, colours = steps(values, style.low, style.high, palettes.COLOURS), palettes.continuous_colours(style.palette)
        else:
            index, colours = hatched(values, style.above), HATCH
    return png.image(index, colours, form) if index.any() else None
