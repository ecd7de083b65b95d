"""What the steps of a unit cost: processor seconds by name, over all threads that compute, and seconds of a GPU."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import torch


class Clock:
    """Seconds by step: of the processor on the thread itself, so neighbours on a busy machine do not count; of a GPU by events.

    A GPU computes after the step that asked for it has ended: its events say when it began and was done.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        """All steps at 0."""
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._device = torch.device(device)
        self._events: list[tuple[str, Any, Any]] = []
        self._lock = Lock()

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Add what the block costs to `step`; steps may run on several threads at once, and must not be nested."""
        start, first_event = time.thread_time(), self._event()
        try:
            yield
        finally:
            self.add(step, time.thread_time() - start)
            if first_event is not None:
                self._events.append((step, first_event, self._event()))

    def add(self, step: str, seconds: float) -> None:
        """Add seconds that were measured elsewhere."""
        with self._lock:
            self.seconds[step] += seconds

    def _event(self) -> Any:
        if self._device.type != "cuda":
            return None
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        return event

    def device_seconds(self) -> dict[str, float]:
        """Seconds of the GPU by step, until now; waits for what it was asked for. Empty on a processor."""
        out: defaultdict[str, float] = defaultdict(float)
        for step, first, last in self._events:
            last.synchronize()
            out[step] += first.elapsed_time(last) / 1000
        return dict(out)
