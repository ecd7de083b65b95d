"""Pyramids of any set of layers: their groups, and one square of a level built from what lies below.

A pixel of level n is the mean of the *valid level 0 cells* under it (continuous layers; rounded once, to the nearest
stored step) or their most frequent class (class layers). So no level carries the rounding of another, and a pixel at
the coast weighs its cells and not its children. Means cost no more for it: every third level also keeps sums and counts
(in `sums/<level>`, where a coarser level needs them), so that a square reads at most 8 x 8 squares of pixels. Classes
stream level 0, since a majority of majorities is not the majority. Memory is bounded by one shard and one block of
reading, whatever the level and the region. The tree of squares is `cube.squares`, its arithmetic `cube.coarsen`.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import numpy as np
import zarr
from numpy.typing import NDArray

from cube import conventions
from cube.coarsen import Votes, block_sums, rounded_mean, valid_cells, valid_sums
from cube.grid import CELL, RESOLUTIONS, Window
from cube.layers import Layer
from cube.leaves import SPECIES_PER_SHARD, set_attributes
from cube.squares import Square
from cube.store import CubeStore

SPAN: Final = 3  # levels between two that keep sums: a square reads at most 2^3 x 2^3 squares of pixels
BLOCK_BYTES: Final = 64 * 2**20  # stored bytes that are read at once
VOTING: Final = 400  # level 0 cells a side whose votes are held at once (more where one pixel has more cells)
OWN: Final = ("zarr_conventions", "_FillValue", "grid_mapping")  # attributes that each level writes for itself

Array = NDArray[Any]


@dataclass(frozen=True)
class Pyramid:
    """Layers of one group and where their coarser levels lie: `<base>/<level>/<layer>`, level 0 in `source`."""

    layers: tuple[Layer, ...]
    source: str  # group of level 0
    base: str
    resolution: int = CELL  # metres, of level 0

    @classmethod
    def of_inputs(cls, resolution: str, layers: Sequence[Layer]) -> Pyramid:
        """Overviews of input layers of `10m`, `50m` or `1km`: levels from 1 in `inputs/overviews/<resolution>`."""
        return cls(tuple(layers), f"inputs/{resolution}", f"inputs/overviews/{resolution}", RESOLUTIONS[resolution])

    @classmethod
    def of_product(cls, product: str, version: str, layers: Sequence[Layer]) -> Pyramid:
        """Levels of a version of a product: `products/<product>/<version>/<level>`."""
        base = f"products/{product}/{version}"
        return cls(tuple(layers), f"{base}/0", base)

    def group(self, level: int) -> str:
        """Path of the group of a level."""
        return self.source if level == 0 else f"{self.base}/{level}"

    @property
    def owner(self) -> str:
        """Path of the group whose `multiscales` attribute lists the levels: the nearest that holds them all."""
        return "inputs" if self.base.startswith("inputs/") else self.base

    def sums(self, level: int) -> str:
        """Path of the group of the sums and counts that `level` keeps for coarser levels."""
        return f"{self.base}/sums/{level}"


class Built(NamedTuple):
    """What `build_square` leaves for the receipt of a square."""

    counts: dict[str, int]  # `<layer> valid`: pixels that hold data
    checksums: dict[str, int]  # layer: CRC-32 of its stored values in C order, as `cube.ledger.checksum`


def make_levels(cube: CubeStore, pyramid: Pyramid) -> None:
    """Make the groups of levels 1 to the coarsest, once level 0 exists; what is there is left as it is.

    Labels, columns along other axes (a species' `scale`), licence and all other attributes are those of level 0.
    """
    # Consolidated metadata may be older than the attributes.
    source = zarr.open_group(cube.root.store, path=pyramid.source, mode="r", use_consolidated=False)
    arrays = {name: array for name, array in source.arrays() if _dims(array)}
    needed = {dim for layer in pyramid.layers for dim in layer.dims}
    labels = {dim: np.asarray(arrays[dim][:]) for dim in needed}
    columns = [name for name, array in arrays.items() if name not in needed and set(_dims(array)) <= needed]
    about = _carried(source)
    for level in range(1, cube.region.levels() + 1):
        group = cube.ensure_group(pyramid.group(level), [], pyramid.resolution, level, attributes=about, consolidate=False)
        for layer in pyramid.layers:
            said = {**_carried(arrays[layer.name]), "cell_methods": _cell_method(layer)}
            cube.ensure_group(pyramid.group(level), [layer.at(pyramid.group(level))], pyramid.resolution, level, labels,
                              layer_attributes=said, consolidate=False)  # fmt: skip
        for name in columns:
            if name not in group:
                values = np.asarray(arrays[name][:])
                group.create_array(name, data=values, chunks=values.shape, dimension_names=_dims(arrays[name]),
                                   attributes=dict(arrays[name].attrs))  # fmt: skip
        cube.ensure_group(pyramid.group(level), [], pyramid.resolution, level)
        if level in _kept(cube):
            kept = [part for layer in pyramid.layers if layer.kind == "continuous" for part in _sum_layers(layer, pyramid, level)]
            cube.ensure_group(pyramid.sums(level), kept, pyramid.resolution, level, labels)
    _list_levels(cube, pyramid)


def _list_levels(cube: CubeStore, pyramid: Pyramid) -> None:
    """The `multiscales` attribute of a product's version; of `inputs` for the overviews of all resolutions."""
    levels = range(cube.region.levels() + 1)
    if pyramid.owner == pyramid.base:
        described = {pyramid.resolution: [str(level) for level in levels]}
    else:
        held = [Pyramid.of_inputs(name, ()) for name in RESOLUTIONS if cube.has(f"inputs/overviews/{name}/1")]
        described = {p.resolution: [p.group(level).removeprefix("inputs/") for level in levels] for p in held}
    if described:
        set_attributes(cube.group(pyramid.owner), conventions.multiscale_attributes(cube.region, described, "average"))


def _kept(cube: CubeStore) -> range:
    """Levels that keep sums: every third, as long as a coarser one follows."""
    return range(SPAN, cube.region.levels(), SPAN)


def _dims(array: zarr.Array[Any]) -> tuple[str, ...]:
    return tuple(str(dim) for dim in getattr(array.metadata, "dimension_names", None) or ())


def _carried(node: zarr.Group | zarr.Array[Any]) -> dict[str, Any]:
    """Attributes of level 0 that hold at every level."""
    return {k: v for k, v in node.attrs.items() if k not in OWN and not k.startswith(("spatial:", "proj:"))}


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
    plain = replace(layer.at(pyramid.sums(level)), scale=1.0, offset=0.0, valid_range=None, palette="none", units="1")
    return (
        replace(plain, name=f"{layer.name}_sum", dtype=wide, fill=fill, long_name=f"{layer.long_name}: sum of the stored values"),
        replace(plain, name=f"{layer.name}_count", dtype=count, fill=0, long_name=f"{layer.long_name}: number of valid cells"),
    )


def build_square(cube: CubeStore, pyramid: Pyramid, square: Square) -> Built:
    """Fill one square of every layer of the pyramid: whole shards of its level, written once each.

    Its children must be complete (`cube.squares.tree` gives the order); what they lack stays without data.
    """
    counts, checksums = {}, {}
    for layer in pyramid.layers:
        path, valid, crc = f"{pyramid.group(square.level)}/{layer.name}", 0, 0
        for target, selection, values in square_values(cube, pyramid, layer, square):
            cube.array(target)[selection] = values
            if target == path:
                valid += int(valid_cells(values, layer.fill).sum())
                crc = zlib.crc32(values.data, crc)
        counts[f"{layer.name} valid"], checksums[layer.name] = valid, crc
    return Built(counts, checksums)


Piece = tuple[str, tuple[slice, ...], Array]  # path of an array, what of it, the stored values that belong there


def square_values(cube: CubeStore, pyramid: Pyramid, layer: Layer, square: Square) -> Iterator[Piece]:
    """What belongs into a square of a layer, whole shards after one another, computed from what lies below and not written.

    With its kept sums and counts, where the level has some.
    """
    pieces = _majorities if layer.kind == "class" else _means
    return pieces(cube, pyramid, layer, square)


@dataclass(frozen=True)
class _Below:
    """What a square of means is made from: level 0 itself, or the sums and counts that an earlier level keeps."""

    arrays: tuple[zarr.Array[Any], ...]  # (level 0,) or (sums, counts)
    factor: int  # pixels of `arrays` along one pixel of the square
    fill: int | float

    def sums(self, lead: tuple[slice, ...], part: Window) -> tuple[Array, NDArray[np.int64]]:
        """(sum, number) of the valid level 0 cells in each pixel of `part`, a window of the square's level."""
        read = [_read(array, lead, part, self.factor) for array in self.arrays]
        if len(read) == 1:
            return valid_sums(read[0], self.fill, self.factor)
        total, count = read
        wide = np.float64 if total.dtype.kind == "f" else np.int64
        known = np.where(count > 0, total, np.zeros((), total.dtype)).astype(wide)
        return block_sums(known, self.factor), block_sums(count, self.factor)


def _below(cube: CubeStore, pyramid: Pyramid, layer: Layer, level: int) -> _Below:
    anchor = (level - 1) // SPAN * SPAN
    paths = _sum_paths(pyramid, layer, anchor) if anchor else (f"{pyramid.source}/{layer.name}",)
    return _Below(tuple(cube.array(path) for path in paths), 2 ** (level - anchor), layer.fill)


def _sum_paths(pyramid: Pyramid, layer: Layer, level: int) -> tuple[str, str]:
    return f"{pyramid.sums(level)}/{layer.name}_sum", f"{pyramid.sums(level)}/{layer.name}_count"


def _means(cube: CubeStore, pyramid: Pyramid, layer: Layer, square: Square) -> Iterator[Piece]:
    level = square.level
    below = _below(cube, pyramid, layer, level)
    paths = [f"{pyramid.group(level)}/{layer.name}", *(_sum_paths(pyramid, layer, level) if level in _kept(cube) else ())]
    targets = [cube.array(path) for path in paths]
    window = square.window(pyramid.resolution)
    for lead in _leads(targets[0], layer):
        lengths = tuple(part.stop - part.start for part in lead)
        shards = [np.empty((*lengths, window.height, window.width), target.dtype) for target in targets]
        bytes_a_pixel = math.prod(lengths) * sum(array.dtype.itemsize for array in below.arrays)
        reach = int((BLOCK_BYTES / bytes_a_pixel) ** 0.5)
        for part in _parts(window, below.factor, below.arrays[0].chunks[-1], reach):
            total, count = below.sums(lead, part)
            where = (..., *_within(part, window))
            shards[0][where] = rounded_mean(total, count, targets[0].dtype, layer.fill)
            if len(shards) > 1:
                shards[1][where] = np.where(count > 0, total, targets[1].fill_value)
                shards[2][where] = count
        yield from ((path, (*lead, *window.slices), values) for path, values in zip(paths, shards, strict=True))


def _majorities(cube: CubeStore, pyramid: Pyramid, layer: Layer, square: Square) -> Iterator[Piece]:
    path = f"{pyramid.group(square.level)}/{layer.name}"
    source, target = cube.array(f"{pyramid.source}/{layer.name}"), cube.array(path)
    window, factor, fill = square.window(pyramid.resolution), 2**square.level, int(layer.fill)
    out = np.empty((*target.shape[:-2], window.height, window.width), target.dtype)
    for index in np.ndindex(target.shape[:-2]):
        lead = tuple(slice(i, i + 1) for i in index)
        for part in _parts(window, factor, source.chunks[-1], VOTING):
            votes = Votes(part.height * part.width)
            # A part may span many chunks at high levels: they are read and counted one block after the other.
            for row, col, values in _blocks(source, lead, part, factor):
                rows = (row + np.arange(values.shape[0])) // factor
                cols = (col + np.arange(values.shape[1])) // factor
                votes.add(values.ravel(), (rows[:, None] * part.width + cols).ravel(), fill)
            out[(*index, *_within(part, window))] = votes.winners(target.dtype, fill).reshape(part.height, part.width)
    yield path, (*(slice(0, length) for length in target.shape[:-2]), *window.slices), out


def _leads(array: zarr.Array[Any], layer: Layer) -> Iterator[tuple[slice, ...]]:
    """Slices of the axes before (y, x): whole shards, species in blocks."""
    lengths = array.shape[:-2]
    step = SPECIES_PER_SHARD if layer.dims[:1] == ("species",) else max(lengths[:1], default=1)
    rest = tuple(slice(0, length) for length in lengths[1:])
    if not lengths:
        yield ()
    for start in range(0, lengths[0] if lengths else 0, step):
        yield (slice(start, min(start + step, lengths[0])), *rest)


def _parts(window: Window, factor: int, chunk: int, reach: int) -> Iterator[Window]:
    """Tiles of a square that stand on about `reach` pixels a side of the array below: whole chunks, none is read twice."""
    aligned = math.lcm(chunk, factor)
    side = aligned * max(1, reach // aligned) // factor
    for row in range(0, window.height, side):
        for col in range(0, window.width, side):
            yield Window(window.row + row, window.col + col, min(side, window.height - row), min(side, window.width - col))


def _within(part: Window, window: Window) -> tuple[slice, slice]:
    return Window(part.row - window.row, part.col - window.col, part.height, part.width).slices


def _read(array: zarr.Array[Any], lead: tuple[slice, ...], part: Window, factor: int) -> Array:
    """The pixels of `array` under `part`, `factor` along each; fill beyond the array's edge."""
    rows, cols = Window(part.row * factor, part.col * factor, part.height * factor, part.width * factor).slices
    values = np.asarray(array[(*lead, rows, cols)])  # clipped at the edge
    lacking = (rows.stop - rows.start - values.shape[-2], cols.stop - cols.start - values.shape[-1])
    if not any(lacking):
        return values
    return np.pad(values, [*((0, 0) for _ in lead), (0, lacking[0]), (0, lacking[1])], constant_values=array.fill_value)


def _blocks(array: zarr.Array[Any], lead: tuple[slice, ...], part: Window, factor: int) -> Iterator[tuple[int, int, Array]]:
    """(row, column, values) of blocks of whole chunks that cover the cells under `part`, offsets from its corner."""
    chunk = array.chunks[-1]
    step = chunk * max(1, int((BLOCK_BYTES / array.dtype.itemsize) ** 0.5) // chunk)
    top, left = part.row * factor, part.col * factor
    bottom, right = min(top + part.height * factor, array.shape[-2]), min(left + part.width * factor, array.shape[-1])
    for row in range(top, bottom, step):
        for col in range(left, right, step):
            block = np.asarray(array[(*lead, slice(row, min(row + step, bottom)), slice(col, min(col + step, right)))])
            yield row - top, col - left, block.reshape(block.shape[-2:])
