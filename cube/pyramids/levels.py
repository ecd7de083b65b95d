"""The groups of a pyramid's levels: made like level 0, with what it says of itself, its labels and its licence.

What belongs into them is `cube.pyramids.pyramid`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
import zarr

from cube.grid import RESOLUTIONS
from cube.layers import Layer, conventions
from cube.pyramids.pyramid import Pyramid, kept_levels
from cube.storage.leaves import ensure_column, layer_attributes, set_attributes
from cube.storage.progress import LAYERS, MADE_FROM
from cube.storage.store import CubeStore, dims_of

LEVEL_ATTRIBUTES: Final = ("zarr_conventions", "_FillValue", "grid_mapping")  # attributes that each level writes for itself


def make_levels(cube: CubeStore, pyramid: Pyramid) -> None:
    """Make the groups of levels 1 to the coarsest, once level 0 exists; values that are there are left as they are.

    Labels, columns along other axes (a species' `scale`), licence and all other attributes are those of level 0.
    """
    # Consolidated metadata may be older than the attributes.
    source = zarr.open_group(cube.root.store, path=pyramid.source, mode="r", zarr_format=3, use_consolidated=False)
    arrays = {name: array for name, array in source.arrays() if dims_of(array)}
    dims = {dim for layer in pyramid.layers for dim in layer.dims}
    labels = {dim: np.asarray(arrays[dim][:]) for dim in dims}
    columns = [name for name, array in arrays.items() if name not in dims and set(dims_of(array)) <= dims]
    level_attributes = _inherited(source)
    for level in range(1, cube.region.levels() + 1):
        group = cube.ensure_group(
            pyramid.group(level), [], pyramid.resolution, level, attributes=level_attributes, consolidate=False
        )
        for layer in pyramid.layers:
            inherited_attributes = {k: v for k, v in _inherited(arrays[layer.name]).items() if k not in (MADE_FROM, LAYERS)}
            inherited_attributes["cell_methods"] = _cell_method(layer)
            cube.ensure_group(
                pyramid.group(level),
                [layer.at(pyramid.group(level))],
                pyramid.resolution,
                level,
                labels,
                layer_attributes=inherited_attributes,
                consolidate=False,
            )
            # One that was there already may have what level 0 had before.
            array = cube.array(f"{pyramid.group(level)}/{layer.name}")
            attributes = layer_attributes(cube.region, layer, pyramid.resolution, level) | inherited_attributes
            set_attributes(array, {**dict.fromkeys(array.attrs), **attributes})
        for name in columns:
            ensure_column(group, name, np.asarray(arrays[name][:]), dims_of(arrays[name])[0], dict(arrays[name].attrs))
        cube.ensure_group(pyramid.group(level), [], pyramid.resolution, level)
        if level in kept_levels(cube):
            sum_layers = [
                part for layer in pyramid.layers if layer.kind == "continuous" for part in _sum_layers(layer, pyramid, level)
            ]
            cube.ensure_group(pyramid.sums(level), sum_layers, pyramid.resolution, level, labels)
    _list_levels(cube, pyramid)


def _list_levels(cube: CubeStore, pyramid: Pyramid) -> None:
    """The `multiscales` attribute of a product's version; of `inputs` for the overviews of all resolutions."""
    levels = range(cube.region.levels() + 1)
    if pyramid.owner == pyramid.base:
        paths_by_resolution = {pyramid.resolution: [str(level) for level in levels]}
    else:
        input_pyramids = [Pyramid.of_inputs(name, ()) for name in RESOLUTIONS if cube.has(f"inputs/overviews/{name}/1")]
        paths_by_resolution = {p.resolution: [p.group(level).removeprefix("inputs/") for level in levels] for p in input_pyramids}
    if paths_by_resolution:
        set_attributes(cube.group(pyramid.owner), conventions.multiscale_attributes(cube.region, paths_by_resolution))


def _inherited(node: zarr.Group | zarr.Array[Any]) -> dict[str, Any]:
    """Attributes of level 0 that hold at every level."""
    return {k: v for k, v in node.attrs.items() if k not in LEVEL_ATTRIBUTES and not k.startswith(("spatial:", "proj:"))}


def _cell_method(layer: Layer) -> str:
    return "area: mode" if layer.kind == "class" else "area: mean"


def _sum_layers(layer: Layer, pyramid: Pyramid, level: int) -> tuple[Layer, Layer]:
    """`<layer>_sum` and `<layer>_count` of stored level 0 values, in the smallest types that cannot overflow."""
    cells = 4**level
    dtype = np.dtype(layer.dtype)
    wide, fill = "float64", float("nan")
    if dtype.kind in "iu":
        low, high = cells * np.iinfo(dtype).min, cells * np.iinfo(dtype).max
        types = ("uint16", "uint32", "int32", "uint64", "int64")
        wide = next(t for t in types if np.iinfo(t).min <= low and high < np.iinfo(t).max)
        fill = int(np.iinfo(wide).max)
    count = next(t for t in ("uint8", "uint16", "uint32") if cells < np.iinfo(t).max)
    plain = replace(
        layer.at(pyramid.sums(level)),
        scale=1.0,
        offset=0.0,
        valid_range=None,
        palette="none",
        units="1",
        standard_name="",
        bands=(),
    )
    return (
        replace(plain, name=f"{layer.name}_sum", dtype=wide, fill=fill, long_name=f"{layer.long_name}: sum of the stored values"),
        replace(plain, name=f"{layer.name}_count", dtype=count, fill=0, long_name=f"{layer.long_name}: number of valid cells"),
    )
