"""The squares of pyramids as work: level by level through the engine, each with a receipt, none over a hole.

What a square holds is `pyramid`, how squares nest is `squares`; here is only the order and the receipts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from cube.engine.workers import Workers, run
from cube.grid import Region, Unit
from cube.pyramids.facts import Facts, position, write_square
from cube.pyramids.pyramid import Pyramid, build_square
from cube.pyramids.squares import Square, tree
from cube.storage import claims
from cube.storage.ledger import Ledger, summaries
from cube.storage.progress import square_inputs
from cube.storage.store import CubeStore, open_cube
from cube.storage.transient import retry_transient


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
    built: bool = False
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


def _build(task: _Task) -> None:
    """Build one square and leave its receipt, the last thing that is written."""
    cube = open_cube(task.cube_url, writable=True)
    ledger = Ledger(cube, task.stage, task.inputs)
    # Whoever is at it still, a worker of a run that was killed, is waited for; what it finished need not be done again.
    with claims.claimed(cube, task.stage, task.square.name):
        if ledger.valid(task.square.name) is None:
            _write(cube, ledger, task)


def _write(cube: CubeStore, ledger: Ledger, task: _Task) -> None:
    started = time.perf_counter()
    if task.stale:
        ledger.withdraw(task.square.name)
    counts: dict[str, int] = {}
    checksums: dict[str, int] = {}
    sizes: dict[str, int] = {}
    try:
        for pyramid in task.pyramids:
            built = build_square(cube, pyramid, task.square)
            counts |= built.counts
            checksums |= built.checksums
            sizes |= built.sizes
        checks, more = write_square(cube, task.facts, task.square)
        checksums |= checks
        sizes |= more
    except Exception:
        with suppress(Exception):  # as of a unit: no damaged shard is left behind
            for pyramid in task.pyramids:
                for layer in pyramid.layers:
                    cube.clear(f"{pyramid.group(task.square.level)}/{layer.name}", task.square.window(pyramid.resolution))
            for facts in task.facts:
                cube.clear(facts.array(task.square.level), position(cube, task.square)[1])
        raise
    ledger.sign(task.square, started, counts, checksums, sizes)


class _Climb:
    """One set of pyramids on its way up: the fingerprints of what is complete, level by level."""

    def __init__(self, cube_url: str, region: Region, overviews: Overviews, workers: Workers) -> None:
        self.cube_url, self.overviews = cube_url, overviews
        self.workers = workers
        self.fingerprints = dict(overviews.fingerprints)
        self.squares = tree(region, overviews.units)
        self.covered = {unit.name for unit in overviews.units} | {square.name for square in self.squares}
        self.ledger = Ledger(open_cube(cube_url, writable=True), overviews.ledger_stage, None)
        self.made_from = retry_transient(self._made_from, workers.retries, workers.first_wait)

    def _made_from(self) -> dict[str, str]:
        return {name: made_from for made_from, names, _ in summaries(self.ledger.cube, self.ledger.stage) for name in names}

    def compact(self) -> None:
        """Move the receipts of whole blocks of squares together; no square of the stage may be in the making."""
        retry_transient(self.ledger.compact, self.workers.retries, self.workers.first_wait)

    def tasks(self, level: int, settled: list[Step]) -> Iterator[_Task]:
        """Squares of a level to be built; those that need not or cannot be go to `settled`."""
        stage = self.overviews.ledger_stage
        for square in self.squares:
            if square.level != level:
                continue
            inputs = square_inputs(square, self.covered, self.fingerprints)
            if inputs is None:
                settled.append(Step(self.overviews.stage, square, waits=True))
            elif self.made_from.get(square.name) == inputs:
                self.fingerprints[square.name] = inputs
                settled.append(Step(self.overviews.stage, square))
            else:
                one, stale = self.overviews, square.name in self.made_from
                yield _Task(self.cube_url, stage, inputs, one.pyramids, one.facts, square, stale)


def count_squares(region: Region, overviews: list[Overviews]) -> int:
    """How many steps `build_overviews` will take."""
    return sum(len(tree(region, one.units)) for one in overviews)


def build_overviews(cube_url: str, region: Region, overviews: list[Overviews], workers: Workers) -> Iterator[Step]:
    """Build every square that is missing, whatever the stage, children before parents; one step for each square.

    A square over a unit without a valid receipt waits, and so do all above it. Raises what `cube.engine.workers.run` raises.
    """
    climbs = [_Climb(cube_url, region, one, workers) for one in overviews]
    by_stage = {climb.overviews.ledger_stage: climb for climb in climbs}
    for level in range(1, region.levels() + 1):
        settled: list[Step] = []
        tasks = (task for climb in climbs for task in climb.tasks(level, settled))
        for outcome in run(_build, tasks, workers):
            climb = by_stage[outcome.task.stage]
            if outcome.error is None:
                climb.fingerprints[outcome.task.square.name] = outcome.task.inputs
            yield Step(climb.overviews.stage, outcome.task.square, outcome.error is None, outcome.error)
        yield from settled
        for climb in climbs:
            climb.compact()
