"""Predictors out of a cube or of GeoPlant's files: at surveys for training, over a unit for prediction, by the same rules."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cube.grid import CELL, COARSE, FINE, Unit, Window
from cube.layers import Layer
from cube.layers.inputs import INPUTS
from cube.records.cells import CubeSource
from cube.records.places import Places, SampleSource
from cube.storage.store import CubeStore, resolution_of
from inference.data.kilometres import bilinear
from inference.data.recipe import IGBP, OWN_ENCODER, Recipe
from inference.data.samples import Predictors
from inference.data.shards import Shelf
from inference.data.squares import Squares

SWEEP_M: Final = 80_000  # side of the squares in which places are read together

Floats = NDArray[np.float32]


def _as_columns(layer: Layer, values: Floats) -> Floats:
    """Values (variables, ...) or (...) in units to (columns, ...); the land cover becomes one column a class."""
    if layer.name == "landcover":
        kind = values[0]
        out = np.stack([(kind == value) for value in IGBP]).astype(np.float32)
        out[:, np.isnan(kind)] = np.nan
        return out
    return values if layer.dims else values[None]


def _read(cube: CubeStore, name: str, window: Window) -> Floats:
    layer = INPUTS[name]
    values = layer.decode(cube.read_window(layer.path, window))
    return values if name in OWN_ENCODER else _as_columns(layer, values)


def read_window(cube: CubeStore, unit: Unit, what: Recipe, halo: int) -> dict[str, Floats]:
    """Predictors of every cell of a unit, physical units, NaN where missing.

    `satellite` (4, 5 (U + 2 halo), same), `landsat` (6, 84, U, U), `static` (V, U, U), `climate` (4, 228, k + 2, k + 2)
    and `coarse` (W, k + 2, k + 2) with k = U / 20: one 1 km cell more on each side for the bilinear interpolation.
    """
    region = cube.region
    out: dict[str, Floats] = {}
    if "satellite" in what.modalities:
        out["satellite"] = _read(cube, "sentinel2", _grown(region.square(unit, FINE), halo * CELL // FINE))
    if "landsat" in what.modalities:
        out["landsat"] = _read(cube, "landsat", region.square(unit))
    if what.static_layers:
        out["static"] = np.concatenate([_read(cube, n, region.square(unit)) for n in what.static_layers])
    return out | read_kilometres(cube, unit, what)


def read_kilometres(cube: CubeStore, unit: Unit, what: Recipe) -> dict[str, Floats]:
    """The 1 km predictors of `read_window` alone."""
    out: dict[str, Floats] = {}
    kilometres = _grown(cube.region.square(unit, COARSE), 1)
    if "climate" in what.modalities:
        out["climate"] = _read_with_edge(cube, "climate", kilometres)
    if what.coarse_layers:
        out["coarse"] = np.concatenate([_read_with_edge(cube, n, kilometres) for n in what.coarse_layers])
    return out


def columns(names: tuple[str, ...], values: dict[str, Floats]) -> Floats:
    """(columns, y, x) of 50 m layers in physical units, as `static` of `read_window` has them."""
    return np.concatenate([_as_columns(INPUTS[name], values[name]) for name in names])


def _grown(window: Window, pad: int) -> Window:
    return Window(window.row - pad, window.col - pad, window.height + 2 * pad, window.width + 2 * pad)


def _read_with_edge(cube: CubeStore, name: str, window: Window) -> Floats:
    """A window that may reach one cell beyond the array: there its edge is repeated, as the lookup at surveys does."""
    height, width = cube.array(INPUTS[name].path).shape[-2:]
    row, col = max(window.row, 0), max(window.col, 0)
    end_row, end_col = min(window.row + window.height, height), min(window.col + window.width, width)
    values = _read(cube, name, Window(row, col, end_row - row, end_col - col))
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
    shelf: Shelf | None = None,
    side_m: NDArray[np.floating] | None = None,
) -> Predictors:
    """Predictors of the 50 m cells that hold the points (x, y) metres, as `Predictors`.

    Every value is that of the cell, not of the point inside it, so that training sees what prediction sees. What does not
    fit the memory of `shelf` comes as rows of files there. Places whose `side_m` (n,) is longer than a cell are squares
    around their point: their values are the means of the square.

    Raises: ModelError where `what` reads columns of the surveys' table, too.
    """
    what.require_maps()
    squares = Squares.of(cube.region, x, y, np.zeros(len(x)) if side_m is None else side_m)
    own = _at_places(CubeSource(cube), what, Places.at(x, y), receptive_field, progress, shelf, (cube, squares))
    kilometres, corner, weight = _sample_kilometres(cube, what, *cube.region.index(x, y), shelf, squares)
    return Predictors(
        **own, **kilometres, corner=corner, weight=weight,
        static_names=what.static_names, coarse_names=what.coarse_names,
    )  # fmt: skip


def sample_source(source: SampleSource, what: Recipe, places: Places, receptive_field: int,
                  progress: Callable[[int, int], None] | None = None, shelf: Shelf | None = None) -> Predictors:  # fmt: skip
    """Predictors at places out of any source, as `Predictors`; `shelf` as in `sample`.

    Climate and other 1 km layers are those of the cell that holds a place: it is its own and only corner.
    """
    own = _at_places(source, what, places, receptive_field, progress, shelf)
    n = len(places)
    rows: dict[str, tuple[int, ...]] = {}
    if "climate" in what.modalities:
        rows["climate"] = _row("climate")
    if what.coarse_layers:
        rows["coarse"] = (len(what.coarse_names),)

    def read(index: NDArray[np.int64]) -> dict[str, Floats]:
        part = places.subset(index)
        out = {"climate": source.sample(part, ["climate"])["climate"]} if "climate" in rows else {}
        return out | ({"coarse": _table(source, what.coarse_layers, part)} if "coarse" in rows else {})

    kilometres = _kept(shelf, "kilometres", rows, np.stack([places.x, places.y]), read, None)
    corner, weight = None, None
    if kilometres:
        corner = np.repeat(np.arange(n, dtype=np.int64)[:, None], 4, axis=1)
        weight = np.tile(np.array([1, 0, 0, 0], np.float32), (n, 1))
    return Predictors(
        **own, **kilometres, corner=corner, weight=weight,
        static_names=what.static_names, coarse_names=what.coarse_names,
    )  # fmt: skip


def _at_places(
    source: SampleSource,
    what: Recipe,
    places: Places,
    receptive_field: int,
    progress: Callable[[int, int], None] | None,
    shelf: Shelf | None,
    averaged: tuple[CubeStore, Squares] | None = None,
) -> dict[str, Any]:
    """The modalities of 10 m and 50 m: satellite, landsat and static of `Predictors`."""
    own = [name for name in ("sentinel2", "landsat") if OWN_ENCODER[name] in what.modalities]
    rows = {OWN_ENCODER[name]: _row(name, receptive_field) for name in own}
    if what.static_layers:
        rows["static"] = (len(what.static_names),)

    def read(index: NDArray[np.int64]) -> dict[str, Floats]:
        some = places if len(index) == len(places) else places.subset(index)
        values = source.sample(some, [*own, *what.static_layers], receptive_field, progress if some is places else None)
        out = {OWN_ENCODER[name]: values[name] for name in own}
        out |= {"static": _joined(what.static_layers, values)} if what.static_layers else {}
        if averaged is not None:
            averaged[1].put_means(partial(_read, averaged[0]), index, what.static_layers, out)
        return out

    salt = b"" if averaged is None or not len(averaged[1]) else averaged[1].identity()
    return dict(_kept(shelf, "places", rows, np.stack([places.x, places.y]), read, progress, salt))


def _row(name: str, cells: int = 1) -> tuple[int, ...]:
    """Shape of one place's values of a layer with an encoder of its own."""
    layer = INPUTS[name]
    lead = tuple(len(layer.labels[dim]) for dim in layer.dims)
    side = CELL // FINE * cells
    return (*lead, side, side) if resolution_of(layer) == FINE else lead


def _kept(shelf: Shelf | None, name: str, rows: dict[str, tuple[int, ...]], at: NDArray[np.floating | np.integer],
          read: Callable[[NDArray[np.int64]], dict[str, Floats]], progress: Callable[[int, int], None] | None,
          salt: bytes = b"") -> dict[str, Floats]:  # fmt: skip
    """What `read` gives of all n places at `at` (2, n), in memory or, where that is too small, in files of the shelf.

    Files are filled neighbours first, so that a source is read in one sweep; `salt` is what else values depend on.
    """
    n = at.shape[1]
    if not rows:
        return {}
    if shelf is None or not shelf.holds(rows, n):
        return read(np.arange(n))
    squares = np.floor(at / (SWEEP_M if np.issubdtype(at.dtype, np.floating) else SWEEP_M // COARSE)).astype(np.int64)
    layers = {modality: INPUTS[layer] for layer, modality in OWN_ENCODER.items()}
    identity = hashlib.sha256(repr(sorted(rows.items())).encode() + np.ascontiguousarray(at).tobytes() + salt).hexdigest()
    return shelf.cut(name, rows, {key: layers.get(key) for key in rows}, np.lexsort(squares), read, identity, progress)


def _table(source: SampleSource, layers: tuple[str, ...], places: Places) -> Floats:
    return _joined(layers, source.sample(places, layers))


def _joined(layers: tuple[str, ...], values: dict[str, Floats]) -> Floats:
    """(n, columns) of layers of (n,) or (n, variables)."""
    return np.concatenate([_as_columns(INPUTS[name], values[name].T) for name in layers]).T


def _sample_kilometres(
    cube: CubeStore, what: Recipe, row: NDArray[np.int64], col: NDArray[np.int64], shelf: Shelf | None, squares: Squares
) -> tuple[dict[str, Floats], NDArray[np.int64] | None, Floats | None]:
    """Values of the distinct 1 km cells around the 50 m cells (row, col); each cell's four corners among them, and weights.

    Behind the cells stand the means of `squares`, each its own and only corner.
    """
    rows: dict[str, tuple[int, ...]] = {}
    if "climate" in what.modalities:
        rows["climate"] = _row("climate")
    if what.coarse_layers:
        rows["coarse"] = (len(what.coarse_names),)
    if not rows:
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
        out = _at_cells(cube, what, rows, at[:, index])
        for place in np.flatnonzero(index >= len(cells)):
            number = int(index[place]) - len(cells)
            if "climate" in out:
                out["climate"][place] = squares.mean(partial(_read, cube), "climate", number, COARSE)
            if "coarse" in out:
                out["coarse"][place] = squares.table(partial(_read, cube), what.coarse_layers, number, COARSE)
        return out

    salt = squares.identity() if len(squares) else b""
    return _kept(shelf, "kilometres", rows, at, read, None, salt), which, weight


def _at_cells(cube: CubeStore, what: Recipe, rows: dict[str, tuple[int, ...]], at: NDArray[np.int64]) -> dict[str, Floats]:
    """Values (n, ...) of the 1 km cells `at` (2, n), read square by square: a window around all of Europe is 100 GB."""
    out = {name: np.empty((at.shape[1], *shape), np.float32) for name, shape in rows.items()}
    squares, which = np.unique(at // (SWEEP_M // COARSE), axis=1, return_inverse=True)
    for number in range(squares.shape[1]):
        here = np.flatnonzero(which.ravel() == number)
        (top, left), (bottom, right) = at[:, here].min(1), at[:, here].max(1)
        window = Window(int(top), int(left), int(bottom - top) + 1, int(right - left) + 1)
        inside = (..., at[0, here] - top, at[1, here] - left)
        if "climate" in rows:
            out["climate"][here] = np.moveaxis(_read(cube, "climate", window)[inside], -1, 0)
        if "coarse" in rows:
            out["coarse"][here] = np.concatenate([_read(cube, n, window)[inside] for n in what.coarse_layers]).T
    return out
