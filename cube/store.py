"""Where cells are stored: create and open a cube by URL, its groups and sharded arrays, and whole-unit reads and writes.

Layout and metadata only; which layers exist is said in `cube.layers`, when they are complete in `cube.ledger`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import zarr
import zarr.codecs
import zarr.errors
import zarr.storage
from numpy.typing import NDArray
from zarr.abc.store import Store

from cube import conventions, grid
from cube.documents import Documents
from cube.errors import CubeError
from cube.grid import CELL, Region, Unit, Window
from cube.layers import Layer

FORMAT: Final = 1
SPECIES_PER_SHARD: Final = 128
MAP_CHUNK: Final = 400  # pixels a side of an inner chunk that a map tile reads
CELL_CHUNK: Final = 50  # pixels a side where one cell's whole vector is read at once
VECTOR_DIMS: Final = frozenset({"rank", "landsat_band", "quarter", "climate_variable", "climate_month"})


@contextmanager
def _quiet() -> Iterator[None]:
    # Zarr warns that consolidated metadata and strings are not yet in the v3 specification and that
    # current.json is no Zarr node: all three are decisions of our format, not news to a user.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module=r"zarr.*")
        warnings.filterwarnings("ignore", message=".*Zarr.*", category=UserWarning)
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"zarr.*")
        yield


def zarr_store(url: str, read_only: bool) -> Store:
    """A Zarr store for a path or any fsspec URL (`s3://`, `gs://`, `az://`, `https://`, `memory://`)."""
    if "://" not in url:
        return zarr.storage.LocalStore(Path(url), read_only=read_only)
    return zarr.storage.FsspecStore.from_url(url, read_only=read_only)


def _shards(layer: Layer, sizes: Sequence[int], unit_pixels: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(inner chunk, shard) of an array whose unit is `unit_pixels` a side."""
    vector = any(d in VECTOR_DIMS for d in layer.dims)
    finest = 500 if layer.resolution == "10m" else CELL_CHUNK if vector else MAP_CHUNK
    side = min(finest, unit_pixels)
    chunk, shard = [], []
    for dim, size in zip(layer.dims, sizes, strict=True):
        chunk.append(size if dim in VECTOR_DIMS else 1)
        shard.append(SPECIES_PER_SHARD if dim == "species" else size)
    return (*chunk, side, side), (*shard, unit_pixels, unit_pixels)


@dataclass(frozen=True)
class CubeStore(Documents):
    """An opened cube: its URL, its region and its Zarr root."""

    region: Region
    root: zarr.Group
    attributes: Mapping[str, Any]

    # Groups and arrays.

    def groups(self, path: str = "") -> list[str]:
        """Names of the groups directly below `path`, sorted; empty where `path` does not exist."""
        try:
            with _quiet():
                node = self.root[path] if path else self.root
                return sorted(name for name, _ in node.groups()) if isinstance(node, zarr.Group) else []
        except KeyError:
            return []

    def group(self, path: str) -> zarr.Group:
        """The group at `path`; raises `CubeError` if there is none."""
        try:
            with _quiet():
                node = self.root[path]
        except (KeyError, FileNotFoundError):
            node = None
        if not isinstance(node, zarr.Group):
            raise CubeError(f"{self.url}: there is no group '{path}'; run the stage that writes it first.")
        return node

    def has(self, path: str) -> bool:
        """Whether a group or array exists at `path`."""
        with _quiet():
            return path in self.root

    def array(self, path: str) -> zarr.Array[Any]:
        """The array at `path`; raises `CubeError` if there is none."""
        try:
            with _quiet():
                node = self.root[path]
        except (KeyError, FileNotFoundError):
            node = None
        if not isinstance(node, zarr.Array):
            raise CubeError(f"{self.url}: there is no layer '{path}'; run the stage that writes it first.")
        return node

    def ensure_group(
        self,
        path: str,
        layers: Sequence[Layer],
        resolution: int = CELL,
        level: int = 0,
        labels: Mapping[str, NDArray[Any]] | None = None,
        attributes: Mapping[str, Any] | None = None,
        layer_attributes: Mapping[str, Any] | None = None,
        consolidate: bool = True,
    ) -> zarr.Group:
        """Make the leaf group `path` with `layers` of this cube's region, their coordinates and CRS.

        `labels` gives coordinate values of dimensions that the layers do not label themselves.
        What exists already is left as it is, so a resumed run may call this again.
        """
        with _quiet():
            self.root.require_group(path)
            # Without what was consolidated before: it does not know the arrays that are added now.
            group = zarr.open_group(self.root.store, path=path, mode="r+", use_consolidated=False)
            group.attrs.update(
                {
                    "Conventions": "CF-1.11",
                    # xarray then takes the grid mapping as a coordinate, which rioxarray looks for.
                    "coordinates": conventions.GRID_MAPPING,
                    **conventions.spatial_attributes(self.region, resolution, level),
                    **(attributes or {}),
                }
            )
            self._add_coordinates(group, resolution, level)
            for layer in layers:
                for dim, names in layer.labels.items():
                    if dim not in group:
                        _add_labels(group, dim, np.asarray(names, dtype=object))
                for dim in layer.dims:
                    if labels and dim in labels and dim not in group:
                        _add_labels(group, dim, labels[dim])
                self._add_layer(group, layer, resolution, level, layer_attributes or {})
            if consolidate:
                zarr.consolidate_metadata(self.root.store, path=path)
        return group

    def _add_coordinates(self, group: zarr.Group, resolution: int, level: int) -> None:
        if conventions.GRID_MAPPING in group:
            return
        for axis, values in zip("yx", self.region.coordinates(resolution, level), strict=True):
            group.create_array(
                axis, data=values, chunks=values.shape, dimension_names=(axis,),
                attributes=conventions.axis_attributes(axis), compressors=zarr.codecs.ZstdCodec(level=3),
            )  # fmt: skip
        group.create_array(
            conventions.GRID_MAPPING, data=np.asarray(0, np.int32), dimension_names=(),
            attributes=conventions.grid_mapping_attributes(self.region, resolution, level),
        )  # fmt: skip

    def _add_layer(self, group: zarr.Group, layer: Layer, resolution: int, level: int, extra: Mapping[str, Any]) -> None:
        if layer.name in group:
            return
        lead: list[int] = []
        for dim in layer.dims:
            coordinate = group[dim]
            assert isinstance(coordinate, zarr.Array)
            lead.append(coordinate.shape[0])
        unit_pixels = self.region.unit_km * 1000 // resolution
        chunks, shards = _shards(layer, lead, unit_pixels)
        spatial = conventions.spatial_attributes(self.region, resolution, level)
        spatial.pop("proj:wkt2")  # said once by the group
        group.create_array(
            layer.name,
            shape=(*lead, *self.region.shape(resolution, level)),
            dtype=layer.dtype,
            chunks=chunks,
            shards=shards,
            fill_value=layer.fill,
            compressors=zarr.codecs.ZstdCodec(level=3),
            dimension_names=(*layer.dims, "y", "x"),
            attributes={
                **layer.attributes(),
                "grid_mapping": conventions.GRID_MAPPING,
                "_FillValue": conventions.fill_attribute(layer.dtype, layer.fill),
                **spatial,
                **extra,
            },
        )

    def write_table(self, path: str, columns: Mapping[str, NDArray[Any]], dim: str,
                    attributes: Mapping[str, Mapping[str, Any]] | None = None) -> None:  # fmt: skip
        """Write a table as a group of one-dimensional arrays along `dim`, replacing what was there."""
        with _quiet():
            group = self.root.create_group(path, overwrite=True)
            for name, values in columns.items():
                _add_labels(group, name, values, dim, (attributes or {}).get(name))
            zarr.consolidate_metadata(self.root.store, path=path)

    def read_table(self, path: str) -> dict[str, NDArray[Any]]:
        """All columns of the table at `path`; raises `CubeError` if there is none."""
        group = self.group(path)
        with _quiet():
            return {name: np.asarray(array[:]) for name, array in group.arrays()}

    # Whole units and windows, stored values.

    def write_unit(self, path: str, unit: Unit, values: NDArray[Any], resolution: int = CELL,
                   lead: slice | None = None) -> None:  # fmt: skip
        """Write one whole unit (or a block `lead` of its first axis that is whole shards), stored values."""
        square = self.region.square(unit, resolution)
        rows, cols = square.slices
        selection = (..., rows, cols) if lead is None else (lead, ..., rows, cols)
        self.array(path)[selection] = values

    def read_window(self, path: str, window: Window, fill: int | float | None = None) -> NDArray[Any]:
        """Stored values of a window of the last two axes; what lies outside the array is `fill` (its own fill)."""
        array = self.array(path)
        height, width = array.shape[-2:]
        r0, r1 = max(window.row, 0), min(window.row + window.height, height)
        c0, c1 = max(window.col, 0), min(window.col + window.width, width)
        if (r0, c0, r1 - r0, c1 - c0) == (window.row, window.col, window.height, window.width):
            return np.asarray(array[..., r0:r1, c0:c1])
        shape = (*array.shape[:-2], window.height, window.width)
        out = np.full(shape, array.fill_value if fill is None else fill, array.dtype)
        if r0 < r1 and c0 < c1:
            inner = (..., slice(r0 - window.row, r1 - window.row), slice(c0 - window.col, c1 - window.col))
            out[inner] = array[..., r0:r1, c0:c1]
        return out


def _add_labels(group: zarr.Group, name: str, values: NDArray[Any], dim: str | None = None,
                attributes: Mapping[str, Any] | None = None) -> None:  # fmt: skip
    text = values.dtype.kind in "OUT"
    array = group.create_array(
        name,
        shape=values.shape,
        dtype="string" if text else values.dtype,
        chunks=(max(1, values.shape[0]),),
        dimension_names=(dim or name,),
        attributes=dict(attributes or {}),
        compressors=zarr.codecs.ZstdCodec(level=3),
    )
    array[:] = values.astype(object) if text else values


def create_cube(url: str, region: Region, title: str) -> CubeStore:
    """Create the cube at `url`, or open it for writing if it is there already with the same region.

    Raises `CubeError` if another region or unit was used, or the store cannot be written.
    """
    try:
        with _quiet():
            root = zarr.open_group(zarr_store(url, read_only=False), mode="a", zarr_format=3)
    except (OSError, PermissionError) as error:
        raise CubeError(f"{url}: the cube cannot be created here ({error}); check the path and its rights.") from error
    if "floracube" not in root.attrs:
        west, south, east, north = region.bounds
        root.attrs.update(
            {
                "floracube": {
                    "format": FORMAT,
                    "title": title,
                    "unit_km": region.unit_km,
                    "region_km": [west // 1000, south // 1000, east // 1000, north // 1000],
                },
                "title": title,
                "Conventions": "CF-1.11",
                **conventions.spatial_attributes(region, CELL),
            }
        )
    cube = open_cube(url, writable=True)
    if cube.region != region:
        raise CubeError(
            f"{url}: the cube there has region {cube.attributes['region_km']} km and units of"
            f" {cube.region.unit_km} km, the configuration asks for {[b // 1000 for b in region.bounds]} km and"
            f" {region.unit_km} km; choose another cube URL or remove the old cube."
        )
    return cube


def open_cube(url: str, writable: bool = False) -> CubeStore:
    """Open the cube at `url`; raises `CubeError` if there is none or its format is newer than ours."""
    url = str(url).rstrip("/")
    if "://" not in url and not Path(url).is_dir():
        raise CubeError(f"{url}: there is no cube here; run `floracube build` first or check the path.")
    try:
        with _quiet():
            store = zarr_store(url, read_only=not writable)
            root = zarr.open_group(store, mode="r+" if writable else "r")
    except (FileNotFoundError, zarr.errors.GroupNotFoundError, KeyError) as error:
        raise CubeError(f"{url}: there is no cube here; run `floracube build` first or check the URL.") from error
    about = root.attrs.get("floracube")
    if not isinstance(about, dict):
        raise CubeError(f"{url}: this Zarr store is not a floracube cube (its root has no 'floracube' attribute).")
    if int(str(about["format"])) > FORMAT:
        raise CubeError(f"{url}: cube format {about['format']} is newer than {FORMAT}; upgrade floracube to read it.")
    west, south, east, north = about["region_km"]
    return CubeStore(url, Region(west, south, east, north, about["unit_km"]), root, about)


def resolution_of(layer: Layer) -> int:
    """Pixel size of a layer in metres."""
    return grid.RESOLUTIONS[layer.resolution]
