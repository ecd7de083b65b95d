"""What stands around every request: errors, limits, keys, compression, figures, the access log."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Response
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from cube.errors import ConfigError
from cube.storage.store import CubeStore
from server.errors import ErrorGuard, StoreError
from server.main import create_app
from server.operating import limits
from server.operating.limits import Limits
from server.operating.settings import Settings

ROOT = Path(__file__).parents[2]
TILE = "/layers/indicators.richness/tiles/WebMercatorQuad/11/1119/702.png"


def with_settings(cube: CubeStore, **settings: Any) -> TestClient:
    return TestClient(create_app([cube.url], Settings(**settings)))


def failing(error: Exception) -> TestClient:
    app = FastAPI()
    app.add_middleware(ErrorGuard)

    @app.get("/")
    def fail() -> None:
        raise error

    return TestClient(app, raise_server_exceptions=False)


def test_a_passing_failure_is_503_and_a_mistake_of_ours_500_and_neither_tells_of_this_machine() -> None:
    for error, status in ((ConnectionResetError("/secret/path"), 503), (ValueError("/secret/path"), 500)):
        answer = failing(error).get("/")
        assert answer.status_code == status
        assert set(answer.json()) == {"detail", "error", "status"}
        assert "secret" not in answer.text
        assert ("retry-after" in answer.headers) is (status == 503)


def test_a_failing_store_is_503_with_retry_after_and_answers_again_when_it_is_back(
    cube: CubeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = with_settings(cube)

    def broken(*_: Any) -> None:
        raise StoreError("/secret/path: read failed")

    with monkeypatch.context() as patch:
        patch.setattr("server.reading.chunk_batches.fetch", broken)
        answer = client.get(TILE)
        assert (answer.status_code, answer.json()["error"]) == (503, "store_unavailable")
        assert "retry-after" in answer.headers
        assert "secret" not in answer.text
        assert answer.headers["cache-control"] == "no-store"
        assert client.get("/healthz").status_code == 200
    assert client.get(TILE).status_code == 200


@pytest.mark.parametrize("url", ["/layers/none", "/none", "/layers?limit=x", TILE.replace("702", "a")])
def test_every_error_has_the_same_three_fields(client: TestClient, url: str) -> None:
    answer = client.get(url)
    assert answer.status_code >= 400
    assert set(answer.json()) == {"detail", "error", "status"}
    assert answer.json()["status"] == answer.status_code


def test_a_body_or_an_address_too_large_is_refused(client: TestClient) -> None:
    assert client.post("/area", content=b"x" * (limits.MAX_BODY + 1)).status_code == 413
    parts = (b"x" * 2**18 for _ in range(40))
    assert client.post("/area", content=parts).status_code == 413
    assert client.get("/layers?search=" + "x" * 9000).status_code == 414


def test_more_requests_than_the_limit_are_told_to_come_again() -> None:
    app, entered, leave = FastAPI(), threading.Event(), threading.Event()
    app.add_middleware(Limits, max_running=1, seconds=30)

    @app.get("/slow")
    def slow() -> str:
        entered.set()
        leave.wait(10)
        return "done"

    with TestClient(app) as client:
        first: list[int] = []
        thread = threading.Thread(target=lambda: first.append(client.get("/slow").status_code))
        thread.start()
        assert entered.wait(10)
        second = client.get("/slow")
        assert (second.status_code, second.json()["error"]) == (503, "busy")
        leave.set()
        thread.join()
        assert first == [200]
        assert client.get("/slow").status_code == 200


def test_an_answer_that_does_not_begin_in_time_is_503() -> None:
    app, leave = FastAPI(), threading.Event()
    app.add_middleware(Limits, max_running=9, seconds=0.1)

    @app.get("/slow")
    async def slow() -> str:
        import asyncio

        await asyncio.sleep(30)
        return "done"

    started = time.monotonic()
    answer = TestClient(app).get("/slow")
    leave.set()
    assert (answer.status_code, answer.json()["error"]) == (503, "too_slow")
    assert time.monotonic() - started < 10


def test_with_a_key_only_its_holders_are_answered_and_shared_caches_are_told(cube: CubeStore) -> None:
    client = with_settings(cube, api_keys=("s3cret", "other"))
    refused = client.get(TILE)
    assert (refused.status_code, refused.json()["error"]) == (401, "no_access")
    assert "basic" in refused.headers["www-authenticate"].lower()
    assert client.get("/healthz").status_code == 200
    basic = base64.b64encode(b"anybody:s3cret").decode()
    for headers in ({"X-API-Key": "s3cret"}, {"Authorization": "Bearer other"}, {"Authorization": f"Basic {basic}"}):
        answer = client.get(TILE, headers=headers)
        assert answer.status_code == 200
        assert answer.headers["cache-control"].startswith("private")
    assert client.get(TILE, params={"api_key": "s3cret"}).status_code == 200
    wrong = ({"X-API-Key": "S3cret"}, {"Authorization": "Basic ???"}, {"Authorization": "Bearer "}, {"X-API-Key": "ß"})
    for headers in wrong:
        assert client.get(TILE, headers={k: v.encode() for k, v in headers.items()}).status_code == 401
    preflight = client.options(
        TILE,
        headers={
            "Origin": "https://example.org",
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "X-API-Key",
        },
    )
    assert preflight.status_code == 200


def test_figures_and_what_a_page_asks_for_come_to_those_who_came_with_a_key(cube: CubeStore) -> None:
    client = with_settings(cube, api_keys=("s3c/ret+ä",))
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers={"Authorization": b"Bearer s3c/ret+\xc3\xa4"}).status_code == 401  # not latin-1
    basic = base64.b64encode("prometheus:s3c/ret+ä".encode()).decode()
    assert client.get("/metrics", headers={"Authorization": f"Basic {basic}"}).status_code == 200
    assert client.get("/page/js/app.js").status_code == 401
    wrong = client.get("/", params={"api_key": "other"})
    assert "set-cookie" not in wrong.headers
    page = client.get("/", params={"api_key": "s3c/ret+ä"})
    cookie = page.headers["set-cookie"].lower()
    assert all(part in cookie for part in ("httponly", "samesite=strict", "path=/"))
    assert "s3c" not in cookie
    for path in ("/page/js/app.js", "/openapi.json", TILE, "/area?region=x"):
        assert client.get(path).status_code != 401, path  # by the cookie that the client has now
    client.cookies.clear()
    assert client.get(TILE, headers={"Cookie": "floracube_key=%%%; a"}).status_code == 401
    assert "set-cookie" not in client.get(TILE, params={"api_key": "s3c/ret+ä"}).headers  # pages alone give one


def test_readiness_says_when_tiles_are_drawn_at_once(cube: CubeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    warm = threading.Event()
    monkeypatch.setattr("server.drawing.resample.warm_up", lambda: warm.wait(20))
    with with_settings(cube, api_keys=("s3cret",)) as client:
        cold = client.get("/readyz")
        assert (cold.status_code, cold.json()) == (503, {"status": "starting"})
        assert "retry-after" in cold.headers
        assert client.get("/healthz").status_code == 200
        warm.set()
        client.app.state.ready.wait(20)  # type: ignore[attr-defined]
        assert (client.get("/readyz").status_code, client.get("/readyz").json()) == (200, {"status": "ready"})


def test_answers_do_not_vary_by_origin(client: TestClient) -> None:
    for headers in ({}, {"Origin": "https://example.org"}, {"Origin": "https://example.org", "Cookie": "a=b"}):
        answer = client.get("/layers", headers=headers)
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "origin" not in answer.headers.get("vary", "").lower()


def test_a_reverse_proxy_may_vouch_for_its_users(cube: CubeStore) -> None:
    client = with_settings(cube, trusted_header="x-forwarded-user")
    assert client.get(TILE).status_code == 401
    assert client.get(TILE, headers={"X-Forwarded-User": "ada"}).status_code == 200


def test_json_is_compressed_for_who_asks_and_its_tag_still_finds_it(client: TestClient) -> None:
    plain = client.get("/layers", headers={"Accept-Encoding": "identity"})
    small = client.get("/layers", headers={"Accept-Encoding": "gzip"})
    assert small.headers["content-encoding"] == "gzip"
    assert small.json() == plain.json()
    assert small.headers["etag"] == f"W/{plain.headers['etag']}"
    assert "accept-encoding" in small.headers["vary"].lower()
    for tag in (plain.headers["etag"], small.headers["etag"]):
        assert client.get("/layers", headers={"If-None-Match": tag}).status_code == 304
    assert "content-encoding" not in client.get(TILE, headers={"Accept-Encoding": "gzip"}).headers


def figures(client: TestClient) -> dict[tuple[str, str], float]:
    """Values by name and route, over all statuses."""
    found: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            if "le" not in sample.labels:
                key = sample.name, sample.labels.get("route", "")
                found[key] = found.get(key, 0.0) + sample.value
    return found


def test_figures_count_requests_chunks_and_bytes(cube: CubeStore) -> None:
    client = with_settings(cube)
    route = "/layers/{layer_id}/tiles/{tileMatrixSetId}/{z}/{x}/{y}"
    before = figures(client)
    sent = sum(len(client.get(f"{TILE}?rescale=0,{high}").content) for high in (1, 2, 3))
    after = figures(client)

    def grown(name: str, label: str = "") -> float:
        return after.get((name, label), 0.0) - before.get((name, label), 0.0)

    assert grown("floracube_requests_total", route) == 3
    assert grown("floracube_request_seconds_count", route) == 3
    assert grown("floracube_sent_bytes_total", route) == sent
    assert grown("floracube_store_read_bytes_total") > 1000
    assert grown("floracube_chunk_cache_hits_total") > 0
    assert grown("floracube_chunk_cache_misses_total") > 0
    assert after["floracube_chunk_cache_bytes", ""] > 0


def test_addresses_do_not_become_labels(client: TestClient) -> None:
    for i in range(20):
        client.get(f"/nowhere/{i}")
    labels = {route for _, route in figures(client)}
    assert not any("nowhere" in label for label in labels)


def test_access_log_is_a_line_of_json_a_request_and_keeps_no_key(cube: CubeStore, capsys: pytest.CaptureFixture[str]) -> None:
    client = with_settings(cube, access_log=True, api_keys=("s3cret",))
    client.get(TILE, params={"api_key": "s3cret", "colormap_name": "magma"}, headers={"User-Agent": b"a\nb"})
    line = json.loads(capsys.readouterr().out)
    assert (line["method"], line["path"], line["status"], line["query"]) == ("GET", TILE, 200, "colormap_name=magma")
    assert line["route"] == "/layers/{layer_id}/tiles/{tileMatrixSetId}/{z}/{x}/{y}"
    assert line["bytes"] > 100
    for spelt in ("API_KEY=s3cret", "%61pi%5Fkey=s3cret", "api_key%20=s3cret", "api_key=s3cret"):
        client.get(f"{TILE}?colormap_name=magma&{spelt}", headers={"X-API-Key": "s3cret"})
    lines = capsys.readouterr().out
    assert lines.count("\n") == 4
    assert "s3cret" not in lines
    assert line["ms"] > 0


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {
        "API_KEYS": "a, b,",
        "CACHE_MB": "64",
        "ACCESS_LOG": "1",
        "FORWARDED": "yes",
        "AREA_KM2": "",
        "REGIONS": "x=y.geojson",
    }
    for name, text in texts.items():
        monkeypatch.setenv(f"FLORACUBE_{name}", text)
    found = Settings.from_environment()
    assert (found.api_keys, found.cache_mb, found.access_log, found.forwarded) == (("a", "b"), 64, True, True)
    assert (found.area_km2, found.regions) == (1_000_000, "x=y.geojson")


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        *(("CACHE_MB", one) for one in ("much", "0", "-3", "nan", "1e99")),
        ("AREA_KM2", "large"),
        ("FORWARDED", "2"),
        ("API_KEYS", ","),
        ("API_KEYS", " "),
        ("TRUSTED_HEADER", " "),
        ("TRUSTED_HEADER", "X User"),
    ],
)
def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, wrong: str) -> None:
    monkeypatch.setenv(f"FLORACUBE_{name}", wrong)
    with pytest.raises(ConfigError, match=f"FLORACUBE_{name} is '{wrong}'"):
        Settings.from_environment()


def test_start_imports_nothing_heavy_and_idles_small(cube: CubeStore) -> None:
    code = (
        "import sys, time, json; import server.main; app = server.main.create_app([sys.argv[1]]);"
        "heavy = [m for m in ('torch', 'transformers', 'inference', 'xarray', 'pandas', 'rio_tiler', 'titiler',"
        " 'scipy', 'dask', 'matplotlib', 'numba') if m in sys.modules];"
        "cpu = time.process_time();"
        "server.main.resample.warm_up();"
        "memory = int(open('/proc/self/status').read().split('VmRSS:')[1].split()[0]) / 1024;"
        "print(json.dumps([heavy, cpu, memory]))"
    )
    done = subprocess.run([sys.executable, "-c", code, cube.url], cwd=ROOT, capture_output=True, text=True, check=True)
    heavy, cpu, memory = json.loads(done.stdout)
    assert heavy == []
    assert cpu < 6  # under 3 on a machine of its own; tests share theirs
    assert memory < 300


@pytest.mark.slow
def test_workers_add_their_figures_up(cube: CubeStore, tmp_path: Path) -> None:
    """Two processes count into one folder; either tells the sum."""
    code = (
        "import sys; from starlette.testclient import TestClient; from server.main import create_app;"
        "client = TestClient(create_app([sys.argv[1]])); [client.get('/healthz') for _ in range(int(sys.argv[2]))];"
        "print(client.get('/metrics').text)"
    )
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics")}
    texts = [
        subprocess.run(
            [sys.executable, "-c", code, cube.url, n], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        ).stdout
        for n in ("3", "4")
    ]
    counts = [re.search(r'floracube_requests_total\{route="/healthz",status="200"\} (\d+)', text) for text in texts]
    assert [int(float(c[1])) for c in counts if c] == [3, 7]


def request_of(app: Any, method: str, path: str, messages: list[dict[str, Any]], send: Any = None) -> Any:
    """(coroutine of an ASGI request, what it sends unless to `send`): `messages` are received, then nothing comes any more."""
    sent: list[dict[str, Any]] = []
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("test", 80),
        "client": ("test", 1),
        "root_path": "",
    }

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    async def note(message: dict[str, Any]) -> None:
        sent.append(message)

    return app(scope, receive, send or note), sent


def test_bodies_that_do_not_arrive_take_no_place_and_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.5)
    app = FastAPI()
    app.add_middleware(Limits, max_running=4, seconds=30)

    @app.post("/area")
    async def area() -> str:
        return "done"

    @app.get("/tile")
    async def tile() -> str:
        return "tile"

    async def attack() -> None:
        half = [request_of(app, "POST", "/area", [{"type": "http.request", "body": b"{", "more_body": True}]) for _ in range(300)]
        tasks = [asyncio.create_task(call) for call, _ in half]
        await asyncio.sleep(0)  # each task has run up to where it waits for the rest of its body
        call, sent = request_of(app, "GET", "/tile", [])
        await call
        assert sent[0]["status"] == 200
        whole, sent = request_of(app, "POST", "/area", [{"type": "http.request", "body": b"{}", "more_body": False}])
        await whole
        assert sent[0]["status"] == 200
        await asyncio.gather(*tasks)
        assert {answers[0]["status"] for _, answers in half} == {408}

    asyncio.run(attack())


def test_bodies_on_their_way_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_BODIES", 2**20)
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.5)
    app = FastAPI()
    app.add_middleware(Limits, max_running=4, seconds=30)

    async def attack() -> None:
        part = b"x" * (300 * 2**10)
        calls = [request_of(app, "POST", "/", [{"type": "http.request", "body": part, "more_body": True}]) for _ in range(5)]
        await asyncio.gather(*(call for call, _ in calls))
        statuses = sorted(sent[0]["status"] for _, sent in calls)
        assert statuses == [408, 408, 408, 503, 503]

    asyncio.run(attack())


def test_a_client_that_does_not_take_its_answer_keeps_nobody_out_and_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PIECE_SECONDS", 0.5)
    app = FastAPI()
    app.add_middleware(Limits, max_running=1, seconds=30)

    @app.get("/large")
    async def large() -> Response:
        return Response(b"x" * (3 * limits.PIECE + 5))

    async def slow_reader() -> None:
        call, sent = request_of(app, "GET", "/large", [])
        await call
        bodies = [message["body"] for message in sent[1:]]
        assert [len(body) for body in bodies] == [limits.PIECE] * 3 + [5]
        assert [message["more_body"] for message in sent[1:]] == [True, True, True, False]
        begun = asyncio.Event()

        async def stuck(message: dict[str, Any]) -> None:
            begun.set()
            if message["type"] == "http.response.body":
                await asyncio.Event().wait()

        waiting = asyncio.create_task(request_of(app, "GET", "/large", [], stuck)[0])
        await begun.wait()
        call, sent = request_of(app, "GET", "/large", [])
        await call
        assert sent[0]["status"] == 200
        with pytest.raises(TimeoutError):
            await waiting

    asyncio.run(slow_reader())
