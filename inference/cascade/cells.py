"""The predicted cells of one unit and what is known of them so far: nothing is read, computed or written here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cube.grid import CELL, Region, Unit
from cube.layers import RANKS
from inference.cascade.kernels import unpack

Floats = NDArray[np.float32]
LAND: Final = 0  # of the surface layer


@dataclass
class Cells:
    """The n predicted cells of a U x U unit; sums and ranks grow species by species."""

    index: NDArray[np.int64]  # (n,) flat indices in the unit
    side: int  # U
    sums: NDArray[np.float64]  # running, (rows of the model's plan, n)
    keys: NDArray[np.uint64]  # (n, RANKS) ranking so far, see `kernels.rank_block`
    last_rank_probability: Floats  # (n,) probability of the last rank
    extra: dict[str, NDArray[np.float64]] = field(default_factory=dict)  # (n,) values from the embedding, by name
    habitat_of_place: Floats | None = None  # (n, C) log probabilities of habitats from the embedding
    clipped_values: Counter[int] = field(default_factory=Counter)  # values above the largest stored probability, by species

    @classmethod
    def empty(cls, index: NDArray[np.int64], side: int, sums: NDArray[np.float64]) -> Cells:
        """Cells that have met no species yet; -1 lets a species of probability 0 enter an empty rank."""
        n = len(index)
        return cls(index, side, sums, np.zeros((n, RANKS), np.uint64), np.full(n, -1, np.float32))

    def ranking(self, part: slice = slice(None)) -> tuple[Floats, NDArray[np.int32]]:
        """(probabilities, species) of a part of the cells, each (m, RANKS), best first; -1 is no species."""
        return unpack(self.keys[part])

    def count_clipped(self, first: int, counts: NDArray[np.integer[Any]]) -> None:
        """Add the values cut (s,) of the species `first`, `first` + 1, ..."""
        self.clipped_values.update({first + int(i): int(counts[i]) for i in np.flatnonzero(counts)})

    def spread_out(self, values: NDArray[Any], fill: Any, dtype: Any) -> NDArray[Any]:
        """(..., n) values to (..., U, U), `fill` where no cell is predicted."""
        out = np.full((*values.shape[:-1], self.side * self.side), fill, dtype)
        out[..., self.index] = values
        return out.reshape(*values.shape[:-1], self.side, self.side)


def predicted(surface: NDArray[np.uint8], unit: Unit, region: Region) -> NDArray[np.bool_]:
    """(U, U) land of a unit's `surface` that lies within the predicted `region`."""
    x = unit.west + (np.arange(unit.cells) + 0.5) * CELL
    y = unit.north - (np.arange(unit.cells) + 0.5) * CELL
    return (surface == LAND) & region.contains(x[None, :], y[:, None])


def blur(values: NDArray[np.floating[Any]], index: NDArray[np.int64], side: int, km: int) -> Floats:
    """(n,) probabilities replaced by the mean of their square of `km` kilometres, over the predicted cells of the unit."""
    step = km * 1000 // CELL
    row, col = np.divmod(index, side)
    square = (row // step) * (-(-side // step)) + col // step
    total = np.bincount(square, weights=values)
    count = np.bincount(square)
    return (total / np.maximum(count, 1))[square].astype(np.float32)
