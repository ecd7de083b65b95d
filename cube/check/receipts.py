"""What a check asks of every receipt of a stage, in one reading of them, whichever rules ask it.

Values that a species' map cut at its largest stored probability are a warning, not a broken rule: a map is right below its
ceiling; where many cells lie above it, sums of species and richness disagree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from cube.sources.coverage import Coverage, coverage_of
from cube.storage import backends
from cube.storage.progress import Stage
from cube.storage.store import CubeStore

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


@dataclass(frozen=True)
class WrongSize:
    """A shard that is not stored with the bytes that its receipt lists; 0 bytes: it holds only fill and is no object."""

    key: str
    receipt_bytes: int
    stored_bytes: int
    stage: str  # of the receipt: that of the units, or of the squares above them
    unit: str


@dataclass(frozen=True)
class StoredSizes:
    """Bytes of the objects of a cube, each of its parts listed once; `whole_inputs` lists all inputs together."""

    cube: CubeStore
    whole_inputs: bool

    @property
    def can_be_listed(self) -> bool:
        """Whether the store says what is in it; a web server does not."""
        return backends.scheme(self.cube.url) not in backends.WEB

    @cached_property
    def _sizes(self) -> dict[str, dict[str, int]]:
        return {}

    def bytes_of(self, key: str) -> int:
        """Bytes of the shard `key`, 0 where there is none."""
        part = "inputs" if self.whole_inputs else key.rpartition("/c/")[0]
        if key.startswith("products/"):
            part = "/".join(key.split("/")[:3])
        if part not in self._sizes:
            self._sizes[part] = self.cube.sizes(part)
        return self._sizes[part].get(key.removeprefix(f"{part}/"), 0)


@dataclass(frozen=True)
class StageReceipts:
    """What is found in the receipts of a stage and of the squares above it, one after another."""

    stage: Stage
    all_sizes: StoredSizes
    wrong_sizes: list[WrongSize] = field(default_factory=list)
    uneven: list[tuple[str, Coverage]] = field(default_factory=list)  # units with layers whose counts do not add up
    cut_values: CutValues = field(default_factory=CutValues)

    def look(self, path: str, name: str, receipt: Mapping[str, Any]) -> None:
        """Look at the receipt `name` of `path`: of the stage, or of its overviews."""
        for key, size in receipt.get("sizes", {}).items() if self.all_sizes.can_be_listed else ():
            if is_in_stage(self.stage, key) and (stored_bytes := self.all_sizes.bytes_of(key)) != size:
                self.wrong_sizes.append(WrongSize(key, size, stored_bytes, path, name))
        if path == self.stage.path:
            self.cut_values.add(receipt)
            rows = coverage_of(receipt.get("counts", {})) if path.startswith("inputs/") else []
            self.uneven.extend((name, row) for row in rows if row.used + row.no_data + row.refused != row.pixels)


def is_in_stage(stage: Stage, path: str) -> bool:
    """Whether the product of a version that `path` lies in is there: `gc` takes those that no release names, and no receipt."""
    return not path.startswith("products/") or path.split("/")[1] in stage.layers
