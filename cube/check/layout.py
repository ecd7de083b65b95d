"""Promises on how maps lie and are stored: region, shapes, coordinates, the table of layers, shards, labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from cube import conventions
from cube.check.house import Document, House, Leaf, dims
from cube.check.promise import Finding, promise
from cube.grid import CELL
from cube.storage.leaves import shards
from cube.storage.store import CubeStore

BUILD: Final = "remove the layer and build it again"
CODE: Final = "it was written by other code than this; build the cube again with this version"


@promise
def region(house: House) -> Iterator[Finding]:
    """The cube says which region of the grid it covers."""
    attrs = house.node("").get("attributes", {})
    for key, value in conventions.spatial_attributes(house.cube.region, CELL).items():
        if attrs.get(key) != value:
            yield Finding(f"{house.cube.url} (root), {key}", _short(value), _short(attrs.get(key)), "write the attribute anew")


@promise
def shapes(house: House) -> Iterator[Finding]:
    """Every map covers the region grown outward to whole units."""
    for leaf in house.leaves:
        wanted = house.cube.region.shape(leaf.resolution, leaf.level)
        for name, array in leaf.maps():
            found = tuple(array["shape"][-2:])
            if found != wanted:
                yield Finding(f"{leaf.path}/{name}", f"{wanted[0]} x {wanted[1]} pixels", f"{found[0]} x {found[1]}", BUILD)


@promise
def coordinates(house: House) -> Iterator[Finding]:
    """The axes y and x are the centres of the region's pixels, and every other axis has its labels."""
    for leaf in house.leaves:
        for axis, wanted in zip("yx", house.cube.region.coordinates(leaf.resolution, leaf.level), strict=True):
            if axis not in leaf.arrays:
                yield Finding(f"{leaf.path}/{axis}", "the coordinates of the pixels", "nothing", CODE)
            elif not np.array_equal(np.asarray(house.cube.array(f"{leaf.path}/{axis}")[:]), wanted):
                yield Finding(f"{leaf.path}/{axis}", f"{wanted[0]:g} to {wanted[-1]:g} m", "other coordinates", CODE)
        for name, array in leaf.maps():
            for dim, length in zip(dims(array)[:-2], array["shape"], strict=False):
                held = leaf.arrays.get(dim)
                if held is None or list(held["shape"]) != [length]:
                    found = "nothing" if held is None else f"{held['shape'][0]} labels"
                    yield Finding(f"{leaf.path}/{dim}", f"{length} labels for an axis of {name}", found, BUILD)


@promise
def table_of_layers(house: House) -> Iterator[Finding]:
    """Every layer has the type, axes, scale, offset and units of the table of layers."""
    for leaf in house.leaves:
        for name, array in leaf.maps():
            layer = leaf.expected(name)
            if layer is None:
                yield Finding(
                    f"{leaf.path}/{name}", "a layer that the table knows", "an unknown name", "remove it, or upgrade floracube"
                )
                continue
            attrs = array.get("attributes", {})
            pairs: list[tuple[str, Any, Any]] = [
                ("data_type", layer.dtype, array["data_type"]),
                ("dimension_names", (*layer.dims, "y", "x"), dims(array)),
                ("scale_factor", layer.scale, attrs.get("scale_factor", 1.0)),
                ("add_offset", layer.offset, attrs.get("add_offset", 0.0)),
                ("units", layer.units, attrs.get("units")),
                ("floracube_kind", layer.kind, attrs.get("floracube_kind")),
            ]
            for key, wanted, found in pairs:
                if wanted != found:
                    yield Finding(f"{leaf.path}/{name}, {key}", _short(wanted), _short(found), BUILD)


@promise
def fill_values(house: House) -> Iterator[Finding]:
    """What an array is filled with, its fill_value and its _FillValue agree and are what the table of layers says."""
    for leaf in house.leaves:
        for name, array in leaf.maps():
            layer = leaf.expected(name)
            said = array.get("attributes", {}).get("_FillValue")
            fill = float("nan") if array["fill_value"] == "NaN" else array["fill_value"]
            if said != conventions.fill_attribute(str(array["data_type"]), fill):
                yield Finding(f"{leaf.path}/{name}, _FillValue", f"the fill_value, {fill}", _short(said), BUILD)
            elif layer is not None and not (fill == layer.fill or (np.isnan(fill) and np.isnan(layer.fill))):
                yield Finding(f"{leaf.path}/{name}, fill_value", str(layer.fill), str(fill), BUILD)


@promise
def shards_and_chunks(house: House) -> Iterator[Finding]:
    """A shard holds one unit, and its chunks are those that a tile or a cell reads."""
    for leaf in house.leaves:
        side = house.cube.region.unit_km * 1000 // leaf.resolution
        for name, array in leaf.maps():
            layer = leaf.expected(name)
            if layer is None:
                continue
            inner, outer = shards(layer, array["shape"][:-2], side)
            found = _stored_chunks(array)
            if found != (inner, outer):
                yield Finding(f"{leaf.path}/{name}", f"chunks {inner} in shards {outer}", f"{found[0]} in {found[1]}", BUILD)


def _stored_chunks(array: Document) -> tuple[tuple[int, ...] | None, tuple[int, ...]]:
    """(inner chunk or None, shard) as the metadata says."""
    outer = tuple(array["chunk_grid"]["configuration"]["chunk_shape"])
    codec = next((c for c in array["codecs"] if c["name"] == "sharding_indexed"), None)
    return (tuple(codec["configuration"]["chunk_shape"]) if codec else None), outer


@promise
def labels(house: House) -> Iterator[Finding]:
    """Labels are Zarr strings, and those of the inputs are the published names in the published order."""
    for leaf in house.leaves:
        for name, array in leaf.arrays.items():
            wanted = _table_labels(leaf, name)
            if dims(array) != (name,) or name in "yx":
                continue
            path = f"{leaf.path}/{name}"
            if wanted is None and name != "species":
                continue
            if array["data_type"] != "string":
                yield Finding(path, "data type string", _short(array["data_type"]), BUILD)
            elif wanted is not None and _values(house.cube, path) != wanted:
                yield Finding(path, ", ".join(wanted[:6]), ", ".join(_values(house.cube, path)[:6]), BUILD)


def _table_labels(leaf: Leaf, dim: str) -> tuple[str, ...] | None:
    for name, _ in leaf.maps():
        layer = leaf.expected(name)
        if layer is not None and dim in layer.labels:
            return layer.labels[dim]
    return None


def _values(cube: CubeStore, path: str) -> tuple[str, ...]:
    return tuple(str(value) for value in np.asarray(cube.array(path)[:]))


def _short(value: Any) -> str:
    """A value in a sentence."""
    said = "nothing" if value is None else str(value)
    return said if len(said) <= 80 else f"{said[:77]}..."
