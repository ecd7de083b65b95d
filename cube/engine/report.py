"""What became of a build: counts, speed and failures, kept while it runs and written as `build.json` when it ends."""

from __future__ import annotations

import json
import os
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from cube.engine.attempt import Outcome
from cube.grid import Unit
from cube.pyramids.overviews import Step


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
    done: int = 0
    total: int = 0
    cells: int = 0  # 50 m cells of the units built now, counted once for every source
    failed: list[dict[str, Any]] = field(default_factory=list)
    ended: str = "complete"
    _rows: dict[str, _Row] = field(default_factory=dict)
    _squares: dict[str, int] = field(default_factory=lambda: {"all": 0, "ready": 0, "built": 0, "failed": 0, "waiting": 0})
    _started: float = field(default_factory=time.time)

    def expect(self, layer: str, units: int, ready: int) -> None:
        """Announce the units of a layer, of which `ready` have a valid receipt."""
        self._rows[layer] = _Row(units, ready)
        self.total += units
        self.done += ready

    def expect_squares(self, count: int) -> None:
        """Announce the squares of all overviews."""
        self._squares["all"] = count
        self.total += count

    def unit(self, layer: str, unit: Unit, outcome: Outcome[Any, Any]) -> None:
        """Note how a unit ended."""
        row = self._rows[layer]
        self.done += 1
        if outcome.error is None and outcome.result is not None:
            row.built += 1
            row.seconds += outcome.result.seconds
            self.cells += unit.cells**2
        else:
            row.failed += 1
            self._fail(layer, unit.name, str(outcome.error), outcome.tries, outcome.details)

    def square(self, step: Step) -> None:
        """Note how a square of the overviews ended."""
        layer = step.stage.rsplit("/", 1)[-1]
        self.done += 1
        if step.error is not None:
            self._fail(f"overviews of {layer}", step.square.name, step.error, 1, "")
        if step.waits:
            self._rows[layer].squares_waiting += 1
        state = "failed" if step.error else "waiting" if step.waits else "built" if step.built else "ready"
        self._squares[state] += 1

    def _fail(self, layer: str, name: str, error: str, tries: int, details: str) -> None:
        row = {"layer": layer, "unit": name, "error": error, "tries": tries}
        self.failed.append(row | ({"details": details} if details else {}))

    @property
    def failures(self) -> list[str]:
        """One sentence for every unit and square that failed, and one for each layer whose overviews wait for them."""
        out = [f"{f['unit']}: {f['layer']}: {f['error']}" for f in self.failed]
        return out + [
            f"overviews of {layer}: {row.squares_waiting} squares wait for the units below them"
            for layer, row in self._rows.items()
            if row.squares_waiting
        ]

    def speed(self) -> str:
        """Cells a second until now, as text behind what is being done; empty before the first unit."""
        seconds = time.time() - self._started
        return f", {self.cells / seconds:,.0f} cells/s" if self.cells else ""

    def document(self) -> dict[str, Any]:
        """The report as JSON takes it: counts, seconds, cells of 50 m, and every failure with its sentence."""
        seconds = time.time() - self._started
        rows = self._rows.values()
        return {
            "title": self.title,
            "cube": self.cube,
            "ended": self.ended,
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._started)),
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
            "layers": {name: vars(row) | {"seconds": round(row.seconds, 3)} for name, row in self._rows.items()},
            "failures": self.failed,
        }

    def __enter__(self) -> Report:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self.ended = "interrupted" if issubclass(kind, KeyboardInterrupt) else f"{error}"
        elif self.failures:
            self.ended = "with failures"
        # Where the run ends on a full disk, there may be no room for its report either: the first error is the news.
        with suppress(OSError) if kind is not None else nullcontext():
            self.folder.mkdir(parents=True, exist_ok=True)
            partial = self.folder / ".build.json.partial"
            partial.write_text(json.dumps(self.document(), indent=1) + "\n", encoding="utf-8")
            os.replace(partial, self.folder / "build.json")
