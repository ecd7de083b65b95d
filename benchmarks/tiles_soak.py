"""Full load while releases change and the store fails: what readers get, compared with what their release says.

    python -m benchmarks.tiles_soak                                  # ten minutes, the store away and down for 30 s each
    python -m benchmarks.tiles_soak --minutes 0.5 --down 5           # as the test runs it

The cube has 2,000 species; it lies on a store of S3's kind some milliseconds away, and the server's cache is too small for it.
Before it begins, a server beside the files gives every tile of both releases: each answer must be one of these, byte for byte,
and of the release that readers followed then; a hole where they have data is a wrong answer. Meanwhile a release is published
and rolled back, shards are written anew in another order, the store finds nothing for a while and later answers 503. Ends with
exit code 1 if a promise is broken: no wrong answer; equal ETags have equal bytes; errors only while the store fails, all of
them 503 with Retry-After; a release followed within seconds; the store's return noticed without help; bounded memory.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from benchmarks.command import parser_of, write_rows
from benchmarks.ports import free_port, resident_mb, serving
from benchmarks.tile_load import Answer, Connection, load, percentile
from benchmarks.tiles import spots

ROOT = Path(__file__).resolve().parents[1]
FIRST, SECOND = "r12", "r11"  # releases of the cube; readers follow the first at the start
LAYERS = (
    "indicators.richness",
    "indicators.shannon",
    "habitats.level3",
    "species.salix_fragilis",
    *(f"species.carex_planta_{number:04d}" for number in range(10, 210, 10)),
)
FOLLOWED_WITHIN = 5.0  # s from a publish to the last tile of the release before
RECOVERED_WITHIN = 20.0  # s from the return of the store to the last error
MOST_MB = 450


class Judge:
    """Notes every answer of the soak and knows when what happened."""

    def __init__(self, truth: dict[str, dict[str, bytes]], patience: float) -> None:
        """`truth`: of each path the body by release; `patience` stretches what is promised in seconds."""
        self.truth = truth
        self.followed_within, self.recovered_within = FOLLOWED_WITHIN * patience, RECOVERED_WITHIN * patience
        self.releases: list[tuple[float, str]] = [(0.0, FIRST)]  # from when readers followed which release
        self.failing: list[list[float]] = []  # from when to when the store did
        self.statuses: dict[int, int] = {}
        self.by_release: dict[str, int] = {}
        self.bodies: dict[str, int] = {}  # ETag -> hash of the body
        self.times: list[float] = []
        self.wrong: list[str] = []
        self.last_error = 0.0
        self.errors_while_down = 0

    def note(self, answer: Answer) -> None:
        """Take an answer in."""
        now = answer.start + answer.seconds
        self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
        if answer.status not in (200, 204):
            self._error(answer, now)
            return
        self.times.append(answer.seconds * 1e3)
        tag = answer.headers["etag"]
        if self.bodies.setdefault(tag, hash(answer.body)) != hash(answer.body):
            self.wrong.append(f"{answer.path}: one ETag, two bodies")
        bodies = self.truth[answer.path]
        possible_releases = [r for r in self._followed_in(answer.start - self.followed_within, now) if bodies[r] == answer.body]
        if not possible_releases:
            release_of_body = next((release for release, body in bodies.items() if body == answer.body), "no release")
            since = now - self.releases[-1][0]
            self.wrong.append(
                f"{answer.path}: status {answer.status} with {len(answer.body)} bytes of {release_of_body}, {since:.1f} s after"
                f" release {self.releases[-1][1]} was published, the store failed {len(self.failing)} times before"
            )
        elif len(set(bodies.values())) > 1:
            self.by_release[possible_releases[0]] = self.by_release.get(possible_releases[0], 0) + 1

    def _followed_in(self, start: float, end: float) -> set[str]:
        """Releases that readers followed at some time between."""
        ends = [time for time, _ in self.releases[1:]] + [float("inf")]
        return {
            release
            for (start_time, release), over in zip(self.releases, ends, strict=True)
            if start_time <= end and over >= start
        }

    def _error(self, answer: Answer, now: float) -> None:
        self.last_error = max(self.last_error, now)
        during = any(start_time <= now and answer.start <= over + self.recovered_within for start_time, over in self.failing)
        self.errors_while_down += during
        if not during:
            self.wrong.append(f"{answer.path}: status {answer.status} while the store was well")
        if answer.status != 503 or "retry-after" not in answer.headers:
            why = answer.body.decode() if answer.status == 0 else f"Retry-After {answer.headers.get('retry-after')}"
            self.wrong.append(f"{answer.path}: status {answer.status}, {why}")

    def verdict(self, memory_mb: float) -> list[str]:
        """What was promised and not kept."""
        wrong = list(dict.fromkeys(self.wrong))
        if set(self.by_release) != {FIRST, SECOND}:
            wrong.append(f"tiles that tell releases apart were of {sorted(self.by_release)} alone: this soak tests nothing")
        if not self.errors_while_down:
            wrong.append("the store failed and nobody noticed: this soak tests nothing")
        if memory_mb > MOST_MB:
            wrong.append(f"{memory_mb:.0f} MB of memory in the end")
        return wrong


def rewrite_shards(folder: Path, path: str, chunks: int) -> None:
    """Write the shards of an array anew, in the first block of species: the same chunks in reverse order, so at other offsets."""
    for file in sorted((folder / path / "c/0").rglob("*")):
        if not file.is_file():
            continue
        data = file.read_bytes()
        index = np.frombuffer(data[-(16 * chunks + 4) : -4], "<u8").reshape(-1, 2).copy()
        parts, at = [], 0
        for row in reversed([i for i in range(chunks) if index[i, 1] != 2**64 - 1]):
            offset, length = int(index[row, 0]), int(index[row, 1])
            parts.append(data[offset : offset + length])
            index[row, 0], at = at, at + length
        tail = index.tobytes()
        new = file.with_name(f"{file.name}.new")
        new.write_bytes(b"".join(parts) + tail + google_crc32c.value(tail).to_bytes(4, "little"))
        new.replace(file)


async def soak(port: int, paths: list[str], options: argparse.Namespace, cube: Any, store: Any, judge: Judge) -> None:
    seconds = options.minutes * 60

    async def fail(state: str) -> None:
        judge.failing.append([time.monotonic(), float("inf")])
        await asyncio.to_thread(store.switch, state)
        await asyncio.sleep(options.down)
        await asyncio.to_thread(store.switch, "up")
        judge.failing[-1][1] = time.monotonic()

    async def events() -> None:
        from cube.storage import releases

        pause = (seconds - 2 * options.down) / 6
        await asyncio.sleep(pause)
        judge.releases.append((time.monotonic(), SECOND))
        await asyncio.to_thread(releases.publish, cube, SECOND)
        # The store shall fail under the new release, not while a busy machine still opens it.
        while SECOND not in judge.by_release and time.monotonic() < judge.releases[-1][0] + judge.followed_within:
            await asyncio.sleep(0.1)
        await asyncio.sleep(pause)
        await fail("away")
        await asyncio.sleep(pause)
        judge.releases.append((time.monotonic(), FIRST))
        await asyncio.to_thread(releases.rollback, cube)
        await asyncio.sleep(pause)
        await asyncio.to_thread(rewrite_shards, Path(cube.url), "products/species/v1/0/occurrence", 192)
        await asyncio.sleep(pause)
        await fail("down")
        await asyncio.sleep(pause)

    async with asyncio.TaskGroup() as tasks:
        loading = tasks.create_task(load(port, paths, options.connections, float("inf"), judge.note))
        await events()
        loading.cancel()


def cube_served(url: str, port: int, environment: dict[str, str]) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """A server of the cube at `url` on `port`, while it runs."""
    variables = {**environment, "FLORACUBE_CUBES": url, "FLORACUBE_CACHE_MB": "1"}
    return serving("server.main:app_from_environment", port, "readyz", variables, stderr=subprocess.DEVNULL)


async def truth_of(url: str, paths: list[str]) -> dict[str, dict[str, bytes]]:
    """The body of each path in both releases, from a server beside the files that nothing disturbs."""
    port = free_port()
    connection, out = Connection(port), {}
    with cube_served(url, port, {}):
        for release in (FIRST, SECOND):
            for path in paths:
                answer = await connection.get(f"{path}?v={release}")
                assert answer.status in (200, 204), answer
                out.setdefault(path, {})[release] = answer.body
        connection.close()
    return out


async def run(options: argparse.Namespace) -> tuple[Judge, list[float]]:
    from tests.support import folder_s3, large_cube

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "soak"
        folder.mkdir()
        cube_url = options.cube or large_cube.make_large_cube(str(folder / "made.zarr")).url
        cube = large_cube.linked_copy(large_cube.open_cube(str(cube_url)), folder)
        store = stack.enter_context(folder_s3.served(cube, options.delay))
        tiles = [(z, x, y) for z in (8, 9, 10, 11, 12) for x, y in spots(cube.region, z, 8)]
        paths = sorted({f"/layers/{layer}/tiles/WebMercatorQuad/{z}/{x}/{y}.png" for layer in LAYERS for z, x, y in tiles})
        judge = Judge(await truth_of(cube.url, paths), options.patience)
        port = free_port()
        process = stack.enter_context(cube_served(store.url, port, store.environment))
        memory = [resident_mb(process.pid)]
        await soak(port, paths, options, cube, store, judge)
        return judge, [*memory, resident_mb(process.pid)]


def main() -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--down", type=float, default=30, help="seconds that the store fails, twice")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--delay", type=float, default=0.005, help="seconds to the store and back")
    parser.add_argument("--cube", type=Path, help="a cube of tests/support/large_cube.py; one is made if left out")
    parser.add_argument("--patience", type=float, default=1, help="stretches what may take seconds, on a busy machine")
    options = parser.parse_args()
    judge, memory = asyncio.run(run(options))
    wrong = judge.verdict(memory[-1])
    row = {
        "minutes": options.minutes,
        "requests": sum(judge.statuses.values()),
        "statuses": {str(status): count for status, count in judge.statuses.items()},
        "p50_ms": percentile(judge.times, 0.5),
        "p99_ms": percentile(judge.times, 0.99),
        "tiles_by_release": judge.by_release,
        "errors_while_down": judge.errors_while_down,
        "last_error_after_return_s": judge.last_error - judge.failing[-1][1],
        "memory_mb": [round(mb) for mb in memory],
        "broken": wrong,
    }
    print("\n".join(f"{name}: {value}" for name, value in row.items() if name != "broken"))
    for sentence in wrong[:20]:
        print(f"BROKEN: {sentence}")
    print("all promises kept" if not wrong else f"{len(wrong)} promises broken")
    write_rows(options.json, [row])
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
