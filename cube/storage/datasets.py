"""Leaf groups of a cube as lazy xarray Datasets: one document is read to open one, blocks are whole shards.

What is chosen from `open_leaf` before `in_blocks` is chosen before anything is read; `on_cells` shows layers of 10 m and 1 km
on the 50 m grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cube.errors import CubeError
from cube.grid import CELL, COARSE, FINE
from cube.layers.conventions import GRID_MAPPING, axis_attributes
from cube.layers.georeference import read_georeference
from cube.storage.backends import zarr_store
from cube.storage.leaves import INLINE, inline_values
from cube.storage.store import CubeStore

# Decoded bytes of a block. A shard of species is twice this, one of climate on the 50 m grid nine times; with blocks of inner
# chunks a species array of Europe would have 761 million.
BLOCK_BYTES: Final = 256 * 2**20

Lazy = TypeVar("Lazy", xr.Dataset, xr.DataArray)


def open_leaf(cube: CubeStore, path: str) -> xr.Dataset:
    """A leaf group with decoded values, coordinates and CRS; nothing is read but its consolidated metadata and its labels.

    Arrays are not yet dask's: indexing stays lazy, arithmetic reads. Raises `CubeError` for a group that is absent or damaged.
    """
    group = find_leaf(cube, path)
    if group is None:
        raise CubeError(f"{cube.url}: there is no group '{path}'; run the stage that writes it first.")
    return group


def find_leaf(cube: CubeStore, path: str) -> xr.Dataset | None:
    """`open_leaf`, or None where there is no such group."""
    store = zarr_store(f"{cube.url}/{path}", read_only=True)
    try:
        group = xr.open_zarr(store, chunks=None, consolidated=True, zarr_format=3, drop_variables=("x", "y"))
        # The axes by the numbers that the group gives, as they are stored beside it.
        y, x = read_georeference(f"{cube.url}/{path}", group.attrs).centres()
        mapping = group.variables[GRID_MAPPING]
        for name in [name for name, column in group.variables.items() if INLINE in column.attrs]:
            column = group.variables[name]
            attributes = {key: value for key, value in column.attrs.items() if key != INLINE}
            group[name] = (column.dims, inline_values(column.attrs[INLINE], column.dtype), attributes)
    except FileNotFoundError:
        return None
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise cube.unreadable(path, error) from error
    group = group.set_coords([v.attrs["bounds"] for v in group.variables.values() if v.attrs.get("bounds") in group.variables])
    # Units and titles of bands go with whatever is chosen of them.
    for array in [array for array in group.data_vars.values() if "bands" in array.attrs]:
        bands, dim = array.attrs["bands"], array.dims[0]
        labels = {key: (dim, [str(band.get(key, "")) for band in bands]) for key in ("long_name", "units")}
        group = group.assign_coords({f"{dim}_{key}": values for key, values in labels.items()})
    return group.assign_coords(
        y=("y", y, axis_attributes(cube.region, "y")),
        x=("x", x, axis_attributes(cube.region, "x")),
        **{GRID_MAPPING: ((), 0, mapping.attrs)},
    )


def in_blocks(data: Lazy, resolution: int = CELL) -> Lazy:
    """The same with its maps as dask arrays, in blocks that hold `BLOCK_BYTES` at most once they are seen on the 50 m grid."""
    if isinstance(data, xr.Dataset):
        maps = {name: in_blocks(array, resolution) for name, array in data.data_vars.items() if array.dims[-2:] == ("y", "x")}
        return data.assign(maps)
    chunk_sizes = data.encoding.get("preferred_chunks", {})
    shards = dict(zip(chunk_sizes, data.encoding.get("shards") or chunk_sizes.values(), strict=True))
    inner = [chunk_sizes.get(dim, 1) for dim in data.dims]
    # A mean of 10 m pixels takes three copies of them beside its block; a square of 1 km becomes 400 cells.
    copies = {FINE: 4, CELL: 1, COARSE: (COARSE // CELL) ** 2}[resolution]
    blocks = block_shape(inner, [shards.get(dim, 1) for dim in data.dims], 4 * copies)
    # Inline, or dask makes the tasks of all blocks as soon as another array joins them: 19,024 for one value of Europe.
    return data.chunk(dict(zip(data.dims, blocks, strict=True)), inline_array=True)


def block_shape(inner: Sequence[int], shard: Sequence[int], item_bytes: float) -> tuple[int, ...]:
    """A shard, cut to at most `BLOCK_BYTES`: along inner chunks while there are several, then along the leading axes."""
    block = list(shard)
    while math.prod(block) * item_bytes > BLOCK_BYTES:
        parts = [-(-size // inner_length) for size, inner_length in zip(block, inner, strict=True)]
        axis = int(np.argmax(parts))
        if parts[axis] > 1:
            block[axis] = inner[axis] * -(-parts[axis] // 2)
            continue
        axis = int(np.argmax(block[:-2])) if len(block) > 2 else -1
        if axis < 0 or block[axis] == 1:
            break
        block[axis] = -(-block[axis] // 2)
    return tuple(block)


def on_cells(data: xr.DataArray, resolution: int, y: NDArray[Any], x: NDArray[Any]) -> xr.DataArray:
    """Dask blocks of 10 m or 1 km seen on the cells `y`, `x` of 50 m: mean of the valid of 25 pixels, or value of the square."""
    if resolution == CELL:
        return data
    import dask.array as da  # here: whoever opens a cube and reads no map needs none

    *lead, height, width = data.data.chunks
    sides = [tuple(size * resolution // CELL for size in axis) for axis in (height, width)]
    show = _mean if resolution == FINE else _repeat
    blocks = da.map_blocks(show, data.data, dtype=data.dtype, chunks=(*lead, *sides))  # type: ignore[no-untyped-call]
    labels = {name: labels for name, labels in data.coords.items() if not {"x", "y"} & set(labels.dims)}
    out = xr.DataArray(blocks, {**labels, "y": y, "x": x}, data.dims, data.name, data.attrs)
    out.encoding["grid_mapping"] = GRID_MAPPING
    return out


def _mean(block: NDArray[Any]) -> NDArray[Any]:
    n = CELL // FINE
    *lead, rows, cols = block.shape
    pixels = block.reshape(*lead, rows // n, n, cols // n, n)
    valid = ~np.isnan(pixels)
    count = valid.sum(axis=(-3, -1))
    total = np.where(valid, pixels, 0).sum(axis=(-3, -1), dtype=np.float64)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan), block.dtype)


def _repeat(block: NDArray[Any]) -> NDArray[Any]:
    n = COARSE // CELL
    return np.repeat(np.repeat(block, n, axis=-2), n, axis=-1)


def cell_of(data: xr.Dataset, resolution: int, row: int, col: int) -> xr.Dataset:
    """What a leaf of `open_leaf` knows of the 50 m cell (`row`, `col`), chosen before anything is read; lazy."""
    if resolution == FINE:
        n = CELL // FINE
        window = data.isel(y=slice(row * n, row * n + n), x=slice(col * n, col * n + n))
        return window.chunk(inline_array=True).mean(("y", "x"), keep_attrs=True)
    n = resolution // CELL
    return data.isel(y=row // n, x=col // n).chunk(inline_array=True)
