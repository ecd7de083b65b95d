"""Ports of loopback, and the servers that benchmarks and tests start there."""

from __future__ import annotations

import random
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

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


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=10).close()
    except urllib.error.HTTPError as error:
        return error.code == 404  # it has no such address, but it answers
    except OSError:
        return False
    return True
