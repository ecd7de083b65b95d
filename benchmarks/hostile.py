"""Requests that mean harm or make no sense: what they get, what they touch, what they leave in memory.

    python -m benchmarks.hostile                        # 10,000 requests on a small cube made for it
    python -m benchmarks.hostile --requests 2000 --cube demo-out/cube.zarr --json out.json

Two kinds: those that schemathesis draws from the OpenAPI document, valid and broken, and every parameter of every route
with each of a list of attacks, areas and headers. A server error (5xx), a file or a host beyond the cube, an answer that
the document does not promise, or memory that stays is a failure: the command then exits with 1.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.testclient import TestClient

from server.main import create_app
from server.settings import Settings

# Of an answer, against the OpenAPI document: that its status, type and fields are written there.
PROMISES = ("status_code_conformance", "content_type_conformance", "response_schema_conformance")
SLOW = 20.0  # seconds; a longer answer is a way to keep the server busy
REACHING = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "subprocess.Popen", "os.system", "os.exec")
ATTACKS = (
    "../../../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/%2e%2e/etc/passwd", "%252e%252e%252fetc%252fpasswd",
    "....//....//etc/passwd", "..\\..\\windows\\win.ini", "/etc/passwd", "file:///etc/passwd", "http://127.0.0.1:9/secret",
    "s3://bucket/secret", "//127.0.0.1/secret", "zarr.json%00.png", "%00", "%0d%0aSet-Cookie:%20a=b", "%ff%fe", "NaN", "-inf",
    "1e400", "-1", "99", "9" * 400, "0x10", "1,2", "'\"><script>alert(1)</script>", "{{7*7}}", "${jndi:ldap://127.0.0.1/a}",
    "; cat /etc/passwd", "%E2%80%AE", "a" * 3000, "",
)  # fmt: skip
HEADERS: tuple[dict[str, str], ...] = (
    {"Host": "[::1"}, {"Host": 'evil"><script>'}, {"X-Forwarded-Host": "evil", "X-Forwarded-Proto": "javascript"},
    {"Range": "bytes=0-"}, {"Range": "bytes=-0"}, {"Range": "bytes=99999999999999999999-"}, {"Range": "bytes=5-1"},
    {"Range": "bytes=" + ",".join(f"{i}-{i}" for i in range(500))}, {"Range": "chunks=1-2"}, {"If-None-Match": "*" * 4000},
    {"If-None-Match": '"' + "a" * 4000}, {"If-Range": "yesterday"}, {"Accept": "*/*;q=nan,text/html;q=\x7f"},
    {"Accept-Encoding": "gzip;q=1e9, br, *"}, {"Content-Type": "text/html"}, {"Authorization": "Basic " + "A" * 4000},
)  # fmt: skip


KNOWN: dict[str, tuple[Any, ...]] = {
    "layer_id": ("indicators.richness", "habitats.level3", "species.fagus_sylvatica", "inputs.elevation", "inputs.bioclim.bio1"),
    "tms": ("WebMercatorQuad", "EuropeanETRS89_LAEAQuad", "WGS1984Quad", "UPSArcticWGS84Quad"),
    "lon": (16.77, 16.6, 17.2), "lat": (49.02, 48.9), "z": (0, 7, 11), "x": (0, 1119), "y": ("0.png", "702.png", "702@2x.webp"),
    "item_id": ("indicators.v1", "species.v1", "inputs.10m"),
    "name": ("zarr.json", "products/species/v1/0/zarr.json", "products/species/v1/0/occurrence/c/0/0/0", "current.json"),
}  # fmt: skip


@dataclass
class Watch:
    """What Python opens, lists, connects to and starts while `on`; a hook of the interpreter, which cannot be taken off again."""

    allowed: tuple[str, ...]
    on: bool = False
    seen: Counter[str] = field(default_factory=Counter)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """The hook."""
        if not self.on:
            return
        if event in ("open", "os.listdir", "os.scandir", "os.remove", "os.rename", "os.mkdir"):
            path = arguments[0]
            if isinstance(path, bytes):
                path = os.fsdecode(path)
            if isinstance(path, str) and not os.path.abspath(path).startswith(self.allowed):
                self.seen[f"{event} {path}"] += 1
        elif event in REACHING:
            self.seen[f"{event} {arguments[1:] if event == 'socket.connect' else arguments[:2]}"] += 1


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

    def told(self) -> list[str]:
        """Failures as lines."""
        return [f"{n} times {why}, such as {self.examples[why]}" for why, n in self.failures.most_common()]


def places_allowed(cube: str) -> tuple[str, ...]:
    """Where the server may look: its cubes, the libraries that it loads, the folder of a window being written."""
    temporary = os.path.join(tempfile.gettempdir(), "floracube-cog-")
    libraries = {sys.prefix, sys.base_prefix, os.path.dirname(os.path.dirname(os.path.abspath(__file__)))}
    caches = {os.path.expanduser("~/.cache"), os.path.join(tempfile.gettempdir(), "numba")}
    system = ("/proc/", "/sys/", "/dev/", "/usr/", "/lib", "/etc/localtime", "/etc/mime.types")
    return (os.path.abspath(cube), temporary, *libraries, *caches, *system)


def resident_mb() -> float:
    """Memory of this process."""
    gc.collect()
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) / 1024


def drawn(app: Any, count: int, tally: Tally) -> int:
    """About `count` requests that schemathesis makes of the OpenAPI document; answers are held against it."""
    import hypothesis
    import schemathesis
    from hypothesis import HealthCheck, Phase
    from hypothesis import strategies as st
    from schemathesis import GenerationMode
    from schemathesis.core.failures import FailureGroup

    schemathesis.checks.load_all_checks()
    promises = [getattr(schemathesis.checks, name) for name in PROMISES]
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    operations = [result.ok() for result in schema.get_all_operations()]
    sent = 0
    for operation in operations:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            if mode is GenerationMode.NEGATIVE and not list(operation.iter_parameters()) and not operation.body:
                continue
            most = max(1, count // (2 * len(operations)))

            @hypothesis.settings(max_examples=most, database=None, deadline=None, phases=[Phase.generate], derandomize=True,
                                 suppress_health_check=list(HealthCheck))  # fmt: skip
            @hypothesis.given(case=operation.as_strategy(generation_mode=mode), known=st.booleans(), data=st.data())
            def send(case: Any, known: bool, data: Any) -> None:
                nonlocal sent
                if known:  # names drawn at random name nothing, and what lies behind them would never be reached
                    for name in KNOWN.keys() & (case.path_parameters or {}).keys():
                        case.path_parameters[name] = data.draw(st.sampled_from(KNOWN[name]))
                started = time.perf_counter()
                response = case.call()
                sent += 1
                what = f"{case.method} {case.formatted_path} {case.query} {str(case.body)[:200]}"
                tally.add(operation.label, what, response.status_code, time.perf_counter() - started)
                try:
                    case.validate_response(response, checks=promises)
                except FailureGroup as group:
                    for error in group.exceptions:
                        tally.fail(f"{operation.label}: {error.title} ({' '.join(error.message.split())[:160]})", what)

            try:
                send()
            except hypothesis.errors.Unsatisfiable:  # a route whose parameters cannot be broken
                continue
    return sent


def listed(app: Any) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(method, address, other arguments of the client) of every parameter of every route with every attack."""
    valid = {"layer_id": "indicators.richness", "tms": "WebMercatorQuad", "z": "11", "x": "1119", "y": "702.png", "lon": "16.77",
             "lat": "49.02", "item_id": "indicators.v1", "name": "zarr.json", "region": "Austria"}  # fmt: skip
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            if method == "post":
                continue
            parameters = operation.get("parameters", [])
            plain = path.format(**{p["name"]: valid[p["name"]] for p in parameters if p["in"] == "path"})
            for parameter in parameters:
                for attack in ATTACKS:
                    if parameter["in"] == "path":
                        own = {p["name"]: valid[p["name"]] for p in parameters if p["in"] == "path"}
                        own[parameter["name"]] = attack.replace("?", "%3F").replace("#", "%23")
                        yield method, path.format(**own), {}
                    else:
                        yield method, f"{plain}?{parameter['name']}={attack if '%' in attack else quote(attack)}", {}
            for headers in HEADERS:
                yield method, plain, {"headers": headers}
    for body in bodies():
        yield "post", "/area", {"content": body, "headers": {"Content-Type": "application/geo+json"}}
    for headers in HEADERS:
        yield "post", "/area", {"content": b'{"region": "Austria"}', "headers": headers}


def bodies() -> Iterator[bytes | Iterator[bytes]]:
    """Areas that are none, or too much."""

    def polygon(*rings: Any) -> bytes:
        return json.dumps({"type": "Polygon", "coordinates": rings}).encode()

    yield b""
    yield b"\x00" * 1000
    yield b"[" * 1_000_000
    yield b'{"a":' * 200_000
    yield b'{"type":"Polygon","coordinates":[[[NaN,1],[1,2],[2,3],[NaN,1]]]}'
    yield b'{"type":"Polygon","coordinates":[[[1e999,1],[1,2],[2,3],[1e999,1]]]}'
    yield b'{"type":"Polygon","coordinates":[[[' + b"9" * 5000 + b",1],[1,2],[2,3],[1,1]]]}"
    yield polygon([[16, 49], [17, 50], [17, 49], [16, 50], [16, 49]])
    yield polygon([[179, 0], [-179, 0], [-179, 10], [179, 10], [179, 0]])
    yield polygon([[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]])
    yield polygon([[16, 49]] * 5)
    yield polygon(*[[] for _ in range(1000)])
    teeth = [[17.0 if i % 4 in (1, 2) else 16.0, 48.9 + i / 1e5] for i in range(20_000)]
    yield polygon([*teeth, [15.9, 49.2], [15.9, 48.8], teeth[0]])
    yield polygon([[16 + (i * 7919 % 1000) / 1e3, 49 + (i * 104729 % 1000) / 1e3] for i in range(30_000)] + [[16, 49]])
    corners = [(16 + i % 70 / 70, 49 + i // 70 / 72) for i in range(5000)]
    holes = [[[x, y], [x + 0.001, y], [x, y + 0.001], [x, y]] for x, y in corners]
    yield polygon([[16, 49], [17, 49], [17, 50], [16, 50], [16, 49]], *holes)
    yield b'{"type":"Polygon","coordinates":[' + b" " * 10_000_000 + b"]}"
    yield json.dumps({"region": "../../etc/passwd"}).encode()
    yield json.dumps({"region": "A" * 100_000}).encode()
    yield json.dumps({"region": ["Austria"], "kind": {"a": 1}}).encode()
    yield json.dumps({"type": "Feature", "geometry": {"type": "Point", "coordinates": [0, 0]}}).encode()
    yield (b" " * 1_000_000 for _ in range(10))  # ten megabytes that do not say how many they are


def send(client: TestClient, app: Any, most: int, tally: Tally) -> int:
    """Every `n`-th of the listed requests, so that at most `most` are sent; returns how many."""
    requests = list(listed(app))
    step = max(1, -(-len(requests) // most))
    chosen = requests[::step] if step > 1 else requests
    # What the list ends with, areas, are few and of a kind of their own: all of them.
    chosen = [*chosen, *(request for request in requests if request[0] == "post" and request not in chosen)]
    for method, address, more in chosen:
        started = time.perf_counter()
        try:
            status = client.request(method, address, **more).status_code
        except (UnicodeError, ValueError) as error:  # what no HTTP client would send, is refused by ours
            if "httpx" not in type(error).__module__ and not isinstance(error, UnicodeError):
                raise
            continue
        tally.add("listed", f"{method} {address[:200]} {str(more)[:200]}", status, time.perf_counter() - started)
    return len(chosen)


def run(cube: str, count: int) -> tuple[list[dict[str, Any]], list[str]]:
    """(rows of the table, failures) of about `count` requests on a cube, two thirds of them drawn, one third listed."""
    warnings.simplefilter("ignore")
    app = create_app([cube], Settings(cache_mb=16, max_seconds=120))
    watch = Watch(places_allowed(cube))
    rows: list[dict[str, Any]] = []
    failures: list[str] = []
    with TestClient(app, raise_server_exceptions=False) as client:
        send(client, app, 300, Tally())  # libraries are loaded, caches are full
        drawn(app, 200, Tally())
        before = resident_mb()
        sys.addaudithook(watch)
        watch.on = True
        for kind, most in (("listed", count // 3), ("schemathesis", count - count // 3)):
            tally, started = Tally(), time.perf_counter()
            sent = send(client, app, most, tally) if kind == "listed" else drawn(app, most, tally)
            rows.append({
                "kind": kind, "requests": sent, "seconds": round(time.perf_counter() - started, 1),
                **{f"{n}xx": sum(v for k, v in tally.statuses.items() if k // 100 == n) for n in (2, 3, 4, 5)},
                "slowest_s": round(tally.slowest, 2), "failures": tally.failures.total(), "resident_mb": round(resident_mb(), 1),
            })  # fmt: skip
            failures += tally.told()
        watch.on = False
    failures += [f"touched {what} ({n} times)" for what, n in watch.seen.items()]
    rows.append({"kind": "before", "resident_mb": round(before, 1)})
    return rows, failures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--cube", help="a cube with every product; a small one is made if left out")
    parser.add_argument("--json", type=Path, help="write the table as flat records")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cube = options.cube
        if cube is None:
            from tests.server.conftest import build_cube

            cube = build_cube(Path(folder) / "hostile.zarr").url
        rows, failures = run(cube, options.requests)
    columns = ("kind", "requests", "2xx", "3xx", "4xx", "5xx", "slowest_s", "seconds", "failures", "resident_mb")
    print("  ".join(f"{name:>12}" for name in columns))
    for row in rows:
        print("  ".join(f"{row.get(name, '')!s:>12}" for name in columns))
    for failure in failures[:40]:
        print(f"FAILED {failure}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
