"""nginx with our configuration before our server: what it keeps, what it never keeps, and what a stranger cannot reach."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from benchmarks.ports import free_port
from cube.storage import releases
from cube.storage.store import CubeStore
from tests.support.good_cube import VERSION, copy_of
from tests.support.proxy import NGINX, proxied

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


@pytest.fixture(scope="module")
def cube(good_cube: CubeStore, tmp_path_factory: pytest.TempPathFactory) -> CubeStore:
    return copy_of(good_cube, tmp_path_factory.mktemp("proxy"))


@pytest.fixture(scope="module")
def behind(cube: CubeStore) -> Iterator[str]:
    """host:port of the server itself, started as the image starts it."""
    port = free_port()
    command = [sys.executable, str(ROOT / "floracube.py"), "serve", cube.url, "--port", str(port)]
    process = subprocess.Popen(command, env={**os.environ, "FLORACUBE_FORWARDED": "1"}, stderr=subprocess.DEVNULL)
    for _ in range(600):
        with suppress(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{port}/healthz")
            break
        time.sleep(0.1)
    yield f"127.0.0.1:{port}"
    process.terminate()
    process.wait(20)


@pytest.fixture
def front(behind: str, tmp_path: Path) -> Iterator[httpx.Client]:
    with proxied(behind, tmp_path / "nginx") as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


class Echo(BaseHTTPRequestHandler):
    """Answers with the headers that it was sent."""

    def do_GET(self) -> None:
        body = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def echoed(folder: Path, **variables: str) -> Iterator[httpx.Client]:
    """A client of nginx before a server that answers with the headers it was sent."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with (
            proxied(f"127.0.0.1:{server.server_port}", folder / "nginx", **variables) as url,
            httpx.Client(base_url=url) as client,
        ):
            yield client
        server.shutdown()


def test_a_client_cannot_say_who_it_is(tmp_path: Path) -> None:
    names = {"X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Auth-Request-User", "X-Remote-User", "Remote-User"}
    documented = re.findall(r"FLORACUBE_TRUSTED_HEADER=([A-Za-z-]+)", (ROOT / "docs/how-to/serve.md").read_text())
    assert documented
    assert names.issuperset(documented)
    with echoed(tmp_path, FLORACUBE_TRUSTED_HEADER="X-Our-Visitor") as client:
        received = client.get("/layers", headers=dict.fromkeys({*names, "X-Our-Visitor"}, "root")).json()
    assert not {name.lower() for name in names} & set(received)
    assert "x-our-visitor" not in received


FORWARDED = {"X-Forwarded-For": "203.0.113.9, 198.51.100.7", "X-Forwarded-Proto": "https"}


def test_behind_a_balancer_the_client_and_the_scheme_are_those_that_it_names(tmp_path: Path) -> None:
    with echoed(tmp_path, PROXY_TRUSTED="127.0.0.0/8") as client:
        received = client.get("/layers", headers=FORWARDED).json()
    # The last address is the one that the balancer saw; the ones before it are the client's own words.
    assert (received["x-forwarded-for"], received["x-forwarded-proto"]) == ("198.51.100.7", "https")


def test_without_a_balancer_a_client_names_neither_its_address_nor_its_scheme(tmp_path: Path) -> None:
    with echoed(tmp_path) as client:
        received = client.get("/layers", headers=FORWARDED).json()
    assert (received["x-forwarded-for"], received["x-forwarded-proto"]) == ("127.0.0.1", "http")


def test_visitors_behind_a_balancer_have_limits_of_their_own(tmp_path: Path) -> None:
    with echoed(tmp_path, rate="1r/m", PROXY_TRUSTED="127.0.0.1") as client:
        codes = [client.get("/layers", headers={"X-Forwarded-For": "203.0.113.1"}).status_code for _ in range(410)]
        assert set(codes) == {200, 429}
        assert client.get("/layers", headers={"X-Forwarded-For": "203.0.113.2"}).status_code == 200


def test_the_proxy_starts_before_the_server_has_an_address(tmp_path: Path) -> None:
    with proxied("server.invalid:8000", tmp_path / "nginx") as url:
        assert httpx.get(f"{url}/proxy-healthz").status_code == 200
        assert httpx.get(f"{url}/healthz", timeout=30).status_code == 502


def tile_address(client: httpx.Client, layer: str = "indicators.richness") -> str:
    """The address of a tile in the middle of the cube, as TileJSON gives it."""
    document = client.get(f"/layers/{layer}/WebMercatorQuad/tilejson.json").raise_for_status().json()
    west, south, east, north = document["bounds"]
    import morecantile

    tile = morecantile.tms.get("WebMercatorQuad").tile((west + east) / 2, (south + north) / 2, document["maxzoom"])
    address = document["tiles"][0].format(z=tile.z, x=tile.x, y=tile.y)
    assert address.startswith(str(client.base_url))
    return address.removeprefix(str(client.base_url).rstrip("/"))


@pytest.mark.slow
def test_a_tile_is_asked_of_the_server_once_and_keeps_its_validators(front: httpx.Client, behind: str) -> None:
    address = tile_address(front)
    first, second = front.get(address), front.get(address)
    assert [first.headers["x-cache"], second.headers["x-cache"]] == ["MISS", "HIT"]
    direct = httpx.get(f"http://{behind}{address}")
    assert first.content == second.content == direct.content
    assert second.headers["etag"] == direct.headers["etag"]
    held = front.get(address, headers={"If-None-Match": second.headers["etag"]})
    assert held.status_code == 304
    assert held.headers["x-cache"] == "HIT"


def test_only_what_can_never_change_is_kept(front: httpx.Client) -> None:
    named = tile_address(front)
    bare = named.partition("?")[0]
    assert {front.get(bare).headers["x-cache"] for _ in range(3)} == {"MISS"}
    unknown = f"{bare}?v=not-a-release"
    assert {front.get(unknown).headers["x-cache"] for _ in range(3)} == {"MISS"}
    lists = [front.get("/layers").headers["x-cache"] for _ in range(2)]
    assert lists == ["MISS", "MISS"]


def test_compressed_and_plain_answers_are_told_apart(front: httpx.Client) -> None:
    address = "/layers?v=" + tile_address(front).partition("?v=")[2]
    packed = [front.get(address, headers={"Accept-Encoding": "gzip"}) for _ in range(2)]
    plain = [front.get(address, headers={"Accept-Encoding": "identity"}) for _ in range(2)]
    assert [answer.headers["x-cache"] for answer in packed + plain] == ["MISS", "HIT", "MISS", "HIT"]
    assert [answer.headers.get("content-encoding") for answer in packed + plain] == ["gzip", "gzip", None, None]
    assert packed[1].json() == plain[1].json()


def test_a_published_release_is_seen_at_once_under_its_own_address(front: httpx.Client, behind: str, cube: CubeStore) -> None:
    old = tile_address(front)
    before = front.get(old)
    document = cube.read_json("releases/first.json")
    releases.write_release(cube, "second", dict.fromkeys(document["products"], VERSION), {})
    try:
        releases.publish(cube, "second")
        for _ in range(100):
            new = tile_address(front)
            if new != old:
                break
            time.sleep(0.1)
        assert new != old
        assert front.get(new).headers["x-cache"] == "MISS"
        assert front.get(new).headers["x-cache"] == "HIT"
        # Who still has the address of the release before gets that release, kept from before.
        assert front.get(old).content == before.content
    finally:
        releases.publish(cube, "first")


def test_the_store_goes_straight_through_with_ranges(front: httpx.Client, cube: CubeStore) -> None:
    whole = Path(cube.url, "zarr.json").read_bytes()
    part = front.get("/cube/zarr.json", headers={"Range": "bytes=-20"})
    assert part.status_code == 206
    assert part.content == whole[-20:]


def test_figures_are_for_those_inside_and_forged_addresses_are_overwritten(front: httpx.Client, behind: str) -> None:
    assert front.get("/metrics").status_code == 404
    assert httpx.get(f"http://{behind}/metrics").status_code == 200
    forged = front.get(
        "/layers/indicators.richness/WebMercatorQuad/tilejson.json",
        headers={"X-Forwarded-Host": "evil.example", "X-Forwarded-Prefix": "/evil"},
    )
    assert forged.json()["tiles"][0].startswith(str(front.base_url))


@pytest.mark.slow
def test_kept_tiles_are_answered_while_the_server_is_away(cube: CubeStore, tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, str(ROOT / "floracube.py"), "serve", cube.url, "--port", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**os.environ, "FLORACUBE_FORWARDED": "1"})
    try:
        with proxied(f"127.0.0.1:{port}", tmp_path / "nginx") as url, httpx.Client(base_url=url, timeout=60) as client:
            for _ in range(600):
                if client.get("/healthz").status_code == 200:
                    break
                time.sleep(0.1)
            address = tile_address(client)
            kept = client.get(address)
            process.terminate()
            process.wait(20)
            assert client.get(address).content == kept.content
            assert client.get("/healthz").status_code == 502
    finally:
        process.kill()
