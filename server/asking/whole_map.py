"""Figures over the whole mapped region, read at a level that one answer can afford, and kept for as long as a release lives."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final, TypeVar, cast

import numpy as np
import shapely
from numpy.typing import NDArray

from server.asking import tally
from server.asking.area import CELLS, MAX_CELLS, setting
from server.asking.tally import Cells
from server.reading.layers import MapLayer
from server.reading.snapshot import Snapshot

KEPT: Final = 64  # results of some ten thousand numbers
MAX_SUMS: Final = 4e8  # cells times species that one answer adds up: a few seconds
T = TypeVar("T")
_held: OrderedDict[Hashable, object] = OrderedDict()
_lock = threading.Lock()


def once(snapshot: Snapshot, what: str, make: Callable[[], T]) -> T:
    """`make()`, or what it gave before for the same release of the same cube and the same limit of cells."""
    key = (snapshot.reader.cube.url, snapshot.token, setting(CELLS, MAX_CELLS), what)
    with _lock:
        if key in _held:
            _held.move_to_end(key)
            return cast(T, _held[key])
    made = make()
    with _lock:
        _held[key] = made
        while len(_held) > KEPT:
            _held.popitem(last=False)
    return made


def cells_of(snapshot: Snapshot, species: int = 1) -> Cells:
    """The cells of the whole mapped region at the finest level that is not too many for one answer about so many species."""
    most = min(setting(CELLS, MAX_CELLS), MAX_SUMS / max(1, species))
    return tally.find_cells(snapshot, shapely.box(*snapshot.region.bounds), int(most))


def stored(snapshot: Snapshot, layer: MapLayer, cells: Cells) -> NDArray[Any]:
    """(rows, columns) stored values of a layer in the box of the cells, at their level."""
    rows, cols = cells.mask.shape
    span = (cells.row, cells.row + rows), (cells.col, cells.col + cols)
    return snapshot.window(layer, layer.paths[cells.level], 1, *span)


def values(snapshot: Snapshot, layer: MapLayer, cells: Cells) -> NDArray[np.float64]:
    """(n,) values of a layer in its units in the cells, NaN where it has none."""
    held = stored(snapshot, layer, cells)[cells.mask].astype(np.float64)
    known = (held != layer.fill) & np.isfinite(held)
    return np.where(known, held * layer.scale + layer.offset, np.nan)
