"""Spatial blocks: the folds that members of an ensemble leave out in turn, and the third of the blocks that is locked.

A block is a square of the grid. All surveys of one place share the block of the place's mean position.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from inference.data.records import Records
from inference.data.samples import Surveys

UNEVEN: Final = 1.5  # largest over smallest fold from which blocks are dealt anew, the largest first
LOCKED: Final = 1 / 3  # share of the blocks that are read for published tables alone
LOCK: Final = "lock"  # what blocks are hashed with for it: never another, or nothing was locked

Flags = NDArray[np.bool_]
Numbers = NDArray[np.int64]
Metres = NDArray[np.float64]


def block_index(surveys: Surveys, block_km: float) -> Numbers:
    """(n, 2) column and row of the block of each survey's place: floor of metres / block size."""
    _, place = np.unique(surveys.place, return_inverse=True)
    count = np.bincount(place)
    size = block_km * 1000
    mean = np.stack([np.bincount(place, surveys.x), np.bincount(place, surveys.y)], 1) / count[:, None]
    return np.floor(mean / size).astype(np.int64)[place]


def _hash(block: NDArray[np.int64], seed: int | str) -> float:
    """A number in [0, 1) that depends on the block and the seed alone."""
    digest = hashlib.blake2b(f"{seed}:{block[0]}:{block[1]}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


@dataclass(frozen=True)
class Folds:
    """The fold of every survey (n,), and what a member that leaves one out may learn from."""

    fold: Numbers  # (n,) 0..count-1
    block: Numbers  # (n,) running number of the block
    locked: Flags  # (n,)
    count: int
    block_km: float
    reach_m: float = 0.0  # `ModelSpec.reach_m`: a training place so near to a place left out would show it
    seed: int = 0
    of_block: Mapping[tuple[int, int], int] = field(default_factory=dict, repr=False)  # empty: whole groups were dealt

    def subset(self, index: NDArray[np.integer] | Flags) -> Folds:
        """The folds of the surveys of `index` (positions or a mask)."""
        return replace(self, fold=self.fold[index], block=self.block[index], locked=self.locked[index])

    def at(self, x: Metres, y: Metres) -> Numbers:
        """(m,) fold of the block of each point, metres; blocks that were not dealt are hashed to one."""
        blocks, inverse = self._blocks_at(x, y)
        folds = [self.of_block.get(tuple(b), int(_hash(b, self.seed) * self.count)) for b in blocks.tolist()]
        return np.asarray(folds, np.int64)[inverse]

    def locked_at(self, x: Metres, y: Metres) -> Flags:
        """(m,) whether the block of each point is locked."""
        blocks, inverse = self._blocks_at(x, y)
        return _locked(blocks)[inverse]

    def _blocks_at(self, x: Metres, y: Metres) -> tuple[Numbers, Numbers]:
        """(distinct blocks (b, 2), which of them each point (m,) lies in)."""
        at = np.floor(np.stack([x, y], 1) / (self.block_km * 1000)).astype(np.int64)
        blocks, inverse = np.unique(at, axis=0, return_inverse=True)
        return blocks, inverse.ravel()

    def surveys_without(self, fold: int, surveys: Surveys) -> Flags:
        """(n,) surveys that a member without `fold` learns from: those of the other folds, clear of it by `reach_m`."""
        return clear_of(surveys, self.fold != fold, self.reach_m)

    def records_of(self, fold: int, surveys: Surveys, records: Records, all_records: bool = False) -> Records:
        """The records that a member without `fold` learns from.

        Those in blocks of the fold and within `reach_m` of its surveys or records are left out, and so is the background in its
        blocks. Where whole groups are left out, a record belongs to the group of the nearest survey. `all_records`: as in
        GeoPlant's benchmark, without any of this.
        """
        if all_records:
            return records
        away = self._left_out(fold, surveys, records.x, records.y)
        other_places = [np.stack([surveys.x, surveys.y], 1)[self.fold == fold], np.stack([records.x, records.y], 1)[away]]
        near = within(np.stack([records.x, records.y], 1), np.concatenate(other_places), self.reach_m)
        train_records = records.subset(np.flatnonzero(~away & ~near))
        if not len(records.background):
            return train_records
        return train_records.without_background(self._left_out(fold, surveys, records.background_x, records.background_y))

    def _left_out(self, fold: int, surveys: Surveys, x: Metres, y: Metres) -> Flags:
        """(m,) whether each point lies where `fold` does: in its blocks, or nearest to a survey of its groups."""
        if self.of_block or not len(surveys):
            return self.at(x, y) == fold
        nearest = cKDTree(np.stack([surveys.x, surveys.y], 1)).query(np.stack([x, y], 1))[1]
        return np.asarray(self.fold[nearest] == fold)


def make_folds(
    surveys: Surveys,
    block_km: float,
    count: int = 5,
    draw: int = 0,
    reach_m: float = 0.0,
    group: NDArray[np.generic] | None = None,
) -> Folds:
    """Deal the blocks of surveys to `count` folds by the number `draw`, and lock a third of the blocks.

    `group` (n,): values of a column; whole groups are dealt in place of blocks, one a fold where there are as many folds.
    """
    index = block_index(surveys, block_km)
    blocks, inverse = np.unique(index, axis=0, return_inverse=True)
    unit = inverse.ravel() if group is None else np.unique(np.asarray(group, str), return_inverse=True)[1]
    of_unit = _dealt(np.bincount(unit), count, draw)
    fold = of_unit[unit]
    locked = _locked(blocks)[inverse.ravel()]
    of_block = {} if group is not None else {tuple(b): int(f) for b, f in zip(index.tolist(), fold, strict=True)}
    return Folds(fold, inverse.ravel(), locked, count, block_km, reach_m, draw, of_block)


def _locked(blocks: Numbers) -> Flags:
    """(b,) whether each block is locked; of few blocks at least one is, and one is not."""
    hashes = np.array([_hash(block, LOCK) for block in blocks])
    locked = hashes < LOCKED
    if len(blocks) > 1 and locked.all() | ~locked.any():
        locked = hashes <= np.partition(hashes, 0)[0]
    return locked & (len(blocks) > 1)


def _dealt(sizes: Numbers, folds: int, draw: int) -> Numbers:
    """(b,) fold of blocks of `sizes` surveys, shuffled by `draw` and dealt one by one to the fold with the fewest surveys.

    Where that leaves folds uneven, since a large block came late, the largest blocks are dealt first, those of about a size in
    the order of the shuffle.
    """
    order = np.random.default_rng(draw).permutation(len(sizes))
    fold, load = _deal(order, sizes, folds)
    if load.max() > UNEVEN * load.min():
        octave = np.floor(np.log2(np.maximum(sizes[order], 1)))
        by_size = _deal(order[np.argsort(-octave, kind="stable")], sizes, folds)
        fold, load = min((fold, load), by_size, key=lambda deal: int(np.ptp(deal[1])))
    return fold


def _deal(order: Numbers, sizes: Numbers, folds: int) -> tuple[Numbers, Numbers]:
    """(fold of each block, surveys of each fold) of blocks dealt in `order` to the fold with the fewest surveys."""
    load = np.zeros(folds, np.int64)
    fold = np.zeros(len(sizes), np.int64)
    for block in order:
        fold[block] = load.argmin()
        load[fold[block]] += sizes[block]
    return fold, load


def clear_of(surveys: Surveys, keep: Flags, distance_m: float) -> Flags:
    """`keep` (n,) without the surveys whose patch, `distance_m` to each side, shows a survey outside it."""
    points = np.stack([surveys.x, surveys.y], 1)
    return keep & ~within(points, points[~keep], distance_m)


def within(points: Metres, targets: Metres, distance_m: float) -> Flags:
    """(n,) whether one of `targets` (m, 2) lies within `distance_m` of each of `points` (n, 2) along both axes."""
    if distance_m <= 0 or not len(targets) or not len(points):
        return np.zeros(len(points), bool)
    nearest, _ = cKDTree(targets).query(points, p=np.inf)
    return np.asarray(nearest <= distance_m)
