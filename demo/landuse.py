"""What people and climate make of the land at 10 m: villages, roads, fields, meadows, forests, mires, rock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter, zoom

from cube.grid import CELL, FINE
from demo.climate import Climate
from demo.domain import Domain
from demo.noise import Field, fractal, hashed, patches, smoothstep, stream
from demo.soil import Soil
from demo.terrain import Terrain

CLASSES: Final = (
    "outside",
    "water",
    "sealed",
    "garden",
    "arable",
    "meadow",
    "mire",
    "broadleaf",
    "conifer",
    "heath",
    "alpine",
    "rock",
)
OUTSIDE, WATER, SEALED, GARDEN, ARABLE, MEADOW, MIRE, BROADLEAF, CONIFER, HEATH, ALPINE, ROCK = range(12)
RATIO: Final = CELL // FINE


@dataclass(frozen=True)
class LandUse:
    """Land use: fine (10 m) classes with their parcels, and what 50 m cells see of it; (y, x)."""

    cover: NDArray[np.uint8]  # 10 m, classes above
    parcel: NDArray[np.uint32]  # 10 m, number of the field, meadow or stand
    intensity: NDArray[np.float32]  # 10 m, management 0..1 in open land, canopy closure 0..1 in forest
    share: NDArray[np.float32]  # (12 classes, y, x) at 50 m, 0..1
    management: Field  # 50 m, mean intensity of the open land
    closure: Field  # 50 m, mean canopy closure of the forest
    surface: NDArray[np.uint8]  # 50 m, 0 land, 1 permanent water, 2 sealed
    village_distance: Field  # 50 m, metres


def _fine(field: NDArray[np.floating], shape: tuple[int, int]) -> Field:
    """A 50 m field at 10 m, bilinear between cell centres."""
    return np.asarray(zoom(field.astype(np.float32), RATIO, order=1, grid_mode=True, mode="nearest")).reshape(shape)


def _coarse(field: NDArray[np.generic]) -> Field:
    """Mean of the 25 fine pixels of each cell."""
    rows, cols = field.shape
    blocks = field.reshape(rows // RATIO, RATIO, cols // RATIO, RATIO)
    return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float32))


def _parcels(shape: tuple[int, int], seed: int) -> NDArray[np.uint32]:
    """Parcel numbers at 10 m: strips whose size and direction change from one block of fields to the next."""
    rng = stream(seed, "parcels")
    small = (shape[0] // 8 + 2, shape[1] // 8 + 2)
    bend = [zoom(patches(small, 12, rng), 8, order=1)[: shape[0], : shape[1]] for _ in range(2)]
    rows = np.arange(shape[0], dtype=np.float32)[:, None] + 9 * bend[0]
    cols = np.arange(shape[1], dtype=np.float32)[None, :] + 9 * bend[1]
    side = 62.0
    block = np.floor(rows / side).astype(np.int32) * 8191 + np.floor((cols + 31 * (np.floor(rows / side) % 2)) / side).astype(
        np.int32
    )
    angle = hashed(block, seed, 1) * np.float32(np.pi)
    width = 7 + 11 * hashed(block, seed, 2)
    length = 16 + 26 * hashed(block, seed, 3)
    u = np.floor((rows * np.cos(angle) + cols * np.sin(angle)) / width).astype(np.int32)
    v = np.floor((cols * np.cos(angle) - rows * np.sin(angle)) / length).astype(np.int32)
    return np.asarray(block * 131071 + u * 1031 + v).astype(np.uint32)


def _villages(domain: Domain, terrain: Terrain, rng: np.random.Generator) -> NDArray[np.intp]:
    """Cells (n, 2) of village centres: on low, gentle, dry ground near water, a few km apart."""
    score = (
        smoothstep(terrain.elevation, 1250, 500)
        * smoothstep(terrain.slope, 9, 2)
        * (0.3 + smoothstep(terrain.river_distance, 2500, 150))
        * (terrain.river_distance > 60)
        * ~terrain.lake
    )
    score = score * np.exp(0.7 * patches(domain.shape, 24, rng)) + 1e-9 * ~terrain.lake
    centres: list[tuple[int, int]] = []
    free = score.copy()
    reach = 32
    for _ in range(max(int(domain.side_km**2 * 0.045), 2)):
        y, x = np.unravel_index(int(free.argmax()), free.shape)
        centres.append((int(y), int(x)))
        free[max(y - reach, 0) : y + reach, max(x - reach, 0) : x + reach] *= 0.02
    return np.array(centres)


def _roads(shape: tuple[int, int], villages: NDArray[np.intp], height: Field) -> NDArray[np.bool_]:
    """10 m mask of roads that join each village to its two nearest, swerving where the ground is high."""
    road = np.zeros(shape, bool)
    for i, village in enumerate(villages):
        distance = np.hypot(*(villages - village).T)
        for two in villages[np.argsort(distance)[1:3]]:
            if tuple(village) == tuple(two):
                continue
            t = np.linspace(0, 1, int(np.hypot(*(two - village)) * RATIO * 1.6) + 2)[:, None]
            best: NDArray[np.float64] | None = None
            cost = np.inf
            side = np.array([village[1] - two[1], two[0] - village[0]])
            for swerve in (-0.25, -0.12, 0.0, 0.12, 0.25):
                wiggle = swerve * np.sin(np.pi * t) + 0.03 * np.sin(2.5 * np.pi * t + i)
                path = village + t * (two - village) + wiggle * side
                path = np.clip(path, 0, np.array(height.shape) - 1.01)
                profile = height[path[:, 0].astype(int), path[:, 1].astype(int)]
                climb = float(np.abs(np.diff(profile)).sum())
                if climb < cost:
                    best, cost = path, climb
            if best is not None and cost < 420:
                pixel = (best * RATIO + RATIO / 2).astype(int)
                road[pixel[:, 0].clip(0, shape[0] - 1), pixel[:, 1].clip(0, shape[1] - 1)] = True
    return road


@dataclass(frozen=True)
class _Tendencies:
    """How much each cell of 50 m tends to a cover, before parcels and grain decide; (y, x)."""

    wood: Field
    field: Field
    conifer: Field
    tree_limit: Field
    bare: Field
    ericoid: Field
    village: Field


def _tendencies(
    domain: Domain,
    terrain: Terrain,
    climate: Climate,
    soil: Soil,
    village_distance: Field,
    extent: Field,
    rng: np.random.Generator,
) -> _Tendencies:
    shape, warmth = domain.shape, climate.growing_temperature
    tree_limit = smoothstep(warmth + 0.5 * fractal(shape, 40, rng, 2.2), 6.9, 8.4)
    steep = smoothstep(terrain.slope, 8, 24)
    wood = 0.95 * steep + 0.22 * smoothstep(village_distance, 500, 2200) + 0.24 * patches(shape, 34, rng)
    wood += 0.12 * smoothstep(terrain.elevation, 700, 1100) - 0.10 + 0.07 * fractal(shape, 20, rng, 2.0)
    pasture = smoothstep(terrain.elevation, 1000, 1500) * smoothstep(terrain.slope, 22, 10)
    wood = np.where(terrain.river_distance < 90, wood + 0.2, wood) - 0.45 * pasture
    field = 0.62 * smoothstep(terrain.slope, 9, 2) * smoothstep(warmth, 14.0, 15.6)
    field += 0.16 * patches(shape, 50, rng) + 0.1 * smoothstep(soil.ph, 5.2, 6.5)
    conifer = smoothstep((13.6 - warmth) / 3.2 + 0.35 * patches(shape, 26, rng) + 0.22 * (5.8 - soil.ph), -0.25, 1.3)
    bare = smoothstep(terrain.slope + 9 * smoothstep(warmth, 7.5, 5) - 0.09 * soil.depth, 27, 42)
    bare = bare * smoothstep(warmth, 12, 8) + smoothstep(warmth, 6.4, 4.2) * 0.7
    ericoid = smoothstep(6.6 - soil.ph + 0.9 * patches(shape, 20, rng), -0.3, 1.5)
    ericoid = ericoid * smoothstep(warmth, 10.0, 8.0) * smoothstep(warmth, 5.2, 6.6)
    return _Tendencies(wood, field, conifer, tree_limit, bare, ericoid, np.exp(-((village_distance / extent) ** 2)))


def _cover(
    tend: _Tendencies,
    terrain: Terrain,
    soil: Soil,
    villages: NDArray[np.intp],
    parcel: NDArray[np.uint32],
    grain: Field,
    seed: int,
) -> NDArray[np.uint8]:
    """The class of each pixel of 10 m; what people build and what is water lies over the rest."""
    fine, lot = parcel.shape, hashed(parcel, seed, 5)
    is_wood = _fine(tend.wood, fine) + 0.20 * (lot - 0.5) + 0.05 * (grain - 0.5) > 0.33
    cover = np.where(_fine(tend.field, fine) + 0.8 * (lot - 0.5) > 0.56, ARABLE, MEADOW).astype(np.uint8)
    crown = grain * 0.55 + lot * 0.45
    cover[is_wood] = np.where(crown < _fine(tend.conifer, fine), CONIFER, BROADLEAF)[is_wood]
    above_trees = _fine(tend.tree_limit, fine) < 0.25 + 0.5 * grain
    cover[above_trees] = ALPINE
    shrubby = _fine(tend.ericoid, fine) > 0.25 + 0.45 * crown
    cover[shrubby & (cover != ARABLE) & (above_trees | ~is_wood)] = HEATH
    cover[_fine(tend.bare, fine) > 0.2 + 0.6 * grain] = ROCK
    cover[(_fine(soil.peat, fine) > 0.36) & (cover != ROCK) & (cover != ARABLE)] = MIRE
    settlement = _fine(tend.village, fine)
    village = settlement > 0.35 + 0.15 * lot
    cover[village] = GARDEN
    roof = hashed(parcel // 3 + (grain * 3).astype(np.uint32), seed, 7)
    cover[village & ((roof < 0.25 + 0.5 * settlement) & (grain < 0.75))] = SEALED
    cover[_roads(fine, villages, terrain.elevation)] = SEALED
    water = zoom(terrain.lake.astype(np.float32), RATIO, order=1, grid_mode=True, mode="nearest") > 0.5
    river = gaussian_filter(np.kron(terrain.river, np.ones((RATIO, RATIO), bool)).astype(np.float32), 3) > 0.30
    cover[water | river] = WATER
    return cover


def make_landuse(domain: Domain, terrain: Terrain, climate: Climate, soil: Soil, seed: int) -> LandUse:
    """Land use of the domain."""
    rng = stream(seed, "landuse")
    shape, fine = domain.shape, domain.fine_shape
    villages = _villages(domain, terrain, rng)
    seeds = np.ones(shape, bool)
    seeds[villages[:, 0], villages[:, 1]] = False
    village_distance = (distance_transform_edt(seeds) * CELL).astype(np.float32)
    extent = 260 * np.exp(0.45 * patches(shape, 30, rng))
    parcel = _parcels(fine, seed)
    grain = rng.random(fine, dtype=np.float32)
    tend = _tendencies(domain, terrain, climate, soil, village_distance, extent, rng)
    cover = _cover(tend, terrain, soil, villages, parcel, grain, seed)

    # Known to nobody but the farmer, the forester and the satellite: no coarse map shows a parcel.
    intensity = np.clip(0.15 + 0.95 * hashed(parcel, seed, 11), 0, 1)
    mild = smoothstep(terrain.slope, 30, 6) * smoothstep(climate.growing_temperature, 8.5, 13.5)
    intensity *= _fine(mild, fine) * 0.8 + 0.2
    forest = (cover == BROADLEAF) | (cover == CONIFER)
    intensity = np.where(forest, 0.30 + 0.70 * np.sqrt(hashed(parcel, seed, 13)), intensity).astype(np.float32)

    share = np.stack([_coarse(cover == k) for k in range(len(CLASSES))])
    wooded = share[BROADLEAF] + share[CONIFER]
    closure = np.clip(_coarse(np.where(forest, intensity, 0)) / np.maximum(wooded, 1e-3), 0, 1)
    management = np.clip(_coarse(np.where(forest, 0, intensity)) / np.maximum(1 - wooded, 1e-3), 0, 1)
    surface = np.zeros(shape, np.uint8)
    surface[share[SEALED] > 0.5] = 2
    surface[share[WATER] >= 0.5] = 1
    return LandUse(cover, parcel, intensity, share, management, closure, surface, village_distance)
