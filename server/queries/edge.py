"""Cells at one pyramid level, those of an area's edge, and their figures: every chunk is read once, many at a time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cube.layers import BOUNDS
from cube.pyramids import figures
from cube.pyramids.facts import Facts
from cube.pyramids.figures import Figures
from cube.storage import releases
from server.reading.chunk_batches import read_together
from server.reading.io import Reader
from server.reading.snapshot import Snapshot

BATCH: Final = 128  # chunks read at once
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Block:
    """Cells of an area that lie in one chunk: the chunk's number, the rows and columns in it, and which cells of those."""

    number: tuple[int, int]
    rows: slice
    cols: slice
    mask: Bools

    def span(self, height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """[first, end) of the rows and columns of an array with chunks of (height, width)."""
        row, col = self.number[0] * height, self.number[1] * width
        return (row + self.rows.start, row + self.rows.stop), (col + self.cols.start, col + self.cols.stop)

    def cut(self, chunk: NDArray[Any]) -> NDArray[Any]:
        """(..., n) stored values of the cells in a decoded chunk."""
        return chunk[..., self.rows, self.cols][..., self.mask]


@dataclass(frozen=True)
class Cells:
    """Cells at one pyramid level: those of an area's edge."""

    level: int
    row: int
    col: int
    mask: Bools  # (rows, columns) from (row, col) of the arrays
    tiny: bool = False  # no centre lies in the area: its middle's cell stands for it

    @property
    def count(self) -> int:
        """How many of 50 m they stand for."""
        return int(self.mask.sum()) * 4**self.level

    def blocks(self, height: int, width: int) -> Iterator[Block]:
        """The cells by the chunks of (height, width) that hold some."""
        rows, cols = self.mask.shape
        for r0, r1 in _cuts(self.row, self.row + rows, height):
            for c0, c1 in _cuts(self.col, self.col + cols, width):
                part = self.mask[r0 - self.row : r1 - self.row, c0 - self.col : c1 - self.col]
                if part.any():
                    top, left = r0 // height * height, c0 // width * width
                    number = (r0 // height, c0 // width)
                    yield Block(number, slice(r0 - top, r1 - top), slice(c0 - left, c1 - left), np.ascontiguousarray(part))


def _cuts(first: int, end: int, step: int) -> list[tuple[int, int]]:
    """[first, end) cut at multiples of `step`."""
    edges = [first, *range((first // step + 1) * step, end, step), end]
    return list(itertools.pairwise(edges))


def none(facts: Facts) -> Figures:
    """The figures of no cell."""
    return np.zeros((len(facts.statistics), facts.items), np.int64)


def measured(
    snapshot: Snapshot, layouts: Mapping[str, Facts], cells: Cells, species: Sequence[int], pool: ThreadPoolExecutor
) -> dict[str, Figures]:
    """By product: the figures of cells at their level, every chunk read once; what coarser levels do not have counts nothing."""
    reader, jobs = snapshot.reader, list[Callable[[], dict[str, Figures]]]()
    if "species" in layouts:
        batches = [list(species[first : first + BATCH]) for first in range(0, len(species), BATCH)]
        jobs += [partial(_species, snapshot, layouts["species"], cells, batch) for batch in batches]
    maps = {product: facts for product, facts in layouts.items() if product in ("indicators", "habitats") and facts.items}
    if maps:
        first = next(iter(_paths(next(iter(maps.values())), cells.level)))[0]
        jobs += [partial(_maps, reader, maps, cells.level, block) for block in cells.blocks(*reader.source(first).chunk[-2:])]
    if "composition" in layouts and cells.level == 0:
        size = reader.source(f"{releases.group_of('composition', layouts['composition'].version)}/set_size")
        jobs += [partial(_lists, reader, layouts["composition"], cells, block) for block in cells.blocks(*size.chunk[-2:])]
    by_product: dict[str, list[Figures]] = {product: [none(facts)] for product, facts in layouts.items()}
    for part_of_product in pool.map(lambda job: job(), jobs):
        for product, part in part_of_product.items():
            by_product[product] = [figures.merged(layouts[product].statistics, [*by_product[product], part])]
    return {product: part for product, (part,) in by_product.items()}


def _species(snapshot: Snapshot, facts: Facts, cells: Cells, species: list[int]) -> dict[str, Figures]:
    from cube.pyramids.counting import count_values  # compiled, and half a second to import

    reader, path = snapshot.reader, f"{releases.group_of('species', facts.version, cells.level)}/occurrence"
    counts = np.zeros((2, len(species), figures.VALUES), np.int64)
    for block in cells.blocks(*reader.source(path).chunk[-2:]):
        group = block.mask.astype(np.uint8).ravel()
        for position, chunk in enumerate(read_together(reader, [(path, (s, *block.number)) for s in species])):
            if chunk.size:
                count_values(chunk[:, block.rows, block.cols].reshape(1, -1), group, counts[:, position : position + 1])
    out = none(facts)
    scales, applicable = snapshot.catalogue.species_scales[species], len(facts.statistics) > len(figures.SPECIES)
    out[:, species] = figures.of_species(counts, scales, applicable)
    return {"species": out}


def _paths(facts: Facts, level: int) -> list[tuple[str, int]]:
    """(path, how many along the first axis; 0: there is none) of the maps that figures are counted from at a level."""
    group = releases.group_of(facts.product, facts.version, level)
    if facts.product == "indicators":
        return [(f"{group}/{name.rpartition('.')[0]}", len(BOUNDS)) for name in facts.names[:: len(BOUNDS)]]
    return [
        *((f"{group}/{name}", 0) for name in (*facts.levels, "probability")),
        *([] if level else [(f"{group}/top3_class", 3)]),
    ]


def _maps(reader: Reader, layouts: Mapping[str, Facts], level: int, block: Block) -> dict[str, Figures]:
    """The figures of indicators and habitats in one block of cells."""
    paths = [(path, count) for facts in layouts.values() for path, count in _paths(facts, level) if reader.has(path)]
    requests = [(path, (*(() if not count else (i,)), *block.number)) for path, count in paths for i in range(count or 1)]
    chunks = iter(read_together(reader, requests))
    values: dict[str, NDArray[Any]] = {}
    for path, count in paths:
        source = reader.source(path)
        group = [next(chunks) for _ in range(count or 1)]
        parts = [block.cut(chunk if chunk.size else np.full(source.chunk, source.fill, source.array.dtype)) for chunk in group]
        values[path] = np.concatenate(parts) if count else parts[0]
    out = {}
    for product, facts in layouts.items():
        if product == "indicators":
            out[product] = np.concatenate([figures.of_indicator(values[path]) for path, _ in _paths(facts, level)], axis=1)
        else:
            maps = {path.rpartition("/")[2]: values[path] for path, _ in _paths(facts, level) if path in values}
            out[product] = figures.of_habitats(maps, facts.levels, facts.items)
    return out


def _lists(reader: Reader, facts: Facts, cells: Cells, block: Block) -> dict[str, Figures]:
    """The figures of the lists of species in one block of cells, a chunk of `set_size` and many of `species_id`."""
    group = releases.group_of("composition", facts.version)
    (row, _), (col, _) = block.span(*reader.source(f"{group}/set_size").chunk[-2:])
    window = Cells(0, row, col, block.mask)
    blocks = list(window.blocks(*reader.source(f"{group}/species_id").chunk[-2:]))
    requests = [(f"{group}/set_size", block.number), *((f"{group}/species_id", (0, *list_block.number)) for list_block in blocks)]
    sizes, *chunks = read_together(reader, requests)
    height, width = reader.source(f"{group}/set_size").chunk[-2:]
    sums = [none(facts)]
    for list_block, chunk in zip(blocks, chunks, strict=True):
        if chunk.size and sizes.size:
            (first_row, end_row), (first_col, end_col) = list_block.span(*chunk.shape[-2:])
            size = sizes[
                first_row % height : first_row % height + end_row - first_row,
                first_col % width : first_col % width + end_col - first_col,
            ]
            sums.append(figures.of_lists(list_block.cut(chunk), size[list_block.mask], facts.items))
    return {"composition": figures.merged(facts.statistics, sums)}
