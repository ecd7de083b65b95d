"""A unit is written by one process at a time, and the dead hold none."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cube.storage import lock
from cube.storage.documents import Documents

ROOT = Path(__file__).parents[3]
HOLDER = (
    "import sys, time; from cube.storage import lock; from cube.storage.documents import Documents\n"
    "with lock.claimed(Documents(sys.argv[1]), 'predict/v1', '10kmE1N1'):\n"
    "    print('held', flush=True); time.sleep(60)"
)


@pytest.fixture
def holder(tmp_path: Path):  # type: ignore[no-untyped-def]
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        yield other
        other.kill()


def test_a_unit_is_waited_for_until_its_holder_is_dead(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    cube, got = Documents(str(tmp_path)), threading.Event()

    def take() -> None:
        with lock.claimed(cube, "predict/v1", "10kmE1N1"):
            got.set()

    thread = threading.Thread(target=take)
    thread.start()
    with lock.claimed(cube, "predict/v1", "10kmE2N1"):  # another unit is nobody's
        assert not got.wait(0.5)
    holder.kill()
    assert got.wait(30)
    thread.join()
    assert list(tmp_path.rglob(".*.claim")) == []


def test_threads_that_want_the_same_unit_have_it_one_after_another(tmp_path: Path) -> None:
    cube, inside, most = Documents(str(tmp_path)), 0, 0

    def take() -> None:
        nonlocal inside, most
        for _ in range(20):
            with lock.claimed(cube, "predict/v1", "10kmE1N1"):
                inside += 1
                most = max(most, inside)
                time.sleep(0.001)
                inside -= 1

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_what_a_kill_left_is_swept_and_what_is_held_is_not(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    cube = Documents(str(tmp_path))
    dead = tmp_path / "ledger/predict/v1/overviews/.20kmE1N1.claim"
    dead.parent.mkdir()
    dead.touch()
    assert lock.sweep_claims(cube, "predict/v1") == 1
    assert [path.name for path in tmp_path.rglob(".*.claim")] == [".10kmE1N1.claim"]


def test_on_an_object_store_nothing_needs_to_be_held() -> None:
    cube = Documents("memory://claims")
    with lock.claimed(cube, "predict/v1", "10kmE1N1"), lock.claimed(cube, "predict/v1", "10kmE1N1"):
        assert cube.list_json("ledger/predict/v1") == []
