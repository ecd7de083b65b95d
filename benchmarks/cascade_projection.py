"""From a unit to Europe: hours, terabytes and objects, from what was measured.

Land cells and squares with land are those of Natural Earth's countries of Europe without Russia (1:50 m, EPSG:3035, any land
in a square of 40 km and in each square of the pyramid above it): 2.34 billion cells in 4,408 units.
"""

from __future__ import annotations

from typing import Any, Final

from cube.layers import COMPOSITION
from cube.storage.leaves import SPECIES_PER_SHARD

CELLS: Final = 2.3e9
UNITS: Final = 4408
ABOVE: Final = (1253, 376, 124, 42, 16, 6, 2, 1)  # squares of levels 1, 2, ... that hold land
INDICATORS: Final = 15  # with every trait known
HABITAT_MAPS: Final = (5, 2)  # at every level; at level 0 alone


def objects(species: int) -> dict[str, int]:
    """Objects of each product of all of Europe, overviews included; a shard is an object."""
    squares = UNITS + sum(ABOVE)
    return {
        "species": -(-species // SPECIES_PER_SHARD) * squares,
        "composition": len(COMPOSITION) * UNITS,
        "indicators": INDICATORS * squares,
        "habitats": HABITAT_MAPS[0] * squares + HABITAT_MAPS[1] * UNITS,
    }


def print_projection(dense: dict[str, Any], species: int, cores: int, device: str) -> list[dict[str, Any]]:
    """Print what `dense`, the measured unit of `benchmarks/cascade.py`, means for Europe; returns flat records."""
    records = []
    each = dense["processor"] / dense["cells"]
    print(f"\nEurope, {CELLS / 1e9:.1f} billion land cells, {species:,} species (habitats apart):")
    print(f"  {CELLS * each / 3600:,.0f} core hours of this processor: {CELLS * each / 3600 / 64:,.0f} h on 64 cores")
    if device == "cuda":
        seconds = dense["wall"] / dense["cells"]
        for count in (1, 8, 64):
            print(f"  {CELLS * seconds / 3600 / count:,.1f} h on {count} GPU")
            rate = count / seconds
            records.append({"way": "projection", "species": species, "step": f"{count} GPU", "cells_per_second": rate})
    stored_bytes = CELLS * dense["bytes"] * species * (1 + sum(0.25**n for n in range(1, len(ABOVE) + 1)))
    print(f"  {stored_bytes / 1e12:.1f} TB of species with overviews, at {dense['bytes']:.2f} bytes a value of these noisy maps")
    object_counts = objects(species)
    print(
        "  objects: "
        + ", ".join(f"{name} {count:,}" for name, count in object_counts.items())
        + f"; {sum(object_counts.values()):,} in all"
    )
    records += [
        {"way": "projection", "species": species, "step": f"objects {name}", "cells_per_second": 0, "objects": count}
        for name, count in object_counts.items()
    ]
    return records
