"""Requests that mean harm or make no sense: what they get, what they touch, what they leave in memory.

    python -m benchmarks.hostile                        # 10,000 requests on a cube of 2,000 species made for it
    python -m benchmarks.hostile --requests 2000 --cube demo-out/cube.zarr --json out.json

A server of its own process gets two kinds: those that schemathesis draws from the OpenAPI document, valid and broken, and
every parameter of every route with each of a list of attacks, areas and headers. Eighty other clients idle, stop half-way or
hardly read meanwhile (`benchmarks/hostile_clients.py`). A server error (5xx), a file or a host beyond the cube, an answer
that the document does not promise, a tile that an innocent client does not get, or memory that stays is a failure: the
command then exits with 1, and so it does where the innocent waits more than a second (p99). Files and hosts are those of
Python's audit events; what libraries in C open by themselves it does not see.
"""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from benchmarks.command import parser_of, write_rows
from benchmarks.hostile_clients import unkind_clients
from benchmarks.hostile_list import VALID_VALUES, document, hostile_requests
from benchmarks.hostile_watch import Watch, places_allowed
from benchmarks.ports import free_port, resident_mb, serving

ROOT = Path(__file__).resolve().parents[1]
GROWTH_MB = 50  # of the server's memory, more than what moves around by itself
SETTLE_SECONDS = 30.0  # until the memory of the last answers is free again
THREADS = 40  # of the server's event loop (anyio's default)
INNOCENT_P99 = 1.0  # seconds
TOUCHED_FILE = "FLORACUBE_HOSTILE_SEEN"  # file for what the watched server touches
# Of an answer, against the OpenAPI document: that its status, type and fields are written there.
PROMISES = ("status_code_conformance", "content_type_conformance", "response_schema_conformance")
SLOW = 20.0  # seconds; a longer answer is a way to keep the server busy


def watched_app() -> Any:
    """The server with a watch inside: what uvicorn starts in the other process."""
    from server.main import ENVIRONMENT, app_from_environment

    app = app_from_environment()
    sys.addaudithook(Watch(places_allowed(os.environ[ENVIRONMENT]), Path(os.environ[TOUCHED_FILE])))
    return app


@dataclass
class Tally:
    """What came back."""

    statuses: Counter[int] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    slowest: float = 0.0

    def add(self, route: str, what: str, status: int, seconds: float) -> None:
        """Note one answer of a route."""
        self.statuses[status] += 1
        self.slowest = max(self.slowest, seconds)
        if status >= 500:
            self.fail(f"{route}: status {status}", what)
        if seconds > SLOW:
            self.fail(f"{route}: longer than {SLOW:g} s", what)

    def fail(self, why: str, example: str) -> None:
        """Note a failure, with the first request that showed it."""
        self.failures[why] += 1
        self.examples.setdefault(why, example)

    def lines(self) -> list[str]:
        """Failures as lines."""
        return [f"{n} times {why}, such as {self.examples[why]}" for why, n in self.failures.most_common()]


@dataclass
class Running:
    """The watched server."""

    port: int
    process: subprocess.Popen[bytes]
    touched_file: Path

    @property
    def base(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def memory_mb(self) -> float:
        """Resident."""
        return resident_mb(self.process.pid)

    def touched(self) -> list[str]:
        """What it opened or reached beyond what it may."""
        return [f"touched {what} ({n} times)" for what, n in Counter(self.touched_file.read_text().splitlines()).items()]


@contextmanager
def serve(cube: str, folder: Path) -> Iterator[Running]:
    """A server on `cube` with a small cache."""
    port = free_port()
    touched_file = folder / "seen.txt"
    touched_file.touch()
    environment = {
        "FLORACUBE_CUBES": cube,
        "FLORACUBE_CACHE_MB": "16",
        TOUCHED_FILE: str(touched_file),
        "PYTHONWARNINGS": "ignore",
    }
    with serving("benchmarks.hostile:watched_app", port, "healthz", environment) as process:
        yield Running(port, process, touched_file)


def any_items(node: Any) -> Any:
    """The document without `prefixItems`, which schemathesis takes for a list under `items` and stops at."""
    if isinstance(node, list):
        return [any_items(item) for item in node]
    if not isinstance(node, dict):
        return node
    fields = {key: any_items(value) for key, value in node.items() if key != "prefixItems"}
    return {**fields, "items": {"anyOf": any_items(node["prefixItems"])}} if "prefixItems" in node else fields


def send_generated(base: str, count: int, tally: Tally) -> int:
    """About `count` requests that schemathesis makes of the OpenAPI document; answers are held against it."""
    import hypothesis
    import schemathesis
    from hypothesis import HealthCheck, Phase
    from hypothesis import strategies as st
    from schemathesis import GenerationMode
    from schemathesis.core.failures import FailureGroup

    schemathesis.checks.load_all_checks()
    promises = [getattr(schemathesis.checks, name) for name in PROMISES]
    schema = schemathesis.openapi.from_dict(any_items(document(base)))
    schema.config.update(base_url=base)
    operations = [result.ok() for result in schema.get_all_operations()]

    def exercise(operation: Any, mode: GenerationMode, max_examples: int, seed: int) -> None:
        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=max_examples,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(case=operation.as_strategy(generation_mode=mode), is_valid=st.booleans(), data=st.data())
        def send(case: Any, is_valid: bool, data: Any) -> None:
            if is_valid:  # names drawn at random name nothing, and what lies behind them would never be reached
                for name in VALID_VALUES.keys() & (case.path_parameters or {}).keys():
                    case.path_parameters[name] = data.draw(st.sampled_from(VALID_VALUES[name]))
            start = time.perf_counter()
            response = case.call()
            what = f"{case.method} {case.formatted_path} {case.query} {str(case.body)[:200]}"
            tally.add(operation.label, what, response.status_code, time.perf_counter() - start)
            try:
                case.validate_response(response, checks=promises)
            except FailureGroup as group:
                for error in group.exceptions:
                    tally.fail(f"{operation.label}: {error.title} ({' '.join(error.message.split())[:160]})", what)

        send()

    count_before, end, seed = tally.statuses.total(), tally.statuses.total() + count, 0
    while (remaining := end - tally.statuses.total()) > 0:
        # A route without parameters has one request to draw, so a pass sends fewer than it may.
        for operation in operations:
            modes = [GenerationMode.POSITIVE]
            if list(operation.iter_parameters()) or operation.body:
                modes.append(GenerationMode.NEGATIVE)
            for mode in modes:
                with suppress(hypothesis.errors.Unsatisfiable):  # parameters that cannot be broken
                    exercise(operation, mode, -(-remaining // (2 * len(operations))), seed)
        seed += 1
    return tally.statuses.total() - count_before


def ask(port: int, method: str, address: str, headers: dict[str, str] | None = None, body: Any = None) -> int:
    """Status of the answer to one request, as raw as HTTP allows; 413 where the server hangs up on a body that goes on."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    target = quote(address, safe="/%?&=.,;:@!$'()*+-_~[]{}\\|^`<>\"#")
    try:
        try:
            connection.request(method.upper(), target, body, headers or {}, encode_chunked=False)
        except (BrokenPipeError, ConnectionResetError):
            if body is None:
                raise
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except (BrokenPipeError, ConnectionResetError, http.client.RemoteDisconnected):
        if body is None:
            raise
        return 413
    finally:
        connection.close()


def send(server: Running, max_requests: int, tally: Tally) -> int:
    """Every `n`-th of the listed requests, so that at most `max_requests` are sent, and all areas; returns how many."""
    requests = list(hostile_requests(server.base))
    step = max(1, -(-len(requests) // max_requests))
    selection = [request for i, request in enumerate(requests) if i % step == 0 or request[0] == "post"]
    for method, address, more in selection:
        start = time.perf_counter()
        status = ask(server.port, method, address, **more)
        tally.add("listed", f"{method} {address[:200]} {str(more)[:200]}", status, time.perf_counter() - start)
    return len(selection)


def crowd(port: int) -> None:
    """Have every thread of the server draw: GDAL and PROJ keep some megabytes for each, once."""
    picture = "/layers/indicators.richness/preview.png?max_size=64&dst_crs=EPSG:3857"
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda _: ask(port, "get", picture), range(10 * THREADS)))


def run(cube: str, count: int) -> tuple[list[dict[str, Any]], list[str]]:
    """(rows of the table, failures) of about `count` requests on a cube: the listed ones, up to half of all, and drawn ones."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder, serve(cube, Path(folder)) as server:
        return _attacked(server, count)


def _attacked(server: Running, count: int) -> tuple[list[dict[str, Any]], list[str]]:
    rows: list[dict[str, Any]] = []
    failures: list[str] = []
    send(server, 200, Tally())  # libraries are loaded, caches are full
    for address in sorted({address for method, address, more in hostile_requests(server.base) if method == "get" and more}):
        ask(server.port, "get", address)  # each route once: what it compiles and imports stays
    crowd(server.port)
    memory_before = server.memory_mb()
    server.process.send_signal(signal.SIGUSR1)
    rows.append({"kind": "before", "memory_mb": round(memory_before, 1)})
    remaining = count
    with unkind_clients(server.port) as innocent:
        for kind in ("listed", "schemathesis"):
            tally, start = Tally(), time.perf_counter()
            n_sent = send(server, count // 2, tally) if kind == "listed" else send_generated(server.base, remaining, tally)
            remaining -= n_sent
            rows.append(
                {
                    "kind": kind,
                    "requests": n_sent,
                    "seconds": round(time.perf_counter() - start, 1),
                    **{f"{n}xx": sum(v for k, v in tally.statuses.items() if k // 100 == n) for n in (2, 3, 4, 5)},
                    "slowest_s": round(tally.slowest, 2),
                    "failures": tally.failures.total(),
                    "memory_mb": round(server.memory_mb(), 1),
                }
            )
            failures += tally.lines()
    end = time.monotonic() + SETTLE_SECONDS
    while (growth := server.memory_mb() - memory_before) > GROWTH_MB and time.monotonic() < end:
        time.sleep(1)
    rows.append(
        {
            "kind": "innocent",
            "requests": len(innocent.seconds),
            "p99_s": round(innocent.p99(), 3),
            "memory_mb": round(server.memory_mb(), 1),
        }
    )
    if growth > GROWTH_MB:
        failures.append(f"memory grew by {growth:.0f} MB")
    return rows, [*failures, *innocent.failures(), *server.touched()]


def main() -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--cube", help="a cube with every product; a large one is made if left out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cube = options.cube
        if cube is None:
            from tests.support.large_cube import make_large_cube

            cube = make_large_cube(str(Path(folder) / "hostile.zarr")).url
        rows, failures = run(cube, options.requests)
    if rows[-1]["p99_s"] > INNOCENT_P99:
        failures.append(f"an innocent tile waited {rows[-1]['p99_s']} s (p99)")
    columns = ("kind", "requests", "2xx", "3xx", "4xx", "5xx", "slowest_s", "p99_s", "seconds", "failures", "memory_mb")
    print("  ".join(f"{name:>12}" for name in columns))
    for row in rows:
        print("  ".join(f"{row.get(name, '')!s:>12}" for name in columns))
    for failure in failures[:40]:
        print(f"FAILED {failure}")
    write_rows(options.json, rows)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
