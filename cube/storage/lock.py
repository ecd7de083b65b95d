"""One writer at a time: a document that says who holds a cube's stage, with a heartbeat, so that the dead hold nothing.

`locks/<stage>.json` changes by conditional writes alone: of those that find it free, or its holder dead, one gets it.
It keeps two coordinators apart, and cannot speak for the workers of one that was killed: they finish what they were doing,
while the next run may have begun the same unit elsewhere. So each unit has a lock of the operating system as well, which dies
with whoever holds it (`claimed`). On object stores a late writer is harmless, since an object appears whole and both would put
the same values; on a disk the Rust codecs write in place, and it would open a hole in what a reader already follows.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from cube.errors import CubeError, WorkersError
from cube.storage import backends, shapes
from cube.storage.documents import Documents
from cube.storage.local_files import file_lock, remove_free_lock

SUFFIX: Final = ".claim"

BEAT: Final = 10.0  # seconds between two heartbeats
DEAD_AFTER: Final = 60.0  # seconds without one, for a holder elsewhere (whose clock may differ by less than that)
_SHAPE: Final = {
    "host": shapes.text(required=True),
    "machine": shapes.TEXT_OR_NULL,
    "pid": shapes.WHOLE_NUMBER,
    "born": shapes.TEXT_OR_NULL,
    "beat": replace(shapes.NUMBER, required=True),
}


@contextmanager
def claimed(cube: Documents, stage: str, unit: str) -> Iterator[None]:
    """Hold `unit` of `stage` of a local cube, waiting for whoever holds it now; elsewhere nothing needs to be held.

    What is found afterwards may be new: look for a valid receipt once more before any work.
    """
    folder = backends.local_path(cube.url)
    if folder is None:
        yield
        return
    with file_lock(folder / "ledger" / stage / f".{unit}{SUFFIX}"):
        yield


def sweep_claims(cube: Documents, stage: str) -> int:
    """Remove the files that killed processes left of their claims; those that are held stay. How many were removed."""
    folder = backends.local_path(cube.url)
    return sum(map(remove_free_lock, (folder / "ledger" / stage).rglob(f".*{SUFFIX}"))) if folder is not None else 0


class _LostError(Exception):
    """The lock is somebody else's now."""


@contextmanager
def hold(cube: Documents, stage: str) -> Iterator[Callable[[], None]]:
    """Hold the lock of `stage` (`locks/<stage>.json`); yields a check that raises once somebody else has taken it.

    Raises `WorkersError` naming the holder if a living process has it. A holder whose processes we see is alive if its
    process is, so a killed run is followed at once; one elsewhere if its last heartbeat is younger than a minute.
    """
    name, own_document = f"locks/{stage}.json", _document()

    def take(document: Any | None) -> Any:
        holder = _holder(cube, stage, document)
        if holder is not None and _alive(holder):
            raise WorkersError(
                f"{cube.url}: process {holder['pid']} on {holder['host']} is writing {stage} here, and two writers would only"
                f" do the same work twice; wait for it, or end it and run the same command again."
            )
        return own_document

    def renew(holder: Any | None) -> Any:
        _require_holder(holder, own_document)
        return {**own_document, "beat": time.time()}

    def release(holder: Any | None) -> None:
        _require_holder(holder, own_document)

    cube.update_json(name, take)
    lock_lost, stop = threading.Event(), threading.Event()

    def beat() -> None:
        while not stop.wait(BEAT):
            try:
                cube.update_json(name, renew)
            except _LostError:
                lock_lost.set()
                return
            except (OSError, CubeError):
                continue  # a store that fails for the moment: the next beat tries again

    def check() -> None:
        if lock_lost.is_set():
            raise WorkersError(
                f"{cube.url}: another process has taken over {stage} since this one gave no sign of life for"
                f" {DEAD_AFTER:.0f} s; finished units are kept."
            )

    heart = threading.Thread(target=beat, daemon=True)
    heart.start()
    try:
        yield check
    finally:
        stop.set()
        heart.join()
        with suppress(OSError, CubeError, _LostError):  # the dead hold nothing, so neither does one that cannot say goodbye
            cube.update_json(name, release)


def holder(cube: Documents, stage: str) -> str | None:
    """Who holds the lock of `stage` now, as `process 12 on host`; None where nobody living does."""
    document = _holder(cube, stage, cube.read_json(f"locks/{stage}.json"))
    return f"process {document['pid']} on {document['host']}" if document is not None and _alive(document) else None


def _holder(cube: Documents, stage: str, document: Any | None) -> dict[str, Any] | None:
    """What a lock says of its holder. Raises `CubeError` for a document of another shape."""
    where, fix = f"{cube.url}/locks/{stage}.json", "remove it if no run is writing here"
    return None if document is None else shapes.require(where, document, _SHAPE, fix)


def _require_holder(holder: Any | None, document: dict[str, Any]) -> None:
    if not isinstance(holder, dict) or holder.get("token") != document["token"]:
        raise _LostError


def _document() -> dict[str, Any]:
    pid = os.getpid()
    return {
        "host": socket.gethostname(),
        "machine": _machine(),
        "pid": pid,
        "born": _born(pid),
        "beat": time.time(),
        "token": uuid.uuid4().hex,
    }


def _alive(holder: dict[str, Any]) -> bool:
    """Whether the process that wrote a lock still lives."""
    if holder.get("machine") is None or holder["machine"] != _machine():
        return time.time() - float(holder["beat"]) < DEAD_AFTER
    # Numbers of processes come again, in containers above all: born at the same tick is the same process.
    return holder.get("born") is not None and _born(int(holder["pid"])) == holder["born"]


def _machine() -> str | None:
    """What tells those apart who do not see each other's processes, whatever their hosts are called.

    It is the boot of a kernel and a namespace of processes (that of a container); None where the system has no /proc, and so
    no holder is ever seen.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def _born(pid: int) -> str | None:
    """The tick of this machine at which a living process began; None if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name in brackets may hold anything; behind it come the state (Z and X are dead) and, as 22nd field, the tick.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]
