"""A folder on a web server of its own that can be as far away, or as broken, as a benchmark wants.

    python tile_web.py FOLDER PORT DELAY_SECONDS

GET and HEAD of files with ranges, 404 for what is not there; after `/__down__` everything is 503, until `/__up__`.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import unquote

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class WebFolder:
    """The server in this process."""

    def __init__(self, folder: Path, delay: float) -> None:
        """Of `folder`, each answer `delay` seconds late."""
        self.folder, self.delay, self.down = folder, delay, False

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one keep-alive connection."""
        with suppress(OSError, EOFError):
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, path, _ = lines[0].split()
                headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:] if line)}
                await asyncio.sleep(self.delay)
                status, extra, body = self.answer(unquote(path.partition("?")[0]), headers.get("range", ""))
                head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nAccept-Ranges: bytes\r\n{extra}\r\n".encode()
                writer.write(head if method == "HEAD" else head + body)
                await writer.drain()
        writer.close()

    def answer(self, path: str, asked: str) -> tuple[int, str, bytes]:
        """Status, further header lines and body."""
        if path in ("/__down__", "/__up__"):
            self.down = path == "/__down__"
            return 200, "", b""
        if self.down:
            return 503, "", b"down for the benchmark"
        file = self.folder / path.lstrip("/")
        if not file.is_file():
            return 404, "", b""
        data = file.read_bytes()
        match = _RANGE.fullmatch(asked)
        if match is None:
            return 200, "", data
        start = int(match[1]) if match[1] else max(0, len(data) - int(match[2]))
        end = min(int(match[2]) + 1, len(data)) if match[1] and match[2] else len(data)
        return 206, f"Content-Range: bytes {start}-{end - 1}/{len(data)}\r\n", data[start:end]


@contextmanager
def served(folder: Path, port: int, delay: float) -> Iterator[str]:
    """The URL of `folder` while a process serves it."""
    process = subprocess.Popen([sys.executable, __file__, str(folder), str(port), str(delay)])
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            with suppress(OSError):
                switch(url, down=False)
                break
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait()


def switch(url: str, down: bool) -> None:
    """Break the server at `url`, or mend it."""
    urllib.request.urlopen(f"{url}/__{'down' if down else 'up'}__", timeout=10).read()


async def _main(folder: Path, port: int, delay: float) -> None:
    server = await asyncio.start_server(WebFolder(folder, delay).connection, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
