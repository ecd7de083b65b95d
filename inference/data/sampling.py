"""Predictors out of a cube or of GeoPlant's files: at surveys for training, over a unit for prediction, by the same rules."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cube.grid import CELL, COARSE, FINE, Unit, Window
from cube.layers import Layer
from cube.records.places import CubeSource, PackedSource, Places, SampleSource
from cube.storage.store import CubeStore
from inference.data.channels import as_channels, channels_of
from inference.data.kilometres import bilinear
from inference.data.recipe import TABLES, Recipe
from inference.data.samples import Predictors
from inference.data.shards import SampleStore
from inference.data.squares import Squares

SWEEP_M: Final = 80_000  # side of the squares in which places are read together

Floats = NDArray[np.float32]


def _read(cube: CubeStore, layer: Layer, window: Window) -> Floats:
    return as_channels(layer, layer.decode(cube.read_window(layer.path, window)))


def read_kilometres(cube: CubeStore, unit: Unit, what: Recipe) -> dict[str, Floats]:
    """Predictors of 1 km around every cell of a unit: (channels, ..., k + 2, k + 2) with k = U / 20, NaN where missing.

    One 1 km cell more on each side for the bilinear interpolation: series such as `climate` and the columns of `table_1km`.
    """
    kilometres = cube.region.square(unit, COARSE).grown(1)
    return {
        modality: concatenated([_read_with_edge(cube, layer, kilometres) for layer in layers])
        for modality, layers in what.kilometres.items()
    }


def concatenated(parts: Sequence[Floats], axis: int = 0) -> Floats:
    """Channels of several layers, one behind the other."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis)


def _read_with_edge(cube: CubeStore, layer: Layer, window: Window) -> Floats:
    """A window that may reach one cell beyond the array: there its edge is repeated, as the lookup at surveys does."""
    height, width = cube.array(layer.path).shape[-2:]
    row, col = max(window.row, 0), max(window.col, 0)
    end_row, end_col = min(window.row + window.height, height), min(window.col + window.width, width)
    values = _read(cube, layer, Window(row, col, end_row - row, end_col - col))
    pads = [(0, 0)] * (values.ndim - 2)
    pads += [(row - window.row, window.row + window.height - end_row)]
    pads += [(col - window.col, window.col + window.width - end_col)]
    return np.pad(values, pads, mode="edge")


def sample(
    cube: CubeStore,
    what: Recipe,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    receptive_field: int,
    progress: Callable[[int, int], None] | None = None,
    sample_store: SampleStore | None = None,
    side_m: NDArray[np.floating] | None = None,
) -> Predictors:
    """Predictors of the 50 m cells that hold the points (x, y) metres, as `Predictors`.

    Every value is that of the cell, not of the point inside it, so that training sees what prediction sees. What does not
    fit the memory of `sample_store` comes as rows of files there. Places whose `side_m` (n,) is longer than a cell are squares
    around their point: their values are the means of the square.

    Raises: ModelError where `what` reads columns of the surveys' table, too.
    """
    what.require_maps()
    what = what.in_cube(cube)
    squares = Squares.longer_than_a_cell(cube.region, x, y, np.zeros(len(x)) if side_m is None else side_m)
    samples = _at_places(CubeSource(cube), what, Places.at(x, y), receptive_field, progress, sample_store, (cube, squares))
    kilometres, corner, weight = _sample_kilometres(cube, what, *cube.region.index(x, y), sample_store, squares)
    return Predictors({**samples, **kilometres}, corner, weight, what.table_50m_names, what.table_1km_names, what.encoded)


def sample_source(
    source: SampleSource,
    what: Recipe,
    places: Places,
    receptive_field: int,
    progress: Callable[[int, int], None] | None = None,
    sample_store: SampleStore | None = None,
) -> Predictors:
    """Predictors at places out of any source, as `Predictors`; `sample_store` as in `sample`.

    Climate and other 1 km layers are those of the cell that holds a place: it is its own and only corner.
    """
    samples = _at_places(source, what, places, receptive_field, progress, sample_store)
    n = len(places)

    def read(index: NDArray[np.int64]) -> dict[str, Floats]:
        part = places.subset(index)
        values = source.sample(part, [layer.name for layers in what.kilometres.values() for layer in layers])
        return {modality: _from_places(layers, values) for modality, layers in what.kilometres.items()}

    kilometres = _sample_all(sample_store, "kilometres", what.kilometres, 1, np.stack([places.x, places.y]), read, None)
    corner, weight = None, None
    if kilometres:
        corner = np.repeat(np.arange(n, dtype=np.int64)[:, None], 4, axis=1)
        weight = np.tile(np.array([1, 0, 0, 0], np.float32), (n, 1))
    return Predictors({**samples, **kilometres}, corner, weight, what.table_50m_names, what.table_1km_names, what.encoded)


def _at_places(
    source: SampleSource,
    what: Recipe,
    places: Places,
    receptive_field: int,
    progress: Callable[[int, int], None] | None,
    sample_store: SampleStore | None,
    square_means: tuple[CubeStore, Squares] | None = None,
) -> dict[str, Floats]:
    """The modalities of 10 m and 50 m."""
    groups, packed_images = what.places, dict[str, Floats]()
    if sample_store is not None and isinstance(source, PackedSource):
        packed_images = _pack_images(source, groups, places, receptive_field, sample_store)
        groups = {modality: layers for modality, layers in groups.items() if modality not in packed_images}
    names = [layer.name for layers in groups.values() for layer in layers]

    def read(index: NDArray[np.int64]) -> dict[str, Floats]:
        values = source.sample(places.subset(index), names, receptive_field, progress if len(index) == len(places) else None)
        out = {modality: _from_places(layers, values) for modality, layers in groups.items()}
        if square_means is not None:
            square_means[1].put_means(partial(_read, square_means[0]), index, groups, out)
        return out

    salt = b"" if square_means is None or not len(square_means[1]) else square_means[1].identity()
    return (
        _sample_all(sample_store, "places", groups, receptive_field, np.stack([places.x, places.y]), read, progress, salt)
        | packed_images
    )


def _pack_images(
    source: PackedSource, groups: Mapping[str, Sequence[Layer]], places: Places, cells: int, sample_store: SampleStore
) -> dict[str, Floats]:
    """Images that do not fit the memory of the sample store, as the source has packed them."""
    names = [modality for modality, layers in groups.items() if [layer.name for layer in layers] == ["sentinel2"]]
    rows = {modality: _row(layers, cells) for modality, layers in groups.items()}
    if not names or not sample_store.spills(rows, len(places)):
        return {}
    at = np.stack([places.x, places.y])

    def unpack(content: bytes, position: int) -> Floats:
        return source.unpacked_patch(content, float(places.x[position]), float(places.y[position]), cells)

    def read(index: NDArray[np.int64]) -> list[bytes]:
        return source.packed_patches(places.subset(index))

    identity = hashlib.sha256(places.patch_id.tobytes() + places.observations.encode() + at.tobytes()).hexdigest()
    return {name: sample_store.pack("images", rows[name], _neighbours_first(at), read, unpack, identity) for name in names}


def _neighbours_first(at: NDArray[np.floating | np.integer]) -> NDArray[np.int64]:
    """An order of places (2, n) in which those of a square follow each other, so that a source is read in one sweep."""
    return np.lexsort(np.floor(at / (SWEEP_M if np.issubdtype(at.dtype, np.floating) else SWEEP_M // COARSE)).astype(np.int64))


def _row(layers: Sequence[Layer], cells: int = 1) -> tuple[int, ...]:
    """Shape of one place's values of a modality."""
    first, count = layers[0], sum(len(channels_of(layer)) for layer in layers)
    if first.resolution == "10m":
        return count, CELL // FINE * cells, CELL // FINE * cells
    return (count, len(first.labels[first.dims[-1]])) if first.period else (count,)


def _sample_all(
    sample_store: SampleStore | None,
    name: str,
    groups: Mapping[str, Sequence[Layer]],
    cells: int,
    at: NDArray[np.floating | np.integer],
    read_samples: Callable[[NDArray[np.int64]], dict[str, Floats]],
    progress: Callable[[int, int], None] | None,
    salt: bytes = b"",
) -> dict[str, Floats]:
    """What `read_samples` gives of all n places at `at` (2, n), in memory or, where that is small, in files of the sample store.

    Files are filled neighbours first, so that a source is read in one sweep; `salt` is what else values depend on. Images are
    of `cells` cells a side.
    """
    n = at.shape[1]
    if not groups:
        return {}
    rows = {modality: _row(layers, cells) for modality, layers in groups.items()}
    if sample_store is None or not sample_store.spills(rows, n):
        return read_samples(np.arange(n))
    tables = TABLES.values()
    stored_layers = {m: layers[0] if m not in tables and layers[0].kind != "class" else None for m, layers in groups.items()}
    identity = hashlib.sha256(repr(sorted(rows.items())).encode() + np.ascontiguousarray(at).tobytes() + salt).hexdigest()
    return sample_store.cut(name, rows, stored_layers, _neighbours_first(at), read_samples, identity, progress)


def _from_places(layers: Sequence[Layer], values: Mapping[str, Floats]) -> Floats:
    """(n, channels, ...) of layers whose values at n places are (n, ...)."""
    parts = [as_channels(layer, np.moveaxis(values[layer.name], 0, -1)) for layer in layers]
    return concatenated([np.moveaxis(part, -1, 0) for part in parts], 1)


def _sample_kilometres(
    cube: CubeStore,
    what: Recipe,
    row: NDArray[np.int64],
    col: NDArray[np.int64],
    sample_store: SampleStore | None,
    squares: Squares,
) -> tuple[dict[str, Floats], NDArray[np.int64] | None, Floats | None]:
    """Values of the distinct 1 km cells around the 50 m cells (row, col); each cell's four corners among them, and weights.

    Behind the cells stand the means of `squares`, each its own and only corner.
    """
    if not what.kilometres:
        return {}, None, None
    factor = COARSE // CELL
    shape = cube.region.shape(COARSE)
    corner, weight = bilinear((row + 0.5) / factor - 0.5, (col + 0.5) / factor - 0.5, shape)
    cells, inverse = np.unique(corner, return_inverse=True)
    at = np.stack(np.unravel_index(cells, shape)).astype(np.int64)
    at = np.concatenate([at, np.stack([row[squares.rows], col[squares.rows]]) // factor], 1)
    which = inverse.reshape(corner.shape).astype(np.int64)
    which[squares.rows] = len(cells) + np.arange(len(squares))[:, None]
    weight[squares.rows] = np.array([1, 0, 0, 0], np.float32)

    def read(index: NDArray[np.int64]) -> dict[str, Floats]:
        out = _at_cells(cube, what, at[:, index])
        for place in np.flatnonzero(index >= len(cells)):
            number = int(index[place]) - len(cells)
            for modality, layers in what.kilometres.items():
                out[modality][place] = squares.table(partial(_read, cube), layers, number, COARSE)
        return out

    salt = squares.identity() if len(squares) else b""
    return _sample_all(sample_store, "kilometres", what.kilometres, 1, at, read, None, salt), which, weight


def _at_cells(cube: CubeStore, what: Recipe, at: NDArray[np.int64]) -> dict[str, Floats]:
    """Values (n, ...) of the 1 km cells `at` (2, n), read square by square: a window around all of Europe is 100 GB."""
    out = {modality: np.empty((at.shape[1], *_row(layers)), np.float32) for modality, layers in what.kilometres.items()}
    squares, which = np.unique(at // (SWEEP_M // COARSE), axis=1, return_inverse=True)
    for number in range(squares.shape[1]):
        members = np.flatnonzero(which.ravel() == number)
        (top, left), (bottom, right) = at[:, members].min(1), at[:, members].max(1)
        window = Window(int(top), int(left), int(bottom - top) + 1, int(right - left) + 1)
        inside = (..., at[0, members] - top, at[1, members] - left)
        for modality, layers in what.kilometres.items():
            layer_values = concatenated([_read(cube, layer, window)[inside] for layer in layers])
            out[modality][members] = np.moveaxis(layer_values, -1, 0)
    return out
