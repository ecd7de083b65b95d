"""From the landscape's grid to the grids and projections that real sources come in, and onto disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.crs import CRS
from scipy.ndimage import map_coordinates, zoom

from cube.grid import CELL, EUROPE
from demo.domain import Domain
from demo.noise import Field

SIDE_BY_SIDE: Final = 2  # rasters made at a time: each takes a few hundred MB, and computing lets go of the interpreter
KNOT = 40  # pixels between exact projections; between them positions are linear to a few centimetres


@dataclass(frozen=True)
class Target:
    """A raster grid in any projection that covers the domain."""

    crs: CRS
    transform: Affine
    shape: tuple[int, int]


def covering(domain: Domain, crs: str, size: float) -> Target:
    """The smallest grid of pixels of `size` (units of `crs`, on whole multiples) around the domain."""
    side = domain.side_km * 1000
    edge = np.linspace(0, side, 41)
    low, high = np.zeros_like(edge), np.full_like(edge, side)
    x = domain.west + np.concatenate([edge, edge, low, high])
    y = domain.north - np.concatenate([low, high, edge, edge])
    px, py = Transformer.from_crs(EUROPE.epsg, crs, always_xy=True).transform(x, y)
    west, east = np.floor(px.min() / size), np.ceil(px.max() / size)
    south, north = np.floor(py.min() / size), np.ceil(py.max() / size)
    transform = Affine(size, 0, west * size, 0, -size, north * size)
    return Target(CRS.from_user_input(crs), transform, (int(north - south), int(east - west)))


def utm(domain: Domain) -> str:
    """The UTM zone of the domain's centre, as an EPSG code."""
    half = domain.side_km * 500
    lon, _ = EUROPE.unproject(float(domain.west + half), float(domain.north - half))
    return f"EPSG:{32600 + int((float(lon) + 180) // 6) + 1}"


def positions(domain: Domain, target: Target) -> tuple[Field, Field]:
    """(row, col) of the target's pixel centres in the domain's 50 m array, fractional; cell centres are whole."""
    rows, cols = (int(np.ceil(n / KNOT)) + 1 for n in target.shape)
    r, c = np.meshgrid(np.arange(rows) * KNOT, np.arange(cols) * KNOT, indexing="ij")
    t = target.transform
    x, y = t.c + (c.ravel() + 0.5) * t.a, t.f + (r.ravel() + 0.5) * t.e
    ex, ey = Transformer.from_crs(target.crs.to_wkt(), EUROPE.epsg, always_xy=True).transform(x, y)
    across = ((np.asarray(ex) - domain.west) / CELL - 0.5).reshape(rows, cols)
    down = ((domain.north - np.asarray(ey)) / CELL - 0.5).reshape(rows, cols)
    full = ((rows - 1) * KNOT + 1, (cols - 1) * KNOT + 1)
    keep = (slice(0, target.shape[0]), slice(0, target.shape[1]))
    factor = [full[0] / rows, full[1] / cols]
    down, across = (zoom(f, factor, order=1)[keep].astype(np.float32) for f in (down, across))
    return down, across


def inside(domain: Domain, at: tuple[Field, Field]) -> NDArray[np.bool_]:
    """Which positions lie in the domain."""
    rows, cols = domain.shape
    return (at[0] > -0.5) & (at[0] < rows - 0.5) & (at[1] > -0.5) & (at[1] < cols - 0.5)


def sampled(field: NDArray[np.floating], at: tuple[Field, Field]) -> Field:
    """A 50 m field at positions, bilinear; the border's value beyond the border."""
    return np.asarray(
        map_coordinates(field.astype(np.float32), at, order=1, mode="nearest", prefilter=False),
        dtype=np.float32,
    )


def nearest(shape: tuple[int, int], at: tuple[Field, Field], ratio: int) -> NDArray[np.int64]:
    """Flat index into an array of `ratio` pixels a cell side (5: the 10 m arrays) for each position."""
    row = ((at[0] + np.float32(0.5)) * ratio).astype(np.int32).clip(0, shape[0] - 1)
    col = ((at[1] + np.float32(0.5)) * ratio).astype(np.int32).clip(0, shape[1] - 1)
    return np.asarray(row.astype(np.int64) * shape[1] + col)


def write(
    path: Path,
    target: Target,
    bands: NDArray[Any],
    nodata: float | None,
    *,
    descriptions: tuple[str, ...] = (),
    scale: float | None = None,
    cog: bool = False,
    **options: object,
) -> None:
    """Write (bands, y, x) or (y, x) as a compressed GeoTIFF, or as a COG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    layers = bands if bands.ndim == 3 else bands[None]
    profile: dict[str, Any] = {
        "driver": "COG" if cog else "GTiff",
        "height": target.shape[0],
        "width": target.shape[1],
        "count": layers.shape[0],
        "dtype": layers.dtype.name,
        "crs": target.crs,
        "transform": target.transform,
        "nodata": nodata,
        "compress": "zstd",
        "zstd_level" if not cog else "level": 1,
        "predictor": "2" if layers.dtype.kind in "iu" else "3",
        **options,
    }
    if cog:
        profile["predictor"] = "YES"
    with rasterio.open(path, "w", **profile) as dst:
        dst.write(layers)
        if scale is not None:
            dst.scales = (scale,) * layers.shape[0]
        for k, text in enumerate(descriptions, 1):
            dst.set_band_description(k, text)


def side_by_side(make: Callable[[str], None], names: Iterable[str]) -> None:
    """`make` of each name, some at a time; they must not draw from one random stream."""
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        list(pool.map(make, names))
