"""Values that a species' map cut at its largest stored probability, counted in receipts: a warning, not a broken promise.

A map is right below its ceiling; where many cells lie above it, sums of species and richness disagree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

WARN_ABOVE: Final = 0.001  # share of a species' cells
MAX_NAMES: Final = 5


def cut_shares(receipts: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Share of its cells (0..1) that each species was cut in, the largest first; species that were not cut are left out."""
    cells, cut_cells = 0, Counter[str]()
    for receipt in receipts:
        cells += int(receipt.get("counts", {}).get("cells", 0))
        cut_cells.update({str(name): int(count) for name, count in receipt.get("cut_cells", {}).items()})
    return {name: count / cells for name, count in cut_cells.most_common() if cells}


def warning_of(shares: Mapping[str, float]) -> str:
    """A sentence on the species above `WARN_ABOVE`; empty where there is none."""
    species_shares = [f"{name} {share:.2%}" for name, share in shares.items() if share > WARN_ABOVE]
    if not species_shares:
        return ""
    more = f" and {len(species_shares) - MAX_NAMES} more" if len(species_shares) > MAX_NAMES else ""
    return (
        f"{len(species_shares)} species are cut at their largest stored probability in more than {WARN_ABOVE:.1%} of their cells"
        f" ({', '.join(species_shares[:MAX_NAMES])}{more}): there their sums fall short of richness; predict again as a new"
        " version, whose steps are fixed from cells of its own region and year."
    )
