"""Ports of loopback, and the servers that benchmarks and tests start there."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BELOW = 32768  # from here on the kernel gives ports to connections, which take a free one before its server has started


def free_port() -> int:
    """A port of loopback that nobody listens on at this moment and that no outgoing connection will take."""
    for port in random.SystemRandom().sample(range(15000, BELOW), 200):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("200 ports of loopback were tried and none is free")


@contextmanager
def answering(command: Sequence[str], url: str, seconds: float = 300, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process of `command` from its first answer at `url` on; it is ended afterwards. `options` are those of Popen.

    Raises `RuntimeError` where it ends by itself, or is not ready within `seconds`.
    """
    with subprocess.Popen(command, **options) as process:
        try:
            end = time.monotonic() + seconds
            while not _answers(url):
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"the server did not start: {' '.join(command)}")
                time.sleep(0.02)
            yield process
        finally:
            process.terminate()


def serving(
    factory: str, port: int, ready: str, environment: Mapping[str, str], **options: Any
) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """uvicorn with the application of `factory` (`module:function`) on `port`, from the first answer at the path `ready` on."""
    command = [sys.executable, "-m", "uvicorn", factory, "--factory", "--port", str(port), "--log-level", "critical"]
    return answering(command, f"http://127.0.0.1:{port}/{ready}", cwd=ROOT, env={**os.environ, **environment}, **options)


def resident_mb(pid: int) -> float:
    """Memory of a process at the moment."""
    return int(Path(f"/proc/{pid}/status").read_text(encoding="utf-8").split("VmRSS:")[1].split()[0]) / 1024


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=10).close()
    except urllib.error.HTTPError as error:
        return error.code == 404  # it has no such address, but it answers
    except OSError:
        return False
    return True
