"""The squares of pyramids as work: level by level through the engine, each with a receipt, none over a hole.

What a square holds is `pyramid`, how squares nest is `squares`; here is only the order and the receipts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from cube.engine.attempt import patiently
from cube.engine.workers import Workers, run
from cube.grid import Region, Unit
from cube.pyramids.pyramid import Pyramid, build_square
from cube.pyramids.squares import Square, tree
from cube.storage import claims
from cube.storage.ledger import Ledger, digest
from cube.storage.store import CubeStore, open_cube


@dataclass(frozen=True)
class Overviews:
    """The pyramids that stand on the units of one stage."""

    stage: str  # of the units, such as `inputs/sentinel2`; that of the squares ends in `/overviews`
    pyramids: tuple[Pyramid, ...]
    units: tuple[Unit, ...]  # those that the pyramids cover
    marks: Mapping[str, str]  # of the units with a valid receipt (`Standing.marks`)

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
    try:
        for pyramid in task.pyramids:
            built = build_square(cube, pyramid, task.square)
            counts |= built.counts
            checksums |= built.checksums
    except Exception:
        with suppress(Exception):  # as of a unit: no damaged shard is left behind
            for pyramid in task.pyramids:
                for layer in pyramid.layers:
                    cube.clear(f"{pyramid.group(task.square.level)}/{layer.name}", task.square.window(pyramid.resolution))
        raise
    ledger.sign(task.square, started, counts, checksums)


class _Climb:
    """One set of pyramids on its way up: the marks of what is complete, level by level."""

    def __init__(self, cube_url: str, region: Region, overviews: Overviews, workers: Workers) -> None:
        self.cube_url, self.overviews = cube_url, overviews
        self.marks = dict(overviews.marks)
        self.asked = {unit.name for unit in overviews.units}
        self.squares = tree(region, overviews.units)
        self.asked |= {square.name for square in self.squares}
        cube = open_cube(cube_url)
        folder = f"ledger/{overviews.ledger_stage}"
        receipts = patiently(lambda: list(cube.read_folder(folder)), workers.retries, workers.first_wait)
        self.held = {name: str(receipt.get("inputs")) for name, receipt in receipts}

    def tasks(self, level: int, settled: list[Step]) -> Iterator[_Task]:
        """Squares of a level to be built; those that need not or cannot be go to `settled`."""
        stage = self.overviews.ledger_stage
        for square in self.squares:
            if square.level != level:
                continue
            children = [name for name in square.children() if name in self.asked]
            if any(name not in self.marks for name in children):
                settled.append(Step(self.overviews.stage, square, waits=True))
                continue
            # The marks of the children hold those of all units below: a changed unit makes every square above it anew.
            inputs = digest([(name, self.marks[name]) for name in children])
            if self.held.get(square.name) == inputs:
                self.marks[square.name] = inputs
                settled.append(Step(self.overviews.stage, square))
            else:
                yield _Task(self.cube_url, stage, inputs, self.overviews.pyramids, square, square.name in self.held)


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
                climb.marks[outcome.task.square.name] = outcome.task.inputs
            yield Step(climb.overviews.stage, outcome.task.square, outcome.error is None, outcome.error)
        yield from settled
