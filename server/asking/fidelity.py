"""Which species tell the habitats of a map from each other: their fidelity to each class, over the whole mapped region."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from server.asking import tally
from server.asking.tally import Cells
from server.reading.layers import MapLayer
from server.reading.snapshot import Snapshot

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Fidelity:
    """Of the classes of one layer (C, by `classes`) and all species (S, by their index in the maps)."""

    classes: NDArray[np.int64]  # (C,) stored values
    cells: NDArray[np.int64]  # (C,) classified cells of each class with predicted species
    expected: Floats  # (C, S) expected occurrences in one plot a cell: sums of probability

    def inside(self, row: int) -> Floats:
        """(S,) mean probability in the cells of a class."""
        return np.asarray(self.expected[row] / max(1, self.cells[row]))

    def outside(self, row: int) -> Floats:
        """(S,) mean probability in all other classified cells."""
        rest = int(self.cells.sum() - self.cells[row])
        return np.asarray((self.expected.sum(0) - self.expected[row]) / max(1, rest))

    def phi(self, row: int) -> Floats:
        """(S,) phi coefficient of association with a class (Chytry et al. 2002, doi:10.1111/j.1654-1103.2002.tb02025.x).

        phi = (N n_p - n N_p) / sqrt(n N_p (N - n) (N - N_p)) of N cells, N_p of the class, n expected occurrences, n_p of them in
        the class; expected counts stand for the counts of plots. 0 where a species or a class is everywhere or nowhere.
        """
        total, held = float(self.cells.sum()), float(self.cells[row])
        n, inside = self.expected.sum(0), self.expected[row]
        below = n * held * (total - n) * (total - held)
        return np.where(below > 0, (total * inside - n * held) / np.sqrt(np.where(below > 0, below, 1.0)), 0.0)


def fidelity(snapshot: Snapshot, habitats: MapLayer, species: MapLayer, cells: Cells) -> Fidelity:
    """Sums over `cells` for every class of the layer `habitats` and every species; `species` is any layer of that product."""
    reader, path = snapshot.reader, species.paths[cells.level]
    source, scales = reader.source(path), _scales(snapshot)
    classes = np.array([entry.value for entry in habitats.classes], np.int64)
    row_of = np.full(int(classes.max(initial=0)) + 2, -1, np.int64)
    row_of[classes] = np.arange(len(classes))
    count, fill = source.shape[0], int(species.fill)
    expected = np.zeros((len(classes), count))
    held = np.zeros(len(classes), np.int64)
    height, width = source.chunk[-2:]
    for block in cells.blocks(height, width):
        rows, cols = ((n * side + part.start, n * side + part.stop)
                      for n, side, part in zip(block.number, (height, width), (block.rows, block.cols), strict=True))  # fmt: skip
        of_class = reader.window(habitats.paths[cells.level], habitats.lead, 1, rows, cols)[block.mask]
        row = row_of[np.minimum(of_class.astype(np.int64), len(row_of) - 1)]
        counted = False
        for first in range(0, count, tally.SPECIES):
            some = range(first, min(first + tally.SPECIES, count))
            for index, chunk in zip(some, reader.past_cache(path, [(s, *block.number) for s in some]), strict=True):
                if not chunk.size:
                    continue
                steps = block.of(chunk[0])
                known = (steps != fill) & (row >= 0)
                if not counted:  # the same cells are mapped for every species
                    held += np.bincount(row[known], minlength=len(classes))
                    counted = True
                expected[:, index] += np.bincount(row[known], steps[known], len(classes))
    return Fidelity(classes, held, expected * scales)


def _scales(snapshot: Snapshot) -> Floats:
    """(S,) probability of one step of each species, by its index in the maps."""
    layers = snapshot.catalogue.find(product="species")
    out = np.zeros(max((layer.lead[0] for layer in layers), default=-1) + 1)
    for layer in layers:
        out[layer.lead[0]] = layer.scale
    return out
