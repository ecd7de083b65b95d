"""Which species tell the habitats of a map from each other: their fidelity to each class over the whole map, made with a release.

`products/habitats/<version>/facts/fidelity-<version of the species>.json`: by the stored value of each class
the `TELLING` species of the greatest fidelity, each [index, mean probability inside, outside, phi].
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cube.grid import CELL
from cube.pyramids import ranges
from cube.pyramids.facts import Facts, read_facts
from cube.storage.leaves import SPECIES_PER_SHARD
from cube.storage.releases import group_of
from cube.storage.store import CubeStore

NO_DATA: Final = 255  # of a stored probability
TELLING: Final = 25  # species of a class
MAX_ADDED: Final = 4e9  # cells times species that are added up: a minute; larger maps are read at a coarser level
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Fidelity:
    """Of classes that exclude each other (C) and all species (S)."""

    cells: NDArray[np.int64]  # (C,) classified cells of each class with predicted species
    expected: Floats  # (C, S) expected occurrences in one plot a cell: sums of probability

    def inside(self, row: int) -> Floats:
        """(S,) mean probability in the cells of a class."""
        return np.asarray(self.expected[row] / max(1, self.cells[row]))

    def outside(self, row: int) -> Floats:
        """(S,) mean probability in all other classified cells."""
        cells_outside = int(self.cells.sum() - self.cells[row])
        return np.asarray((self.expected.sum(0) - self.expected[row]) / max(1, cells_outside))

    def phi(self, row: int) -> Floats:
        """(S,) phi coefficient of association with a class (Chytry et al. 2002, doi:10.1111/j.1654-1103.2002.tb02025.x).

        phi = (N n_p - n N_p) / sqrt(n N_p (N - n) (N - N_p)) of N cells, N_p of the class, n expected occurrences, n_p of them in
        the class; expected counts stand for the counts of plots. 0 where a species or a class is everywhere or nowhere.
        """
        total, cells_of_habitat = float(self.cells.sum()), float(self.cells[row])
        n, inside = self.expected.sum(0), self.expected[row]
        below = n * cells_of_habitat * (total - n) * (total - cells_of_habitat)
        return np.where(below > 0, (total * inside - n * cells_of_habitat) / np.sqrt(np.where(below > 0, below, 1.0)), 0.0)

    def telling(self, row: int) -> list[list[float]]:
        """[index, inside, outside, phi] of the species of the greatest fidelity, none that is as common elsewhere."""
        phi, inside, outside = self.phi(row), self.inside(row), self.outside(row)
        best = [int(s) for s in np.argsort(-phi, kind="stable")[:TELLING] if phi[s] > 0]
        return [[s, *(float(f"{float(values[s]):.6g}") for values in (inside, outside, phi))] for s in best]


def document_path(habitats: str, species: str) -> str:
    """Path of the document of a version of the habitats and the species that a release shows beside it."""
    return f"products/habitats/{habitats}/facts/fidelity-{species}.json"


def document_paths(products: Mapping[str, str]) -> list[str]:
    """Paths of the documents that `write_documents` writes for the release of these versions."""
    paths = [ranges.document_path(product, products[product]) for product in ("indicators", "habitats") if product in products]
    if "habitats" in products and "species" in products:
        paths.append(document_path(products["habitats"], products["species"]))
    return paths


def write_documents(cube: CubeStore, products: Mapping[str, str]) -> None:
    """Write what the release of these versions lacks: ranges of its maps, and the species that tell its habitats."""
    ranges.write_ranges(cube, products)
    if "habitats" in products and "species" in products:
        pair = products["habitats"], products["species"]
        if cube.read_json(document_path(*pair)) is None and (document := telling_species(cube, *pair)) is not None:
            cube.write_json(document_path(*pair), document)


def remove_documents(cube: CubeStore, other_versions: Mapping[str, str], new_versions: Mapping[str, str]) -> None:
    """Remove what `write_documents` wrote of versions whose units are `new_versions` again, `other_versions` those that stay."""
    for product, version in new_versions.items():
        cube.remove_json(ranges.document_path(product, version))
    products = {**other_versions, **new_versions}
    if "habitats" in products and "species" in products and not new_versions.keys().isdisjoint(("habitats", "species")):
        cube.remove_json(document_path(products["habitats"], products["species"]))


def telling_species(cube: CubeStore, habitats: str, species: str) -> dict[str, Any] | None:
    """The document; None where the habitats were made before there were facts."""
    facts = read_facts(cube, "habitats", habitats)
    if facts is None:
        return None
    count = cube.array(f"{group_of('species', species)}/occurrence").shape[0]
    levels = range(cube.region.levels() + 1)
    level = next((n for n in levels if np.prod(cube.region.shape(level=n)) * count <= MAX_ADDED), levels[-1])
    cells, expected = _sums(cube, habitats, species, level, facts)
    fidelities = [Fidelity(*fidelity) for fidelity in zip(cells, expected, strict=True)]
    by_row = {str(row): fidelity.telling(row) for fidelity in fidelities for row in np.flatnonzero(fidelity.cells).tolist()}
    return {"level": level, "species": by_row}


def _sums(cube: CubeStore, habitats: str, species: str, level: int, facts: Facts) -> tuple[NDArray[np.int64], Floats]:
    """Cells (levels of the scheme, C) and expected occurrences (levels of the scheme, C, S), at a level of the pyramids."""
    group, rows = group_of("species", species, level), facts.items
    maps, scale = cube.array(f"{group}/occurrence"), np.asarray(cube.array(f"{group}/scale")[:], np.float64)
    levels = [cube.array(f"{group_of('habitats', habitats, level)}/{name}") for name in facts.levels]
    cells, steps = np.zeros((len(levels), rows), np.int64), np.zeros((len(levels), rows, len(scale)))
    side, (height, width) = cube.region.unit_km * 1000 // CELL, cube.region.shape(level=level)
    for row, col in itertools.product(range(0, height, side), range(0, width, side)):
        square = slice(row, min(row + side, height)), slice(col, min(col + side, width))
        # Cells of one class at every level are added up together; `rows` stands for no class.
        classes = [np.minimum(np.asarray(array[square]).ravel(), rows).astype(np.int64) for array in levels]
        kinds, kind = np.unique(np.ravel_multi_index(classes, [rows + 1] * len(levels)), return_inverse=True)
        of_kind = np.unravel_index(kinds, [rows + 1] * len(levels))
        if all((of_level == rows).all() for of_level in of_kind):
            continue
        for first in range(0, len(scale), SPECIES_PER_SHARD):
            block = slice(first, min(first + SPECIES_PER_SHARD, len(scale)))
            stored_values = np.asarray(maps[(block, *square)]).reshape(block.stop - first, -1)
            has_data = stored_values[0] != NO_DATA  # the same cells are mapped for every species
            cells_of_kind = np.bincount(kind[has_data], minlength=len(kinds))
            sums = np.stack(
                [np.bincount(kind[has_data], row_values[has_data], len(kinds)) for row_values in stored_values], axis=1
            )
            for level_sums, of_level in enumerate(of_kind):
                valid = of_level < rows
                np.add.at(steps[level_sums][:, block], of_level[valid], sums[valid])
                if first == 0:
                    np.add.at(cells[level_sums], of_level[valid], cells_of_kind[valid])
    return cells, steps * scale
