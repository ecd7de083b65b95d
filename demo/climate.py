"""Monthly climate from terrain: lapse rates, aspect, orographic rain and its shadow, warm and wet years."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, shift

from demo.domain import Domain
from demo.noise import Field, patches, stream
from demo.terrain import Terrain

BASE: Final = 450.0  # m, to which the monthly values below belong
YEARS: Final = 19  # 2000-2018
FloatArray = NDArray[np.floating]

# A station of the northern Alpine foreland: means by month, degC, and lapse rates, K per km.
TEMPERATURE: Final = np.array([0.2, 1.2, 5.0, 8.8, 13.2, 16.6, 18.6, 18.2, 14.4, 9.8, 4.6, 1.2])
LAPSE: Final = np.array([4.2, 5.0, 6.0, 6.4, 6.5, 6.5, 6.4, 6.2, 5.8, 5.2, 4.6, 4.2])
HALF_RANGE: Final = np.array([2.8, 3.4, 4.6, 5.2, 5.4, 5.6, 5.8, 5.6, 5.0, 4.0, 3.0, 2.6])  # K
RAIN: Final = np.array([68, 66, 72, 82, 110, 122, 124, 120, 94, 82, 80, 78.0])  # mm


@dataclass(frozen=True)
class Climate:
    """What of the climate does not follow from elevation alone, (y, x) at 50 m, and the run of years."""

    rain_factor: Field  # annual rain over the station's
    growing_temperature: Field  # degC, mean May to September, aspect included
    january_minimum: Field  # degC, cold air pools included
    anomaly: NDArray[np.float64]  # (4: pr tas tasmax tasmin, 228 months): rain as log ratio, K


def normals(elevation: FloatArray, rain_factor: FloatArray) -> NDArray[np.float64]:
    """Monthly means (4: pr tas tasmax tasmin, 12, ...): mm a month and K, for elevations in metres."""
    month = (12,) + (1,) * elevation.ndim
    above = (elevation - BASE) / 1000
    tas = TEMPERATURE.reshape(month) - LAPSE.reshape(month) * above + 273.15
    half = HALF_RANGE.reshape(month) * (1 - 0.16 * above)
    # Summer showers gain more from height than winter fronts do.
    season = 1 + 0.10 * above * np.cos(2 * np.pi * (np.arange(12) - 6.5) / 12).reshape(month)
    rain = RAIN.reshape(month) * rain_factor * season
    return np.stack([rain, tas, tas + half, tas - half])


def _anomalies(seed: int) -> NDArray[np.float64]:
    """(4, 228): warming of 0.04 K a year, persistent months, dry summers that are hot."""
    rng = stream(seed, "years")
    months = YEARS * 12
    wave = np.zeros((2, months))
    for month in range(1, months):
        wave[:, month] = 0.3 * wave[:, month - 1] + rng.normal(0, 1, 2)
    warm, wet = wave
    summer = -np.cos(2 * np.pi * (np.arange(months) % 12 + 0.5) / 12)
    tas = 1.5 * warm * (1 - 0.25 * summer) + 0.04 * (np.arange(months) / 12 - YEARS / 2)
    rain = 0.38 * (0.9 * wet - 0.35 * warm * np.maximum(summer, 0))
    spread = 0.5 * (0.3 * warm * summer - 0.6 * wet)
    series = np.stack([rain, tas, tas + spread, tas - spread])
    yearly = series.reshape(4, YEARS, 12)
    trend = yearly.mean(1, keepdims=True)
    return np.asarray((yearly - trend).reshape(4, months))


def make_climate(domain: Domain, terrain: Terrain, seed: int) -> Climate:
    """The climate of the domain; westerly winds lift over the ranges and leave a shadow behind them."""
    broad = gaussian_filter(terrain.elevation, 20)
    gy, gx = np.gradient(broad, 50.0)
    lift = gaussian_filter(0.85 * gx + 0.5 * gy, 10)  # rising ground towards the south-east
    barrier = gaussian_filter(shift(broad, (20, 40), order=1, mode="nearest") - broad, 15)
    factor = 0.92 + 0.42 * (broad - BASE) / 1000 + 2.6 * np.maximum(lift, -0.03)
    factor -= 0.00035 * np.maximum(barrier, 0)
    factor *= 1 + 0.03 * patches(domain.shape, 160, stream(seed, "showers"))
    monthly = normals(terrain.elevation, factor)
    pool = np.clip(-terrain.position, 0, 60) / 60 * (terrain.slope < 6)
    growing = monthly[1, 4:9].mean(0) - 273.15 - 1.6 * terrain.northness
    minimum = monthly[3, 0] - 273.15 - 3.0 * pool
    return Climate(
        factor.astype(np.float32),
        growing.astype(np.float32),
        minimum.astype(np.float32),
        _anomalies(seed),
    )


def monthly_series(elevation: FloatArray, rain_factor: FloatArray, anomaly: NDArray[np.float64]) -> NDArray[np.float32]:
    """(4: pr tas tasmax tasmin, 228 months, y, x) in mm a month and K, 2000-01 to 2018-12."""
    mean = normals(elevation, rain_factor)
    series = np.tile(mean, (1, YEARS, 1, 1))
    # High ground feels warm spells a little more, and rain less evenly.
    height = (elevation - BASE) / 1000
    change = anomaly[:, :, None, None] * (1 + 0.08 * height)
    series[0] *= np.exp(change[0])
    series[1:] += change[1:]
    return series.astype(np.float32)
