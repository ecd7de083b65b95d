"""Receipts: one small document per unit and stage, written after all its shards; resume is what has no valid receipt.

A receipt begins as a file of its own, `ledger/<stage>/<unit>.json`. Once the units of a block of 16 x 16 have ended, theirs
are moved into one document, `ledger/<stage>/blocks/<block>.json`. A file of its own stands above what a block says of the unit;
`{}` there says that the unit has no receipt. What an index asks of each document lies in `ledger/<stage>/memo/receipts.json`
beside the version of that document (`cube.storage.memo`): a stage of a continent is then read by two requests.
"""

from __future__ import annotations

import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray

from cube.errors import ConfigError, CubeError
from cube.grid import Unit
from cube.square_names import eea_corner
from cube.storage import lock, shapes
from cube.storage.documents import Documents
from cube.storage.identity import digest
from cube.storage.memo import Memo

WHOLE_NUMBERS: Final = shapes.Key("an object of whole numbers", shapes.is_whole_numbers)
# What a receipt may hold beside `inputs` and `checksums`.
PARTS: Final[Mapping[str, shapes.Key]] = {
    "counts": WHOLE_NUMBERS,
    "sizes": WHOLE_NUMBERS,
    "cut_cells": WHOLE_NUMBERS,
    "seconds": shapes.NUMBER,
    "steps": shapes.Key("an object of numbers", shapes.is_numbers),
}
BLOCK: Final = 16  # units a side of a block: its document is some 200 kB
COMPACT_FROM: Final = 16  # receipts; fewer of a block stay files of their own, which a person finds by name


def checksum(values: NDArray[Any]) -> int:
    """CRC-32 of stored values in C order: equal for equal values, whatever the bytes of the shard."""
    return zlib.crc32(np.ascontiguousarray(values).data)


class HasName(Protocol):
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
    sizes: Mapping[str, int] = field(default_factory=dict)  # bytes of each shard by its key in the cube, 0: only fill
    memory: Mapping[str, int] = field(default_factory=dict)  # bytes: projected, and the peak of the process until then


def fingerprint(receipt: Mapping[str, Any]) -> str:
    """What a unit's values are, in short: whatever is made from them depends on this and on nothing else of it."""
    return digest([receipt["inputs"], receipt["checksums"]])


def add_counts(counts: dict[str, int], more: Mapping[str, int]) -> None:
    """Add the counts of one receipt to the sums of others."""
    for name, number in more.items():
        counts[name] = counts.get(name, 0) + number


def block_of(name: str) -> str:
    """The block of a unit or square: `40kmE3N8` is the 4th to the east and the 9th to the north of the CRS's origin."""
    size, x, y = eea_corner(name)
    return f"{size // 1000}kmE{x // (BLOCK * size)}N{y // (BLOCK * size)}"


def is_receipt(document: Any) -> TypeGuard[Mapping[str, Any]]:
    """Whether a document is a receipt; `{}`, which withdraws one, is none, and neither is anything damaged."""
    if not isinstance(document, dict) or "checksums" not in document or not isinstance(document.get("inputs"), str):
        return False
    return isinstance(document["checksums"], dict) and all(
        key.fits(document[name]) for name, key in PARTS.items() if name in document
    )


def _receipts_of(block: Any) -> dict[str, Any]:
    return {name: receipt for name, receipt in block.items() if is_receipt(receipt)} if isinstance(block, Mapping) else {}


def receipts(cube: Documents, stage: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(unit, receipt) of all receipts of a stage, each unit once; a unit whose receipt is damaged or withdrawn has none."""
    folder = f"ledger/{stage}"
    # Single ones before blocks: one that is moved meanwhile is met in its block.
    paths, single = set(cube.list_json(folder)), set()
    for name, receipt in cube.read_documents(folder, sorted(paths)):
        single.add(name)
        if is_receipt(receipt):
            yield name, receipt
    if single != paths:
        single |= paths & set(cube.list_json(folder))  # damaged
    for _, block in cube.read_folder(f"{folder}/blocks"):
        for name, receipt in _receipts_of(block).items():
            if name not in single:
                yield name, receipt


Summary = list[Any]  # what some receipts are made from, the fingerprint of each by its unit, the sums of their counts


Look = Callable[[str, str, Mapping[str, Any]], None]  # is shown a receipt: its stage, its unit, what it says


def _memo(cube: Documents, stage: str) -> Memo:
    # Another name where `_summarised` or `fingerprint` makes something else of the same receipt: an old memo would stand for it.
    return Memo(cube, f"ledger/{stage}", "memo/receipts", _summarised)


def _summarised(path: str, document: Any) -> list[Summary]:
    """What an index asks of the receipts of one document, by what they were made from."""
    units: dict[str, dict[str, str]] = {}
    counts: dict[str, dict[str, int]] = {}
    for name, receipt in _receipts_of(document if "/" in path else {path: document}).items():
        units.setdefault(receipt["inputs"], {})[name] = fingerprint(receipt)
        add_counts(counts.setdefault(receipt["inputs"], {}), receipt.get("counts", {}))
    return [[inputs, names, counts[inputs]] for inputs, names in units.items()]


def _documents(listing: Mapping[str, str], prefix: str = "") -> dict[str, str]:
    """Those of the documents listed that hold receipts of one stage: below `prefix`, in no folder or in `blocks`."""
    paths = ((path.removeprefix(prefix), version) for path, version in listing.items() if path.startswith(prefix))
    return {path: version for path, version in paths if path.rpartition("/")[0] in ("", "blocks")}


def summaries(
    cube: Documents, stage: str, listing: Mapping[str, str] | None = None, look: Look | None = None
) -> Iterator[Summary]:
    """What the receipts of a stage say, each unit once; `listing` are the versions of all documents below `ledger`.

    A unit whose receipt is damaged or withdrawn has none. With `look` the receipts themselves are read, and it sees each once.
    """
    folder, memo = f"ledger/{stage}", _memo(cube, stage)
    versions = _documents(cube.versions(folder)) if listing is None else _documents(listing, f"{stage}/")
    if look is not None:
        memo = replace(memo, derive=partial(_summaries, stage, look, {path for path in versions if "/" not in path}, set()))
    by_path = memo.values(versions, look is None)
    while missing := {path: versions[path] for path in versions.keys() - by_path.keys()}:
        now = _documents(cube.versions(folder))
        if missing.items() <= now.items():
            break  # damaged, and not moved into a block since they were listed
        versions, by_path = now, memo.values(now, look is None)
    single = {path for path in versions if "/" not in path}
    for path, parts in by_path.items():
        if "/" in path and any(not single.isdisjoint(units) for _, units, _ in parts):
            block = dict(cube.read_documents(folder, [path])).get(path, {})
            parts = _summarised(path, {name: receipt for name, receipt in block.items() if name not in single})
        yield from parts


def _summaries(stage: str, look: Look, single: set[str], reported_names: set[str], path: str, document: Any) -> list[Summary]:
    """As `_summarised`; `look` sees each receipt once: a block's not of `single` units, which have files of their own."""
    for name, receipt in _receipts_of(document if "/" in path else {path: document}).items():
        if name not in reported_names and not ("/" in path and name in single):
            reported_names.add(name)
            look(stage, name, receipt)
    return _summarised(path, document)


@dataclass(frozen=True)
class ReceiptIndex:
    """What the receipts of a stage say: a fingerprint of each unit with a valid one, and the units with another one.

    `counts` are the sums of those of the valid receipts.
    """

    fingerprints: Mapping[str, str]
    stale: frozenset[str]
    counts: Mapping[str, int] = field(default_factory=dict)


class Ledger:
    """The receipts of one stage, in `ledger/<stage>/` of the cube; `inputs` is the hash a valid receipt carries."""

    def __init__(self, cube: Documents, stage: str, inputs: str | None) -> None:
        """`stage` is a path such as `inputs/sentinel2` or `species/v1`."""
        self.cube, self.stage, self.inputs = cube, stage, inputs

    def index(self, listing: Mapping[str, str] | None = None, look: Look | None = None) -> ReceiptIndex:
        """What all receipts say, see `summaries`."""
        fingerprints: dict[str, str] = {}
        stale: set[str] = set()
        counts: dict[str, int] = {}
        for inputs, units, sums in summaries(self.cube, self.stage, listing, look):
            if inputs == self.inputs:
                fingerprints |= units
                add_counts(counts, sums)
            else:
                stale |= units.keys()
        return ReceiptIndex(fingerprints, frozenset(stale), counts)

    def missing(self, units: Iterable[Unit]) -> list[Unit]:
        """Units without a valid receipt, in order."""
        valid = self.index().fingerprints
        return [unit for unit in units if unit.name not in valid]

    def withdraw(self, unit: str) -> None:
        """Take the receipt of a unit (or square) away, before its shards are written anew."""
        self._withdraw(unit, unit in self._block(block_of(unit)))

    def _withdraw(self, unit: str, in_block: bool) -> None:
        if in_block:
            self.leave(unit, {})
        else:
            self.cube.remove_json(f"ledger/{self.stage}/{unit}.json")

    def valid_or_withdrawn(self, unit: str) -> Mapping[str, Any] | None:
        """As `valid`; a receipt that is not valid is taken away as `withdraw` does. Each document is read once at most."""
        single = self._single(unit)
        if is_receipt(single) and single["inputs"] == self.inputs:
            return single
        of_block: Mapping[str, Any] | None = self._block(block_of(unit)).get(unit)
        if single is None and of_block is not None and of_block["inputs"] == self.inputs:
            return of_block
        if single is not None or of_block is not None:
            self._withdraw(unit, of_block is not None)
        return None

    def sign(
        self,
        unit: HasName,
        start: float,
        counts: Mapping[str, int] | None = None,
        checksums: Mapping[str, int] | None = None,
        sizes: Mapping[str, int] | None = None,
        memory: Mapping[str, int] | None = None,
    ) -> Receipt:
        """Leave the receipt of a unit or square; `start` is `time.perf_counter()` of its beginning."""
        assert self.inputs is not None
        seconds = round(time.perf_counter() - start, 3)
        receipt = Receipt(
            unit.name, self.stage, self.inputs, seconds, counts or {}, checksums or {}, sizes=sizes or {}, memory=memory or {}
        )
        self.leave(unit.name, vars(receipt))
        return receipt

    def leave(self, unit: str, receipt: Mapping[str, Any]) -> None:
        """Write a receipt that is made already, the last thing that is written of a unit."""
        self.cube.write_json(f"ledger/{self.stage}/{unit}.json", {**receipt})

    def valid(self, unit: str) -> Mapping[str, Any] | None:
        """The receipt of a unit, if it has a valid one."""
        receipt = self.any(unit)
        return receipt if receipt is not None and receipt.get("inputs") == self.inputs else None

    def any(self, unit: str) -> Mapping[str, Any] | None:
        """The receipt of a unit or square, whatever it was made from."""
        receipt = self._single(unit)
        if receipt is None:
            receipt = self._block(block_of(unit)).get(unit)
        return receipt if is_receipt(receipt) else None  # `{}`: withdrawn

    def _single(self, unit: str) -> Any:
        """The document that the unit has of its own, None without one; a damaged one is no receipt, as `{}`."""
        try:
            return self.cube.read_json(f"ledger/{self.stage}/{unit}.json")
        except CubeError:
            return {}

    def _block(self, block: str) -> dict[str, Any]:
        try:
            return _receipts_of(self.cube.read_json(f"ledger/{self.stage}/blocks/{block}.json"))
        except CubeError:  # damaged: its units have no receipts
            return {}

    def compact(self) -> None:
        """Move the receipts of every block that has enough of them into its document; nobody may be writing units of it."""
        blocks: dict[str, list[str]] = {}
        for name in self.cube.list_json(f"ledger/{self.stage}"):
            with suppress(ConfigError):  # a file of somebody else has no name of a square
                blocks.setdefault(block_of(name), []).append(name)
        for block, names in blocks.items():
            self.compact_block(block, names)
        self.update_memo()

    def update_memo(self) -> None:
        """Note what the receipts say as they are now, for whoever reads all; those of the units or squares of the stage alone."""
        _memo(self.cube, self.stage).update(lambda: _documents(self.cube.versions(f"ledger/{self.stage}")))

    def compact_block(self, block: str, names: Iterable[str]) -> None:
        """Move those receipts of `names`, units of `block`, that are files of their own into the block's document.

        A kill between any two writes loses none: the files go once the block is written.
        """
        folder, names = f"ledger/{self.stage}", sorted(names)
        if len(names) < COMPACT_FROM:
            return
        with ExitStack() as stack:
            for name in names:  # a worker of a run that was killed may be at one of them still
                stack.enter_context(lock.claimed(self.cube, self.stage, name))
            single = dict(self.cube.read_documents(folder, names))
            if len(single) < COMPACT_FROM:
                return
            block_receipts = {name: receipt for name, receipt in (self._block(block) | single).items() if is_receipt(receipt)}
            self.cube.write_json(f"{folder}/blocks/{block}.json", block_receipts)
            self.cube.remove_documents(folder, sorted(single))


class OpenBlocks:
    """The blocks of units that a run is to write: each is compacted when the last of its units has ended, well or not."""

    def __init__(self, ledger: Ledger, units: Iterable[Unit], todo: Iterable[str]) -> None:
        """`units` are all of the stage, `todo` the names of those that this run writes."""
        self._ledger = ledger
        self._open_units = Counter(map(block_of, todo))
        self._names: dict[str, list[str]] = {}
        for unit in units:
            self._names.setdefault(block_of(unit.name), []).append(unit.name)

    def finish(self, name: str) -> None:
        """Note that a unit has ended."""
        block = block_of(name)
        self._open_units[block] -= 1
        if not self._open_units[block]:
            self._ledger.compact_block(block, self._names[block])
        if not self._open_units.total():
            self._ledger.update_memo()
