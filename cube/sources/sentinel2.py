"""The layers sentinel2 and sentinel2_count: Level-2A scenes cloud-masked by SCL, brought to one offset, median over time.

A pixel is masked in its own scene and on its own grid before anything is averaged: the median is taken in the scenes'
projection, and only the median is resampled, bilinearly over its valid pixels, to 10 m of EPSG:3035.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cube.config import Config, Source, StacSearch
from cube.errors import SourceError
from cube.grid import FINE, Region, Unit
from cube.inputs import SENTINEL2_BANDS, input_layer
from cube.layers import Layer
from cube.sources import resample, stack
from cube.sources.composite import BRIGHTEST, clear_median
from cube.sources.reader import file_states
from cube.sources.resample import Piece
from cube.sources.stac import Bounds, Catalogue, Scene, Wanted, open_catalogue

# Scene classification of Level-2A (Sen2Cor): what a median may use. Left out are 0 no data, 1 saturated,
# 3 cloud shadow, 8 and 9 cloud, 10 thin cirrus.
CLEAR: Final = (2, 4, 5, 6, 7, 11)
BOA_OFFSET: Final = 1000  # added to all reflectances from processing baseline 04.00 on (ESA, 25 January 2022)
NO_DATA: Final = 0  # of the scenes
FILL: Final = 65535  # of the layer
STRIP: Final = 100  # rows resampled at once: what that takes on the way stays in the cache

# Earth Search, the Planetary Computer and the Copernicus Data Space name the same files differently.
ASSETS: Final = {
    "red": ("red", "B04", "B04_10m"),
    "green": ("green", "B03", "B03_10m"),
    "blue": ("blue", "B02", "B02_10m"),
    "nir": ("nir", "B08", "B08_10m"),
    "quality": ("scl", "SCL", "SCL_20m"),
}
_BASELINES: Final = ("s2:processing_baseline", "processing:version")


def asset_names(properties: Mapping[str, Any]) -> Mapping[str, tuple[str, ...]]:
    """Names that the asset of each band may have."""
    return ASSETS


WANTED: Final = Wanted("sentinel-2-l2a", asset_names, ("earthsearch:boa_offset_applied", *_BASELINES))


def added_offset(properties: Mapping[str, Any]) -> int:
    """What was added to a scene's digital numbers: 1000 from baseline 04.00 on unless the provider took it out."""
    if properties.get("earthsearch:boa_offset_applied"):
        return 0
    baseline = str(next((properties[name] for name in _BASELINES if name in properties), "0"))
    try:
        return BOA_OFFSET if float(baseline.removeprefix("N").lstrip("0") or 0) >= 4.0 else 0
    except ValueError:
        return 0


def composite(scenes: Sequence[Scene], unit: Unit) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Median of the clear pixels of a unit's scenes.

    Returns (4 [red green blue nir], rows, columns) uint16 reflectance x 10,000 (65535 no data) and the number of
    clear scenes (rows, columns) uint8, 255 nowhere, both at 10 m. A median below 1 becomes 1. Memory is bounded in the
    number of scenes. Raises `SourceError` naming the scene that cannot be read.
    """
    side = unit.km * 1000 // FINE
    west, _, _, north = unit.bounds
    out = np.empty((len(SENTINEL2_BANDS), side, side), np.uint16)
    count = np.empty((side, side), np.uint8)
    pixels = stack.common_grid(scenes, "red")
    for tile in stack.tiles(unit, len(scenes), len(SENTINEL2_BANDS) + 1, pixels):
        rows = slice((north - tile[3]) // FINE, (north - tile[1]) // FINE)
        columns = slice((tile[0] - west) // FINE, (tile[2] - west) // FINE)
        out[:, rows, columns], count[rows, columns] = _tile(scenes, pixels, tile)
    return out, count


def _tile(scenes: Sequence[Scene], pixels: stack.PixelGrid, tile: Bounds) -> tuple[NDArray[Any], NDArray[Any]]:
    window = pixels.window(tile)
    is_clear = np.zeros(65536, bool)
    is_clear[list(CLEAR)] = True
    clear = is_clear[stack.read(scenes, ["quality"], pixels, window)[:, 0]]
    # What is under cloud everywhere here need not be read.
    useful = [i for i in range(len(scenes)) if clear[i].any()]
    if not useful:
        shape = (round((tile[3] - tile[1]) / FINE), round((tile[2] - tile[0]) / FINE))
        return np.full((len(SENTINEL2_BANDS), *shape), FILL, np.uint16), np.zeros(shape, np.uint8)
    clear, kept = clear[useful], [scenes[i] for i in useful]
    values = stack.read(kept, SENTINEL2_BANDS, pixels, window)
    for scene, numbers, seen in zip(kept, values, clear, strict=True):
        seen &= (numbers != NO_DATA).all(axis=0)
        offset = added_offset(scene.properties)
        # Below 1: a dark pixel after the offset; 0 would read as the scenes' no data elsewhere.
        np.clip(numbers, offset + 1, BRIGHTEST, out=numbers)
        numbers -= np.uint16(offset)
    return _resampled(*clear_median(values, clear, stack.threads()), pixels, window, tile)


def _resampled(
    median: NDArray[np.float32], count: NDArray[np.uint16], pixels: stack.PixelGrid, window: Bounds, tile: Bounds
) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Median and count of a window of the scenes' pixels as the stored values of a tile of ours."""
    west, south, east, north = tile
    shape = (round((north - south) / FINE), round((east - west) / FINE))
    stored, clear = np.empty((len(median), *shape), np.uint16), np.empty(shape, np.uint8)

    def strip(top: int) -> None:
        rows = slice(top, min(top + STRIP, shape[0]))
        part = (west, north - rows.stop * FINE, east, north - top * FINE)
        inner = pixels.window(part)
        first = max(round((window[3] - inner[3]) / pixels.size[1]), 0)
        own = slice(first, first + pixels.shape(inner)[0] + 1)
        positions = pixels.positions((window[0], 0.0, 0.0, window[3] - first * pixels.size[1]), part, FINE)
        number = resample.nearest([Piece(count[None, own].astype(np.float32), positions)])[0]
        found = resample.bilinear([Piece(median[:, own], positions)])
        # Bilinear reaches half a pixel over the edge of a cloud: a pixel is valid where its own is.
        known = np.isfinite(found[0]) & (number > 0)
        stored[:, rows] = np.where(known, np.rint(np.nan_to_num(found)), FILL)
        clear[rows] = np.where(known, np.minimum(number, 254), 0)

    with ThreadPoolExecutor(stack.threads()) as pool:
        list(pool.map(strip, range(0, shape[0], STRIP)))
    return stored, clear


@dataclass(frozen=True)
class Sentinel2Reader:
    """The layers sentinel2 and sentinel2_count out of the scenes of a catalogue."""

    source: Source
    search: StacSearch
    catalogue: Catalogue

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The median and how many scenes are behind it."""
        return (input_layer("sentinel2"), input_layer("sentinel2_count"))

    def depends_on(self) -> tuple[Any, ...]:
        """The configuration, a catalogue file and its scenes; an archive behind an API is taken to stay as it is."""
        scenes = [scene.id for scene in self.catalogue.scenes or ()]
        return (self.source.model_dump_json(), file_states([self.catalogue.url]), scenes)

    def near(self, unit: Unit) -> Sentinel2Reader:
        """The same with the scenes of one unit alone."""
        return replace(self, catalogue=self.catalogue.near(unit))

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
        return {"sentinel2": median, "sentinel2_count": count}


def open_sentinel2(config: Config, source: Source, region: Region) -> Sentinel2Reader:
    """Find the scenes of a source; raises `SourceError` where there is none."""
    assert source.stac is not None
    url = config.source_path(source.stac.catalog)
    return Sentinel2Reader(source, source.stac, open_catalogue(url, source.stac, WANTED, region))
