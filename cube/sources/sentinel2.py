"""The layers sentinel2 and sentinel2_count: Level-2A scenes cloud-masked by SCL, brought to one offset, median over time.

A pixel is masked in its own scene and on its own grid before anything is averaged: the median is taken in the scenes'
projection, and only the median is resampled, bilinearly over its valid pixels, to 10 m of the grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from cube.config import StacSearch
from cube.errors import SourceError
from cube.grid import FINE, Region, Unit
from cube.layers import Layer
from cube.layers.inputs import SENTINEL2_BANDS, input_layer, plausible_ranges
from cube.sources import resample, stack
from cube.sources.composite import BRIGHTEST, clear_median
from cube.sources.coverage import percent
from cube.sources.pixels import MAX_REFUSED_SHARE
from cube.sources.processing import CATALOGUE_NAMES, added_offset
from cube.sources.raster_grid import RasterGrid
from cube.sources.reader import UnitValues
from cube.sources.resample import Piece
from cube.sources.stac import CollectionRules, ItemMetadata, Scene, SceneReader

# Scene classification of Level-2A (Sen2Cor): what a median may use. Left out are 0 no data, 1 saturated,
# 3 cloud shadow, 8 and 9 cloud, 10 thin cirrus.
CLEAR: Final = (2, 4, 5, 6, 7, 11)
NO_DATA: Final = 0  # of the scenes
FILL: Final = 65535  # of the layer
DARKEST: Final = 1  # what a median of less becomes
STRIP: Final = 100  # rows resampled at once: what that takes on the way stays in the cache


def asset_names(properties: Mapping[str, Any]) -> Mapping[str, tuple[str, ...]]:
    """Names that the asset of each band may have."""
    return {band: tuple(names) for band, names in CATALOGUE_NAMES["sentinel2"].items()}


def added(item: ItemMetadata, search: StacSearch) -> int:
    """What was added to a scene's digital numbers; raises ValueError where nothing says it."""
    return added_offset(item.id, item.moment, item.properties, item.bands, search.offset)


SENTINEL2: Final = CollectionRules("sentinel-2-l2a", asset_names, added)


def composite(scenes: Sequence[Scene], unit: Unit) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Median of the clear pixels of a unit's scenes.

    Returns (4 [red green blue nir], rows, columns) uint16 reflectance x 10,000 (65535 no data) and the number of
    clear scenes (rows, columns) uint8, 255 nowhere, both at 10 m. A median below 1 becomes 1. Memory is bounded in the
    number of scenes. Raises `SourceError` naming the scene that cannot be read.
    """
    cells = RasterGrid.of_place(unit, FINE)
    out = np.empty((len(SENTINEL2_BANDS), *cells.shape), np.uint16)
    count = np.empty(cells.shape, np.uint8)
    pixels = stack.common_grid(scenes, "red", cells)
    for where, tile in stack.tiles(cells, len(scenes), len(SENTINEL2_BANDS) + 1, pixels):
        out[:, *where], count[where] = _tile(scenes, pixels, tile)
    return out, count


def _tile(scenes: Sequence[Scene], pixels: RasterGrid, cells: RasterGrid) -> tuple[NDArray[Any], NDArray[Any]]:
    window = pixels.around(cells, stack.MARGIN)
    is_clear = np.zeros(65536, bool)
    is_clear[list(CLEAR)] = True
    clear = is_clear[stack.read(scenes, ["quality"], window)[:, 0]]
    # What is under cloud everywhere here need not be read.
    useful = [i for i in range(len(scenes)) if clear[i].any()]
    if not useful:
        return np.full((len(SENTINEL2_BANDS), *cells.shape), FILL, np.uint16), np.zeros(cells.shape, np.uint8)
    clear, useful_scenes = clear[useful], [scenes[i] for i in useful]
    values = stack.read(useful_scenes, SENTINEL2_BANDS, window)
    for scene, numbers, clear_pixels in zip(useful_scenes, values, clear, strict=True):
        clear_pixels &= (numbers != NO_DATA).all(axis=0)
        offset = scene.added_offset
        # Below 1: a dark pixel after the offset; 0 would read as the scenes' no data elsewhere.
        np.clip(numbers, offset + DARKEST, BRIGHTEST, out=numbers)
        numbers -= np.uint16(offset)
    return _resampled(*clear_median(values, clear, stack.threads()), window, cells)


def _resampled(
    median: NDArray[np.float32], count: NDArray[np.uint16], window: RasterGrid, cells: RasterGrid
) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Median and count of a window of the scenes' pixels as the stored values of cells of ours."""
    stored_values, clear = np.empty((len(median), *cells.shape), np.uint16), np.empty(cells.shape, np.uint8)

    def strip(top: int) -> None:
        rows = slice(top, min(top + STRIP, cells.shape[0]))
        part = cells.window(top, 0, rows.stop - top, cells.shape[1])
        first, _, end, _ = window.span(part, stack.MARGIN)
        of_strip = slice(max(first, 0), end)
        pixels = window.window(of_strip.start, 0, len(count[of_strip]), window.shape[1])
        number = resample.nearest(part, [Piece(count[None, of_strip].astype(np.float32), pixels)])[0]
        values = resample.bilinear(part, [Piece(median[:, of_strip], pixels)])
        # Bilinear reaches half a pixel over the edge of a cloud: a pixel is valid where its own is.
        valid = np.isfinite(values[0]) & (number > 0)
        stored_values[:, rows] = np.where(valid, np.rint(np.nan_to_num(values)), FILL)
        clear[rows] = np.where(valid, np.minimum(number, 254), 0)

    with ThreadPoolExecutor(stack.threads()) as pool:
        list(pool.map(strip, range(0, cells.shape[0], STRIP)))
    return stored_values, clear


@dataclass(frozen=True)
class Sentinel2Reader(SceneReader):
    """The layers sentinel2 and sentinel2_count out of the scenes of a catalogue."""

    ALGORITHM: ClassVar[int] = 1
    RULES: ClassVar[CollectionRules] = SENTINEL2

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The median and how many scenes are behind it."""
        return (input_layer("sentinel2"), input_layer("sentinel2_count"))

    def memory(self, unit: Unit) -> int:
        """Memory that reading a unit takes, however many scenes there are."""
        cells = (unit.km * 1000 // FINE) ** 2
        # Stored values, a mask of each, the count; judged anew where some of them are no reflectance.
        return cells * (len(SENTINEL2_BANDS) * 6 + 2) + stack.memory(unit, FINE, self.catalogue.scenes, len(SENTINEL2_BANDS) + 1)

    def read(self, region: Region, unit: Unit) -> dict[str, NDArray[Any]]:
        """Stored values of one unit; raises `SourceError` naming months without a scene unless gaps are accepted."""
        scenes = self.catalogue.touching(unit)
        months = {scene.moment.month for scene in scenes}
        empty = [str(month) for month in self.search.months if month not in months]
        if empty and self.search.gaps == "report":
            raise SourceError(
                f"{self.catalogue.url}: no scene of '{self.catalogue.collection}' touches unit {unit.name} in month"
                f" {', '.join(empty)} of any year; take {'it' if len(empty) == 1 else 'them'} out of stac.months, widen"
                " stac.start, stac.end or stac.max_cloud_cover, or accept it by stac.gaps: accept."
            )
        if not scenes:
            side = unit.km * 1000 // FINE
            bands = np.full((len(SENTINEL2_BANDS), side, side), FILL, np.uint16)
            return {"sentinel2": bands, "sentinel2_count": np.zeros((side, side), np.uint8)}
        median, count = composite(scenes, unit)
        return self._judged(UnitValues({"sentinel2": median, "sentinel2_count": count}), unit)

    def _judged(self, out: UnitValues, unit: Unit) -> UnitValues:
        """Values that no reflectance has become no data; raises `SourceError` where they are more than a few."""
        layer, stored_values = input_layer("sentinel2"), out["sentinel2"]
        ((_, highest), *_) = plausible_ranges(layer)
        is_refused = (stored_values > round(highest / layer.scale)) & (stored_values != FILL)
        if is_refused.any():
            first = float(stored_values[is_refused][0]) * layer.scale
            share = is_refused.sum() / (stored_values != FILL).sum()
            text = (
                f"{self.catalogue.url}: {percent(float(share))} of the values of unit {unit.name} lie above a reflectance of"
                f" {highest:g} (first value {first:g})"
            )
            if share > MAX_REFUSED_SHARE:
                raise SourceError(f"{text}; the scenes' digital numbers are not reflectance x 10,000, take another collection.")
            out.warnings = (f"{text}; they became no data.",)
            out["sentinel2"] = np.where(is_refused, np.uint16(FILL), stored_values)
            out.refused["sentinel2"] = is_refused
        out.clipped["sentinel2"] = out["sentinel2"] == DARKEST
        return out
