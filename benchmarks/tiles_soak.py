"""Full load while a new version is published and the store fails: what readers get, and that they get over it.

    python benchmarks/tiles_soak.py                                  # ten minutes, the store down for 30 s
    python benchmarks/tiles_soak.py --minutes 0.3 --down 4           # as the test runs it

The cube has one value everywhere, another in the version that is published after a third of the time; so a tile with two
colours mixes versions. It lies on a web server some milliseconds away, and the tile server's cache is too small for it.
Ends with exit code 1 if a promise is broken: no mixed answer; equal ETags have equal bytes; errors only while the store is
down, all of them 503 with Retry-After; the new version within seconds, and only it from then on; the store's return noticed
without help; bounded memory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
import zlib
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import tile_cube
import tile_servers
import tile_web
from ports import free_port
from tile_load import Answer, load, percentile
from tiles import resident_mb, show, spots

HERE = Path(__file__).resolve().parent
FIRST, SECOND = 50, 200  # stored values of both versions
FOLLOWED_WITHIN = 5.0  # s from a publish to the last tile of the version before
RECOVERED_WITHIN = 20.0  # s from the return of the store to the last error
MOST_MB = 450


def colours(png: bytes) -> set[int]:
    """Palette entries in a tile, but for 0, no data."""
    at, data = 8, b""
    while at < len(png):
        length = int.from_bytes(png[at : at + 4], "big")
        if png[at + 4 : at + 8] == b"IDAT":
            data += png[at + 8 : at + 8 + length]
        at += 12 + length
    lines = zlib.decompress(data)
    found: set[int] = set()
    for start in range(0, len(lines), 257):
        found.update(lines[start + 1 : start + 257])
    return found - {0}


class Judge:
    """Notes every answer of the soak and knows when what happened."""

    def __init__(self, patience: float) -> None:
        """`patience` stretches what is promised in seconds."""
        self.followed_within, self.recovered_within = FOLLOWED_WITHIN * patience, RECOVERED_WITHIN * patience
        self.published = self.down_from = self.down_to = float("inf")
        self.statuses: dict[int, int] = {}
        self.bodies: dict[str, int] = {}  # ETag -> hash of the body
        self.seen: dict[str, set[int]] = {}  # ETag -> colours
        self.times: list[float] = []
        self.wrong: list[str] = []
        self.first_of_second = self.last_of_first = self.last_error = 0.0
        self.errors_while_down = 0

    def note(self, answer: Answer) -> None:
        """Take an answer in."""
        now = answer.started + answer.seconds
        self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
        if answer.status not in (200, 204):
            self._error(answer, now)
            return
        self.times.append(answer.seconds * 1e3)
        if answer.status == 204:
            return
        tag = answer.headers["etag"]
        if self.bodies.setdefault(tag, hash(answer.body)) != hash(answer.body):
            self.wrong.append(f"{answer.path}: one ETag, two bodies")
        if tag not in self.seen:
            self.seen[tag] = colours(answer.body)
        found = self.seen[tag]
        if len(found) != 1:
            self.wrong.append(f"{answer.path}: {len(found)} colours in one tile")
        new = found != {round(1 + FIRST / 250 * 254)}
        if new and answer.started < self.published - 1:
            self.wrong.append(f"{answer.path}: the second version before it was published")
        if new:
            self.first_of_second = self.first_of_second or now
        else:
            self.last_of_first = max(self.last_of_first, answer.started)

    def _error(self, answer: Answer, now: float) -> None:
        self.last_error = max(self.last_error, now)
        during = self.down_from <= now and answer.started <= self.down_to + self.recovered_within
        self.errors_while_down += during
        if not during:
            self.wrong.append(f"{answer.path}: status {answer.status} while the store was well")
        if answer.status != 503 or "retry-after" not in answer.headers:
            self.wrong.append(f"{answer.path}: status {answer.status}, Retry-After {answer.headers.get('retry-after')}")

    def verdict(self, memory_mb: float) -> list[str]:
        """What was promised and not kept."""
        wrong = list(dict.fromkeys(self.wrong))
        if not self.first_of_second:
            wrong.append("the second version was never served")
        elif self.last_of_first > self.published + self.followed_within:
            wrong.append(
                f"the first version was served {self.last_of_first - self.published:.1f} s after the second was published"
            )
        if not self.errors_while_down:
            wrong.append("the store was down and nobody noticed: this soak tests nothing")
        if self.last_error > self.down_to + self.recovered_within:
            wrong.append(f"errors until {self.last_error - self.down_to:.0f} s after the store was back")
        if memory_mb > MOST_MB:
            wrong.append(f"{memory_mb:.0f} MB of memory in the end")
        return wrong


async def soak(port: int, paths: list[str], options: argparse.Namespace, cube: Any, store: str, judge: Judge) -> None:
    seconds = options.minutes * 60

    async def events() -> None:
        await asyncio.sleep(seconds / 3)
        judge.published = time.monotonic()
        await asyncio.to_thread(tile_cube.release, cube, "second", "v2")
        await asyncio.sleep(seconds / 4)
        judge.down_from = time.monotonic()
        await asyncio.to_thread(tile_web.switch, store, True)
        await asyncio.sleep(options.down)
        await asyncio.to_thread(tile_web.switch, store, False)
        judge.down_to = time.monotonic()

    await asyncio.gather(load(port, paths, options.connections, seconds, judge.note), events())


async def start(url: str, port: int) -> asyncio.subprocess.Process:
    code = f"import uvicorn, tile_servers; uvicorn.run(tile_servers.floracube(), port={port}, log_level='error')"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, cwd=HERE, env={**os.environ, "BENCH_CUBE": url, "FLORACUBE_CACHE_MB": "1"},
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    for _ in range(600):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return process
        except OSError:
            await asyncio.sleep(0.1)
    raise SystemExit("the server did not start")


async def run(options: argparse.Namespace) -> tuple[Judge, list[float]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cube = await asyncio.to_thread(prepared, folder / "soak.zarr", options)
        store = stack.enter_context(tile_web.served(folder, free_port(), options.delay))
        port = free_port()
        process = await start(f"{store}/soak.zarr", port)
        paths = [
            tile_servers.path("floracube", "", z, x, y, 0)
            for z in (7, 8, 9, 10, 11, 12) for x, y in spots(cube.region, z, 25)
        ]  # fmt: skip
        judge = Judge(options.patience)
        memory = [resident_mb(process.pid)]
        try:
            await soak(port, paths, options, cube, store, judge)
            memory.append(resident_mb(process.pid))
        finally:
            process.terminate()
            await process.wait()
        return judge, memory


def prepared(folder: Path, options: argparse.Namespace) -> Any:
    """The cube with both versions, the first of them published."""
    from cube.storage.store import create_cube

    cube = create_cube(str(folder), tile_cube.region_of(options.side_km, options.unit_km), "Soak")
    tile_cube.constant(cube, "v1", FIRST)
    tile_cube.constant(cube, "v2", SECOND)
    tile_cube.release(cube, "first", "v1")
    return cube


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--down", type=float, default=30, help="seconds that the store fails")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--delay", type=float, default=0.005, help="seconds to the store and back")
    parser.add_argument("--side-km", type=int, default=80)
    parser.add_argument("--unit-km", type=int, default=20)
    parser.add_argument("--patience", type=float, default=1, help="stretches what may take seconds, on a busy machine")
    parser.add_argument("--json", type=Path, help="write the row here as well")
    options = parser.parse_args()
    judge, memory = asyncio.run(run(options))
    wrong = judge.verdict(memory[-1])
    row = {
        "minutes": options.minutes,
        "requests": sum(judge.statuses.values()),
        "statuses": {str(status): count for status, count in judge.statuses.items()},
        "p50_ms": percentile(judge.times, 0.5),
        "p99_ms": percentile(judge.times, 0.99),
        "followed_after_s": judge.first_of_second - judge.published,
        "errors_while_down": judge.errors_while_down,
        "last_error_after_return_s": judge.last_error - judge.down_to,
        "memory_mb": [round(mb) for mb in memory],
        "broken": wrong,
    }
    lines = [[k, f"{v:.1f}" if isinstance(v, float) else str(v)] for k, v in row.items() if k != "broken"]
    print(show("soak", ["what", "value"], lines))
    for sentence in wrong[:20]:
        print(f"BROKEN: {sentence}")
    print("all promises kept" if not wrong else f"{len(wrong)} promises broken")
    if options.json:
        options.json.write_text(json.dumps([row], indent=1) + "\n", encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
