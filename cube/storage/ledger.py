"""Receipts: one small document per unit and stage, written after all its shards; resume is what has no valid receipt."""

from __future__ import annotations

import hashlib
import time
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cube.errors import CubeError
from cube.grid import Unit
from cube.storage.store import CubeStore


def digest(document: Any) -> str:
    """Short hash of anything whose `repr` is stable (configuration parts, file names with sizes and times)."""
    return hashlib.sha256(repr(document).encode()).hexdigest()[:16]


def checksum(values: NDArray[Any]) -> int:
    """CRC-32 of stored values in C order: equal for equal values, whatever the bytes of the shard."""
    return zlib.crc32(np.ascontiguousarray(values).data)


class Named(Protocol):
    """A unit, or a square of a pyramid."""

    @property
    def name(self) -> str:
        """As the EEA names it."""


@dataclass(frozen=True)
class Receipt:
    """What one unit of one stage leaves behind."""

    unit: str
    stage: str
    inputs: str  # hash of everything that the values depend on
    seconds: float
    counts: Mapping[str, int] = field(default_factory=dict)
    checksums: Mapping[str, int] = field(default_factory=dict)
    steps: Mapping[str, float] = field(default_factory=dict)  # seconds by step (read, encode satellite, head, write ...)


def mark(receipt: Mapping[str, Any]) -> str:
    """What a unit's values are, in short: whatever is made from them depends on this and on nothing else of it."""
    return digest((receipt["inputs"], sorted(receipt["checksums"].items())))


@dataclass(frozen=True)
class Standing:
    """What the receipts of a stage say: a mark for each unit that is valid, and which units have a receipt that is not."""

    marks: Mapping[str, str]
    stale: frozenset[str]


class Ledger:
    """The receipts of one stage, in `ledger/<stage>/` of the cube; `inputs` is the hash a valid receipt carries."""

    def __init__(self, cube: CubeStore, stage: str, inputs: str) -> None:
        """`stage` is a path such as `inputs/sentinel2` or `species/v1`."""
        self.cube, self.stage, self.inputs = cube, stage, inputs

    def done(self) -> set[str]:
        """Names of the units with a valid receipt."""
        return set(self.standing().marks)

    def standing(self) -> Standing:
        """Every receipt looked at once; kept of each is its mark alone, since a continent has many."""
        marks, stale = {}, set()
        for name, receipt in self.cube.read_folder(f"ledger/{self.stage}"):
            if receipt.get("inputs") == self.inputs:
                marks[name] = mark(receipt)
            else:
                stale.add(name)
        return Standing(marks, frozenset(stale))

    def withdraw(self, unit: str) -> None:
        """Take the receipt of a unit (or square) away, before its shards are written anew."""
        self.cube.remove_json(f"ledger/{self.stage}/{unit}.json")

    def missing(self, units: Iterable[Unit]) -> list[Unit]:
        """Units without a valid receipt, in order."""
        done = self.done()
        return [unit for unit in units if unit.name not in done]

    def sign(self, unit: Named, started: float, counts: Mapping[str, int] | None = None,
             checksums: Mapping[str, int] | None = None) -> Receipt:  # fmt: skip
        """Leave the receipt of a unit or square; `started` is `time.perf_counter()` of its beginning."""
        receipt = Receipt(
            unit.name, self.stage, self.inputs, round(time.perf_counter() - started, 3), counts or {}, checksums or {}
        )
        self.leave(unit.name, vars(receipt))
        return receipt

    def leave(self, unit: str, receipt: Mapping[str, Any]) -> None:
        """Write a receipt that is made already, the last thing that is written of a unit."""
        self.cube.write_json(f"ledger/{self.stage}/{unit}.json", {**receipt})

    def valid(self, unit: str) -> Mapping[str, Any] | None:
        """The receipt of a unit, if it has a valid one."""
        try:
            receipt = self.cube.read_json(f"ledger/{self.stage}/{unit}.json")
        except CubeError:  # damaged: that is none
            return None
        return receipt if receipt is not None and receipt.get("inputs") == self.inputs else None
