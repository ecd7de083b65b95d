"""The engine: every task has one outcome, what passes by itself is tried again, and never is everything in flight."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import LocalCluster

from cube.config.cluster import ClusterConfig
from cube.engine.workers import AHEAD, Workers, run
from cube.errors import SourceError, WorkersError


def square(number: int) -> int:
    return number * number


def moody(task: tuple[str, int]) -> str:
    """Fails as the first word of the task says, until the file that the second word names has grown long enough."""
    path, failures = task
    with Path(path).open("a") as file:
        file.write(".")
    if Path(path).stat().st_size <= failures:
        raise OSError(errno.EBUSY, "SlowDown")
    return "done"


def wrong(number: int) -> int:
    if number == 3:
        raise SourceError("scene 3 cannot be read.")
    if number == 4:
        raise ZeroDivisionError("nobody expected this")
    return number


def deadly(number: int) -> int:
    if number == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def short_lived(task: tuple[int, str]) -> int:
    """Its first end is the last but half a second of its worker, which takes the result with it."""
    number, folder = task
    try:
        (Path(folder) / str(number)).touch(exist_ok=False)
    except FileExistsError:
        return number
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGKILL)).start()
    return number


def full(number: int) -> int:
    if number == 2:
        raise OSError(errno.ENOSPC, "No space left on device", "/cube/c/0")
    return number


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    # In this process: a test of where tasks go needs no new Pythons.
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster:
        yield cluster.scheduler_address


@pytest.fixture(params=["here", "dask"])
def workers(request: pytest.FixtureRequest) -> Workers:
    if request.param == "here":
        return Workers(first_wait=0.01)
    return Workers(ClusterConfig(kind="address", address=request.getfixturevalue("scheduler")), first_wait=0.01)


def test_every_task_has_one_outcome(workers: Workers) -> None:
    ends = list(run(square, range(40), workers))
    assert sorted((end.task, end.result) for end in ends) == [(n, n * n) for n in range(40)]
    assert {end.error for end in ends} == {None}


def test_what_passes_by_itself_is_tried_again_and_what_lasts_is_reported(workers: Workers, tmp_path: Path) -> None:
    tasks = [(str(tmp_path / "passes"), 3), (str(tmp_path / "lasts"), 99)]
    ends = {Path(end.task[0]).name: end for end in run(moody, tasks, workers)}
    assert (ends["passes"].result, ends["passes"].tries) == ("done", 4)
    assert ends["lasts"].result is None
    assert ends["lasts"].error == "OSError: [Errno 16] SlowDown (tried 5 times)"
    assert (tmp_path / "lasts").stat().st_size == 5


def test_what_stays_wrong_is_named_at_once_and_stops_no_other_task(workers: Workers) -> None:
    ends = {end.task: end for end in run(wrong, range(8), workers)}
    assert [n for n, end in ends.items() if end.error is None and end.result == n] != []
    assert sorted(n for n, end in ends.items() if end.error) == [3, 4]
    assert (ends[3].error, ends[3].tries, ends[3].details) == ("scene 3 cannot be read.", 1, "")
    assert str(ends[4].error) == "ZeroDivisionError: nobody expected this"
    assert "in wrong" in ends[4].details  # nobody foresaw this one: its traceback is kept


def test_waits_grow_and_are_not_all_alike(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    list(run(moody, [(str(tmp_path / f), 99) for f in "ab"], Workers(retries=3, first_wait=1.0)))
    for first, second, third in (waits[:3], waits[3:]):
        assert 0.5 <= first <= 1 <= second <= 2 <= third <= 4
    assert waits[:3] != waits[3:]


def test_no_more_than_a_few_tasks_a_worker_are_ever_in_flight(scheduler: str) -> None:
    taken = 0

    def tasks() -> Iterator[int]:
        nonlocal taken
        for number in range(10_000):
            taken += 1
            yield number

    ends = run(square, tasks(), Workers(ClusterConfig(kind="address", address=scheduler)))
    for ended in range(1, 20):
        next(ends)
        assert taken - ended <= AHEAD * 2
    ends.close()  # type: ignore[attr-defined]
    assert taken <= 20 + AHEAD * 2


def test_no_result_stays_with_the_scheduler(scheduler: str) -> None:
    with Workers(ClusterConfig(kind="address", address=scheduler)) as crew:
        for _ in range(2):  # one start serves several runs
            assert len(list(run(square, range(50), crew))) == 50
        deadline = time.monotonic() + 10
        while (held := crew._client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))) and (
            time.monotonic() < deadline
        ):
            time.sleep(0.05)
        assert held == 0


@pytest.mark.slow
def test_a_task_that_kills_its_worker_is_named_and_its_neighbours_are_done() -> None:
    with Workers(ClusterConfig(workers=2)) as crew:
        ends = {end.task: end for end in run(deadly, range(12), crew)}
        assert "its worker process died" in str(ends[0].error)
        assert all(ends[n].error is None for n in range(1, 12))
        assert os.getpid() not in {ends[n].result for n in range(1, 12)}


@pytest.mark.slow
def test_a_result_that_died_with_its_worker_is_made_again(tmp_path: Path) -> None:
    with Workers(ClusterConfig(workers=2)) as crew:
        ends = []
        for end in run(short_lived, [(n, str(tmp_path)) for n in range(3)], crew):
            ends.append(end)
            if len(ends) == 1:
                time.sleep(2)  # the others have ended by now, and their workers too
    assert sorted(end.result for end in ends) == [0, 1, 2]
    assert {end.error for end in ends} == {None}


def test_a_full_disk_ends_the_run_with_one_sentence(workers: Workers) -> None:
    seen: list[int] = []
    with pytest.raises(WorkersError, match=r"/cube/c/0: the disk is full; make room, then run the same command again"):
        seen.extend(end.task for end in run(full, range(1000), workers))
    assert 2 in seen
    assert len(seen) < 20


def test_a_scheduler_that_is_not_there_is_named() -> None:
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "300ms"}),
        pytest.raises(WorkersError, match=r"tcp://127\.0\.0\.1:9: no dask scheduler.*check --scheduler"),
    ):
        list(run(square, [1], Workers(ClusterConfig(kind="address", address="tcp://127.0.0.1:9"))))


def test_a_scheduler_that_goes_away_ends_the_run_with_one_sentence() -> None:
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0", protocol="tcp") as cluster:
        ends = run(square, range(10_000), Workers(ClusterConfig(kind="address", address=cluster.scheduler_address)))
        next(ends)
        cluster.close()
        with pytest.raises(WorkersError, match="the dask scheduler went away; start it and run the same command again"):
            list(ends)


def slow(folder: str) -> None:
    (Path(folder) / "begun").touch()
    time.sleep(0.3)
    (Path(folder) / "ended").touch()


def test_an_interrupt_lets_what_is_in_flight_end(workers: Workers, tmp_path: Path) -> None:
    def press() -> None:
        while not list(tmp_path.glob("*/begun")):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    folders = [tmp_path / str(n) for n in range(50)]
    for folder in folders:
        folder.mkdir(exist_ok=True)
    before: Any = signal.getsignal(signal.SIGINT)
    threading.Thread(target=press).start()
    ends: list[Any] = []
    with pytest.raises(KeyboardInterrupt):
        ends.extend(run(slow, [str(folder) for folder in folders], workers))
    begun, ended = (len(list(tmp_path.glob(f"*/{name}"))) for name in ("begun", "ended"))
    assert begun == ended == len(ends) < 10
    assert signal.getsignal(signal.SIGINT) is before
