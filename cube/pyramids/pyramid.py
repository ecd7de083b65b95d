"""Pyramids of any set of layers: where their levels lie, and one square of a level built from what lies below.

A pixel of level n is the mean of the *valid level 0 cells* under it (continuous layers; rounded once, to the nearest
stored step) or their most frequent class (class layers). So no level carries the rounding of another, and a pixel at
the coast weighs its cells and not its children. Means cost no more for it: every third level also keeps sums and counts
(in `sums/<level>`, where a coarser level needs them), so that a square reads at most 8 x 8 squares of pixels. Classes
stream level 0, since a majority of majorities is not the majority. Memory is bounded by one shard and one block of
reading, whatever the level and the region. The tree of squares is `squares`, its arithmetic `coarsen`, its
groups are made by `levels`.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import zarr
from numpy.typing import NDArray

from cube.grid import CELL, RESOLUTIONS, Window
from cube.layers import Layer
from cube.pyramids.coarsen import Votes, block_sums, modes, rounded_mean, valid_cells, valid_sums
from cube.pyramids.squares import Square
from cube.storage.leaves import SPECIES_PER_SHARD
from cube.storage.store import CubeStore
from cube.storage.whole_shards import OpenArrays

# Levels between two that keep sums: a square reads at most 2^3 x 2^3 squares of pixels, each shard once. Sums at levels 1 and 2
# as well would spare 1.4 of the 3 GETs of each shard of level 0, but store 66 % of its bytes once more (49 and 17 %: species of
# the demo, zstd level 1) in 0.6 objects a shard. A PUT costs as much as 12 GETs: the requests would cost 1.9 times as much.
SPAN: Final = 3
BLOCK_BYTES: Final = 64 * 2**20  # stored bytes that are read at once
SMALL: Final = 4  # cells along a pixel up to which sorting them is cheaper than counting classes
NO_BLOCK: Final = -1  # the part of a square that has no species, where its blocks of species are tasks of their own
VOTING: Final = 400  # level 0 cells a side whose votes are held at once (more where one pixel has more cells)

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


class WrittenSums(NamedTuple):
    """What `build_square` leaves for the receipt of a square."""

    counts: dict[str, int]  # `<layer> valid`: pixels that hold data
    checksums: dict[str, int]  # layer: CRC-32 of its stored values in C order, as `cube.storage.ledger.checksum`
    sizes: dict[str, int]  # bytes of each shard by its key in the cube, those of kept sums included


def kept_levels(cube: CubeStore) -> range:
    """Levels that keep sums: every third, as long as a coarser one follows."""
    return range(SPAN, cube.region.levels(), SPAN)


def build_square(cube: CubeStore, pyramid: Pyramid, square: Square, block: int | None = None) -> WrittenSums:
    """Fill one square of every layer of the pyramid: whole shards of its level, written once each.

    With a `block`, that block of species alone (`blocks_of` tells how many there are), with `REST` all that has no species.
    Its children must be complete (`cube.pyramids.squares.tree` gives the order); what they lack stays without data.
    """
    counts, checksums, sizes = {}, {}, dict[str, int]()
    arrays = OpenArrays(cube)
    for layer in pyramid.layers:
        of_block = block if has_species(layer) else None
        if block is not None and has_species(layer) == (block == NO_BLOCK):
            continue
        path, valid, crc = f"{pyramid.group(square.level)}/{layer.name}", 0, 0
        for target, selection, values in square_values(arrays, pyramid, layer, square, of_block):
            sizes |= cube.write(target, selection, values, arrays.array(target))
            if target == path:
                valid += int(valid_cells(values, layer.fill).sum())
                crc = zlib.crc32(values.data, crc)
        counts[f"{layer.name} valid"] = valid
        checksums[layer.name if of_block is None else f"{layer.name} {of_block * SPECIES_PER_SHARD}"] = crc
    return WrittenSums(counts, checksums, sizes)


def has_species(layer: Layer) -> bool:
    """Whether a layer has an axis of species, whose shards hold a block of them each."""
    return layer.dims[:1] == ("species",)


def blocks_of(cube: CubeStore, pyramid: Pyramid) -> int:
    """Blocks of species that its layers have, 0 where none has species."""
    lengths = [cube.array(f"{pyramid.source}/{layer.name}").shape[0] for layer in pyramid.layers if has_species(layer)]
    return -(-max(lengths, default=0) // SPECIES_PER_SHARD)


Piece = tuple[str, tuple[slice, ...], Array]  # path of an array, what of it, the stored values that belong there


def square_values(
    arrays: OpenArrays, pyramid: Pyramid, layer: Layer, square: Square, block: int | None = None
) -> Iterator[Piece]:
    """What belongs into a square of a layer, whole shards after one another, computed from what lies below and not written.

    With its kept sums and counts, where the level has some, and of one `block` of species where that is given. Every shard
    below is read once.
    """
    if layer.kind == "class":
        return _majorities(arrays, pyramid, layer, square)
    return _means(arrays, pyramid, layer, square, block)


@dataclass(frozen=True)
class _Below:
    """What a square of means is made from: level 0 itself, or the sums and counts that an earlier level keeps."""

    arrays: tuple[zarr.Array[Any], ...]  # (level 0,) or (sums, counts)
    factor: int  # pixels of `arrays` along one pixel of the square
    fill: int | float

    def sums(self, lead: tuple[slice, ...], part: Window) -> tuple[Array, NDArray[np.integer[Any]]]:
        """(sum, number) of the valid level 0 cells in each pixel of `part`, a window of the square's level."""
        children = [_read(array, lead, part, self.factor) for array in self.arrays]
        if len(children) == 1:
            return valid_sums(children[0], self.fill, self.factor)
        total, count = children
        wide = np.float64 if total.dtype.kind == "f" else np.int64
        means = np.where(count > 0, total, np.zeros((), total.dtype)).astype(wide)
        return block_sums(means, self.factor), block_sums(count, self.factor)


def _below(arrays: OpenArrays, pyramid: Pyramid, layer: Layer, level: int) -> _Below:
    anchor = (level - 1) // SPAN * SPAN
    paths = _sum_paths(pyramid, layer, anchor) if anchor else (f"{pyramid.source}/{layer.name}",)
    return _Below(tuple(arrays.for_reading(path) for path in paths), 2 ** (level - anchor), layer.fill)


def _sum_paths(pyramid: Pyramid, layer: Layer, level: int) -> tuple[str, str]:
    return f"{pyramid.sums(level)}/{layer.name}_sum", f"{pyramid.sums(level)}/{layer.name}_count"


def _means(arrays: OpenArrays, pyramid: Pyramid, layer: Layer, square: Square, block: int | None) -> Iterator[Piece]:
    level = square.level
    below = _below(arrays, pyramid, layer, level)
    keeps_sums = level in kept_levels(arrays.cube)
    paths = [f"{pyramid.group(level)}/{layer.name}", *(_sum_paths(pyramid, layer, level) if keeps_sums else ())]
    targets = [arrays.array(path) for path in paths]
    window = square.window(pyramid.resolution)
    for lead in _leads(targets[0], layer, block):
        lengths = tuple(part.stop - part.start for part in lead)
        shards = [np.empty((*lengths, window.height, window.width), target.dtype) for target in targets]
        bytes_a_pixel = math.prod(lengths) * sum(array.dtype.itemsize for array in below.arrays)
        reach = int((BLOCK_BYTES / bytes_a_pixel) ** 0.5)
        for parts in _parts(window, below.factor, below.arrays[0], reach):
            for part in parts:
                total, count = below.sums(lead, part)
                selection = (..., *_within(part, window))
                shards[0][selection] = rounded_mean(total, count, targets[0].dtype, layer.fill)
                if len(shards) > 1:
                    shards[1][selection] = np.where(count > 0, total, targets[1].fill_value)
                    shards[2][selection] = count
            arrays.forget()
        yield from ((path, (*lead, *window.slices), values) for path, values in zip(paths, shards, strict=True))


def _majorities(arrays: OpenArrays, pyramid: Pyramid, layer: Layer, square: Square) -> Iterator[Piece]:
    path = f"{pyramid.group(square.level)}/{layer.name}"
    source, target = arrays.for_reading(f"{pyramid.source}/{layer.name}"), arrays.array(path)
    window, factor, fill = square.window(pyramid.resolution), 2**square.level, int(layer.fill)
    out = np.empty((*target.shape[:-2], window.height, window.width), target.dtype)
    for index in np.ndindex(target.shape[:-2]):
        lead = tuple(slice(i, i + 1) for i in index)
        for parts in _parts(window, factor, source, VOTING):
            for part in parts:
                selection = (*index, *_within(part, window))
                out[selection] = _winners(arrays, source, lead, part, factor, fill)
            arrays.forget()
    yield path, (*(slice(0, length) for length in target.shape[:-2]), *window.slices), out


def _winners(arrays: OpenArrays, source: zarr.Array[Any], lead: tuple[slice, ...], part: Window, factor: int, fill: int) -> Array:
    """The most frequent class in each pixel of `part`."""
    if factor <= SMALL:
        cells = _read(source, lead, part, factor)
        return modes(cells.reshape(cells.shape[-2:]), factor, fill)
    votes = Votes(part.height * part.width)
    # A part may span many shards at high levels: they are read and counted one block after the other.
    for row, col, values in _blocks(arrays, source, lead, part, factor):
        rows = (row + np.arange(values.shape[0])) // factor
        cols = (col + np.arange(values.shape[1])) // factor
        votes.add(values.ravel(), (rows[:, None] * part.width + cols).ravel(), fill)
    return votes.winners(source.dtype, fill).reshape(part.height, part.width)


def _leads(array: zarr.Array[Any], layer: Layer, block: int | None) -> Iterator[tuple[slice, ...]]:
    """Slices of the axes before (y, x): whole shards, species in blocks, or one block of them."""
    lengths = array.shape[:-2]
    step = SPECIES_PER_SHARD if has_species(layer) else max(lengths[:1], default=1)
    further_axes = tuple(slice(0, length) for length in lengths[1:])
    if not lengths:
        yield ()
    starts = range(0, lengths[0] if lengths else 0, step)
    for start in starts if block is None else starts[block : block + 1]:
        yield (slice(start, min(start + step, lengths[0])), *further_axes)


def _parts(window: Window, factor: int, array: zarr.Array[Any], reach: int) -> Iterator[Iterator[Window]]:
    """Tiles of a square that stand on about `reach` pixels a side of the array below: those of a shard after one another."""

    def side(unit: int) -> int:
        common_step = math.lcm(unit, factor)
        return common_step * max(1, reach // common_step) // factor

    for tile in _tiles(window, side(_shard(array))):
        yield _tiles(tile, side(array.chunks[-1]))


def _tiles(window: Window, side: int) -> Iterator[Window]:
    for row in range(0, window.height, side):
        for col in range(0, window.width, side):
            yield Window(window.row + row, window.col + col, min(side, window.height - row), min(side, window.width - col))


def _shard(array: zarr.Array[Any]) -> int:
    """Pixels along a side of a shard."""
    return int((array.shards or array.chunks)[-1])


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


def _blocks(
    arrays: OpenArrays, array: zarr.Array[Any], lead: tuple[slice, ...], part: Window, factor: int
) -> Iterator[tuple[int, int, Array]]:
    """(row, column, values) of blocks of whole shards that cover the cells under `part`, offsets from its corner."""
    shard = _shard(array)
    step = shard * max(1, int((BLOCK_BYTES / array.dtype.itemsize) ** 0.5) // shard)
    top, left = part.row * factor, part.col * factor
    bottom, right = min(top + part.height * factor, array.shape[-2]), min(left + part.width * factor, array.shape[-1])
    for row in range(top, bottom, step):
        for col in range(left, right, step):
            block = np.asarray(array[(*lead, slice(row, min(row + step, bottom)), slice(col, min(col + step, right)))])
            yield row - top, col - left, block.reshape(block.shape[-2:])
            if part.height * factor > shard:
                arrays.forget()
