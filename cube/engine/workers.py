"""The engine: many small tasks run in this process or on dask.distributed, retried where that helps, none ever lost.

What a task does is not known here. A task is small (names and numbers), does its own reading and writing where it runs,
and returns a receipt, never an array.
"""

from __future__ import annotations

import logging
import random
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, Generic, TypeVar

from cube.engine.transient import hopeless, is_transient
from cube.errors import FloracubeError, WorkersError

AHEAD: Final = 2  # tasks in flight for each slot: one that runs and one that waits beside it
LONGEST_WAIT: Final = 60.0  # seconds between two tries
SLOTS_KNOWN: Final = 5.0  # seconds for which the size of a foreign cluster is believed
PATIENCE: Final = 60  # seconds that a scheduler may take to show its first worker

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Outcome(Generic[T, R]):
    """How a task ended: its result, or the sentence that says what went wrong; never both, never neither."""

    task: T
    result: R | None
    error: str | None = None
    tries: int = 1
    details: str = ""  # the traceback of an error that nobody foresaw


@dataclass
class Workers:
    """Where tasks run: in this process (the default), in local processes of one thread each, or at a dask scheduler.

    As a context manager it keeps its processes for several calls of `run`; otherwise each call starts and stops them.
    """

    processes: int = 1
    scheduler: str | None = None
    retries: int = 4  # tries after the first, for errors that pass by themselves
    first_wait: float = 1.0  # seconds before the second try; doubled for every other, with jitter
    _client: Any = field(default=None, repr=False)
    _cluster: Any = field(default=None, repr=False)
    _depth: int = field(default=0, repr=False)
    _slots: tuple[int, float] = field(default=(1, -SLOTS_KNOWN), repr=False)

    @property
    def distributed(self) -> bool:
        """Whether tasks leave this process."""
        return self.scheduler is not None or self.processes > 1

    @property
    def threads(self) -> int | None:
        """Threads that the numeric libraries of one task may take; None: all, since no other task runs beside it."""
        return 1 if self.distributed else None

    def __enter__(self) -> Workers:
        if self._depth == 0 and self.distributed:
            self._open()
        self._depth += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            client, cluster = self._client, self._cluster
            self._client = self._cluster = None
            for one in (client, cluster):
                if one is not None:
                    one.close()

    def _open(self) -> None:
        # Imported here: a single process needs neither a scheduler nor its start-up second.
        import dask
        from distributed import Client, LocalCluster

        # What dask has to say of a lost worker or scheduler comes to us as the end of a task; its log would say it again.
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        if self.scheduler is None:
            # Dask's own three tries of a task whose worker died would kill four workers and prove nothing: see `_on_dask`.
            with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
                self._cluster = LocalCluster(
                    n_workers=self.processes, threads_per_worker=1, processes=True, dashboard_address=":0",
                    silence_logs=logging.CRITICAL,
                )  # fmt: skip
            self._client = Client(self._cluster)
            self._client.register_plugin(_interrupt_plugin())
            return
        try:
            self._client = Client(self.scheduler)
            self._client.wait_for_workers(1, timeout=PATIENCE)
        except (OSError, TimeoutError, ValueError) as error:
            if self._client is not None:
                self._client.close()
                self._client = None
            raise WorkersError(
                f"{self.scheduler}: no dask scheduler with workers answers here ({error}); check --scheduler."
            ) from error

    def slots(self) -> int:
        """Tasks that can run at this moment; a scheduler's workers may come and go, so it is asked again now and then."""
        if self.scheduler is None:
            return self.processes
        count, asked = self._slots
        if time.monotonic() - asked > SLOTS_KNOWN:
            count = max(1, sum(self._client.nthreads().values()))
            self._slots = (count, time.monotonic())
        return count


def _interrupt_plugin() -> Any:
    from distributed import WorkerPlugin

    class IgnoreInterrupt(WorkerPlugin):  # type: ignore[misc]
        """Ctrl-C reaches every process of a terminal: the workers finish what they do, this process decides."""

        def setup(self, worker: Any) -> None:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, signal.SIG_IGN)

    return IgnoreInterrupt()


@dataclass(frozen=True)
class _Ended:
    """What comes back from where a task ran."""

    result: Any
    error: str | None
    tries: int
    details: str = ""
    hopeless: str | None = None


def sentence(error: BaseException) -> str:
    """An error as one line: our own speak for themselves, others need their name."""
    text = " ".join(str(error).split())
    return text if isinstance(error, FloracubeError) else f"{type(error).__name__}: {text}"


def _attempt(function: Callable[[T], R], task: T, retries: int, first_wait: float) -> _Ended:
    """Run one task where it is, with its tries; what goes wrong is named and stops no other task."""
    for attempt in range(1, retries + 2):
        try:
            return _Ended(function(task), None, attempt)
        except Exception as error:
            if attempt <= retries and is_transient(error):
                # Jitter, or all workers would come back to a struggling server in the same instant.
                time.sleep(min(LONGEST_WAIT, first_wait * 2 ** (attempt - 1)) * random.uniform(0.5, 1.0))
                continue
            tried = f" (tried {attempt} times)" if attempt > 1 else ""
            foreseen = isinstance(error, FloracubeError | OSError)
            details = "" if foreseen else "".join(traceback.format_exception(error))
            return _Ended(None, sentence(error) + tried, attempt, details, hopeless(error))
    raise AssertionError("unreachable")


class _Stop:
    """Whether somebody pressed Ctrl-C: then nothing new begins."""

    asked = False


@contextmanager
def _interrupt_means_finish() -> Iterator[_Stop]:
    """The first Ctrl-C lets what is in flight end; the second one interrupts at once."""
    stop = _Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.getsignal(signal.SIGINT)

    def finish(number: int, frame: Any) -> None:
        stop.asked = True
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, finish)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def run(function: Callable[[T], R], tasks: Iterable[T], workers: Workers) -> Iterator[Outcome[T, R]]:
    """Run `function` on every task and yield outcomes as they end, in any order; each task has exactly one.

    `tasks` is read as it is needed: no more than a few per worker are ever in flight. Errors that pass by themselves
    (`cube.engine.transient.is_transient`) are tried again where the task runs, with growing waits; a task whose worker died is
    tried again alone. `function` must be importable by the workers, tasks and results small and picklable.

    Ctrl-C ends what is in flight and then raises `KeyboardInterrupt`. Raises `WorkersError` where going on is useless:
    a full disk, a read-only store, a scheduler that went away.
    """
    with _interrupt_means_finish() as stop, workers:
        engine = _on_dask if workers.distributed else _here
        useless: str | None = None
        for task, ended in engine(function, iter(tasks), workers, stop):
            if ended.hopeless:
                useless, stop.asked = ended.hopeless, True
            yield Outcome(task, ended.result, ended.error, ended.tries, ended.details)
        if useless:
            raise WorkersError(f"{useless}, then run the same command again: what is built stays.")
        if stop.asked:
            raise KeyboardInterrupt


def _here(function: Callable[[T], R], tasks: Iterator[T], workers: Workers, stop: _Stop) -> Iterator[tuple[T, _Ended]]:
    for task in tasks:
        yield task, _attempt(function, task, workers.retries, workers.first_wait)
        if stop.asked:
            return


def _on_dask(function: Callable[[T], R], tasks: Iterator[T], workers: Workers, stop: _Stop) -> Iterator[tuple[T, _Ended]]:
    from distributed import as_completed
    from distributed.scheduler import KilledWorker

    client = workers._client
    flying: dict[str, tuple[T, bool]] = {}  # key of the future -> task, whether its worker died before
    suspects: deque[T] = deque()
    ending = as_completed(loop=client.loop)

    def launch() -> None:
        room = 0 if stop.asked else AHEAD * workers.slots() - len(flying)
        some = [(task, False) for task in islice(tasks, max(0, room))]
        if not some and not flying and suspects and not stop.asked:
            some = [(suspects.popleft(), True)]
        for task, again in some:
            future = client.submit(_attempt, function, task, workers.retries, workers.first_wait, pure=False)
            flying[future.key] = (task, again)
            ending.add(future)

    launch()
    for future in ending:
        task, again = flying.pop(future.key)
        if future.status in ("cancelled", "lost"):
            raise WorkersError("the dask scheduler went away; start it and run the same command again: what is built stays.")
        error = None if future.status == "finished" else future.exception()
        ended = future.result() if error is None else _Ended(None, sentence(error), 1)
        future.release()
        if isinstance(error, KilledWorker):
            ended = _Ended(None, "its worker process died whenever it ran, alone as well; it may need more memory", 2)
            if not again:
                # Dask blames every task that was with the worker: alone at the end, the guilty one is known for sure.
                suspects.append(task)
        launch()
        if again or not isinstance(error, KilledWorker):
            yield task, ended
