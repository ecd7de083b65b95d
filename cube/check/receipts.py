"""What a check asks of every receipt of a stage, in one reading of them, whichever rules ask it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cube.check.cut_values import cut_shares
from cube.sources.coverage import Coverage, coverage_of
from cube.storage import backends
from cube.storage.ledger import receipts
from cube.storage.progress import Progress, Stage
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
class StageReceipts:
    """What is found in the receipts of a stage."""

    wrong_sizes: list[WrongSize]
    uneven: list[tuple[str, Coverage]]  # units with layers whose counts do not add up
    cut_shares: dict[str, float]  # see `cube.check.cut_values`
    unreadable: list[tuple[str, str]]  # (stage, unit) of receipts that the memo lists and that cannot be read


@dataclass(frozen=True)
class StoredSizes:
    """Bytes of the objects of a cube, each of its parts listed once; `whole_inputs` lists all inputs together."""

    cube: CubeStore
    whole_inputs: bool

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


def read_receipts(cube: CubeStore, progress: Progress, sizes: StoredSizes) -> StageReceipts:
    """Read the receipts of the units of a stage and of the squares above them."""
    stage, unreadable = progress.stage, list[tuple[str, str]]()
    wrong: list[WrongSize] = []
    uneven: list[tuple[str, Coverage]] = []
    lists_sizes = backends.scheme(cube.url) not in backends.WEB

    def read(path: str, names: Collection[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        unread_names = set(names)
        for name, receipt in receipts(cube, path):
            for key, size in receipt.get("sizes", {}).items() if lists_sizes else ():
                if is_in_stage(stage, key) and (stored_bytes := sizes.bytes_of(key)) != size:
                    wrong.append(WrongSize(key, size, stored_bytes, path, name))
            unread_names.discard(name)
            yield name, receipt
        unreadable.extend((path, name) for name in sorted(unread_names))

    def units() -> Iterator[Mapping[str, Any]]:
        for name, receipt in read(stage.path, progress.index.fingerprints.keys() | progress.index.stale):
            rows = coverage_of(receipt.get("counts", {})) if stage.path.startswith("inputs/") else []
            uneven.extend((name, row) for row in rows if row.used + row.no_data + row.refused != row.pixels)
            yield receipt

    shares = cut_shares(units())
    squares = [name for name, state in progress.squares.items() if state != "missing"]
    for _ in read(f"{stage.path}/overviews", squares):
        pass
    return StageReceipts(wrong, uneven, shares, unreadable)


def is_in_stage(stage: Stage, path: str) -> bool:
    """Whether the product of a version that `path` lies in is there: `gc` takes those that no release names, and no receipt."""
    return not path.startswith("products/") or path.split("/")[1] in stage.layers
