"""Where cells are stored: create and open a cube by URL, its groups and sharded arrays, and whole-unit reads and writes.

Layout and metadata only; which layers exist is said in `cube.layers`, when they are complete in `cube.storage.ledger`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import zarr
import zarr.codecs
import zarr.errors
from numpy.typing import NDArray
from zarr.core.buffer import Buffer, default_buffer_prototype
from zarr.core.sync import sync

from cube import grid
from cube.errors import CubeError
from cube.grid import CELL, RESOLUTIONS, Region, Unit, Window
from cube.layers import Layer, conventions
from cube.layers.inputs import INPUTS
from cube.storage import backends, shapes
from cube.storage.backends import zarr_store
from cube.storage.documents import Documents
from cube.storage.leaves import add_labels, make_leaf, set_attributes
from cube.storage.root import FORMAT, about_region, described, one_sentence, open_root, region_of
from cube.storage.whole_shards import overwrite, shard_keys

T = TypeVar("T")


@dataclass(frozen=True)
class CubeStore(Documents):
    """An opened cube: its URL and its region; its Zarr root is opened when it is needed first, unless it is `open_group`."""

    region: Region
    open_group: zarr.Group | None = field(default=None, repr=False, compare=False)

    @cached_property
    def root(self) -> zarr.Group:
        """The root group of the cube."""
        return open_root(self.url) if self.open_group is None else self.open_group

    @property
    def attributes(self) -> Mapping[str, Any]:
        """What the root says of the cube, see `cube.storage.root.described`."""
        return described(f"{self.url}/zarr.json", self.root.attrs.get("floracube"))

    # Groups and arrays.

    def node(self, path: str) -> zarr.Group | zarr.Array[Any] | None:
        """The group or array at `path`, None where there is none; raises `CubeError` for metadata that cannot be read."""
        try:
            return self.root[path] if path else self.root
        except (KeyError, FileNotFoundError) as error:
            # Zarr raises the same for a node that is absent and for metadata that lack a key.
            if self._metadata_bytes([path]) == [None]:
                return None
            raise self.unreadable(path, error) from error
        except (ValueError, TypeError, AttributeError) as error:
            raise self.unreadable(path, error) from error

    def metadata(self, paths: Sequence[str]) -> list[Any | None]:
        """The metadata documents of groups and arrays as they are stored, read at once; None where there is none.

        Raises `CubeError` for one that is no JSON document.
        """
        contents = self._metadata_bytes(paths)
        return [self._document(f"{path}/zarr.json".lstrip("/"), data) for path, data in zip(paths, contents, strict=True)]

    def _metadata_bytes(self, paths: Sequence[str]) -> list[bytes | None]:
        store, keys = self.root.store, [f"{path}/zarr.json".lstrip("/") for path in paths]

        async def read() -> list[Buffer | None]:
            return list(await asyncio.gather(*(store.get(key, default_buffer_prototype()) for key in keys)))

        return [None if content is None else content.to_bytes() for content in sync(read())]

    def unreadable(self, path: str, error: Exception) -> CubeError:
        """What to raise for metadata of a group or array that cannot be read."""
        location = f"{self.url}/{path}".rstrip("/")
        return CubeError(
            f"{location}/zarr.json: is no metadata of a Zarr array or group ({' '.join(repr(error).split())}); restore this file,"
            " or remove the layer and run the command that writes it again."
        )

    def groups(self, path: str = "") -> list[str]:
        """Names of the groups directly below `path`, sorted; empty where `path` does not exist."""
        node = self.node(path)
        if not isinstance(node, zarr.Group):
            return []
        try:
            return sorted(name for name, _ in node.groups())
        except (ValueError, TypeError, AttributeError) as error:
            raise self.unreadable(f"{path}/*".lstrip("/"), error) from error

    def group(self, path: str) -> zarr.Group:
        """The group at `path`; raises `CubeError` if there is none."""
        node = self.node(path)
        if not isinstance(node, zarr.Group):
            raise CubeError(f"{self.url}: there is no group '{path}'; run the stage that writes it first.")
        return node

    def has(self, path: str) -> bool:
        """Whether a group or array exists at `path`."""
        return self.node(path) is not None

    def array(self, path: str) -> zarr.Array[Any]:
        """The array at `path`; raises `CubeError` if there is none."""
        node = self.node(path)
        if not isinstance(node, zarr.Array):
            raise CubeError(f"{self.url}: there is no layer '{path}'; run the stage that writes it first.")
        try:
            return backends.with_rust_codecs(node, self.url)
        except (ValueError, TypeError, RuntimeError) as error:
            raise self.unreadable(path, error) from error

    def layer(self, path: str) -> Layer:
        """What the array at `path` says of itself; raises `CubeError` if there is none."""
        return layer_of(self.array(path))

    def layers(self) -> dict[str, Layer]:
        """The input layers of the cube by name, with the labels of their axes: those of the presets in their order first."""
        layers: dict[str, Layer] = {}
        for arrays in self._inputs():
            labels = {
                name: tuple(str(label) for label in np.asarray(array[:])) for name, array in arrays.items() if array.ndim == 1
            }
            layers |= {name: layer_of(array, labels) for name, array in arrays.items() if array.ndim > 1}
        return _presets_first(layers)

    def input_arrays(self) -> dict[str, zarr.Array[Any]]:
        """The arrays of the input layers by name, with the attributes that they have now; in the order of `layers`."""
        return _presets_first({name: array for arrays in self._inputs() for name, array in arrays.items() if array.ndim > 1})

    def _inputs(self) -> Iterator[dict[str, zarr.Array[Any]]]:
        """For each resolution, the arrays over (y, x) and those with the labels of an axis, by name."""
        for resolution in RESOLUTIONS:
            path = f"inputs/{resolution}"
            names = [n for n, d in self._arrays(path).items() if d[-2:] == ("y", "x") or (d == (n,) and n not in ("x", "y"))]
            # What is consolidated may be older than an array, or name one that is being removed.
            nodes = {name: self.node(f"{path}/{name}") for name in names}
            yield {name: node for name, node in nodes.items() if isinstance(node, zarr.Array)}

    def _arrays(self, path: str) -> dict[str, tuple[str, ...]]:
        """Names and axes of the arrays of a leaf group; none where there is no such group."""
        node = self.node(path)
        if not isinstance(node, zarr.Group):
            return {}
        try:
            return {name: dims_of(array) for name, array in node.arrays()}
        except (ValueError, TypeError, AttributeError) as error:
            raise self.unreadable(f"{path}/*", error) from error

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
        What exists already is left as it is, so a resumed run may call this again. Raises `CubeError` if a layer is there
        already with other labels than these.
        """
        self.root.require_group(path)
        return make_leaf(
            self.root.store,
            self.region,
            path,
            layers,
            resolution,
            level,
            labels or {},
            attributes or {},
            layer_attributes or {},
            consolidate,
        )

    def write_table(
        self, path: str, columns: Mapping[str, NDArray[Any]], dim: str, attributes: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        """Write a table as a group of one-dimensional arrays along `dim`, replacing what was there."""
        group = self.root.create_group(path, overwrite=True)
        for name, values in columns.items():
            add_labels(group, name, values, dim, (attributes or {}).get(name))
        zarr.consolidate_metadata(self.root.store, path=path)

    def read_table(self, path: str) -> dict[str, NDArray[Any]]:
        """All columns of the table of a version at `path`; raises `CubeError` if there is none."""
        if not self.has(path):
            raise CubeError(
                f"{self.url}/{path}: there is no table here, so this version was cut off or an older floracube made it;"
                " run `floracube predict` with another --version."
            )
        try:
            return {name: np.asarray(array[:]) for name, array in self.group(path).arrays()}
        except (ValueError, TypeError, RuntimeError) as error:
            raise CubeError(
                f"{self.url}/{path}: this table is damaged ({' '.join(str(error).split())});"
                " restore it, or run the command that writes it again."
            ) from error

    # Whole units and windows, stored values.

    def write_unit(
        self, path: str, unit: Unit, values: NDArray[Any], resolution: int = CELL, lead: slice | None = None
    ) -> dict[str, int]:
        """Write one whole unit (or a block `lead` of its first axis that is whole shards), stored values; see `write`."""
        square = self.region.square(unit, resolution)
        rows, cols = square.slices
        return self.write(path, (..., rows, cols) if lead is None else (lead, ..., rows, cols), values)

    def write(
        self, path: str, selection: tuple[Any, ...], values: NDArray[Any], target: zarr.Array[Any] | None = None
    ) -> dict[str, int]:
        """Write `values` over a selection of whole shards of the array at `path` (or `target`), whatever is in them.

        Returns the bytes of each shard by its key in the cube, 0 for one that holds only fill and is not stored.
        """
        array = self.array(path) if target is None else target
        try:
            size_of_key = overwrite(array, self.url, selection, values)
        except RuntimeError:
            if backends.local_path(self.url) is None:
                raise
            # On a disk the Rust codecs write in place, and where a shard reaches beyond its array they look into the one that is
            # there first: what a killed process cut off is no shard. A fault of another kind comes again.
            self._remove(array, path, selection)
            size_of_key = overwrite(array, self.url, selection, values)
        keys = [f"{path}/{key}" for key in shard_keys(array, selection)]
        return self._stored_bytes([key for key in keys if key not in size_of_key]) | {
            k: size_of_key[k] for k in keys if k in size_of_key
        }

    def _stored_bytes(self, keys: Sequence[str]) -> dict[str, int]:
        """Bytes of some objects by their keys, 0 where there is none."""
        folder, store = backends.local_path(self.url), self.root.store
        if folder is not None:
            files = {key: folder / key for key in keys}
            return {key: file.stat().st_size if file.is_file() else 0 for key, file in files.items()}

        async def size(key: str) -> int:
            try:
                return await store.getsize(key)
            except FileNotFoundError:
                return 0

        async def sizes() -> list[int]:
            return list(await asyncio.gather(*map(size, keys)))

        return dict(zip(keys, sync(sizes()), strict=True))

    def clear(self, path: str, window: Window) -> None:
        """Remove the shards of a window of whole shards, whatever is in them: afterwards it reads as fill."""
        node = self.node(path)
        if isinstance(node, zarr.Array):
            self._remove(node, path, (..., *window.slices))

    def _remove(self, array: zarr.Array[Any], path: str, selection: tuple[Any, ...]) -> None:
        folder = backends.local_path(self.url)
        if folder is None:  # an object is whole or is not there: the codecs can take it
            array[selection] = array.fill_value
            return
        for key in shard_keys(array, selection):
            (folder / path / key).unlink(missing_ok=True)

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


def _presets_first(items: Mapping[str, T]) -> dict[str, T]:
    order = list(INPUTS)
    return {name: items[name] for name in sorted(items, key=lambda n: (order.index(n) if n in INPUTS else len(order), n))}


def create_cube(url: str, region: Region, title: str, usage_terms: Mapping[str, str | None] | None = None) -> CubeStore:
    """Create the cube at `url`, or open it for writing if it is there already with the same region.

    `usage_terms` are attributes of the whole (`license`, `attribution`, `note`). They and the title are updated.
    Raises `CubeError` if another region or unit was used, if there is another Zarr store, or the store cannot be written.
    """
    with one_sentence(url, "the cube cannot be created here"):
        root = zarr.open_group(zarr_store(url, read_only=False), mode="a", zarr_format=3)
        if "floracube" not in root.attrs:
            if len(root.attrs):
                raise CubeError(f"{url}: there is another Zarr store here already; choose another cube URL.")
            root.update_attributes(  # all at once: a root that a kill left with some of them would pass for whole
                {
                    "floracube": {"format": FORMAT, "title": title, **about_region(region)},
                    "title": title,
                    "Conventions": "CF-1.11",
                    **conventions.spatial_attributes(region, CELL),
                }
            )
    cube = open_cube(url, writable=True)
    if cube.region != region:
        raise CubeError(
            f"{url}: the cube there has region {cube.attributes['region_km']} km of {cube.region.grid.code} and units of"
            f" {cube.region.unit_km} km, the configuration asks for {[b // 1000 for b in region.bounds]} km of"
            f" {region.grid.code} and {region.unit_km} km; choose another cube URL or remove the old cube."
        )
    terms = {key: value or None for key, value in (usage_terms or {}).items()}
    set_attributes(cube.root, {"title": title, "floracube": {**cube.attributes, "title": title, "format": FORMAT}, **terms})
    return cube


def open_cube(url: str, writable: bool = False) -> CubeStore:
    """Open the cube at `url`; raises `CubeError` if there is none or its format is newer than ours."""
    url = str(url).rstrip("/")
    root = open_root(url, writable)
    where = f"{url}/zarr.json"
    return CubeStore(url, region_of(where, described(where, root.attrs.get("floracube"))), root)


def layer_of(array: zarr.Array[Any], labels: Mapping[str, tuple[str, ...]] | None = None) -> Layer:
    """What an array of a cube says of itself; `labels` of axes are those of its group, as far as they are of interest."""
    dims = dims_of(array)
    axis_labels = {dim: labels[dim] for dim in dims if dim in labels} if labels else {}
    with shapes.reading(f"{array.path}/zarr.json, attributes", "restore it, or run the command that writes the layer again"):
        layer = Layer.from_metadata(array.path, str(array.dtype), array.fill_value, dims, array.attrs, axis_labels)
    preset = INPUTS.get(layer.name)
    if preset is None or not layer.group.startswith("inputs/"):
        return layer
    # Cubes of before these were written with every array.
    return replace(layer, predictor=layer.predictor and preset.predictor, period=layer.period or preset.period)


def dims_of(array: zarr.Array[Any]) -> tuple[str, ...]:
    """Names of the axes of an array."""
    return tuple(str(dim) for dim in getattr(array.metadata, "dimension_names", None) or ())


def resolution_of(layer: Layer) -> int:
    """Pixel size of a layer in metres."""
    return grid.RESOLUTIONS[layer.resolution]
