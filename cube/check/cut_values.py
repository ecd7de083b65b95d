"""Values that a species' map cut at its largest stored probability, counted in receipts: a warning, not a broken promise.

A map is right below its ceiling; where many cells lie above it, sums of species and richness disagree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

WARN_ABOVE: Final = 0.001  # share of a species' cells
MAX_NAMES: Final = 5


@dataclass
class CutValues:
    """The cells of some receipts, and in how many of them each species was cut."""

    cells: int = 0
    by_species: Counter[str] = field(default_factory=Counter)

    def add(self, receipt: Mapping[str, Any]) -> None:
        """Count those of one more receipt."""
        self.cells += int(receipt.get("counts", {}).get("cells", 0))
        self.by_species.update({str(name): int(count) for name, count in receipt.get("cut_cells", {}).items()})

    def shares(self) -> dict[str, float]:
        """Share of its cells (0..1) that each species was cut in, the largest first; species that were not cut are left out."""
        return {name: count / self.cells for name, count in self.by_species.most_common() if self.cells}


def cut_shares(receipts: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """See `CutValues.shares`."""
    values = CutValues()
    for receipt in receipts:
        values.add(receipt)
    return values.shares()


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
