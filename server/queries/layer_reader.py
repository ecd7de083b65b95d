"""rio-tiler's reader of one layer of the cube, by which titiler's routes read (`server.queries.layer_tiler`)."""

from __future__ import annotations

import ast
import json
import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import attr
import numpy as np
import shapely
from morecantile import Tile, TileMatrixSet
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.io import MemoryFile
from rasterio.warp import transform, transform_bounds
from rio_tiler.constants import WEB_MERCATOR_TMS, WGS84_CRS
from rio_tiler.errors import PointOutsideBounds, TileOutsideBounds
from rio_tiler.expression import get_expression_blocks, parse_expression
from rio_tiler.io import BaseReader, Reader
from rio_tiler.models import BandStatistics, ImageData, Info, PointData

from server.drawing.tiles import Level, choose_level
from server.drawing.zooms import zooms
from server.errors import NotFoundError, TooLargeError, WrongRequestError
from server.reading.layers import MapLayer
from server.reading.snapshot import Snapshot

MAX_PIXELS: Final = 2048 * 2048  # of one image
STATISTICS_PIXELS: Final = 2**19  # of one feature: titiler rasterises each of its pixels `cover_scale` times finer
_REQUEST_CELLS: Final = 4 * MAX_PIXELS  # of all features of one request together
_FEATURE_CELLS: Final = 100_000  # cells that a feature counts for at the least, since opening it has its cost
_MARGIN: Final = 4  # cells read around a window: what the bilinear kernel and rounded bounds take in
_IMAGES: Final = threading.BoundedSemaphore(4)  # images put together at once: bounds memory
Box = tuple[float, float, float, float]
Span = tuple[int, int]  # [first, end)


@dataclass(frozen=True)
class LayerInput:
    """A layer of a release: what stands where titiler has the URL of a dataset."""

    snapshot: Snapshot
    layer: MapLayer

    @cached_property
    def bands(self) -> tuple[MapLayer, ...]:
        """The layers b1, b2, ...: those of the same array, such as an indicator and its bounds; a species stands alone."""
        layer = self.layer
        if layer.product == "species" or layer.minus is not None or not layer.lead:
            return (layer,)
        same_array = (member for member in self.snapshot.catalogue.layers if member.paths == layer.paths and member.minus is None)
        return tuple(
            sorted((member for member in same_array if member.lead[1:] == layer.lead[1:]), key=lambda member: member.lead)
        )

    def numbers(self, indexes: Sequence[int] | None, expression: str | None) -> tuple[int, ...]:
        """The bands that a request asks for, from 1; the layer itself where it names none. Raises `WrongRequestError`."""
        numbers = _bands_of(expression) if expression else tuple(indexes or (self.bands.index(self.layer) + 1,))
        for number in numbers:
            if not 1 <= number <= len(self.bands):
                raise WrongRequestError(f"Layer '{self.layer.id}' has no band {number}; its bands are 1 to {len(self.bands)}.")
        return numbers


@attr.s
class LayerReader(BaseReader):
    """rio-tiler's reader of one layer: values in its units (classes: as stored), masked where there is no data.

    A window of the level that suits the pixels asked for becomes a small GDAL dataset; rio-tiler's own Reader does the rest.
    """

    input: LayerInput = attr.ib()
    tms: TileMatrixSet = attr.ib(default=WEB_MERCATOR_TMS)

    def __attrs_post_init__(self) -> None:
        """Extent and size of level 0."""
        layer, snapshot = self.input.layer, self.input.snapshot
        region = snapshot.reader.cube.region
        self.bounds, self.crs = region.grown_bounds, CRS.from_epsg(region.grid.epsg)
        self.height, self.width = snapshot.reader.shape(layer.paths[0])
        self.transform = Affine(layer.resolution, 0, self.bounds[0], 0, -layer.resolution, self.bounds[3])
        self._cells_left = _REQUEST_CELLS

    @property
    def minzoom(self) -> int:
        """The lowest zoom that is worth a tile."""
        return self._zooms()[0]

    @property
    def maxzoom(self) -> int:
        """The highest zoom that is worth a tile."""
        return self._zooms()[1]

    def _zooms(self) -> tuple[int, int]:
        if self.tms.id == "WebMercatorQuad":
            return zooms(self.input.snapshot, self.input.layer)
        return int(self._minzoom), int(self._maxzoom)

    def info(self) -> Info:
        """Extent, type, and of each band title, units and classes."""
        layer, bands, release = self.input.layer, self.input.bands, self.input.snapshot.release
        metadata = []
        for number, band in enumerate(bands, start=1):
            classes = {c.value: f"{c.code} {c.label}".strip() for c in band.classes}
            texts = {"layer": band.id, "units": band.units, "release": release, **({"classes": classes} if classes else {})}
            metadata.append((f"b{number}", texts))
        return Info.model_validate(
            {
                "bounds": self.bounds,
                "crs": f"http://www.opengis.net/def/crs/EPSG/0/{self.crs.to_epsg()}",
                "band_metadata": metadata,
                "band_descriptions": [(f"b{number}", band.title) for number, band in enumerate(bands, start=1)],
                "nodata_type": "Nodata",
                "dtype": self._type(),
                "name": layer.id,
                "count": len(bands),
                "width": self.width,
                "height": self.height,
                "overviews": [2**level for level in range(1, len(layer.paths))],
            }
        )

    def _type(self) -> str:
        layer = self.input.layer
        return "float32" if layer.kind == "continuous" else str(self.input.snapshot.reader.array(layer.paths[0]).dtype)

    def statistics(self, **options: Any) -> dict[str, BandStatistics]:
        """Statistics of a preview of the whole layer."""
        statistics: dict[str, BandStatistics] = self.preview().statistics(**options)
        return statistics

    def tile(self, tile_x: int, tile_y: int, tile_z: int, tilesize: int | None = None, **options: Any) -> ImageData:
        """A tile of `self.tms`; raises `TileOutsideBounds`."""
        in_range = self.tms.minzoom <= tile_z <= self.tms.maxzoom
        matrix = self.tms.matrix(tile_z if in_range else self.tms.minzoom)
        in_range = in_range and 0 <= tile_x < matrix.matrixWidth and 0 <= tile_y < matrix.matrixHeight
        if not (in_range and self.tile_exists(tile_x, tile_y, tile_z)):
            raise TileOutsideBounds(f"Tile {tile_z}/{tile_x}/{tile_y} lies outside the cube.")
        crs, box = self.tms.rasterio_crs, self.tms.xy_bounds(Tile(tile_x, tile_y, tile_z))
        height, width = tilesize or matrix.tileHeight, tilesize or matrix.tileWidth
        return self.part((box.left, box.bottom, box.right, box.top), crs, crs, height=height, width=width, **options)

    def part(
        self,
        bbox: Box,
        dst_crs: CRS | None = None,
        bounds_crs: CRS | None = None,
        max_size: int | None = None,
        height: int | None = None,
        width: int | None = None,
        **options: Any,
    ) -> ImageData:
        """The image of a box; without a size at the cells' own, else at most `max_size` or exactly `height`, `width` pixels."""
        crs_of_bounds: CRS = bounds_crs or WGS84_CRS
        size: dict[str, Any] = {"max_size": max_size, "height": height, "width": width}
        with self._window(bbox, crs_of_bounds, dst_crs or crs_of_bounds, MAX_PIXELS, size, options) as (source, final_options):
            return source.part(bbox, dst_crs=dst_crs or crs_of_bounds, bounds_crs=crs_of_bounds, **size, **final_options)

    def feature(
        self,
        shape: dict[str, Any],
        dst_crs: CRS | None = None,
        shape_crs: CRS | None = None,
        max_size: int | None = None,
        height: int | None = None,
        width: int | None = None,
        **options: Any,
    ) -> ImageData:
        """The image of the box around a GeoJSON geometry or feature, masked outside of it; size as in `part`."""
        crs_of_shape: CRS = shape_crs or WGS84_CRS
        size: dict[str, Any] = {"max_size": max_size, "height": height, "width": width}
        # titiler asks for whole pixels where it goes on to count how much of each is covered.
        limit = STATISTICS_PIXELS if options.get("align_bounds_with_dataset") else MAX_PIXELS
        bbox = _box_of(shape.get("geometry", shape))
        # rio-tiler would take a box that the geometry says of itself for its own, whatever it is.
        geometry = {name: value for name, value in shape.get("geometry", shape).items() if name != "bbox"}
        with self._window(bbox, crs_of_shape, dst_crs or crs_of_shape, limit, size, options) as (source, final_options):
            return source.feature(geometry, dst_crs=dst_crs or crs_of_shape, shape_crs=crs_of_shape, **size, **final_options)

    def preview(
        self,
        max_size: int | None = 1024,
        height: int | None = None,
        width: int | None = None,
        dst_crs: CRS | None = None,
        **options: Any,
    ) -> ImageData:
        """The whole layer."""
        return self.part(self.bounds, dst_crs or self.crs, self.crs, max_size, height, width, **options)

    def point(
        self,
        lon: float,
        lat: float,
        coord_crs: CRS | None = None,
        indexes: Sequence[int] | None = None,
        expression: str | None = None,
        nodata: float | None = None,
        **options: Any,
    ) -> PointData:
        """The values of the cell of level 0 that holds a point; raises `PointOutsideBounds`."""
        layer, (x, y) = self.input.layer, (axis[0] for axis in transform(coord_crs or WGS84_CRS, self.crs, [lon], [lat]))
        numbers = self.input.numbers(indexes, expression)
        west, south, east, north = self.bounds
        if not (west <= x < east and south < y <= north):
            raise PointOutsideBounds(f"The point {lon}, {lat} (longitude, latitude) lies outside the cube.")
        row, col = int((north - y) // layer.resolution), int((x - west) // layer.resolution)
        values = [self._values(number, layer.paths[0], 1, (row, row + 1), (col, col + 1), nodata) for number in numbers]
        array = np.concatenate([value[0] for value in values])
        missing = math.nan if layer.kind == "continuous" else layer.fill
        masked_array = np.ma.MaskedArray(array, (array == missing) | ~np.isfinite(array))
        point = PointData(
            masked_array,
            band_names=[f"b{number}" for number in numbers],
            coordinates=(lon, lat),
            nodata=missing,
            band_descriptions=[self.input.bands[number - 1].title for number in numbers],
            crs=coord_crs or WGS84_CRS,
            pixel_location=(col, row),
            scales=[1.0] * len(numbers),
            offsets=[0.0] * len(numbers),
        )
        return point.apply_expression(expression) if expression else point

    def _values(self, number: int, path: str, step: int, rows: Span, cols: Span, nodata: float | None) -> np.ndarray[Any, Any]:
        """A window of a band: classes as stored, others in units with NaN for no data, which `nodata` stands for as well."""
        band = self.input.bands[number - 1]
        array = self.input.snapshot.window(band, path, step, rows, cols)
        if band.kind == "class":
            return array if nodata is None else np.where(array == nodata, array.dtype.type(band.fill), array)
        values = array.astype(np.float32)
        values[(array == band.fill) | ~np.isfinite(values)] = np.nan
        values = values * np.float32(band.scale) + np.float32(band.offset)
        if nodata is not None:
            values[values == np.float32(nodata)] = np.nan
        return values

    @contextmanager
    def _window(
        self, bbox: Box, source_crs: CRS, target_crs: CRS, limit: int, size: dict[str, Any], options: dict[str, Any]
    ) -> Iterator[tuple[Reader, dict[str, Any]]]:
        """A reader of the window under a box, and the options for it: the bands, and the resampling methods.

        Raises `NotFoundError` outside the cube, `TooLargeError` beyond `limit` pixels, `WrongRequestError`.
        """
        layer = self.input.layer
        final_options, nodata = {**options, **_methods(layer, options)}, options.get("nodata")
        numbers = self.input.numbers(options.get("indexes"), options.get("expression"))
        if options.get("expression"):
            final_options.pop("indexes", None)
        else:
            final_options["indexes"] = numbers
        for name in ("nodata", "unscale"):  # values are in units, and what is missing is so already
            final_options.pop(name, None)
        west, south, east, north = (
            transform_bounds(source_crs, target_crs, *bbox, densify_pts=21) if source_crs != target_crs else bbox
        )
        if not (west < east and south < north and all(map(math.isfinite, (west, south, east, north)))):
            raise WrongRequestError("The box must be finite, with west < east and south < north.")
        steps = _steps(east - west, north - south, size)
        rim = float(options.get("buffer") or 0) + float(options.get("padding") or 0)
        if steps:
            if ((east - west) / steps[0] + 2 * rim) * ((north - south) / steps[1] + 2 * rim) > limit:
                raise TooLargeError(f"One image has at most {limit:,} pixels here; ask for a smaller one.")
            west, east = west - rim * steps[0], east + rim * steps[0]
            south, north = south - rim * steps[1], north + rim * steps[1]
        edges = self.get_geographic_bounds(target_crs)
        inside = max(west, edges[0]), max(south, edges[1]), min(east, edges[2]), min(north, edges[3])
        if not (inside[0] < inside[2] and inside[1] < inside[3]):
            raise NotFoundError("What is asked for lies outside the cube; /layers gives its bounds.")
        level = choose_level(layer, _ground(target_crs, self.crs, inside, steps) if steps else layer.resolution)
        left, bottom, right, top = (
            transform_bounds(target_crs, self.crs, *inside, densify_pts=21) if target_crs != self.crs else inside
        )
        spans = self._spans(level, (left, bottom, right, top), _MARGIN + math.ceil(0 if steps else rim))
        (top_row, end_row), (left_col, end_col) = spans
        cells = (end_row - top_row) * (end_col - left_col) * len(numbers)
        if cells <= 0 or end_row <= top_row:
            raise NotFoundError("What is asked for lies outside the cube; /layers gives its bounds.")
        self._cells_left -= max(cells, _FEATURE_CELLS)
        # Without a size the image has the cells' own pixels, also where it lies outside the cube and nothing is read.
        read_area, image_area = (inside[2] - inside[0]) * (inside[3] - inside[1]), (east - west) * (north - south)
        too_large = not steps and (right - left) * (top - bottom) / level.pixel**2 * image_area > limit * read_area
        if cells > (4 * MAX_PIXELS if steps else limit) or self._cells_left < 0 or too_large:
            raise TooLargeError(
                f"That is more cells than one answer may read; ask for a smaller area, or for max_size="
                f"{math.isqrt(limit)} at most."
            )
        with self._dataset(level, spans, numbers, nodata) as source:
            yield source, final_options

    def _spans(self, level: Level, box: Box, margin: int) -> tuple[Span, Span]:
        """The rows and the columns of a level under a box in metres of the grid, and `margin` more on each side."""
        (left, bottom, right, top), (rows, cols) = box, self.input.snapshot.reader.shape(level.path)

        def span(low: float, high: float, length: int) -> Span:
            first = max(0, math.floor(low / level.pixel) - margin)
            return first, min(-(-length // level.step), math.ceil(high / level.pixel) + margin)

        west, north = self.bounds[0], self.bounds[3]
        return span(north - top, north - bottom, rows), span(left - west, right - west, cols)

    @contextmanager
    def _dataset(self, level: Level, spans: tuple[Span, Span], numbers: Sequence[int], nodata: float | None) -> Iterator[Reader]:
        """rio-tiler's own reader of some bands in a window of a level, which lies in memory as a GDAL dataset."""
        layer, ((top_row, end_row), (left_col, end_col)) = self.input.layer, spans
        corner = self.bounds[0] + left_col * level.pixel, self.bounds[3] - top_row * level.pixel
        with _IMAGES, MemoryFile() as memory:
            # Sparse: bands that nobody asks for are there by number and take no memory.
            with memory.open(
                driver="GTiff",
                height=end_row - top_row,
                width=end_col - left_col,
                count=len(self.input.bands),
                dtype=self._type(),
                crs=self.crs,
                transform=Affine(level.pixel, 0, corner[0], 0, -level.pixel, corner[1]),
                nodata=math.nan if layer.kind == "continuous" else layer.fill,
                interleave="band",
                sparse_ok=True,
            ) as file:
                for number in numbers:
                    file.write(self._values(number, level.path, level.step, *spans, nodata), number)
                    file.set_band_description(number, self.input.bands[number - 1].title)
            # No overviews are missed: the window is of the level that they would be.
            with memory.open() as file, Reader(layer.id, dataset=file, tms=self.tms) as source:
                yield source


def _box_of(geometry: Any) -> Box:
    """West, south, east and north end of a GeoJSON geometry; raises `WrongRequestError` for an invalid or empty one."""
    try:
        west, south, east, north = shapely.from_geojson(json.dumps(geometry)).bounds
    except shapely.errors.GEOSException as error:
        raise WrongRequestError(f"The feature has no valid geometry ({str(error)[:120]}); correct its GeoJSON.") from None
    return west, south, east, north


def _bands_of(expression: str) -> tuple[int, ...]:
    """The bands of an expression, from 1; raises `WrongRequestError` for one that costs time or memory without limit.

    What holds no band, Python computes in whole numbers of any length (`9**9**9`) and texts (`'a' * 10**9`), all threads waiting.
    """
    try:
        numbers: tuple[int, ...] = parse_expression(expression)
        nodes = [node for block in get_expression_blocks(expression) for node in ast.walk(ast.parse(block, mode="eval"))]
    except (RecursionError, MemoryError):
        raise WrongRequestError("The expression is nested too deeply; write a shorter one.") from None
    functions = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    for node in nodes:
        if isinstance(node, ast.Constant) and not isinstance(node.value, int | float):
            raise WrongRequestError("An expression takes bands and real numbers, no texts and no imaginary numbers.")
        within = ast.walk(node) if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow) else None
        if within is not None and not any(isinstance(inner, ast.Name) and id(inner) not in functions for inner in within):
            raise WrongRequestError("A power in an expression must have a band in it; write a power of numbers as its value.")
    return numbers


def _methods(layer: MapLayer, options: dict[str, Any]) -> dict[str, str]:
    """rio-tiler's two resampling methods: nearest for classes, bilinear for others, unless another is asked for."""
    default = "nearest" if layer.kind == "class" else "bilinear"
    methods = {name: options.get(name) or default for name in ("resampling_method", "reproject_method")}
    if layer.kind == "class" and not set(methods.values()) <= {"nearest", "mode"}:
        raise WrongRequestError(f"Layer '{layer.id}' shows classes; they are resampled by nearest or mode.")
    return methods


def _steps(across: float, down: float, size: dict[str, Any]) -> tuple[float, float] | None:
    """Width and height of a pixel of an image of the given size, in the image's own units; None: the cells' own size."""
    width, height, max_size = size["width"], size["height"], size["max_size"]
    if any(number is not None and number < 1 for number in size.values()):
        raise WrongRequestError("width, height and max_size must be at least 1.")
    if width or height:
        x, y = across / width if width else None, down / height if height else None
        return x or y or 1.0, y or x or 1.0
    return (max(across, down) / max_size,) * 2 if max_size else None


def _ground(crs: CRS, grid: CRS, box: Box, steps: tuple[float, float]) -> float:
    """Metres of a pixel on the ground in the middle of a box, along its finer side."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    (x0, x1, x2), (y0, y1, y2) = transform(crs, grid, [x, x + steps[0], x], [y, y, y + steps[1]])
    return min(math.hypot(x1 - x0, y1 - y0), math.hypot(x2 - x0, y2 - y0))
