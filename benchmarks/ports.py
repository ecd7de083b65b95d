"""Ports of loopback for the servers that benchmarks and tests start."""

from __future__ import annotations

import random
import socket

BELOW = 32768  # from here on the kernel gives ports to connections, which take a free one before its server has started


def free_port() -> int:
    """A port of loopback that nobody listens on at this moment and that no outgoing connection will take."""
    for port in random.SystemRandom().sample(range(15000, BELOW), 200):
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("200 ports of loopback were tried and none is free")
