"""Rasters that a layer can be made from: values that it can have, and bands with its names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine

from cube.grid import Region
from cube.layers.inputs import INPUTS, plausible_ranges

Array = np.ndarray[Any, Any]


def layer_values(name: str, rows: int, cols: int, seed: int = 0) -> Array:
    """(bands, rows, cols) float32 noise within what the bands of the layer `name` can be; whole numbers for classes."""
    layer = INPUTS[name]
    ranges = plausible_ranges(layer)
    each = int(np.prod([len(layer.labels[d]) for d in layer.dims], dtype=int)) // len(ranges)
    low, high = (np.repeat([r[i] for r in ranges], each)[:, None, None] for i in (0, 1))
    low, high = np.maximum(low, -500), np.minimum(high, 2000)
    noise = np.random.default_rng([seed, len(ranges)]).uniform(low, high, (len(low), rows, cols))
    return np.asarray(np.rint(noise) if layer.kind == "class" else noise, np.float32)


def write_bands(
    path: Path,
    values: Array,
    transform: Affine,
    names: tuple[str, ...] = (),
    nodata: float | None = None,
    crs: str | None = "EPSG:3035",
    **options: Any,
) -> str:
    """Write (bands, rows, cols), or (rows, cols), of their own type; `names` are the descriptions of the bands."""
    bands = values if values.ndim == 3 else values[None]
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=bands.shape[1],
        width=bands.shape[2],
        count=len(bands),
        dtype=bands.dtype,
        crs=crs,
        transform=transform,
        nodata=nodata,
        **options,
    ) as target:
        target.write(bands)
        for band, name in enumerate(names, 1):
            target.set_band_description(band, name)
    return str(path)


def names_of(name: str) -> tuple[str, ...]:
    """Labels of the first axis of a layer; empty for a layer without."""
    layer = INPUTS[name]
    return tuple(layer.labels[layer.dims[0]]) if layer.dims else ()


def write_layer(path: Path, name: str, size: int, region: Region, seed: int = 0, nodata: float = -9999) -> str:
    """Write a raster of noise for the layer `name`, `size` metres a pixel, over the whole of a region."""
    rows, cols = region.shape(size)
    return write_bands(path, layer_values(name, rows, cols, seed), region.transform(size), names_of(name), nodata)
