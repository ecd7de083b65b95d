"""One writer at a time, and the dead hold nothing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from cube.errors import WorkersError
from cube.storage import lock
from cube.storage.documents import Documents


@pytest.fixture(params=["folder", "memory", "gs"])
def cube(request: pytest.FixtureRequest, tmp_path: Path) -> Documents:
    if request.param == "gs":
        return Documents(request.getfixturevalue("gs"))
    return Documents(str(tmp_path) if request.param == "folder" else f"memory://{tmp_path.name}")


def _holder(**other: Any) -> dict[str, Any]:
    return {**lock._document(), **other}


def test_a_second_writer_is_told_who_holds_it_and_the_next_one_may(cube: Documents) -> None:
    with lock.hold(cube, "inputs") as still_ours:
        still_ours()
        told = rf"process {os.getpid()} on {socket.gethostname()} is writing inputs here"
        with pytest.raises(WorkersError, match=told), lock.hold(cube, "inputs"):
            pass
        with lock.hold(cube, "another stage"):
            pass
        still_ours()
    assert cube.read_json("locks/inputs.json") is None
    with lock.hold(cube, "inputs"):
        pass


def test_a_writer_that_was_killed_is_followed_at_once(tmp_path: Path) -> None:
    code = (
        "import sys, time; from cube.storage import lock; from cube.storage.documents import Documents\n"
        "with lock.hold(Documents(sys.argv[1]), 'inputs'):\n"
        "    print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(WorkersError, match=f"process {other.pid} on"), lock.hold(Documents(str(tmp_path)), "inputs"):
            pass
        other.kill()
    with lock.hold(Documents(str(tmp_path)), "inputs"):
        pass


def test_the_number_of_a_dead_process_that_came_again_holds_nothing(cube: Documents) -> None:
    cube.write_json("locks/inputs.json", _holder(born="17"))
    with lock.hold(cube, "inputs"):
        pass


@pytest.mark.parametrize("host", ["elsewhere", socket.gethostname()])
def test_a_holder_whose_processes_we_do_not_see_is_believed_for_a_minute(cube: Documents, host: str) -> None:
    """Another machine or container may have the name of this one, and its process 1 is not ours."""
    machine = {"host": host, "machine": "another boot pid:[4026531836]", "pid": 1, "born": "17"}
    cube.write_json("locks/inputs.json", _holder(**machine, beat=time.time() - 30))
    assert lock.holder(cube, "inputs") == f"process 1 on {host}"
    with pytest.raises(WorkersError, match=f"on {host} is writing"), lock.hold(cube, "inputs"):
        pass
    cube.write_json("locks/inputs.json", _holder(**machine, beat=time.time() - 90))
    with lock.hold(cube, "inputs"):
        pass


def test_the_lock_of_a_dead_holder_is_taken_by_one(cube: Documents, monkeypatch: pytest.MonkeyPatch) -> None:
    cube.write_json("locks/inputs.json", _holder(born="17"))
    barrier, ended, alive = threading.Barrier(3), threading.Barrier(3), lock._alive
    inside: list[int] = []
    refused: list[str] = []

    def all_see_it_dead(holder: dict[str, Any]) -> bool:
        if holder["born"] == "17":
            barrier.wait(60)
        return alive(holder)

    def take(number: int) -> None:
        try:
            with lock.hold(cube, "inputs") as still_ours:
                inside.append(number)
                ended.wait(60)
                still_ours()
        except WorkersError as error:
            refused.append(str(error))
            ended.wait(60)

    monkeypatch.setattr(lock, "_alive", all_see_it_dead)
    threads = [threading.Thread(target=take, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(inside) == 1
    assert len(refused) == 2
    assert cube.read_json("locks/inputs.json") is None


def test_who_lost_the_lock_leaves_it_to_the_other(cube: Documents) -> None:
    with lock.hold(cube, "inputs"):
        cube.write_json("locks/inputs.json", other := _holder())
    assert cube.read_json("locks/inputs.json") == other


def test_the_heart_beats_and_a_lock_that_is_taken_over_is_noticed(cube: Documents, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT", 0.02)
    with lock.hold(cube, "inputs") as still_ours:
        first = cube.read_json("locks/inputs.json")
        time.sleep(0.3)
        assert cube.read_json("locks/inputs.json")["beat"] > first["beat"]
        still_ours()

        def intrude() -> None:
            for _ in range(50):
                cube.write_json("locks/inputs.json", _holder())
                time.sleep(0.3)
                still_ours()

        with pytest.raises(WorkersError, match="another process has taken over inputs"):
            intrude()
    assert cube.list_json("locks") == ["inputs"]  # it is the other's now
