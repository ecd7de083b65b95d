"""What a satellite sees: reflectance of the land cover of each pixel on a day, greenness by season, crops, cuts and light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from demo import landuse as lu
from demo.noise import Field, hashed

BANDS: Final = ("red", "green", "blue", "nir", "swir1", "swir2")
# Reflectance of each land cover (classes of demo.landuse) where nothing green is seen, and where all is green.
#                          red   green  blue   nir   swir1  swir2
_GROUND: Final = np.array(
    [
        [0.00, 0.00, 0.00, 0.00, 0.00, 0.00],  # outside
        [0.018, 0.034, 0.040, 0.012, 0.006, 0.004],  # water
        [0.155, 0.145, 0.135, 0.205, 0.230, 0.210],  # sealed
        [0.125, 0.115, 0.095, 0.220, 0.240, 0.190],  # garden
        [0.170, 0.125, 0.088, 0.255, 0.330, 0.270],  # arable soil
        [0.145, 0.120, 0.080, 0.245, 0.300, 0.210],  # meadow, dry or cut
        [0.100, 0.085, 0.055, 0.180, 0.190, 0.120],  # mire
        [0.075, 0.062, 0.042, 0.150, 0.180, 0.110],  # broadleaf wood, bare
        [0.045, 0.045, 0.032, 0.140, 0.120, 0.065],  # conifers
        [0.085, 0.070, 0.045, 0.180, 0.200, 0.130],  # heath
        [0.150, 0.125, 0.085, 0.240, 0.290, 0.210],  # alpine grassland
        [0.235, 0.225, 0.205, 0.275, 0.300, 0.260],  # rock
    ]
)
_GREEN: Final = np.array(
    [
        [0.00, 0.00, 0.00, 0.00, 0.00, 0.00],
        [0.018, 0.034, 0.040, 0.012, 0.006, 0.004],
        [0.150, 0.142, 0.130, 0.215, 0.230, 0.205],
        [0.055, 0.075, 0.045, 0.360, 0.200, 0.110],
        [0.035, 0.068, 0.033, 0.470, 0.190, 0.085],
        [0.038, 0.078, 0.033, 0.460, 0.210, 0.095],
        [0.050, 0.070, 0.038, 0.320, 0.170, 0.085],
        [0.024, 0.052, 0.024, 0.430, 0.180, 0.080],
        [0.022, 0.036, 0.020, 0.240, 0.095, 0.045],
        [0.045, 0.060, 0.032, 0.290, 0.170, 0.090],
        [0.055, 0.085, 0.042, 0.390, 0.230, 0.120],
        [0.200, 0.195, 0.175, 0.265, 0.285, 0.245],
    ]
)
# Days of half green-up and half senescence in the lowland, days that a km of height costs, greenness before and at peak.
_SEASON: Final = np.array(
    [
        [0, 366, 0, 0.0, 0.0],
        [0, 366, 0, 0.0, 0.0],
        [0, 366, 0, 0.3, 0.5],
        [92, 300, 22, 0.35, 0.75],
        [0, 366, 0, 0.0, 0.0],
        [84, 305, 26, 0.42, 0.92],
        [125, 262, 18, 0.15, 0.70],
        [116, 288, 24, 0.08, 0.95],
        [120, 300, 15, 0.72, 0.92],
        [135, 275, 18, 0.45, 0.80],
        [120, 258, 30, 0.10, 0.80],
        [140, 258, 30, 0.05, 0.30],
    ]
)
# Winter cereal, maize, rape, ley and beet: greenness by day of year.
_CROP_DAYS: Final = np.array([0, 75, 110, 140, 165, 185, 205, 235, 265, 300, 366])
_CROPS: Final = np.array(
    [
        [0.25, 0.40, 0.80, 0.97, 0.75, 0.30, 0.08, 0.12, 0.15, 0.25, 0.25],
        [0.08, 0.08, 0.06, 0.12, 0.45, 0.80, 0.97, 0.95, 0.55, 0.10, 0.08],
        [0.40, 0.60, 0.75, 0.85, 0.80, 0.35, 0.10, 0.15, 0.30, 0.40, 0.40],
        [0.45, 0.60, 0.90, 0.75, 0.90, 0.70, 0.85, 0.75, 0.85, 0.65, 0.45],
        [0.10, 0.10, 0.15, 0.40, 0.80, 0.92, 0.92, 0.90, 0.80, 0.20, 0.10],
    ]
)


@dataclass(frozen=True)
class View:
    """What decides a pixel's reflectance, on any grid: arrays of one shape."""

    cover: NDArray[np.uint8]  # classes of demo.landuse
    parcel: NDArray[np.uint32]
    intensity: NDArray[np.float32]  # management of open land or closure of the canopy, 0..1
    height: Field  # km above the lowland, which delays the season
    wetness: Field  # 0..1, darkens soil
    light: Field  # cosine of the sun's angle over that on level ground


def greenness(view: View, day: int, year: int, seed: int) -> Field:
    """Share of green leaves seen (0..1) on a day of a year."""
    table = _SEASON.astype(np.float32)
    start, end, delay, low, high = (table[:, k][view.cover] for k in range(5))
    late = delay * view.height
    rising = np.clip((day - start - late) / 24 + 0.5, 0, 1)
    falling = np.clip((end - 0.8 * late - day) / 34 + 0.5, 0, 1)
    green = low + (high - low) * rising * falling
    chance = hashed(view.parcel, seed, 17 + year)
    arable = view.cover == lu.ARABLE
    crop = (chance * len(_CROPS)).astype(np.intp)
    today = np.array([np.interp(day, _CROP_DAYS, c) for c in _CROPS], np.float32)
    green = np.where(arable, today[crop] * (0.85 + 0.2 * view.intensity), green)
    meadow = view.cover == lu.MEADOW
    managed = 0.62 + 0.42 * view.intensity  # manured swards are denser, lean ones yellow early
    lean = np.clip((day - 185) / 60, 0, 1) * (1 - view.intensity) * 0.22
    since = (day - 135 - 22 * view.height - 40 * chance) % 46
    mown = (view.intensity > 0.5) & (day > 135) & (day < 285)
    mowing_loss = np.where(mown, 0.55 * np.exp(-since / 13), 0)
    green = np.where(meadow, green * managed * (1 - mowing_loss) - lean, green)
    forest = (view.cover == lu.BROADLEAF) | (view.cover == lu.CONIFER)
    green = np.where(forest, green * (0.66 + 0.36 * view.intensity), green)
    return np.clip(green, 0, 1).astype(np.float32)


def reflectance(view: View, band: str, green: Field) -> Field:
    """Surface reflectance (0..1) of a band, for the share of green leaves `green`."""
    k = BANDS.index(band)
    ground = _GROUND[:, k].astype(np.float32)[view.cover]
    leaf = _GREEN[:, k].astype(np.float32)[view.cover]
    ground = ground * (1.08 - 0.22 * view.wetness)
    return (ground + green * (leaf - ground)) * view.light
