"""Geospatial embeddings on the grid: the mean of the vectors in a cell, of length 1 again where the source's are.

Bytes are never averaged: they become vectors first (`cube.sources.embedding_tiles`). A cell has all bands or none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from cube.config import Config, Source
from cube.errors import ConfigError
from cube.grid import COARSE, FINE, RESOLUTIONS, Region, Unit
from cube.layers import Band, Layer
from cube.layers.inputs import INPUTS
from cube.sources import areas
from cube.sources.embedding_tiles import BANDS, Cogs, NumpyTiles, Tiles, ZarrZones, is_store
from cube.sources.raster_grid import RasterGrid
from cube.sources.resample import Floats, Piece
from cube.storage.store import resolution_of
from cube.yaml_tables import yaml_table

BLOCK: Final = 2_000  # m: of 128 bands its pixels of 10 m are 20 MB
STEPS: Final = 127  # of a stored byte, on either side of 0
TESSERA_BANDS: Final = 128
TERMS: Final[dict[str, dict[str, str]]] = yaml_table(__file__, "embeddings.yaml")


@dataclass(frozen=True)
class EmbeddingReader:
    """A year of embeddings as a layer of signed bytes."""

    ALGORITHM: ClassVar[int] = 1

    source: Source
    layer: Layer
    tiles: Tiles
    unit_length: bool

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Its layer."""
        return (self.layer,)

    def depends_on(self) -> Mapping[str, Any]:
        """The files, or the store."""
        return {"unit_length": self.unit_length, **self.tiles.depends_on()}

    def memory(self, unit: Unit) -> int:
        """What is stored, and of a block the bytes, their vectors, and the sums over its cells."""
        count, size = len(self.layer.bands), resolution_of(self.layer)
        stored_bytes = count * (unit.km * 1000 // size) ** 2
        pixels, cells = (2 * BLOCK // FINE) ** 2, (BLOCK // size) ** 2
        return stored_bytes + count * (pixels * 10 + cells * 40) + areas.CACHED * areas.overlap_bytes(cells, (size / FINE) ** 2)

    def read(self, region: Region, unit: Unit) -> Mapping[str, NDArray[Any]]:
        """Stored values of one unit; a cell without a vector is no data in all bands."""
        cells = RasterGrid.of_place(unit, resolution_of(self.layer))
        out = np.full((len(self.layer.bands), *cells.shape), self.layer.fill, self.layer.dtype)
        for rows, cols, block in _blocks(cells):
            out[:, rows, cols] = self.layer.encode(self.vectors(block))
        return {self.layer.name: out}

    def vectors(self, cells: RasterGrid) -> Floats:
        """(bands, rows, columns) mean vectors of some cells, NaN in all bands where there is none."""
        pieces = join_pieces(self.tiles.pieces(cells))
        if not pieces:
            return np.full((len(self.layer.bands), *cells.shape), np.nan, np.float32)
        mean = areas.mean(cells, pieces)
        if not self.unit_length:
            return mean
        with np.errstate(invalid="ignore", divide="ignore"):
            mean /= np.linalg.norm(mean, axis=0)
        return mean


def join_pieces(pieces: Iterable[Piece]) -> list[Piece]:
    """Pieces of one lattice as one: where tiles overlap they have the same pixels, of which each counts once."""
    lattices: dict[tuple[Any, ...], list[Piece]] = {}
    for piece in pieces:
        t = piece.grid.transform
        lattices.setdefault((piece.grid.crs, t.a, t.e, t.c % t.a, t.f % t.e), []).append(piece)
    out = []
    for parts in lattices.values():
        grid = parts[0].grid
        at = [
            (
                round((p.grid.transform.f - grid.transform.f) / grid.transform.e),
                round((p.grid.transform.c - grid.transform.c) / grid.transform.a),
                *p.grid.shape,
            )
            for p in parts
        ]
        top, left = min(row for row, *_ in at), min(col for _, col, *_ in at)
        bottom, right = max(row + rows for row, _, rows, _ in at), max(col + cols for _, col, _, cols in at)
        values = np.full((len(parts[0].values), bottom - top, right - left), np.nan, np.float32)
        for part, (row, col, rows, cols) in zip(parts, at, strict=True):
            window = values[:, row - top : row - top + rows, col - left : col - left + cols]
            np.copyto(window, part.values, where=np.isnan(window))
        out.append(Piece(values, grid.window(top, left, bottom - top, right - left)))
    return out


def _blocks(cells: RasterGrid) -> Iterator[tuple[slice, slice, RasterGrid]]:
    side = max(1, BLOCK // round(cells.transform.a))
    for top in range(0, cells.shape[0], side):
        for left in range(0, cells.shape[1], side):
            rows, cols = min(side, cells.shape[0] - top), min(side, cells.shape[1] - left)
            yield slice(top, top + rows), slice(left, left + cols), cells.window(top, left, rows, cols)


def open_embedding(config: Config, source: Source, where: str, region: Region) -> EmbeddingReader:
    """Find the files of embeddings; raises `ConfigError` or `SourceError` where they do not fit."""
    assert source.path is not None
    assert source.year is not None
    path = config.source_path(source.path).rstrip("/")
    around = RasterGrid.over(region.grown_bounds, COARSE, region.grid.code)
    tiles: Tiles
    if source.embedding == "alphaearth":
        tiles = Cogs.find(path, source.year, around, where)
    elif is_store(path):
        tiles = ZarrZones(path, source.year, where)
    else:
        tiles = NumpyTiles.find(path, source.year, region.degrees, where)
    largest = max(map(abs, source.valid_range)) if source.valid_range else tiles.largest(around)
    terms = {key: getattr(source, key) or value for key, value in TERMS[str(source.embedding)].items()}
    source = source.model_copy(update={"reference_years": source.reference_years or str(source.year), **terms})
    layer = embedding_layer(config, source, where, largest)
    return EmbeddingReader(source, layer, tiles, source.embedding == "alphaearth")


def embedding_layer(config: Config, source: Source, where: str, largest: float = 1.0) -> Layer:
    """The layer of embeddings whose components reach from -`largest` to `largest`."""
    if any(source.layer in layer.dims for layer in INPUTS.values()):
        raise ConfigError(f"{config.path}: {where}.layer is '{source.layer}', a word with a meaning of its own; choose another.")
    names = (
        [f"A{i:02d}" for i in range(BANDS)] if source.embedding == "alphaearth" else [f"{i:03d}" for i in range(TESSERA_BANDS)]
    )
    title = source.long_name or f"{source.embedding} embedding of {source.year}".capitalize()
    resolution, dim = source.resolution or "50m", f"{source.layer}_band"
    assert resolution in RESOLUTIONS
    return Layer(
        source.layer,
        f"inputs/{resolution}",
        "int8",
        -STEPS - 1,
        title,
        "1",
        (dim,),
        {dim: tuple(names)},
        largest / STEPS,
        bands=tuple(Band(name, f"{title}: component {name}") for name in names),
        valid_range=(-largest, largest),
        references=source.references,
    )
