"""Values that GeoPlant publishes for points, by input layer: their columns, their rasters, and what their numbers mean.

A row here is the only place that says so. Units: CHELSA 2.1 technical specification (Karger et al. 2017) for scales and
offsets, SoilGrids mapped units, Venter et al. 2016 for the footprint, MCD12Q1 user guide for land cover.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cube.layers.inputs import FOOTPRINT_PRESSURES, INPUTS, SOIL_VARIABLES

Floats = NDArray[np.float32]

ZERO_CELSIUS: Final = 273.15
RAW_BIO1: Final = 1000.0  # above it a mean temperature is in tenths of K, below it and above 100 in K
TEMPERATURES: Final = tuple(i - 1 for i in (1, 5, 6, 8, 9, 10, 11))  # bioclim variables with an offset
# CHELSA 2.1 series: precipitation in hundredths of mm, temperatures in tenths of K.
CLIMATE_SCALE: Final = np.array([0.01, 0.1, 0.1, 0.1], np.float32)
LANDCOVER_BANDS: Final = 13


@dataclass(frozen=True)
class Published:
    """One input layer among the published values: columns of a table of values, or patterns of rasters' paths.

    `columns` are in the order of the layer's variables; `rasters` are regular expressions of file stems, one a
    variable, or a single one of a file whose bands are the variables. `decode` turns (n, k) published numbers into
    the layer's units.
    """

    layer: str
    columns: tuple[str, ...]
    rasters: tuple[str, ...]
    decode: Callable[[Floats], Floats]

    @property
    def table(self) -> str:
        """What tables of its values are called in a `Layout`."""
        return self.layer.removesuffix("_detail")


def _between(low: float, high: float) -> Callable[[Floats], Floats]:
    def decode(values: Floats) -> Floats:
        with np.errstate(invalid="ignore"):
            return np.where((values >= low) & (values <= high), values, np.float32(np.nan))

    return decode


def _within(layer: str) -> Callable[[Floats], Floats]:
    """Numbers outside the layer's range are no data: rasters of the footprint hold 127 and 2^31 there, elevation -32768."""
    return _between(*(INPUTS[layer].valid_range or (-np.inf, np.inf)))


def bioclim(values: Floats) -> Floats:
    """(n, 19) published numbers to degrees Celsius and mm.

    Most tables hold raw CHELSA integers (times 0.1, temperatures then in K), some of them K and mm. Mean annual
    temperature tells: 2,830 or 283 or 10, and no place of Europe is both.
    """
    out = values.copy()
    mean = values[:, 0]
    with np.errstate(invalid="ignore"):
        raw = ~(mean <= RAW_BIO1)
        kelvin = raw | (mean > 100)
    out[raw] *= np.float32(0.1)
    warm = np.zeros(values.shape, bool)
    warm[:, TEMPERATURES] = True
    out[warm & kelvin[:, None]] -= np.float32(ZERO_CELSIUS)
    return out


def climate(cubes: Floats) -> Floats:
    """(n, 4, 19, 12) raw CHELSA integers to (n, 4, 228): mm a month and K."""
    return (cubes * CLIMATE_SCALE[:, None, None]).reshape(len(cubes), 4, -1)


def landsat(cubes: Floats) -> Floats:
    """(n, 6, 4, 21) published numbers to (n, 6, 84) in the layer's units, years before quarters."""
    layer = INPUTS["landsat"]
    series = np.swapaxes(cubes, 2, 3).reshape(len(cubes), 6, -1)
    out = series * np.float32(layer.scale) + np.float32(layer.offset)
    out[series == layer.fill] = np.nan
    return out


def _pressure(name: str) -> str:
    """A pressure as published: capital initials, except of croplands."""
    special = {"navwater": "NavWater"}
    word = name.rstrip("0123456789")
    return name if word == "croplands" else special.get(word, word.capitalize()) + name[len(word) :]


_SOIL_RASTERS: Final = tuple(rf"(?:.*[_-])?{v}(?:[_-].*)?" for v in SOIL_VARIABLES)
_BIOCLIM_RASTERS: Final = tuple(rf"(?:.*[_-])?bio_?0?{i}(?:[_-].*)?" for i in range(1, 20))
_PRESSURES: Final = tuple(f"HumanFootprint-{_pressure(p)}" for p in FOOTPRINT_PRESSURES)
_PRESSURE_RASTERS: Final = tuple(rf"{p}.*" for p in FOOTPRINT_PRESSURES)
_FOOTPRINTS: Final = ("HumanFootprint-HFP1993", "HumanFootprint-HFP2009")
_LANDCOVERS: Final = tuple(f"LandCover-{b}" for b in range(1, LANDCOVER_BANDS + 1))
_ROWS: Final = (
    Published("elevation", ("Elevation",), (r".*elevation.*",), _within("elevation")),
    Published("soil", tuple(f"Soilgrid-{v}" for v in SOIL_VARIABLES), _SOIL_RASTERS, _between(-32766, 32766)),
    Published("landcover", _LANDCOVERS, (r"landcover.*",), _between(0, INPUTS["landcover"].fill - 1)),
    Published("footprint", _FOOTPRINTS, (r"hfp1993.*", r"hfp2009.*"), _within("footprint")),
    Published("footprint_detail", _PRESSURES, _PRESSURE_RASTERS, _within("footprint_detail")),
    Published("bioclim", tuple(f"Bio{i}" for i in range(1, 20)), _BIOCLIM_RASTERS, bioclim),
)
PUBLISHED_INPUTS: Final[Mapping[str, Published]] = {row.layer: row for row in _ROWS}
# What 2024 called its one land cover column.
ALIASES: Final = {"LandCover-1": "LandCover"}
