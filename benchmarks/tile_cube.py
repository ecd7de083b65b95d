"""The cube that the tile benchmarks serve: one layer in uint8 with its pyramid, generated, and releases of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cube import layers
from cube.grid import Region
from cube.pyramids.coarsen import rounded_mean, valid_sums
from cube.pyramids.levels import make_levels
from cube.pyramids.pyramid import Pyramid
from cube.storage import releases
from cube.storage.store import CubeStore, create_cube

VARIABLE = "probability"


def region_of(side_km: int, unit_km: int) -> Region:
    """A square region in the middle of Europe whose sides are whole units."""
    west, north = 4580 // unit_km * unit_km + 900 % unit_km, 3100 - (3100 - 5500) % unit_km
    return Region(west, north - side_km, west + side_km, north, unit_km)


def field(shape: tuple[int, int], seed: int) -> NDArray[np.uint8]:
    """Stored values 0 to 250: hills of many sizes and fine noise, 255 in two round lakes."""
    rng = np.random.default_rng(seed)
    angle, phase = rng.uniform(0, 2 * np.pi, (2, 32))
    wave = 2.0 ** rng.uniform(4, 11, 32)
    y, x = np.arange(shape[0], dtype=np.float32)[:, None], np.arange(shape[1], dtype=np.float32)[:, None]
    down, along = 2 * np.pi * y * np.sin(angle) / wave + phase, 2 * np.pi * x * np.cos(angle) / wave
    weight = np.sqrt(wave)
    hills = ((weight * np.sin(down)) @ np.cos(along).T + (weight * np.cos(down)) @ np.sin(along).T).astype(np.float32)
    hills /= 4 * hills.std()
    hills += 0.5 + 0.02 * rng.standard_normal(shape, dtype=np.float32)
    stored_values = np.clip(np.rint(hills * 250), 0, 250).astype(np.uint8)
    for at_y, at_x in ((0.3, 0.6), (0.7, 0.35)):
        stored_values[(y - at_y * shape[0]) ** 2 + (x.T - at_x * shape[1]) ** 2 < (0.03 * shape[0]) ** 2] = 255
    return stored_values


def halved(stored_values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The next level: mean of the valid ones of four, 255 where none is."""
    even_values = np.pad(stored_values, [(0, n % 2) for n in stored_values.shape], constant_values=255)
    return np.asarray(rounded_mean(*valid_sums(even_values, 255, 2), np.uint8, 255))


def write_version(cube: CubeStore, version: str, stored_values: NDArray[np.uint8]) -> None:
    """One version of the product habitats: its probability at every level, listed by the multiscales convention."""
    layer = layers.habitat_probability("")
    pyramid = Pyramid.of_product("habitats", version, [layer])
    cube.ensure_group(pyramid.source, [layer.at(pyramid.source)])
    make_levels(cube, pyramid)
    for level in range(cube.region.levels() + 1):
        cube.array(f"{pyramid.group(level)}/{VARIABLE}")[...] = stored_values
        stored_values = halved(stored_values)
    classes = {name: np.asarray([text], object) for name, text in (("code", "A"), ("name", "Any"), ("level", "level1"))}
    releases.ensure_table(cube, "habitats", version, classes)


def make(url: str, side_km: int, unit_km: int) -> CubeStore:
    """The cube at `url` with its release `first`; one that is there already with the same region is taken as it is."""
    cube = create_cube(url, region_of(side_km, unit_km), "Tile benchmark")
    if cube.read_json("current.json") is None:
        write_version(cube, "v1", field(cube.region.shape(), 1))
        release(cube, "first", "v1")
    return cube


def release(cube: CubeStore, name: str, version: str) -> None:
    """Publish the release `name`, which has `version` of the habitats."""
    releases.write_release(cube, name, {"habitats": version}, {})
    releases.publish(cube, name)


def constant(cube: CubeStore, version: str, value: int) -> None:
    """A version with `value` in every cell, so that a picture tells which version it shows."""
    stored_values: NDArray[Any] = np.full(cube.region.shape(), value, np.uint8)
    write_version(cube, version, stored_values)
