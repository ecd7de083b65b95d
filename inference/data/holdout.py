"""How large blocks are for these surveys: defaults that fit the region and the number of surveys, and why.

Dealing blocks to folds is `blocks.py`. What a configuration asks for and these surveys do not allow is an error that names the
number that would work.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cube.config import Config
from cube.errors import ConfigError
from inference.data.blocks import Folds, block_index, make_folds
from inference.data.records import Records
from inference.data.samples import Surveys

USUAL_KM: Final = 50.0
ALONG_SIDE: Final = 8  # blocks along the region's shorter side: with fewer a fold would be one corner of the region
SMALLEST_KM: Final = 0.5
EVEN: Final = 1.5  # largest over smallest fold that a default aims at
UNEVEN: Final = 3.0  # largest over smallest fold that is refused: its scores would be those of one part of the region
BLOCKS_A_FOLD: Final = 4  # that a default aims at
PER_FOLD: Final = 5  # presences of a species that an AUC of one fold takes
PRESENCES_WANTED: Final = 100  # presences from which a species is scored where surveys are many
SHARE: Final = 20  # where they are few: a twentieth of them


@dataclass(frozen=True)
class Holdout:
    """The folds of a training, the least presences of a species that is scored, and why they are what they are."""

    folds: Folds
    min_records: int
    sizes: tuple[int, int]  # surveys (without any: records) of the smallest and of the largest fold
    why: str


def plan_folds(
    config: Config,
    surveys: Surveys,
    reach_m: float = 0.0,
    group: NDArray[np.generic] | None = None,
    records: Records | None = None,
) -> Holdout:
    """The folds that members of an ensemble leave out in turn, as `train.members` and `evaluate` ask for.

    A block size that is given is taken or refused; left out, it is halved until folds are even. `group` (n,): values of
    `evaluate.groups`, whose groups are left out whole. Without surveys the blocks of `records` are dealt.
    Raises: ConfigError where blocks are fewer than members or folds would be uneven; it names the number that would work.
    """
    e, members = config.evaluate, config.train.members
    places = surveys if len(surveys) or records is None else Surveys.at(records.x, records.y)
    if e.groups is not None and not len(surveys):
        raise ConfigError(
            f"{config.path}: evaluate.groups names '{e.groups}', a column of surveys, and the model learns from records alone;"
            " leave it out."
        )
    what = "surveys" if len(surveys) else "records"
    count = len(np.unique(places.place if group is None else np.asarray(group, str)))
    if count < members:
        column_hint = "" if group is None else f" in the column '{e.groups}'"
        kind = ("place" if group is None else "group") + ("s" if count > 1 else "")
        raise ConfigError(
            f"{config.path}: train.members is {members}, but the {what} are of {count} {kind}{column_hint}; {_fewer(count)}"
            f"{f'give {what} of more places' if group is None else 'name a column of more groups'}."
        )
    if group is not None:
        block_km, why = e.block_km or usual_block_km(config), f"whole groups of the column '{e.groups}' are left out"
    elif e.block_km is not None:
        _check(config, places, e.block_km)
        block_km, why = e.block_km, "as evaluate.block_km says"
    else:
        block_km = _default_km(config, places)
        why = _why(config, block_km)
    folds = make_folds(places, block_km, members, config.train.seed, reach_m, group)
    sizes = np.bincount(folds.fold, minlength=members)
    if not len(surveys):
        folds = folds.subset(np.zeros(0, np.int64))
    return Holdout(folds, _min_records(config, surveys), (int(sizes.min()), int(sizes.max())), why)


def _fewer(count: int) -> str:
    """The advice to take fewer members where `count` places, blocks or groups allow it: two are the least."""
    return f"set train.members to {count} or less, or " if count > 1 else ""


def _min_records(config: Config, surveys: Surveys) -> int:
    """Surveys from which a species is scored. Raises: ConfigError where the configuration asks for more than there are."""
    commonest = int(surveys.presence.sum(0).max(initial=0))
    min_records = config.evaluate.min_records
    if min_records is None:
        return min(PRESENCES_WANTED, commonest, max(PER_FOLD * config.train.members, len(surveys) // SHARE))
    if commonest < min_records and len(surveys):
        raise ConfigError(
            f"{config.path}: no species stands in {min_records} surveys or more, the commonest in {commonest}; set"
            f" evaluate.min_records to {commonest} or less."
        )
    return min_records


def usual_block_km(config: Config) -> float:
    """50 km, at most an eighth of the region's shorter side."""
    return min(USUAL_KM, _shorter_km(config) / ALONG_SIDE)


def largest_block_km(surveys: Surveys, folds: int, below_km: float) -> float | None:
    """The largest of `below_km` / 2, / 4, ... whose blocks are dealt to `folds` within `UNEVEN`; None where none is."""
    size = below_km / 2
    while size >= SMALLEST_KM:
        sizes = fold_sizes(surveys, size, folds)
        if sizes is not None and sizes[1] <= UNEVEN * max(1, sizes[0]):
            return size
        size /= 2
    return None


def fold_sizes(surveys: Surveys, block_km: float, folds: int) -> tuple[int, int] | None:
    """Surveys of the smallest and of the largest fold; None where blocks are fewer than folds."""
    folds_of_size = make_folds(surveys, block_km, folds)
    if folds_of_size.block.max(initial=-1) + 1 < folds:
        return None
    count = np.bincount(folds_of_size.fold, minlength=folds)
    return int(count.min()), int(count.max())


def count_blocks(surveys: Surveys, block_km: float) -> int:
    """Blocks with a survey."""
    return len(np.unique(block_index(surveys, block_km), axis=0))


def _check(config: Config, surveys: Surveys, block_km: float) -> None:
    members, sizes = config.train.members, fold_sizes(surveys, block_km, config.train.members)
    if sizes is not None and sizes[1] <= UNEVEN * sizes[0]:
        return
    blocks = count_blocks(surveys, block_km)
    remedy = (
        f"the surveys lie in {blocks} blocks, fewer than train.members ({members})"
        if sizes is None
        else f"folds would be of {sizes[0]} to {sizes[1]} surveys"
    )
    works = largest_block_km(surveys, members, block_km)
    advice = f"set evaluate.block_km to {shown_km(works)} or less, or " if works else _fewer(blocks)
    raise ConfigError(f"{config.path}: evaluate.block_km is {block_km:g}: {remedy}; {advice}leave it out.")


def _default_km(config: Config, surveys: Surveys) -> float:
    members, start = config.train.members, usual_block_km(config)
    size = start
    best: tuple[float, tuple[int, int]] | None = None
    while size >= SMALLEST_KM or size == start:
        sizes = fold_sizes(surveys, size, members)
        if sizes is not None and sizes[1] <= EVEN * sizes[0] and count_blocks(surveys, size) >= BLOCKS_A_FOLD * members:
            return size
        if sizes is not None and (best is None or sizes[1] * best[1][0] < best[1][1] * sizes[0]):
            best = size, sizes
        size /= 2
    if best is None:
        raise ConfigError(
            f"{config.path}: the surveys lie too close together for {members} folds of blocks of {SMALLEST_KM:g} km;"
            f" {_fewer(count_blocks(surveys, SMALLEST_KM))}give surveys of more places."
        )
    return best[0]


def _why(config: Config, block_km: float) -> str:
    start, shorter = usual_block_km(config), _shorter_km(config)
    if block_km < start:
        return f"smaller than {shown_km(start)} km, so that folds are even"
    if start < USUAL_KM:
        return f"an eighth of the region's shorter side of {shorter:g} km"
    return "the default"


def _shorter_km(config: Config) -> float:
    r = config.region
    return float(min(r.east_km - r.west_km, r.north_km - r.south_km))


def shown_km(km: float) -> str:
    """Kilometres as a person reads them, rounded down so that the number works."""
    return f"{np.floor(km * 10) / 10:g}" if km >= 1 else f"{np.floor(km * 100) / 100:g}"
