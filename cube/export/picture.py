"""One map of the cube at the size of a picture: which overview fits, its values, its colours, and its place on a web map."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import rasterio.transform
import rasterio.warp
from numpy.typing import NDArray

from cube.errors import CubeError
from cube.export.cog import BBox, covered_region, window_of
from cube.export.png import coloured
from cube.export.selection import Selection, find_layer, select
from cube.grid import CELL, Bounds, Region, bounds_in
from cube.layers import display
from cube.storage.store import CubeStore

MOST_PIXELS: Final = 25_000_000  # of a window that has no overview: 200 MB as float64
MERCATOR: Final = 3857

Values = NDArray[np.float32]


@dataclass(frozen=True)
class Picture:
    """Values (rows, columns) in units, NaN where there is no data, of a window of the cube, and how they are coloured."""

    layer_id: str
    title: str
    units: str
    values: Values
    bounds: Bounds  # west, south, east, north in metres
    epsg: int  # of the bounds
    palette: tuple[str, ...] | dict[int, str]  # at equal steps from `low` to `high`, or by the value of a class
    names: Mapping[int, str]  # of classes
    low: float
    high: float

    def image(self) -> NDArray[np.uint8]:
        """(4, rows, columns) red, green, blue and opacity."""
        return coloured(self.values, self.palette, self.low, self.high)

    def classes(self) -> list[tuple[str, str, float]]:
        """(name, `#rrggbb`, share of the pixels with data) of the classes of the picture, the commonest first."""
        cells_by_class = Counter(self.values[np.isfinite(self.values)].astype(int).tolist())
        assert isinstance(self.palette, dict)
        palette = self.palette
        return [
            (self.names.get(value, str(value)), palette.get(value, "#000000"), count / cells_by_class.total())
            for value, count in cells_by_class.most_common()
        ]

    def on_web_map(self, side: int) -> tuple[NDArray[np.uint8], Bounds]:
        """The image in Web Mercator, at most `side` pixels wide and high, and (west, south, east, north) of it in degrees.

        Each pixel has the value of the nearest one of this picture, so no value is invented.
        """
        west, south, east, north = bounds_in(MERCATOR, self.bounds, self.epsg)
        step = max(east - west, north - south) / side
        shape = max(1, round((north - south) / step)), max(1, round((east - west) / step))
        warped_values = np.full(shape, np.nan, np.float32)
        rasterio.warp.reproject(
            self.values,
            warped_values,
            src_transform=rasterio.transform.from_bounds(*self.bounds, *self.values.shape[::-1]),
            src_crs=f"EPSG:{self.epsg}",
            dst_transform=rasterio.transform.from_bounds(west, south, east, north, *shape[::-1]),
            dst_crs=f"EPSG:{MERCATOR}",
            src_nodata=np.nan,
            dst_nodata=np.nan,
        )
        return coloured(warped_values, self.palette, self.low, self.high), bounds_in(4326, (west, south, east, north), MERCATOR)


def draw(cube: CubeStore, release: Mapping[str, Any], name: str, side: int, bbox: BBox | None = None) -> Picture:
    """The layer `name` (an id or a name, see `find_layer`) of a release at the coarsest level of `side` pixels or more.

    A picture is at most twice as wide or high as `side`, unless the overviews are too few. Of several bands the first is shown.
    `bbox` (west, south, east, north) in degrees cuts a window. Raises `CubeError` for an unknown layer, a window
    outside the cube, and a window of more than 25 million pixels that no overview shows.
    """
    layer_id = find_layer(cube, release["products"], name)
    selection = _fitting(cube, release, layer_id, side, bbox).band(0)
    window = window_of(cube, covered_region(cube, release, selection), selection, bbox, layer_id)
    if window.height * window.width > MOST_PIXELS:
        raise CubeError(
            f"{cube.url}: {layer_id} has no overview of {window.width} x {window.height} pixels; choose a smaller bbox."
        )
    values = selection.layer.decode(selection.read(window)[0])
    t = cube.region.transform(selection.resolution, selection.level)
    west, north = t.c + window.col * t.a, t.f + window.row * t.e
    bounds = (west, north + window.height * t.e, west + window.width * t.a, north)
    palette = {value: colour for value, _, colour in selection.classes} or display.anchors(selection.layer.palette)
    low, high = display.range_of(selection.layer, layer_id.partition(".")[0], lambda: values[np.isfinite(values)])
    title = (
        selection.layer.long_name
        if selection.bands[0] == selection.layer.long_name
        else f"{selection.layer.long_name}: {selection.bands[0]}"
    )
    names = {value: label for value, label, _ in selection.classes}
    return Picture(layer_id, title, selection.units[0], values, bounds, cube.region.grid.epsg, palette, names, low, high)


def _fitting(cube: CubeStore, release: Mapping[str, Any], layer_id: str, side: int, bbox: BBox | None) -> Selection:
    """The layer at the coarsest level of which the window is at least `side` pixels wide or high; level 0 if none is."""
    versions = release["products"]
    finest = select(cube, versions, layer_id)
    window = window_of(cube, covered_region(cube, release, finest), finest, bbox, layer_id)
    fitting = math.floor(math.log2(max(1.0, max(window.height, window.width) / side)))
    for level in range(fitting, 0, -1):
        with suppress(CubeError):  # this level is not built
            return select(cube, versions, layer_id, level)
    return finest


def extent_text(region: Region) -> str:
    """Where a region lies, for a person: kilometres, degrees and cells."""
    west, south, east, north = bounds_in(4326, region.bounds, region.grid.epsg)
    wide, high = region.east_km - region.west_km, region.north_km - region.south_km
    return (
        f"{wide:,} x {high:,} km, {wide * 1000 // CELL:,} x {high * 1000 // CELL:,} cells of {CELL} m ({region.grid.code});"
        f" {_degrees(west, 'E', 'W')} to {_degrees(east, 'E', 'W')}, {_degrees(south, 'N', 'S')} to {_degrees(north, 'N', 'S')}"
    )


def _degrees(value: float, positive: str, negative: str) -> str:
    return f"{abs(value):.2f}° {positive if value >= 0 else negative}"
