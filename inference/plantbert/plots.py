"""Vegetation plots as arrays: ordered assemblages with habitat labels. `curation` makes them from tables."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.plantbert.text import SEPARATOR


@dataclass(frozen=True)
class Plots:
    """Ordered assemblages of n plots over S species and C habitats.

    order (n, K): species indices by descending cover, -1 = unknown species, filler beyond `size`;
    size (n): species in the plot; label (n): habitat index, -1 = unlabelled; plot_id (n): strings;
    cover (n, K): percent of each species of `order`, NaN for lists without covers (predicted ones), None where none has any.
    """

    plot_id: NDArray[np.str_]
    order: NDArray[np.int32]
    size: NDArray[np.int32]
    label: NDArray[np.int32]
    species: tuple[str, ...]
    habitats: tuple[str, ...]
    cover: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        """Return the number of plots."""
        return len(self.size)

    def take(self, index: NDArray[Any]) -> Plots:
        """Return the plots at `index` (integers or a mask); species and habitats stay."""
        cover = None if self.cover is None else self.cover[index]
        names = ("plot_id", "order", "size", "label")
        return replace(self, cover=cover, **{name: getattr(self, name)[index] for name in names})

    def append(self, more: Plots) -> Plots:
        """These plots and then those of `more`, of the same species and habitats; longer lists widen `order`."""
        if (more.species, more.habitats) != (self.species, self.habitats):
            raise ValueError("plots of other species or habitats cannot be joined")
        width = max(self.order.shape[1], more.order.shape[1])
        both = (self, more)
        wide = [np.pad(p.order, ((0, 0), (0, width - p.order.shape[1])), constant_values=-1) for p in both]
        covers = [np.full(p.order.shape, np.nan, np.float32) if p.cover is None else p.cover for p in both]
        covers_of_width = [np.pad(cover, ((0, 0), (0, width - cover.shape[1]))) for cover in covers]
        cover = None if self.cover is None and more.cover is None else np.concatenate(covers_of_width)
        columns: dict[str, Any] = {
            name: np.concatenate([getattr(self, name), getattr(more, name)]) for name in ("plot_id", "size", "label")
        }
        return replace(self, order=np.concatenate(wide), cover=cover, **columns)

    def sentence(self, row: int) -> str:
        """Write plot `row` as text; unknown species are written [UNK]."""
        index = self.order[row, : self.size[row]]
        return SEPARATOR.join("[UNK]" if i < 0 else self.species[i] for i in index)

    def presence(self) -> NDArray[np.float32]:
        """Return the species vector of each plot, (n, S), 1 = present."""
        return self._table(np.ones(self.order.shape, np.float32))

    def log_cover(self) -> NDArray[np.float32]:
        """Return log(1 + cover in percent) of each species in each plot, (n, S), 0 = absent; presence without covers."""
        return self.presence() if self.cover is None else self._table(np.log1p(np.nan_to_num(self.cover)))

    def _table(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        table = np.zeros((len(self), len(self.species)), dtype=np.float32)
        row, rank = np.nonzero((np.arange(self.order.shape[1]) < self.size[:, None]) & (self.order >= 0))
        table[row, self.order[row, rank]] = values[row, rank]
        return table

    def complete(self, max_unknown: float = 0.25) -> NDArray[np.bool_]:
        """Whether each plot (n) is as published: at most `max_unknown` of its species unknown, its dominant one known.

        Leblanc et al. train on such plots alone. A plot that loses more is another sentence than the botanist wrote.
        """
        within = np.arange(self.order.shape[1]) < self.size[:, None]
        unknown_count = (within & (self.order < 0)).sum(axis=1)
        return np.asarray((unknown_count <= max_unknown * np.maximum(self.size, 1)) & (self.order[:, 0] >= 0) & (self.size > 0))
