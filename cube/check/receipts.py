"""What a check asks of every receipt of a stage, in one reading of them, whichever rules ask it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from cube.check.cut_values import CutValues
from cube.sources.coverage import Coverage, coverage_of
from cube.storage import backends
from cube.storage.progress import Stage
from cube.storage.store import CubeStore


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
