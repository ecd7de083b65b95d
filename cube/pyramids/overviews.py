"""The squares of pyramids as work: level by level through the engine, each with a receipt, none over a hole.

Where a level has few squares, each block of species of a square is a task of its own, so that many workers have work; the square
is signed here once all of them have ended. What a square holds is `pyramid`, how squares nest is `squares`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, TypeVar

from cube.engine.workers import Outcome, Workers, run
from cube.grid import Region, Unit
from cube.pyramids.facts import Facts, position, write_square
from cube.pyramids.pyramid import NO_BLOCK, Pyramid, WrittenSums, blocks_of, build_square
from cube.pyramids.squares import Square, tree
from cube.storage import lock
from cube.storage.ledger import Ledger, add_counts, summaries
from cube.storage.progress import square_inputs
from cube.storage.store import CubeStore, open_cube
from cube.storage.transient import retry_transient

SPLIT_BELOW: Final = 256  # squares of a level: with fewer, 64 workers and more would wait for the last ones
T = TypeVar("T")


@dataclass(frozen=True)
class Overviews:
    """The pyramids that stand on the units of one stage."""

    stage: str  # of the units, such as `inputs/sentinel2`; that of the squares ends in `/overviews`
    pyramids: tuple[Pyramid, ...]
    units: tuple[Unit, ...]  # those that the pyramids cover
    fingerprints: Mapping[str, str]  # of the units with a valid receipt (`ReceiptIndex.fingerprints`)
    facts: tuple[Facts, ...] = ()  # what is known of units and squares beside the pyramids

    @property
    def ledger_stage(self) -> str:
        """Where the receipts of the squares lie."""
        return f"{self.stage}/overviews"


@dataclass(frozen=True)
class Step:
    """One square: built now, valid before, failed (`error`), or not to be built since something below it is missing."""

    stage: str
    square: Square
    is_built: bool = False
    error: str | None = None
    waits: bool = False


@dataclass(frozen=True)
class _Task:
    """A square, as it travels to a worker."""

    cube_url: str
    stage: str
    inputs: str
    pyramids: tuple[Pyramid, ...]
    facts: tuple[Facts, ...]
    square: Square
    stale: bool
    block: int | None = None  # of species, or `REST`; None: the whole square


@dataclass
class _Parts:
    """A square whose parts are tasks of their own: how many are left, and what those that ended left for its receipt."""

    open_parts: int
    start: float = field(default_factory=time.perf_counter)
    error: str | None = None
    result: WrittenSums = field(default_factory=lambda: WrittenSums({}, {}, {}))


def _build(task: _Task) -> WrittenSums:
    """Build one square and leave its receipt, the last thing that is written; a part of one has none."""
    cube, start = open_cube(task.cube_url, writable=True), time.perf_counter()
    ledger = Ledger(cube, task.stage, task.inputs)
    part = task.square.name if task.block is None else f"{task.square.name}-{task.block}"
    # Whoever is at it still, a worker of a run that was killed, is waited for; what it finished need not be done again.
    with lock.claimed(cube, task.stage, part):
        if ledger.valid(task.square.name) is not None:
            return WrittenSums({}, {}, {})
        if task.stale:
            ledger.withdraw(task.square.name)
        if task.block is not None:
            return _write(cube, task)
        try:
            result = _write(cube, task)
        except Exception:
            _clear(cube, task)
            raise
        ledger.sign(task.square, start, *result)
        return result


def _write(cube: CubeStore, task: _Task) -> WrittenSums:
    out = WrittenSums({}, {}, {})
    for pyramid in task.pyramids:
        _add(out, build_square(cube, pyramid, task.square, task.block))
    if task.block in (None, NO_BLOCK):
        _add(out, WrittenSums({}, *write_square(cube, task.facts, task.square)))
    return out


def _add(sums: WrittenSums, more: WrittenSums) -> None:
    add_counts(sums.counts, more.counts)
    sums.checksums.update(more.checksums)
    sums.sizes.update(more.sizes)


def _clear(cube: CubeStore, task: _Task) -> None:
    """Remove all of a square: as of a unit, no damaged shard is left behind."""
    with suppress(Exception):
        for pyramid in task.pyramids:
            for layer in pyramid.layers:
                cube.clear(f"{pyramid.group(task.square.level)}/{layer.name}", task.square.window(pyramid.resolution))
        for facts in task.facts:
            cube.clear(facts.array(task.square.level), position(cube, task.square)[1])


class _Climb:
    """One set of pyramids on its way up: the fingerprints of what is complete, level by level."""

    def __init__(self, cube_url: str, region: Region, overviews: Overviews, workers: Workers) -> None:
        self.cube_url, self.overviews = cube_url, overviews
        self.workers = workers
        self.fingerprints = dict(overviews.fingerprints)
        self.squares = tree(region, overviews.units)
        self.names = {unit.name for unit in overviews.units} | {square.name for square in self.squares}
        self.cube = open_cube(cube_url, writable=True)
        self.ledger = Ledger(self.cube, overviews.ledger_stage, None)
        self.made_from = self._retried(self._made_from)
        self.blocks = self._retried(lambda: max((blocks_of(self.cube, pyramid) for pyramid in overviews.pyramids), default=0))
        self.open: dict[str, _Parts] = {}

    def _made_from(self) -> dict[str, str]:
        return {name: made_from for made_from, names, _ in summaries(self.cube, self.ledger.stage) for name in names}

    def compact(self) -> None:
        """Move the receipts of whole blocks of squares together; no square of the stage may be in the making."""
        self._retried(self.ledger.compact)

    def _retried(self, request: Callable[[], T]) -> T:
        return retry_transient(request, self.workers.retries, self.workers.first_wait)

    def tasks(self, level: int, steps: list[Step]) -> Iterator[_Task]:
        """Squares of a level to be built; those that need not or cannot be go to `steps`."""
        stage = self.overviews.ledger_stage
        squares = [square for square in self.squares if square.level == level]
        parts: list[int | None] = [None]
        if self.blocks > 1 and len(squares) < SPLIT_BELOW:
            parts = [NO_BLOCK, *range(self.blocks)]
        for square in squares:
            inputs = square_inputs(square, self.names, self.fingerprints)
            if inputs is None:
                steps.append(Step(self.overviews.stage, square, waits=True))
            elif self.made_from.get(square.name) == inputs:
                self.fingerprints[square.name] = inputs
                steps.append(Step(self.overviews.stage, square))
            else:
                overviews, stale = self.overviews, square.name in self.made_from
                if len(parts) > 1:
                    self.open[square.name] = _Parts(len(parts))
                for block in parts:
                    yield _Task(self.cube_url, stage, inputs, overviews.pyramids, overviews.facts, square, stale, block)

    def finish(self, outcome: Outcome[_Task, WrittenSums]) -> Step | None:
        """Note that a task has ended; the step of its square, unless parts of that are left."""
        task, error = outcome.task, outcome.error
        if task.block is not None:
            parts = self.open[task.square.name]
            parts.open_parts -= 1
            parts.error = parts.error or error
            if outcome.result is not None:
                _add(parts.result, outcome.result)
            if parts.open_parts:
                return None
            error = self._sign(task, self.open.pop(task.square.name))
        if error is None:
            self.fingerprints[task.square.name] = task.inputs
        return Step(self.overviews.stage, task.square, error is None, error)

    def _sign(self, task: _Task, parts: _Parts) -> str | None:
        """Sign a square all of whose parts have ended, or clear it; why it is not complete."""
        if parts.error is not None:
            # No part has withdrawn an old receipt where all failed before; one that stays keeps its shards.
            with suppress(Exception):
                self._retried(lambda: self.ledger.withdraw(task.square.name))
                _clear(self.cube, task)
            return parts.error
        ledger = Ledger(self.cube, task.stage, task.inputs)
        self._retried(lambda: ledger.sign(task.square, parts.start, *parts.result))
        return None


def count_squares(region: Region, overviews: list[Overviews]) -> int:
    """How many steps `build_overviews` will take."""
    return sum(len(tree(region, part.units)) for part in overviews)


def build_overviews(cube_url: str, region: Region, overviews: list[Overviews], workers: Workers) -> Iterator[Step]:
    """Build every square that is missing, whatever the stage, children before parents; one step for each square.

    A square over a unit without a valid receipt waits, and so do all above it. Raises what `cube.engine.workers.run` raises.
    """
    climbs = [_Climb(cube_url, region, part, workers) for part in overviews]
    by_stage = {climb.overviews.ledger_stage: climb for climb in climbs}
    for level in range(1, region.levels() + 1):
        steps: list[Step] = []
        tasks = (task for climb in climbs for task in climb.tasks(level, steps))
        for outcome in run(_build, tasks, workers):
            step = by_stage[outcome.task.stage].finish(outcome)
            if step is not None:
                yield step
        yield from steps
        for climb in climbs:
            climb.compact()
