"""Bedrock, and the soil that climate and slope make of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from demo.climate import Climate
from demo.domain import Domain
from demo.noise import Field, fractal, patches, smoothstep, stream
from demo.terrain import Terrain

MOLASSE, LIMESTONE, SILICEOUS, ALLUVIUM = range(4)
#                         pH  clay  sand  stones  (clay and sand in percent, stones in percent of volume)
PARENT: Final = np.array([[6.1, 24, 38, 8], [7.6, 34, 22, 24], [4.7, 14, 52, 22], [7.0, 20, 36, 6]])


@dataclass(frozen=True)
class Soil:
    """Soil at 50 m, (y, x) float32, and its bedrock class (uint8)."""

    bedrock: NDArray[np.uint8]
    ph: Field  # in water
    clay: Field  # percent
    sand: Field  # percent
    stones: Field  # percent of volume
    carbon: Field  # g/kg
    depth: Field  # cm
    peat: Field  # 0..1


def make_soil(domain: Domain, terrain: Terrain, climate: Climate, seed: int) -> Soil:
    """The soil of the domain."""
    rng = stream(seed, "soil")
    shape = domain.shape
    rows, cols = domain.kilometres()
    warp = 2.2 * fractal(shape, 160, rng, 3.0)
    across = (rows + cols) / np.sqrt(2) + warp  # km towards the south-east: beds strike along the range
    bands = np.sin(across * 2 * np.pi / 7.5) + 0.35 * fractal(shape, 80, rng, 2.6)
    mountain = smoothstep(gaussian_filter(terrain.elevation, 12), 620, 860)
    rock = np.where(mountain > 0.5, np.where(bands > -0.15, LIMESTONE, SILICEOUS), MOLASSE)
    rock = np.where((bands > 1.05) & (mountain <= 0.5), LIMESTONE, rock)
    flat = smoothstep(terrain.slope, 4.0, 1.0) * smoothstep(terrain.river_distance, 500, 100)
    rock = np.where((flat > 0.5) & (terrain.elevation < 750), ALLUVIUM, rock).astype(np.uint8)
    shares = np.stack([gaussian_filter((rock == k).astype(np.float32), 2.5) for k in range(4)])
    ph, clay, sand, stones = np.einsum("kyx,kv->vyx", shares, PARENT)
    rain = climate.rain_factor
    gentle = smoothstep(terrain.slope, 24, 4)
    basin = smoothstep(terrain.slope, 3.5, 0.8) * smoothstep(terrain.wetness, 7.6, 9.2)
    patchy = patches(shape, 22, rng)
    peat = gaussian_filter(basin * smoothstep(patchy + 0.8 * (rain - 1.0), 0.3, 1.3), 1.5)
    bog = smoothstep(patches(shape, 60, rng), -0.1, 0.5)
    leached = (rain - 0.9) * gentle * (1.1 - 0.6 * shares[LIMESTONE])
    ph = ph - 0.9 * np.clip(leached, -0.2, 1.4) + 0.32 * fractal(shape, 50, rng, 1.8)
    ph = ph - peat * np.where(bog > 0.5, np.maximum(ph - 4.0, 0), 0.25)
    clay = clay + 4 * fractal(shape, 60, rng, 2.0) + 3 * smoothstep(terrain.wetness, 7, 10)
    sand = sand + 5 * fractal(shape, 60, rng, 2.0)
    steep = smoothstep(terrain.slope, 14, 40)
    cold = smoothstep(climate.growing_temperature, 13, 5)
    stones = stones + 34 * steep + 12 * cold + 3 * fractal(shape, 30, rng, 2.0)
    depth = 95 * (1 - 0.78 * steep) * (1 - 0.45 * cold) * np.exp(0.18 * fractal(shape, 30, rng, 2.0))
    carbon = 22 + 46 * cold * (1 - 0.6 * steep) + 9 * (rain - 1) + 260 * peat
    carbon = carbon * np.exp(0.15 * fractal(shape, 30, rng, 2.0))

    def bounded(field: NDArray[np.floating], low: float, high: float) -> Field:
        return np.asarray(np.clip(field, low, high), dtype=np.float32)

    return Soil(
        rock,
        bounded(ph, 3.5, 8.3),
        bounded(clay, 4, 60),
        bounded(sand, 5, 80),
        bounded(stones, 0, 80),
        bounded(carbon, 5, 420),
        bounded(depth, 8, 150),
        bounded(peat, 0, 1),
    )
