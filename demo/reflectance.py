"""What a satellite sees: reflectance of the land cover of each pixel on a day, greenness by season, crops, cuts and light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cube.yaml_tables import yaml_table
from demo import landuse as lu
from demo.noise import Field, hashed

BANDS: Final = ("red", "green", "blue", "nir", "swir1", "swir2")
_TABLES: Final[dict[str, Any]] = yaml_table(__file__, "reflectance.yaml")
_GROUND, _LEAF, _SEASON = (
    np.array([_TABLES["covers"][cover][part] for cover in lu.CLASSES], np.float32) for part in ("ground", "leaf", "season")
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
    start, end, delay, low, high = (column[view.cover] for column in _SEASON.T)
    late = delay * view.height
    rising = np.clip((day - start - late) / 24 + 0.5, 0, 1)
    falling = np.clip((end - 0.8 * late - day) / 34 + 0.5, 0, 1)
    green = low + (high - low) * rising * falling
    chance = hashed(view.parcel, seed, 17 + year)
    arable = view.cover == lu.ARABLE
    today = np.array([np.interp(day, _TABLES["crop_days"], crop) for crop in _TABLES["crops"].values()], np.float32)
    crop = (chance * len(today)).astype(np.intp)
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
    ground, leaf = _GROUND[:, k][view.cover], _LEAF[:, k][view.cover]
    ground = ground * (1.08 - 0.22 * view.wetness)
    return (ground + green * (leaf - ground)) * view.light
