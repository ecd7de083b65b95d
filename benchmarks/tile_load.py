"""A small HTTP client for load: keep-alive connections that ask one after another, and what the answers took.

It speaks no more HTTP than tile servers answer with; a general client would cost more than the servers do.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, seconds, when it began (`time.monotonic`), headers (lower case) and body of one request."""

    path: str
    status: int
    seconds: float
    start: float
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class Connection:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        """To `port` on this machine, opened when first used."""
        self.port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def get(self, path: str) -> Answer:
        """Ask for `path`. A kept connection that the server has closed meanwhile is opened again, once; else status 0."""
        start = time.monotonic()
        for is_reused in (self._writer is not None, False):
            try:
                if self._writer is None:
                    self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port)
                async with asyncio.timeout(120):  # `wait_for` of Python 3.11 may lose a cancellation
                    status, headers, body = await self._exchange(path)
                break
            except (OSError, EOFError, TimeoutError) as error:
                self.close()
                status, headers, body = 0, {}, repr(error).encode()
                if not is_reused or isinstance(error, TimeoutError):
                    await asyncio.sleep(0.1)
                    break
                start = time.monotonic()
        return Answer(path, status, time.monotonic() - start, start, headers, body)

    async def _exchange(self, path: str) -> tuple[int, dict[str, str], bytes]:
        assert self._reader is not None
        assert self._writer is not None
        self._writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAccept: */*\r\n\r\n".encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        if headers.get("transfer-encoding") == "chunked":
            parts = []
            while size := int((await self._reader.readline()).split(b";")[0], 16):
                parts.append(await self._reader.readexactly(size))
                await self._reader.readline()
            await self._reader.readline()
            return int(head[0].split()[1]), headers, b"".join(parts)
        return int(head[0].split()[1]), headers, await self._reader.readexactly(int(headers.get("content-length", 0)))

    def close(self) -> None:
        """Hang up."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


async def load(port: int, paths: Sequence[str], connections: int, seconds: float, note: Callable[[Answer], None]) -> None:
    """Ask for random `paths` over `connections` for `seconds`, each as fast as its answers come; every answer goes to `note`.

    Cancelled, it ends when all connections have: none asks a server that is stopped meanwhile.
    """
    end = time.monotonic() + seconds

    async def client(seed: int) -> None:
        connection, rng = Connection(port), random.Random(seed)
        while time.monotonic() < end:
            note(await connection.get(rng.choice(paths)))
        connection.close()

    async with asyncio.TaskGroup() as tasks:
        for seed in range(connections):
            tasks.create_task(client(seed))


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which `part` of the values lie."""
    sorted_values = sorted(values)
    return sorted_values[min(len(sorted_values) - 1, int(part * len(sorted_values)))]
