"""The layer landsat: quarterly medians of Collection 2 Level-2 surface reflectance, 2000 to 2020, at 50 m.

A pixel is masked in its own scene, the median is taken on the scenes' 30 m grid, and cells are the mean of its valid
pixels by area. Quarter after quarter, so that 84 of them never meet in memory.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from cube.config import StacSearch
from cube.errors import SourceError
from cube.grid import CELL, Region, Unit
from cube.layers import Layer
from cube.layers.derived_layers import derived_layer
from cube.layers.inputs import LANDSAT_BANDS, QUARTERS, input_layer
from cube.layers.periods import SEASONS
from cube.sources import areas, derivation, stack
from cube.sources.composite import BRIGHTEST, clear_median
from cube.sources.harmonics import PIXEL_BLOCK
from cube.sources.processing import CATALOGUE_NAMES, calibration_differs
from cube.sources.raster_grid import RasterGrid
from cube.sources.reader import UnitValues
from cube.sources.resample import Piece
from cube.sources.stac import CollectionRules, ItemMetadata, Scene, SceneReader

# Digital numbers to reflectance: USGS, Landsat Collection 2 Level-2 Science Product Guides (LSDS-1618, LSDS-1619).
SCALE: Final = 2.75e-5
OFFSET: Final = -0.2
NO_DATA: Final = 0
PIXEL: Final = 30  # m
# QA_PIXEL: 0 fill, 1 dilated cloud, 2 cirrus (OLI alone), 3 cloud, 4 cloud shadow. Snow (bit 5) stays: it is what a
# quarter's plants live under, and GeoPlant's own winters show it.
UNCLEAR: Final = 0b11111
QA_FILL: Final = 1  # QA_PIXEL where there is no scene


def asset_names(properties: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Names that the asset of each band may have, by the satellite: the common ones, then those of its files."""
    satellite = str(properties.get("platform", "")).lower().replace("_", "-")
    sensor = CATALOGUE_NAMES["sensors"].get(satellite, "")
    return {
        band: (*names["common"], *([names[sensor]] if sensor in names else []))
        for band, names in CATALOGUE_NAMES["landsat"].items()
    }


def _first_tier(properties: Mapping[str, Any]) -> bool:
    """Tier 2 may be off by more than a pixel."""
    return properties.get("landsat:collection_category", "T1") == "T1"


def _added(item: ItemMetadata, search: StacSearch) -> int:
    differs = calibration_differs(item.bands, SCALE, OFFSET)
    if differs:
        raise ValueError(differs)
    return 0


LANDSAT: Final = CollectionRules("landsat-c2-l2", asset_names, _added, _first_tier)


def quarter_of(moment: datetime.datetime) -> str:
    """The quarter of a scene as EcoDataCube counts: 2 December 1999 to 20 March 2000 is `2000Q1`."""
    day = (moment.month, moment.day)
    if day >= SEASONS[0]:
        return f"{moment.year + 1}Q1"
    return f"{moment.year}Q{1 + sum(day >= first for first in SEASONS[1:])}"


def quarter(scenes: Sequence[Scene], unit: Unit, pixels: RasterGrid) -> NDArray[np.float32]:
    """Surface reflectance of a unit in one quarter: (6 [red green blue nir swir1 swir2], rows, columns), NaN: none clear.

    Each cell is the mean, by area, of the medians of its pixels. Raises `SourceError` naming the scene that cannot be read.
    """
    cells = RasterGrid.of_place(unit, CELL)
    out = np.empty((len(LANDSAT_BANDS), *cells.shape), np.float32)
    for where, tile in stack.tiles(cells, len(scenes), len(LANDSAT_BANDS) + 1, pixels):
        out[:, *where] = _tile(scenes, pixels, tile)
    return out


def _tile(scenes: Sequence[Scene], pixels: RasterGrid, cells: RasterGrid) -> NDArray[np.float32]:
    window = pixels.around(cells, stack.MARGIN)
    clear = (stack.read(scenes, ["quality"], window, QA_FILL)[:, 0] & UNCLEAR) == 0
    useful = [i for i in range(len(scenes)) if clear[i].any()]
    if not useful:
        return np.full((len(LANDSAT_BANDS), *cells.shape), np.nan, np.float32)
    clear = clear[useful]
    values = stack.read([scenes[i] for i in useful], LANDSAT_BANDS, window)
    for numbers, clear_pixels in zip(values, clear, strict=True):
        clear_pixels &= (numbers != NO_DATA).all(axis=0)
        np.minimum(numbers, BRIGHTEST, out=numbers)
    median, _ = clear_median(values, clear, stack.threads())
    median *= np.float32(SCALE)
    median += np.float32(OFFSET)
    return areas.mean(cells, [Piece(median, window)])


@dataclass(frozen=True)
class LandsatReader(SceneReader):
    """The layer landsat out of the scenes of a catalogue."""

    ALGORITHM: ClassVar[int] = 2
    RULES: ClassVar[CollectionRules] = LANDSAT

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The series and what is derived from it."""
        series = input_layer("landsat")
        return (series, *(derived_layer(series, name) for name in self.source.derive))

    def memory(self, unit: Unit) -> int:
        """Memory that reading a unit takes, however many scenes there are."""
        cells, names = unit.cells**2, self.source.derive
        bands = len(LANDSAT_BANDS)
        # Of each quarter what is stored and a mask; of one quarter its values and what compares them.
        result = cells * bands * (2 * len(QUARTERS) + 8)
        overlap = 2 * areas.overlap_bytes(cells, (CELL / PIXEL) ** 2)
        if names:  # what is derived twice, in strips and joined, a phase being two numbers
            strip = min(cells, max(PIXEL_BLOCK, unit.cells))
            result += derivation.memory(input_layer("landsat"), names, strip) + 8 * bands * (len(names) + 1) * cells
        return result + overlap + stack.memory(unit, PIXEL, self.catalogue.scenes, bands + 1)

    def read(self, region: Region, unit: Unit) -> dict[str, NDArray[Any]]:
        """Stored values of one unit.

        A quarter without a clear pixel is no data; raises `SourceError` where that is so of all of them, unless gaps
        are accepted.
        """
        layer = input_layer("landsat")
        side = unit.km * 1000 // CELL
        out = np.full((len(LANDSAT_BANDS), len(QUARTERS), side, side), layer.fill, layer.dtype)
        is_clipped = np.zeros(out.shape, np.bool_)
        scenes = self.catalogue.touching(unit)
        pixels = stack.common_grid(scenes, "red", RasterGrid.of_place(unit, CELL)) if scenes else None
        for n, name in enumerate(QUARTERS):
            of_quarter = [scene for scene in scenes if quarter_of(scene.moment) == name]
            if of_quarter and pixels is not None:
                values = quarter(of_quarter, unit, pixels)
                out[:, n] = layer.encode(values)
                is_clipped[:, n] = layer.clipped(values)
        if self.search.gaps == "report" and (out == layer.fill).all():
            raise SourceError(
                f"{self.catalogue.url}: none of the {len(scenes)} scenes of '{self.catalogue.collection}' that touch unit"
                f" {unit.name} has a clear pixel in any quarter of {QUARTERS[0]} to {QUARTERS[-1]}; widen stac.start,"
                " stac.end or stac.max_cloud_cover, or accept it by stac.gaps: accept."
            )
        unit_values = UnitValues({"landsat": out})
        unit_values.clipped["landsat"] = is_clipped
        if self.source.derive:
            unit_values |= self._derived(out, RasterGrid.of_place(unit, CELL))
        return unit_values

    def _derived(self, stored_series: NDArray[np.uint8], cells: RasterGrid) -> dict[str, NDArray[Any]]:
        """What is derived from the stored series, strip by strip: 84 quarters of a large unit as float32 are gigabytes."""
        layer, rows = input_layer("landsat"), max(1, PIXEL_BLOCK // stored_series.shape[-1])
        series = stored_series.reshape(-1, *stored_series.shape[-2:])
        strips = [
            derivation.compute(layer, self.source.derive, layer.decode(series[:, top : top + rows]), cells)
            for top in range(0, stored_series.shape[-2], rows)
        ]
        return {name: np.concatenate([strip[name] for strip in strips], axis=-2) for name in strips[0]}
