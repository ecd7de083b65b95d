"""The engine: many small tasks run in this process or on dask.distributed, retried where that helps, none ever lost.

What a task does is not known here. A task is small (names and numbers), does its own reading and writing where it runs,
and returns a receipt, never an array.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, Generic, TypeVar

from cube.config.cluster import ClusterConfig
from cube.engine.cluster import open_cluster
from cube.errors import FloracubeError, WorkersError
from cube.storage.transient import fatal_reason, retry_transient

T = TypeVar("T")
R = TypeVar("R")

AHEAD: Final = 2  # tasks in flight for each slot: one that runs and one that waits beside it
SLOTS_SECONDS: Final = 5.0  # seconds for which the size of a foreign cluster is believed
TOGETHER: Final = 2  # tries of a task whose worker died beside the others, before it is tried alone
LOOK: Final = 0.02  # seconds between two looks for a task that ended
WORKER_NUMBER: Final = "FLORACUBE_WORKER_NUMBER"  # environment variable of a local worker: its number, from 0
LONELY: Final = 30.0  # seconds without any worker after which that is said


@dataclass(frozen=True)
class Outcome(Generic[T, R]):
    """How a task ended: its result, or the sentence that says what went wrong; never both, never neither."""

    task: T
    result: R | None
    error: str | None = None
    tries: int = 1
    details: str = ""  # the traceback of an error that nobody foresaw
    fatal_reason: str | None = None  # why no other task can succeed either


def sentence(error: BaseException) -> str:
    """An error as one line: our own speak for themselves, others need their name."""
    text = " ".join(str(error).split())
    return text if isinstance(error, FloracubeError) else f"{type(error).__name__}: {text}"


def attempt(function: Callable[[T], R], task: T, retries: int, first_wait: float) -> Outcome[T, R]:
    """Run one task where it is, with its tries; what goes wrong is named and stops no other task."""
    tries = 0

    def try_once() -> R:
        nonlocal tries
        tries += 1
        return function(task)

    try:
        return Outcome(task, retry_transient(try_once, retries, first_wait), None, tries)
    except Exception as error:
        times = f" (tried {tries} times)" if tries > 1 else ""
        is_expected = isinstance(error, FloracubeError | OSError)
        details = "" if is_expected else "".join(traceback.format_exception(error))
        return Outcome(task, None, sentence(error) + times, tries, details, fatal_reason(error))


@contextmanager
def store_named(url: str) -> Iterator[None]:
    """What a store raises outside of tasks (they name their own troubles) becomes one sentence with the fix."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        why = fatal_reason(error) or f"the store failed ({sentence(error)}); check it and your permissions"
        raise WorkersError(f"{url}: {why}, then run the same command again; finished units are kept.") from error


@dataclass
class Workers:
    """Where tasks run: in this process (the default), in local processes of one thread each, or on a cluster.

    As a context manager it keeps its processes for several calls of `run`; otherwise each call starts and stops them.
    """

    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    retries: int = 4  # tries after the first, for errors that pass by themselves
    first_wait: float = 1.0  # seconds before the second try; doubled for every other, with jitter
    prepare: Callable[[], object] | None = None  # called once in every worker process, those that come later included
    one_a_process: bool = False  # slots are worker processes, however many threads dask gave them
    tell: Callable[[str], None] | None = None  # told what a person should know while nothing ends
    _client: Any = field(default=None, repr=False)
    _cluster: Any = field(default=None, repr=False)
    _depth: int = field(default=0, repr=False)
    _slots: tuple[int, float] = field(default=(1, -SLOTS_SECONDS), repr=False)

    @property
    def distributed(self) -> bool:
        """Whether tasks leave this process."""
        return self.cluster.kind != "local" or (self.cluster.workers or 1) > 1

    @property
    def threads(self) -> int | None:
        """Threads that the numeric libraries of one task may take; None: all, since no other task runs beside it."""
        return 1 if self.distributed else None

    @property
    def where(self) -> str:
        """Where tasks run, for a log."""
        if not self.distributed:
            return "this process"
        return self.cluster.address or f"{self.cluster.kind} cluster"

    @property
    def dashboard(self) -> str | None:
        """Address of dask's dashboard, once the workers are open."""
        return None if self._client is None else str(self._client.dashboard_link)

    def __enter__(self) -> Workers:
        if self._depth == 0 and self.distributed:
            self._open()
        self._depth += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._close()

    def _close(self) -> None:
        client, cluster = self._client, self._cluster
        self._client = self._cluster = None
        if client is not None and self.prepare is not None and self.cluster.kind == "address":
            with suppress(Exception):  # the scheduler stays, and its next workers need not know of us
                client.unregister_worker_plugin(_name_of(self.prepare))
        for part in (client, cluster):
            if part is not None:
                part.close()

    def _open(self) -> None:
        # What dask has to say of a lost worker or scheduler comes to us as the end of a task; its log would say it again.
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        cluster = open_cluster(self.cluster)
        # Imported here: a single process needs neither a scheduler nor its start-up second.
        from distributed import Client

        self._cluster = None if isinstance(cluster, str) else cluster
        place = self.cluster.address or self.cluster.kind
        try:
            self._client = Client(cluster)
            if self.cluster.kind in ("local", "dask-cuda"):
                self._client.register_plugin(_interrupt_plugin())
            if self.prepare is not None:
                self._client.register_plugin(
                    _prepare_plugin(self.prepare, self.cluster.kind == "local"), name=_name_of(self.prepare)
                )
            self._client.wait_for_workers(1, timeout=self.cluster.patience_s)
        except (OSError, TimeoutError, ValueError) as error:
            self._close()
            fix = "check --scheduler" if self.cluster.kind == "address" else "check it, or give it more cluster.patience_s"
            raise WorkersError(f"{place}: no dask scheduler with workers answers here ({error}); {fix}.") from error

    def slots(self) -> int:
        """Tasks that can run at this moment; workers may come and go, so the scheduler is asked again now and then."""
        if self.cluster.kind == "local":
            return self.cluster.workers or 1
        count, asked_at = self._slots
        if time.monotonic() - asked_at > SLOTS_SECONDS:
            threads = self._client.nthreads().values()
            count = max(1, len(threads) if self.one_a_process else sum(threads))
            self._slots = (count, time.monotonic())
        return count

    def alone(self) -> bool:
        """Whether no worker is there at this moment."""
        return not self._client.nthreads()


def _interrupt_plugin() -> Any:
    from distributed import WorkerPlugin

    class IgnoreInterrupt(WorkerPlugin):  # type: ignore[misc]
        """Ctrl-C reaches every process of a terminal: the workers finish what they do, this process decides."""

        def setup(self, worker: Any) -> None:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, signal.SIG_IGN)

    return IgnoreInterrupt()


def _name_of(prepare: Callable[[], object]) -> str:
    return f"floracube-{os.getpid()}-{id(prepare)}"


def _prepare_plugin(prepare: Callable[[], object], numbered: bool) -> Any:
    from distributed import WorkerPlugin

    class Prepare(WorkerPlugin):  # type: ignore[misc]
        """What every task of a worker needs, such as a model, is there before its first task."""

        def setup(self, worker: Any) -> None:
            if numbered:
                os.environ[WORKER_NUMBER] = str(worker.name)
            # A worker that cannot prepare itself says why by its first task, as a sentence; here it would only not start.
            with suppress(Exception):
                prepare()

    return Prepare()


class _Stop:
    """Whether somebody pressed Ctrl-C: then nothing new begins."""

    requested = False


@contextmanager
def _interrupt_means_finish() -> Iterator[_Stop]:
    """The first Ctrl-C lets what is in flight end; the second one interrupts at once."""
    stop = _Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    previous_handler = signal.getsignal(signal.SIGINT)

    def finish(number: int, frame: Any) -> None:
        stop.requested = True
        signal.signal(signal.SIGINT, previous_handler)

    signal.signal(signal.SIGINT, finish)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, previous_handler)


def run(function: Callable[[T], R], tasks: Iterable[T], workers: Workers) -> Iterator[Outcome[T, R]]:
    """Run `function` on every task and yield outcomes as they end, in any order; each task has exactly one.

    `tasks` is read as it is needed: no more than a few per worker are ever in flight. Errors that pass by themselves
    (`cube.storage.transient.is_transient`) are tried again where the task runs, with growing waits; a task whose worker died is
    tried again alone. `function` must be importable by the workers, tasks and results small and picklable.

    Ctrl-C ends what is in flight and then raises `KeyboardInterrupt`. Raises `WorkersError` where continuing is useless:
    a full disk, a read-only store, a scheduler that went away.
    """
    with _interrupt_means_finish() as stop, workers:
        engine = _on_dask if workers.distributed else _in_process
        useless: str | None = None
        for outcome in engine(function, iter(tasks), workers, stop):
            if outcome.fatal_reason:
                useless, stop.requested = outcome.fatal_reason, True
            yield outcome
        if useless:
            raise WorkersError(f"{useless}, then run the same command again; finished units are kept.")
        if stop.requested:
            raise KeyboardInterrupt


def _in_process(function: Callable[[T], R], tasks: Iterator[T], workers: Workers, stop: _Stop) -> Iterator[Outcome[T, R]]:
    for task in tasks:
        yield attempt(function, task, workers.retries, workers.first_wait)
        if stop.requested:
            return


def _on_dask(function: Callable[[T], R], tasks: Iterator[T], workers: Workers, stop: _Stop) -> Iterator[Outcome[T, R]]:
    from distributed import as_completed
    from distributed.scheduler import KilledWorker

    client = workers._client
    flying: dict[str, tuple[T, int]] = {}  # key of the future -> task, how often its worker died
    retries_queue: deque[tuple[T, int]] = deque()
    suspects: deque[T] = deque()
    ending = as_completed(loop=client.loop)

    def launch() -> None:
        room = 0 if stop.requested else max(0, AHEAD * workers.slots() - len(flying))
        batch = [retries_queue.popleft() for _ in range(min(room, len(retries_queue)))]
        batch += [(task, 0) for task in islice(tasks, room - len(batch))]
        if not batch and not flying and suspects and not stop.requested:
            batch = [(suspects.popleft(), TOGETHER)]
        for task, deaths in batch:
            future = client.submit(attempt, function, task, workers.retries, workers.first_wait, pure=False)
            flying[future.key] = (task, deaths)
            ending.add(future)

    launch()
    while flying:
        _until_one_ended(ending, workers)
        future = next(ending)
        task, deaths = flying.pop(future.key)
        if future.status == "lost":  # ended, but its worker died before anybody asked: the scheduler has it done again
            flying[future.key] = (task, deaths)
            ending.add(future)
            continue
        if future.status == "cancelled":
            raise WorkersError("the dask scheduler went away; start it and run the same command again; finished units are kept.")
        error = None if future.status == "finished" else future.exception()
        outcome = future.result() if error is None else Outcome(task, None, sentence(error))
        future.release()
        died = isinstance(error, KilledWorker)
        if died:
            why = "its worker process died whenever it ran, alone as well; it may need more memory"
            outcome = Outcome(task, None, why, deaths + 1)
            # Dask blames every task that was with the worker, and a machine may be taken away by no fault of any: tried once
            # more beside the others, and alone at the end, the guilty one is known for sure.
            if deaths + 1 < TOGETHER:
                retries_queue.append((task, deaths + 1))
            elif deaths < TOGETHER:
                suspects.append(task)
        launch()
        if not died or deaths >= TOGETHER:
            yield outcome


def _until_one_ended(ending: Any, workers: Workers) -> None:
    """Wait for the next end; a cluster that has lost all of its workers is waited for too, but not in silence."""
    since, is_reported = time.monotonic(), False
    while not ending.has_ready():
        time.sleep(LOOK)
        if workers.tell and not is_reported and time.monotonic() - since > LONELY:
            is_reported = True
            if workers.alone():
                workers.tell("no worker is there; waiting for one to come (Ctrl-C ends)")
