"""Embeddings in the layouts in which they are published, written from vectors: what a reader must give back is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import zarr
from affine import Affine
from pyproj import Transformer

Array = np.ndarray[Any, Any]
Field = Callable[[Array, Array], Array]  # x, y in metres of a UTM zone to (bands, ...) values


def quantised(vectors: Array) -> tuple[Array, Array]:
    """(int8 of the vectors' shape, float32 scale of each pixel) of (bands, rows, columns) vectors, as TESSERA stores them."""
    scale = np.abs(vectors).max(axis=0) / 127
    return np.rint(vectors / scale).astype(np.int8), scale.astype(np.float32)


def write_numpy_tile(
    root: Path,
    year: int,
    lon: float,
    lat: float,
    field: Field,
    off: tuple[float, float] = (0, 0),
    box: tuple[float, float, float, float] | None = None,
) -> None:
    """The tile of 0.1 degrees with its centre at (lon, lat) as geotessera lays it out; its mask's corner is `off` by metres.

    `box` (west, south, east, north; metres of its zone): no more of it is written, to keep tests small.
    """
    zone = int((lon + 180) // 6) + 1
    epsg = (32600 if lat >= 0 else 32700) + zone
    to_utm = Transformer.from_crs(4326, epsg, always_xy=True)
    west, south, east, north = to_utm.transform_bounds(lon - 0.05, lat - 0.05, lon + 0.05, lat + 0.05)
    if box is not None:
        west, south, east, north = max(west, box[0]), max(south, box[1]), min(east, box[2]), min(north, box[3])
    west, north = np.floor(west / 10) * 10, np.ceil(north / 10) * 10
    rows, cols = round((north - np.floor(south / 10) * 10) / 10), round((np.ceil(east / 10) * 10 - west) / 10)
    x, y = np.meshgrid(west + 10 * (np.arange(cols) + 0.5), north - 10 * (np.arange(rows) + 0.5))
    values, scales = quantised(field(x, y))
    name = f"grid_{lon:.2f}_{lat:.2f}"
    folder = root / "global_0.1_degree_representation" / str(year) / name
    folder.mkdir(parents=True)
    np.save(folder / f"{name}.npy", np.moveaxis(values, 0, -1))
    np.save(folder / f"{name}_scales.npy", scales)
    masks = root / "global_0.1_degree_tiff_all"
    masks.mkdir(exist_ok=True)
    corner = Affine(10, 0, west + off[0], 0, -10, north - off[1])
    with rasterio.open(
        masks / f"{name}.tiff",
        "w",
        driver="GTiff",
        width=cols,
        height=rows,
        count=1,
        dtype="uint8",
        crs=f"EPSG:{epsg}",
        transform=corner,
    ) as file:
        file.write(np.ones((rows, cols), np.uint8), 1)


def write_zarr_zones(
    root: Path,
    years: tuple[int, ...],
    zones: dict[int, tuple[float, float, int, int]],
    field: Field,
    water: Array | None = None,
    later: Array | None = None,
) -> None:
    """TESSERA's Zarr store: `zones` gives each group's west, north (m), rows and columns; the last year has the field.

    `water` and `later` (rows, columns) mark pixels with the scales NaN and +inf, from each zone's upper left corner.
    """
    store = zarr.open_group(root, mode="w", zarr_format=3)
    scale = {"array_name": "scales", "nodata": "+inf"}
    store.attrs.update(
        {
            "zarr_conventions": [{"name": "geoemb"}],
            "geoemb:type": "pixel",
            "geoemb:data_type": "int8",
            "geoemb:gsd": 10,
            "geoemb:quantization": {"method": "per_pixel_scale", "scale": scale},
        }
    )
    for zone, (west, north, rows, cols) in zones.items():
        group = store.create_group(f"utm{zone:02d}")
        group.attrs.update(
            {
                "zarr_conventions": [{"name": "proj:"}, {"name": "spatial:"}],
                "proj:code": f"EPSG:{32600 + zone}",
                "spatial:dimensions": ["y", "x"],
                "spatial:transform": [10.0, 0.0, west, 0.0, -10.0, north],
                "spatial:shape": [rows, cols],
                "spatial:bbox": [west, north - 10 * rows, west + 10 * cols, north],
                "spatial:registration": "pixel",
            }
        )
        x, y = np.meshgrid(west + 10 * (np.arange(cols) + 0.5), north - 10 * (np.arange(rows) + 0.5))
        values, scales = quantised(field(x, y))
        for mark, number in ((water, np.nan), (later, np.inf)):
            if mark is not None:
                scales[: mark.shape[0], : mark.shape[1]][mark] = number
        bands, count = len(values), len(years)
        shard = (-(-rows // 32) * 32, -(-cols // 32) * 32)
        stored = group.create_array(
            "embeddings",
            shape=(count, bands, rows, cols),
            dtype="int8",
            fill_value=0,
            chunks=(1, bands, 32, 32),
            shards=(1, bands, *shard),
            dimension_names=("time", "band", "y", "x"),
        )
        scaled = group.create_array(
            "scales",
            shape=(count, rows, cols),
            dtype="float32",
            fill_value=np.inf,
            chunks=(1, 32, 32),
            shards=(1, *shard),
            dimension_names=("time", "y", "x"),
        )
        stored[count - 1], scaled[count - 1] = values, scales
        group.create_array("time", data=np.array(years, np.int32), dimension_names=("time",))


def write_cog(path: Path, epsg: int, corner: tuple[float, float], values: Array) -> None:
    """An AlphaEarth file of (64, rows, columns) int8 whose first row is the southernmost, at `corner` (west, south) in metres."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=values.shape[2],
        height=values.shape[1],
        count=64,
        dtype="int8",
        nodata=-128,
        crs=f"EPSG:{epsg}",
        transform=Affine(10, 0, corner[0], 0, 10, corner[1]),
        tiled=True,
        blockxsize=64,
        blockysize=64,
        interleave="band",
    ) as file:
        file.write(values)
        for band in range(64):
            file.set_band_description(band + 1, f"A{band:02d}")
