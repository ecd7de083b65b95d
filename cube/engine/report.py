"""What became of a run: counts, speed and failures, kept while it runs and logged as they happen; written whole when it ends.

Of the run NAME two files lie in the folder of the reports: `NAME.json` and `NAME.jsonl`, the log, written as things happen, so
that a run that was killed has told so far. Every line has `time` (UTC) and `event`; what else it has depends on the event:

begin   title, cube, units (all), ready (valid before), squares, where (`this process` or the kind of cluster), dashboard
unit    layer, unit, state (`built` or `failed`), seconds, cells, tries, steps (seconds by step), error
square  layer, square, level, state (`built`, `failed`, `waiting`), error
note    text: what a person should know, such as that no worker is there
end     ended (`complete`, `with failures`, `interrupted` or a sentence), seconds, cells, failed, release

A run that resumes another one appends to its file. Keys without a value are left out.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from cube.engine.workers import Outcome
from cube.grid import Unit
from cube.sources.coverage import Coverage

if TYPE_CHECKING:
    from cube.pyramids.overviews import Step


class Journal:
    """A file of JSON lines; a disk that is full takes no more lines and stops nothing."""

    def __init__(self, path: Path) -> None:
        """`path` is made with its folder when the first line is written."""
        self.path = path

    def write(self, event: str, **keys: Any) -> None:
        """Append one line at once: a line is whole or, after a kill in between, the last and cut off."""
        line = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "event": event}
        line |= {key: value for key, value in keys.items() if value not in (None, "", {})}
        # The log tells of the work; it must not be what ends it.
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b") as file:
                if file.tell() and not _ends_a_line(file):
                    file.write(b"\n")
                file.write((json.dumps(line, ensure_ascii=False) + "\n").encode())


def _ends_a_line(file: Any) -> bool:
    """Whether the last byte is a line's end; after a kill in the middle of a line it is not."""
    file.seek(-1, 2)
    return bool(file.read(1) == b"\n")


@dataclass
class _Row:
    """The units of one layer."""

    units: int
    ready: int  # valid before this run
    built: int = 0
    failed: int = 0
    seconds: float = 0.0  # of workers
    squares_waiting: int = 0


@dataclass
class Report:
    """A context manager: however the run ends (well, with failures, interrupted, on a full disk), its report is written."""

    folder: Path
    title: str
    cube: str
    name: str = "build"
    steps_done: int = 0
    total: int = 0
    cells: int = 0  # 50 m cells done now; of a build, counted once for every source
    release: str | None = None
    failed_tasks: list[dict[str, Any]] = field(default_factory=list)
    outcome: str = "complete"
    steps: dict[str, float] = field(default_factory=dict)  # seconds of workers by step, of every receipt that tells
    coverage: list[dict[str, Any]] = field(default_factory=list)  # of the inputs, one document a layer
    warnings: dict[str, int] = field(default_factory=dict)  # sentence -> units that it is about
    _shortfalls: list[str] = field(default_factory=list)
    _rows: dict[str, _Row] = field(default_factory=dict)
    _squares: dict[str, int] = field(default_factory=lambda: {"all": 0, "ready": 0, "built": 0, "failed": 0, "waiting": 0})
    _start: float = field(default_factory=time.time)

    @property
    def path(self) -> Path:
        """Where the report is written."""
        return self.folder / f"{self.name}.json"

    @property
    def journal(self) -> Journal:
        """The log of the run."""
        return Journal(self.folder / f"{self.name}.jsonl")

    def expect(self, layer: str, units: Sequence[Unit], ready: Collection[str]) -> None:
        """Announce the units of a layer; those named in `ready` have a valid receipt."""
        is_ready = [unit.name in ready for unit in units]
        self._rows[layer] = _Row(len(units), sum(is_ready))
        self.total += len(units)
        self.steps_done += sum(is_ready)

    def expect_squares(self, count: int) -> None:
        """Announce the squares of all overviews."""
        self._squares["all"] = count
        self.total += count

    def begin(self, where: str = "this process", dashboard: str | None = None) -> None:
        """Log that the work begins, once everything expected is announced."""
        rows = self._rows.values()
        self.journal.write(
            "begin",
            title=self.title,
            cube=self.cube,
            units=sum(r.units for r in rows),
            ready=sum(r.ready for r in rows),
            squares=self._squares["all"],
            where=where,
            dashboard=dashboard,
        )

    def add_steps(self, steps: Mapping[str, float]) -> None:
        """Add the seconds by step that a receipt tells."""
        for step, seconds in steps.items():
            self.steps[step] = self.steps.get(step, 0.0) + seconds

    def unit(
        self,
        layer: str,
        unit: Unit,
        outcome: Outcome[Any, Any],
        seconds: float = 0.0,
        cells: int = 0,
        steps: Mapping[str, float] | None = None,
    ) -> None:
        """Note how a unit ended; of one that was built the seconds of its worker (all, and by step) and its cells."""
        row = self._rows[layer]
        self.steps_done += 1
        succeeded = outcome.error is None
        if succeeded:
            row.built += 1
            row.seconds += seconds
            self.cells += cells
            self.add_steps(steps or {})
        else:
            row.failed += 1
            self._fail(layer, unit.name, str(outcome.error), outcome.tries, outcome.details)
        rounded_steps = {step: round(value, 3) for step, value in (steps or {}).items()}
        self.journal.write(
            "unit",
            layer=layer,
            unit=unit.name,
            state="built" if succeeded else "failed",
            tries=outcome.tries,
            error=outcome.error,
            seconds=round(seconds, 3) if succeeded else None,
            cells=cells if succeeded else None,
            steps=rounded_steps,
        )

    def square(self, step: Step) -> None:
        """Note how a square of the overviews ended."""
        layer = step.stage.rsplit("/", 1)[-1]
        self.steps_done += 1
        if step.error is not None:
            self._fail(f"overviews of {layer}", step.square.name, step.error, 1, "")
        if step.waits and layer in self._rows:
            self._rows[layer].squares_waiting += 1
        state = "failed" if step.error else "waiting" if step.waits else "built" if step.is_built else "ready"
        self._squares[state] += 1
        if state != "ready":
            self.journal.write(
                "square", layer=layer, square=step.square.name, level=step.square.level, state=state, error=step.error
            )

    def warn(self, warnings: Sequence[str]) -> None:
        """Note what a person should know of a unit that was built."""
        for text in warnings:
            self.warnings[text] = self.warnings.get(text, 0) + 1
            self.journal.write("note", text=text)

    def cover(self, layer: str, rows: Sequence[Coverage], minimum: float | None) -> None:
        """Note how much of the region the layers of a stage have values for.

        Less than the share `minimum` of `layer` (None: nothing at all) is a failure; 0 asks for nothing, for where units are
        missing still.
        """
        for row in rows:
            self.coverage.append(row.document() | {"line": row.line()})
            shortfall = row.shortfall(minimum) if row.layer == layer else None
            if shortfall is not None:
                self._shortfalls.append(shortfall)

    def _fail(self, layer: str, name: str, error: str, tries: int, details: str) -> None:
        row = {"layer": layer, "unit": name, "error": error, "tries": tries}
        self.failed_tasks.append(row | ({"details": details} if details else {}))

    @property
    def failures(self) -> list[str]:
        """A sentence for each unit and square that failed, each layer with too few values or whose overviews wait for units."""
        out = [f"{f['unit']}: {f['layer']}: {f['error']}" for f in self.failed_tasks] + self._shortfalls
        return out + [
            f"overviews of {layer}: {row.squares_waiting} squares wait for the units below them"
            for layer, row in self._rows.items()
            if row.squares_waiting
        ]

    def speed(self) -> str:
        """Cells a second until now and failures, as text behind what is being done; empty before there is either."""
        seconds = time.time() - self._start
        failed = f", {len(self.failed_tasks)} failed" if self.failed_tasks else ""
        return (f", {self.cells / seconds:,.0f} cells/s" if self.cells else "") + failed

    def document(self) -> dict[str, Any]:
        """The report as JSON takes it: counts, seconds, cells of 50 m, and every failure with its sentence."""
        seconds = time.time() - self._start
        rows = self._rows.values()
        return {
            "title": self.title,
            "cube": self.cube,
            "run": self.name,
            "ended": self.outcome,
            "release": self.release,
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._start)),
            "seconds": round(seconds, 3),
            "units": {
                "all": sum(r.units for r in rows),
                "ready": sum(r.ready for r in rows),
                "built": sum(r.built for r in rows),
                "failed": sum(r.failed for r in rows),
            },
            "squares": self._squares,
            "cells": self.cells,
            "cells_per_second": round(self.cells / seconds) if seconds else 0,
            "steps": {step: round(value, 3) for step, value in self.steps.items()},
            "layers": {name: vars(row) | {"seconds": round(row.seconds, 3)} for name, row in self._rows.items()},
            "failures": self.failed_tasks,
            "coverage": self.coverage,
            "too_few_values": self._shortfalls,
            "warnings": [{"text": text, "times": times} for text, times in self.warnings.items()],
        }

    def __enter__(self) -> Report:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self.outcome = "interrupted" if issubclass(kind, KeyboardInterrupt) else f"{error}"
        elif self.failed_tasks:
            self.outcome = "with failures"
        document = self.document()
        self.journal.write(
            "end",
            ended=self.outcome,
            seconds=document["seconds"],
            cells=self.cells,
            failed=len(self.failed_tasks),
            release=self.release,
        )
        # Where the run ends on a full disk, there may be no room for its report either: the first error is the news.
        with suppress(OSError) if kind is not None else nullcontext():
            self.folder.mkdir(parents=True, exist_ok=True)
            _replace(self.path, json.dumps(document, indent=1) + "\n")


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
