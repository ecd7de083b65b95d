"""One writer at a time: a document that says who holds a cube's stage, with a heartbeat, so that the dead hold nothing."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from cube.errors import CubeError, WorkersError
from cube.storage.documents import Documents

BEAT: Final = 10.0  # seconds between two heartbeats
DEAD_AFTER: Final = 60.0  # seconds without one, for a holder on another host (whose clock may differ by less than that)


@contextmanager
def held(cube: Documents, stage: str) -> Iterator[Callable[[], None]]:
    """Hold the lock of `stage` (`locks/<stage>.json`); yields a check that raises once somebody else has taken it.

    Raises `WorkersError` naming the holder if a living process has it. A holder on this host is alive if its process is,
    so a killed run is followed at once; one on another host if its last heartbeat is younger than a minute.
    """
    name, mine = f"locks/{stage}.json", _document()
    if not cube.create_json(name, mine):
        holder = cube.read_json(name)
        if holder is not None and _alive(holder):
            raise WorkersError(
                f"{cube.url}: process {holder['pid']} on {holder['host']} is writing {stage} here, and two writers would only"
                f" do the same work twice; wait for it, or end it and run the same command again."
            )
        cube.write_json(name, mine)
    lost, ended = threading.Event(), threading.Event()

    def beat() -> None:
        while not ended.wait(BEAT):
            try:
                if not _is_mine(cube.read_json(name), mine):
                    lost.set()
                    return
                cube.write_json(name, {**mine, "beat": time.time()})
            except (OSError, CubeError):
                continue  # a store that fails for the moment: the next beat tries again

    def check() -> None:
        if lost.is_set():
            raise WorkersError(
                f"{cube.url}: another process has taken over {stage} since this one gave no sign of life for"
                f" {DEAD_AFTER:.0f} s; what is built stays."
            )

    heart = threading.Thread(target=beat, daemon=True)
    heart.start()
    try:
        yield check
    finally:
        ended.set()
        heart.join()
        with suppress(OSError):  # the dead hold nothing, so neither does one that cannot say goodbye
            if _is_mine(cube.read_json(name), mine):
                cube.remove_json(name)


def holder(cube: Documents, stage: str) -> str | None:
    """Who holds the lock of `stage` now, as `process 12 on host`; None where nobody living does."""
    document = cube.read_json(f"locks/{stage}.json")
    return f"process {document['pid']} on {document['host']}" if document is not None and _alive(document) else None


def _is_mine(document: Any, mine: dict[str, Any]) -> bool:
    return document is not None and document.get("token") == mine["token"]


def _document() -> dict[str, Any]:
    pid = os.getpid()
    return {"host": socket.gethostname(), "pid": pid, "born": _born(pid), "beat": time.time(), "token": uuid.uuid4().hex}


def _alive(holder: dict[str, Any]) -> bool:
    """Whether the process that wrote a lock still lives."""
    if holder["host"] != socket.gethostname():
        return time.time() - float(holder["beat"]) < DEAD_AFTER
    if Path("/proc/self/stat").exists():
        # Numbers of processes come again, in containers above all: born at the same tick is the same process.
        return holder["born"] is not None and _born(int(holder["pid"])) == holder["born"]
    try:
        os.kill(int(holder["pid"]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _born(pid: int) -> str | None:
    """Boot and tick at which a process began; None if there is none, or where the system has no /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    # The name in brackets may hold anything; behind it come the state (Z and X are dead) and, as 22nd field, the tick.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else f"{boot} {fields[19]}"
