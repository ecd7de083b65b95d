"""Clients that mean no answer: sockets that stay idle, heads and bodies that stop half-way, readers that hardly read.

With them an innocent one, which asks for one tile all the time: what it waits is what the others cost everybody.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

TILE = "/layers/indicators.richness/tiles/WebMercatorQuad/11/1119/702.png"
LARGE = "/layers?limit=1000"  # megabytes on a cube of thousands of species
_HEAD = "Host: 127.0.0.1\r\nConnection: close\r\n"
# What each kind sends before it falls silent; a reader then takes a few bytes a second.
KINDS = {
    "idle": "",
    "half head": "GET /layers HTTP/1.1\r\nHost: 127",
    "half body": f"POST /area HTTP/1.1\r\n{_HEAD}Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n{{",
    "slow reader": f"GET {LARGE} HTTP/1.1\r\n{_HEAD}\r\n",
}
EACH = 20  # clients of each kind


@dataclass
class Innocent:
    """What the innocent client got."""

    statuses: dict[int, int] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)

    def p99(self) -> float:
        """Seconds within which 99 of 100 answers came."""
        return sorted(self.seconds)[int(0.99 * (len(self.seconds) - 1))] if self.seconds else float("inf")

    def failures(self) -> list[str]:
        """Answers that are no tile, as lines."""
        return [f"an innocent tile got status {status} {n} times" for status, n in self.statuses.items() if status != 200]


async def _unkind(port: int, request: str, reads: bool) -> None:
    """One client; it comes again whenever the server has hung up."""
    while True:
        with suppress(OSError, EOFError), socket.socket() as plain:
            plain.setblocking(False)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(plain, ("127.0.0.1", port))
            if request:
                await loop.sock_sendall(plain, request.encode())
            while reads:
                await asyncio.sleep(1)
                if not await loop.sock_recv(plain, 64):
                    break
            await asyncio.wait_for(loop.sock_recv(plain, 1), 60)
        await asyncio.sleep(0.2)


async def _innocent(port: int, innocent: Innocent) -> None:
    while True:
        start, status = time.monotonic(), 0
        with suppress(OSError, EOFError, ValueError, TimeoutError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET {TILE} HTTP/1.1\r\n{_HEAD}\r\n".encode())
            answer = await asyncio.wait_for(reader.read(), 60)
            status = int(answer.split(b" ", 2)[1])
            writer.close()
        innocent.statuses[status] = innocent.statuses.get(status, 0) + 1
        innocent.seconds.append(time.monotonic() - start)
        await asyncio.sleep(0.2)


@contextmanager
def unkind_clients(port: int, each: int = EACH) -> Iterator[Innocent]:
    """`each` clients of every kind in a thread of their own, and what the innocent one among them gets."""
    innocent, loop = Innocent(), asyncio.new_event_loop()

    async def all_of_them() -> None:
        clients = [_unkind(port, request, kind == "slow reader") for kind, request in KINDS.items() for _ in range(each)]
        await asyncio.gather(_innocent(port, innocent), *clients)

    def run() -> None:
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(task)

    task = loop.create_task(all_of_them())
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield innocent
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(30)
