"""How a leaf group comes to be: its coordinates, its CRS, its labels, its sharded arrays and their consolidated metadata.

Everything here may be cut off at any moment and asked for again: what is whole is left as it is, what is not is made anew,
and a group that is whole already is not written at all, so that whoever reads it meanwhile notices nothing.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import zarr
import zarr.codecs
from numpy.typing import NDArray
from zarr.abc.codec import BytesBytesCodec
from zarr.abc.store import Store

from cube.errors import CubeError
from cube.grid import Region
from cube.layers import Layer, conventions, periods

# With 128 the products of Europe with 10,000 species would be 657,000 objects, with 192 they are fewer than 500,000.
SPECIES_PER_SHARD: Final = 192
MAP_CHUNK: Final = 400  # pixels a side of an inner chunk that a map tile reads
CELL_CHUNK: Final = 50  # pixels a side where one cell's whole vector is read at once
FINE_CHUNK: Final = 500  # pixels of 10 m
DESCRIPTIVE: Final = (  # attributes that a layer has or has not
    "units",
    "standard_name",
    "bands",
    "scale_factor",
    "add_offset",
    "valid_range",
    "flag_values",
    "flag_meanings",
    "flag_colors",
    "references",
    "coordinates",
    "floracube_predictor",
    "floracube_period",
)
TERMS: Final = ("license", "attribution", "references", "reference_years")  # what a source says of its files
# Attribute of a column: its values once more, little-endian in base64, so that whoever reads the metadata of its group has them.
# 10,000 species take 53 kB there and one request less.
INLINE: Final = "floracube_values"


def compressors(level: int = 3) -> tuple[BytesBytesCodec, ...]:
    """zstd at a level and a CRC-32C of its bytes, four a chunk: a flipped byte is an error of whoever reads."""
    return zarr.codecs.ZstdCodec(level=level), zarr.codecs.Crc32cCodec()


def shards(layer: Layer, sizes: Sequence[int], unit_pixels: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(inner chunk, shard) of an array with leading axes of `sizes` whose unit is `unit_pixels` a side."""
    vector = bool(layer.period) or "rank" in layer.dims  # one cell's whole series, or all ranks, are read at once
    finest = FINE_CHUNK if layer.resolution == "10m" else CELL_CHUNK if vector else MAP_CHUNK
    side = min(finest, unit_pixels)
    chunk, shard = [], []
    for dim, size in zip(layer.dims, sizes, strict=True):
        chunk.append(size if vector else 1)
        shard.append(SPECIES_PER_SHARD if dim == "species" else size)
    return (*chunk, side, side), (*shard, unit_pixels, unit_pixels)


def set_attributes(node: zarr.Group | zarr.Array[Any], attributes: Mapping[str, Any]) -> bool:
    """Write those of `attributes` that a node does not have already, remove those that are None; whether any was written."""
    new_attributes = json.loads(json.dumps(dict(attributes)))  # as they come back: lists, not tuples
    old_attributes = node.attrs.asdict()
    merged_attributes = {
        key: value
        for key, value in {**old_attributes, **new_attributes}.items()
        if value is not None or key not in new_attributes
    }
    if merged_attributes == old_attributes:
        return False
    # Not `attrs.update`, which writes the whole document once for every key and can be cut off between two.
    node.attrs.put(merged_attributes)
    return True


def make_leaf(
    store: Store,
    region: Region,
    path: str,
    layers: Sequence[Layer],
    resolution: int,
    level: int,
    labels: Mapping[str, NDArray[Any]],
    attributes: Mapping[str, Any],
    layer_attributes: Mapping[str, Any],
    consolidate: bool,
) -> zarr.Group:
    """Make the leaf group `path` of a cube with `layers`; see `CubeStore.ensure_group`."""
    # Without what was consolidated before: it does not know the arrays that are added now.
    group = zarr.open_group(store, path=path, mode="r+", zarr_format=3, use_consolidated=False)
    set_attributes(
        group,
        {
            "Conventions": "CF-1.11",
            # xarray then takes the grid mapping as a coordinate, which rioxarray looks for.
            "coordinates": conventions.GRID_MAPPING,
            **conventions.spatial_attributes(region, resolution, level),
            **attributes,
        },
    )
    _add_coordinates(group, region, resolution, level)
    for layer in layers:
        for dim in layer.dims:
            values = np.asarray(layer.labels[dim], dtype=object) if dim in layer.labels else labels.get(dim)
            if values is not None:
                _ensure_labels(group, dim, values)
            if dim in _time_axes(layer) and periods.time_name(dim) not in group:
                _add_times(group, dim, layer.labels[dim])
        _add_layer(group, region, layer, resolution, level, layer_attributes)
    if consolidate:
        consolidate_if_changed(store, path)
    return group


def consolidate_if_changed(store: Store, path: str) -> None:
    """Consolidate the metadata of the group `path`, unless what is consolidated there is what its members say."""
    consolidated = zarr.open_group(store, path=path, mode="r", zarr_format=3).metadata.consolidated_metadata
    group = zarr.open_group(store, path=path, mode="r", zarr_format=3, use_consolidated=False)
    now = {name: _as_text(node.metadata) for name, node in group.members(max_depth=None)}
    if consolidated is None or {name: _as_text(metadata) for name, metadata in consolidated.flattened_metadata.items()} != now:
        zarr.consolidate_metadata(store, path=path)


def _as_text(metadata: Any) -> str:
    """Metadata as text: fill values that are NaN equal themselves there, and a group's own consolidation is left out."""
    document = metadata.to_dict()
    document.pop("consolidated_metadata", None)
    return json.dumps(document, sort_keys=True, default=str)


def _add_coordinates(group: zarr.Group, region: Region, resolution: int, level: int) -> None:
    if conventions.GRID_MAPPING in group:
        return
    # The grid mapping comes last: without it, axes that are there may have lost their values to a kill.
    for axis, values in zip("yx", region.coordinates(resolution, level), strict=True):
        group.create_array(
            axis,
            data=values,
            chunks=values.shape,
            dimension_names=(axis,),
            overwrite=True,
            attributes=conventions.axis_attributes(region, axis),
            compressors=compressors(),
        )
    group.create_array(
        conventions.GRID_MAPPING,
        data=np.asarray(0, np.int32),
        dimension_names=(),
        overwrite=True,
        attributes=conventions.grid_mapping_attributes(region, resolution, level),
    )


def _ensure_labels(group: zarr.Group, dim: str, values: NDArray[Any]) -> None:
    if dim in group:
        array = group[dim]
        assert isinstance(array, zarr.Array)
        if array.shape == values.shape and (np.asarray(array[:]) == values).all():
            return
        # A store lists its members in any order: the layer is named rather than a column beside it.
        for name, member_array in sorted(group.arrays(), key=lambda member: (-member[1].ndim, member[0])):
            # Labels are whole before the first layer is made, so these are other labels and not half of the same.
            if name != dim and dim in (getattr(member_array.metadata, "dimension_names", None) or ()):
                raise CubeError(
                    f"{group.path}: '{name}' was made for other values of '{dim}' ({array.shape[0]} of them, now"
                    f" {values.shape[0]}); write a new version, or remove the group from the cube."
                )
    add_labels(group, dim, values)


def ensure_column(group: zarr.Group, name: str, values: NDArray[Any], dim: str, attributes: Mapping[str, Any]) -> bool:
    """Write the numbers `name` along `dim` unless they are there: an array that is there may have lost them to a full disk.

    They lie in its attributes, too, see `INLINE`. Returns whether anything was written.
    """
    if name in group:
        column = group[name]
        assert isinstance(column, zarr.Array)
        if column.shape == values.shape and (np.asarray(column[:]) == values).all():
            return False
    add_labels(group, name, values, dim, {**attributes, INLINE: inline_text(values)})
    return True


def inline_text(values: NDArray[Any]) -> str:
    """The attribute `INLINE` of a column of these numbers."""
    return base64.b64encode(np.asarray(values, values.dtype.newbyteorder("<")).tobytes()).decode()


def inline_values(text: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The values that the attribute `INLINE` of a column of type `dtype` holds. Raises `ValueError` for a damaged one."""
    return np.frombuffer(base64.b64decode(text), dtype.newbyteorder("<")).astype(dtype)


def add_labels(
    group: zarr.Group, name: str, values: NDArray[Any], dim: str | None = None, attributes: Mapping[str, Any] | None = None
) -> None:
    """Write a one-dimensional array `name` along `dim` (its own name), replacing what was there; text becomes `string`."""
    text = values.dtype.kind in "OUT"
    array = group.create_array(
        name,
        shape=values.shape,
        dtype="string" if text else values.dtype,
        chunks=(max(1, values.shape[0]),),
        dimension_names=(dim or name,),
        attributes=dict(attributes or {}),
        compressors=compressors(),
        overwrite=True,
    )
    array[:] = values.astype(object) if text else values


def _add_times(group: zarr.Group, dim: str, labels: Sequence[str]) -> None:
    days = periods.days(labels)
    # The bounds first: a time that is there may have lost its bounds to a kill.
    group.create_array(
        periods.bounds_name(dim),
        data=days,
        chunks=days.shape,
        dimension_names=(dim, "end"),
        compressors=compressors(),
        overwrite=True,
    )
    add_labels(group, periods.time_name(dim), days[:, 0], dim, periods.time_attributes(dim))


def _time_axes(layer: Layer) -> tuple[str, ...]:
    """The axis of a series whose labels are quarters or months, and of any other layer none."""
    steps = layer.dims[-1:] if layer.period else ()
    return tuple(dim for dim in steps if periods.are_periods(layer.labels.get(dim, ())))


def layer_attributes(region: Region, layer: Layer, resolution: int, level: int = 0) -> dict[str, Any]:
    """All attributes that the array of a layer has by itself; None for those that another layer may have and it has not."""
    times = [periods.time_name(dim) for dim in _time_axes(layer)]
    return {
        **dict.fromkeys(DESCRIPTIVE),
        **layer.attributes(),
        "grid_mapping": conventions.GRID_MAPPING,
        **({"coordinates": " ".join(times)} if times else {}),
        "_FillValue": conventions.fill_attribute(layer.dtype, layer.fill),
        **conventions.spatial_attributes(region, resolution, level),
    }


def _add_layer(group: zarr.Group, region: Region, layer: Layer, resolution: int, level: int, extra: Mapping[str, Any]) -> None:
    if layer.name in group:
        return
    attributes = {**layer_attributes(region, layer, resolution, level), **extra}
    lead: list[int] = []
    for dim in layer.dims:
        coordinate = group[dim]
        assert isinstance(coordinate, zarr.Array)
        lead.append(coordinate.shape[0])
    inner, outer = shards(layer, lead, region.unit_km * 1000 // resolution)
    group.create_array(
        layer.name,
        shape=(*lead, *region.shape(resolution, level)),
        dtype=layer.dtype,
        chunks=inner,
        shards=outer,
        fill_value=layer.fill,
        # Thousands of maps of species are most of a cube and of the time to write it: level 1 takes half the time of level 3
        # and 1.7 % more room.
        compressors=compressors(1 if "species" in layer.dims else 3),
        dimension_names=(*layer.dims, "y", "x"),
        attributes={key: value for key, value in attributes.items() if value is not None},
    )
