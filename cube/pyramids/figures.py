"""Figures of some cells of a product: counts, sums and extremes of stored values, which add up over units, squares and areas.

Pure arithmetic, (statistic, item) int64 arrays. Items are the species, the bounds of the indicators, the rows of the habitats'
table. Counts and sums of two sets of cells are added, their extremes compared (`merged`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cube.layers import NO_SPECIES

Figures = NDArray[np.int64]  # (statistic, item)
THRESHOLDS: Final = (0.01, 0.05, 0.1, 0.25, 0.5)  # probabilities: in how many cells a species reaches each of them
SPECIES: Final = ("cells", "steps", "highest", *(f"at_least_{least}" for least in THRESHOLDS))
APPLICABLE: Final = ("applicable_cells", "applicable_steps")  # of the cells within the area of applicability, where it is known
COMPOSITION: Final = ("listed",)  # cells in whose most likely list of species one is
INDICATORS: Final = ("cells", "steps", "lowest", "highest")
CERTAINTY: Final = ("probability_cells", "probability_steps", "among_three")  # of habitats, behind a count for each level
VALUES: Final = 256  # of a stored probability


def merged(statistics: Sequence[str], parts: Iterable[Figures]) -> Figures:
    """The figures of all cells of `parts`, of which no cell lies in two."""
    out: Figures | None = None
    for part in parts:
        if out is None:
            out = part.copy()
            continue
        for row, name in enumerate(statistics):
            if name == "highest":
                np.maximum(out[row], part[row], out=out[row])
            elif name == "lowest":  # 0 where there is no cell; `cells`, the first row, is added already
                first, both = out[0] == part[0], np.minimum(out[row], part[row])
                out[row] = np.where(part[0] == 0, out[row], np.where(first, part[row], both))
            else:
                out[row] += part[row]
    assert out is not None
    return out


def of_species(counts: NDArray[np.integer[Any]], scale: NDArray[np.floating[Any]], applicable: bool) -> Figures:
    """Figures from `counts` (group, s, 256) as of `cube.pyramids.counting`, group 2 applicable; `scale` (s,) of one step."""
    every = counts.sum(axis=0, dtype=np.int64)[:, : VALUES - 1]  # the last value is no data
    step = np.arange(VALUES - 1)
    cells = every.sum(axis=1)
    highest = np.where(cells > 0, VALUES - 2 - np.argmax(every[:, ::-1] > 0, axis=1), 0)
    probability = step * scale.astype(np.float64)[:, None]
    rows = [cells, every @ step, highest, *(np.where(probability >= least, every, 0).sum(axis=1) for least in THRESHOLDS)]
    if applicable:
        within = counts[1, :, : VALUES - 1].astype(np.int64)
        rows += [within.sum(axis=1), within @ step]
    return np.stack(rows)


def of_lists(species_id: NDArray[np.uint16], set_size: NDArray[np.uint16], species: int) -> Figures:
    """Figures (1, species) of ranked species (rank, n) and the sizes of their sets (n,)."""
    size = np.where(set_size == NO_SPECIES, 0, set_size)
    species_in_sets = species_id[(np.arange(len(species_id))[:, None] < size) & (species_id != NO_SPECIES)]
    return np.bincount(species_in_sets, minlength=species)[None, :species].astype(np.int64)


def of_indicator(stored_values: NDArray[np.uint16]) -> Figures:
    """Figures (4, bounds) of the stored values (bounds, n) of one indicator."""
    fill = np.iinfo(stored_values.dtype).max
    has_value = stored_values != fill
    cells = has_value.sum(axis=1, dtype=np.int64)
    steps = np.where(has_value, stored_values, 0).sum(axis=1, dtype=np.int64)
    lowest = np.where(cells > 0, stored_values.min(axis=1, initial=fill), 0)
    return np.stack([cells, steps, lowest, np.where(has_value, stored_values, 0).max(axis=1, initial=0)]).astype(np.int64)


def of_habitats(maps: Mapping[str, NDArray[Any]], levels: Sequence[str], rows: int) -> Figures:
    """Figures (levels + `CERTAINTY`, rows) of the maps (n,) of the levels, the finest first, `probability` and `top3_class`.

    `probability` is that of the class of the finest level; a map that is not given counts nothing.
    """

    def count(classes: NDArray[Any], weights: NDArray[Any] | None = None) -> NDArray[np.int64]:
        valid = classes < rows
        valid_weights = None if weights is None else weights[valid]
        return np.bincount(classes[valid], valid_weights, minlength=rows).astype(np.int64)

    none = np.zeros(rows, np.int64)
    out = [count(maps[level]) if level in maps else none for level in levels]
    if "probability" in maps and levels and levels[0] in maps:
        has_probability = maps["probability"] != np.iinfo(maps["probability"].dtype).max
        finest = maps[levels[0]][has_probability]
        out += [count(finest), count(finest, maps["probability"][has_probability])]
    else:
        out += [none, none]
    return np.stack([*out, count(maps["top3_class"].ravel()) if "top3_class" in maps else none])
