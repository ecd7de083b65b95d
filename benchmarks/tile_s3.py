"""A cube on an S3 server on loopback (moto's), behind a proxy that makes it as far away as a benchmark wants."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ports import free_port

BUCKET = "bench"


def environment(port: int) -> dict[str, str]:
    """What a process needs to find the server at `port`."""
    return {
        "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ALLOW_HTTP": "true", "AWS_EC2_METADATA_DISABLED": "true",
    }  # fmt: skip


class Distance:
    """A TCP proxy whose answers arrive `seconds` late."""

    def __init__(self, upstream: int, seconds: float) -> None:
        """In front of port `upstream`, in a thread of its own; `port` says where."""
        self.upstream, self.seconds, self.port = upstream, seconds, 0
        ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True).start()
        ready.wait(10)

    async def _serve(self, ready: threading.Event) -> None:
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await server.serve_forever()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            above, below = await asyncio.open_connection("127.0.0.1", self.upstream)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self._requests(reader, below), self._answers(above, writer))
        for end in (below, writer):
            end.close()

    async def _requests(self, reader: asyncio.StreamReader, below: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                below.write(data)
        below.close()

    async def _answers(self, above: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            first = True
            while data := await above.read(2**20):
                # Once an answer, not once a packet: what follows at once belongs to the same answer.
                started = time.monotonic()
                if first:
                    await asyncio.sleep(self.seconds)
                writer.write(data)
                await writer.drain()
                first = len(data) < 65536 or time.monotonic() - started > 1
        with suppress(OSError):
            writer.close()


@contextmanager
def server() -> Iterator[int]:
    """moto's S3 server in a process of its own with an empty bucket; its port."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "moto.server", "-p", str(port)], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        for _ in range(600):
            with suppress(OSError):
                request = urllib.request.Request(f"http://127.0.0.1:{port}/{BUCKET}", method="PUT")
                urllib.request.urlopen(request, timeout=5).read()
                break
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait()


@contextmanager
def served(folder: Path, seconds: float) -> Iterator[tuple[str, dict[str, str]]]:
    """The cube in `folder` copied to S3, its URL, and the environment in which it lies `seconds` away."""
    import s3fs

    with server() as port:
        files = s3fs.S3FileSystem(key="testing", secret="testing", endpoint_url=f"http://127.0.0.1:{port}")
        for path in folder.rglob("*"):
            if path.is_file():
                files.pipe_file(f"{BUCKET}/cube.zarr/{path.relative_to(folder)}", path.read_bytes())
        yield f"s3://{BUCKET}/cube.zarr", environment(Distance(port, seconds).port)
