"""What the steps of a unit cost: processor seconds by name, over all threads that compute."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock


class Clock:
    """Seconds of processor time by step. Time on a thread is its own, so neighbours on a busy machine do not count."""

    def __init__(self) -> None:
        """All steps at 0."""
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._lock = Lock()

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Add what the block costs to `step`; steps may run on several threads at once, and must not be nested."""
        start = time.thread_time()
        try:
            yield
        finally:
            self.add(step, time.thread_time() - start)

    def add(self, step: str, seconds: float) -> None:
        """Add seconds that were measured elsewhere."""
        with self._lock:
            self.seconds[step] += seconds
