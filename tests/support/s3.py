"""An S3 server on loopback behind a proxy that injects faults on demand: the fixture `s3` for any test.

The server is moto's, so nothing here knows what S3 is; the proxy only counts requests and disturbs those that a test
asked it to. Everything is decided by counters, so a test that runs alone sees the same faults as in the suite
as long as its requests come in the same order.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

import pytest

Kind = Literal["status", "drop", "lost", "delay", "slow", "truncate"]
ANYBODY = "AWS4-HMAC-SHA256 Credential=testing/20200101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "expect", "content-length"}


@dataclass
class Fault:
    """What happens to requests whose method and path match, from the first one, `every` so many, at most `times`.

    status: answered with `status` and never passed on. drop: the connection is closed, nothing passed on. lost: passed on,
    but the connection is closed before the answer. delay: passed on after `seconds` (longer than the client's patience: a
    timeout). slow: the body trickles over `seconds`. truncate: half of the body, then the connection is closed.
    """

    kind: Kind
    method: str = ".*"  # regular expressions, searched from the start
    path: str = ".*"
    status: int = 500
    seconds: float = 0.0
    every: int = 1  # 1: each matching request, 3: the first, the fourth, ...
    times: int | None = None  # None: without end
    n_matches: int = field(default=0, init=False)
    struck: int = field(default=0, init=False)

    def strikes(self, method: str, path: str) -> bool:
        """Count a request and say whether it is disturbed."""
        if not (re.match(self.method, method) and re.search(self.path, path)):
            return False
        self.n_matches += 1
        if (self.n_matches - 1) % self.every or (self.times is not None and self.struck >= self.times):
            return False
        self.struck += 1
        return True


class _Proxy(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, upstream: tuple[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = upstream
        self.faults: list[Fault] = []
        self.log: list[tuple[str, str, str | None]] = []  # method, path, Range header
        self.lock = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is what some tests are about, not news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Proxy

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _answer(self) -> None:
        body = self._body()
        with self.server.lock:
            self.server.log.append((self.command, self.path, self.headers.get("Range")))
            fault = next((f for f in self.server.faults if f.strikes(self.command, self.path)), None)
        kind = fault.kind if fault else None
        if kind == "drop":
            return self._hang_up()
        if kind == "status":
            code = {503: "SlowDown", 403: "AccessDenied"}.get(fault.status, "InternalError")
            text = f"<Error><Code>{code}</Code><Message>injected</Message></Error>".encode()
            return self._send(fault.status, [("Content-Type", "application/xml")], text)
        if kind == "delay":
            time.sleep(fault.seconds)
        upstream = http.client.HTTPConnection(*self.server.upstream, timeout=60)
        # Whoever asks without a name is let in, so that the bucket is a plain web server too.
        headers = {"Authorization": ANYBODY, **self.headers}
        upstream.request(self.command, self.path, body, {k: v for k, v in headers.items() if k.lower() not in HOP_BY_HOP})
        answer = upstream.getresponse()
        data = answer.read()
        upstream.close()
        if kind == "lost":
            return self._hang_up()
        headers = [(k, v) for k, v in answer.getheaders() if k.lower() not in HOP_BY_HOP]
        length = answer.getheader("Content-Length") if self.command == "HEAD" else None
        self._send(answer.status, headers, data, length, fault)

    def _send(
        self, status: int, headers: list[tuple[str, str]], data: bytes, length: str | None = None, fault: Fault | None = None
    ) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", length or str(len(data)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault and fault.kind == "truncate":
            self.wfile.write(data[: len(data) // 2])
            self._hang_up()
        elif fault and fault.kind == "slow":
            for part in range(10):
                time.sleep(fault.seconds / 10)
                self.wfile.write(data[len(data) * part // 10 : len(data) * (part + 1) // 10])
        else:
            self.wfile.write(data)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _answer  # noqa: N815  the names that http.server calls


@dataclass
class FaultyS3:
    """A bucket of its own for one test, the faults on the way to it, and what was asked of it."""

    endpoint: str  # through the proxy
    bucket: str
    proxy: _Proxy

    @property
    def url(self) -> str:
        """Where a test puts its cube: `s3://<bucket>`."""
        return f"s3://{self.bucket}"

    def environment(self, read_timeout: float = 15) -> dict[str, str]:
        """What a subprocess needs in its environment to reach the bucket as the clouds' own tools would.

        `read_timeout` in seconds is how long it waits for an answer before it tries again; s3fs waits 15.
        """
        return {
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",  # obstore refuses plain http otherwise
            "AWS_EC2_METADATA_DISABLED": "true",
            "FSSPEC_S3_CONFIG_KWARGS": json.dumps({"read_timeout": read_timeout}),
        }

    def inject(self, kind: Kind, **how: Any) -> Fault:
        """Disturb the requests to come; see `Fault`. The fault counts what it saw and struck."""
        fault = Fault(kind, **how)
        with self.proxy.lock:
            self.proxy.faults.append(fault)
        return fault

    def fix(self) -> None:
        """No more faults."""
        with self.proxy.lock:
            self.proxy.faults.clear()

    @property
    def log(self) -> list[tuple[str, str, str | None]]:
        """(method, path, Range header) of every request since the test began."""
        return self.proxy.log


@pytest.fixture(scope="session")
def _s3_server() -> Iterator[_Proxy]:
    from moto.server import ThreadedMotoServer

    old_values = {k: os.environ.get(k) for k in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    # moto sets credentials of its own in this process: each test sets what it means to have.
    for name, value in old_values.items():
        os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
    proxy = _Proxy(server.get_host_and_port())
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    yield proxy
    proxy.shutdown()
    proxy.server_close()
    server.stop()


@pytest.fixture
def s3(_s3_server: _Proxy, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> FaultyS3:
    """A bucket of one test, in the environment of this process; `s3.environment()` gives it to a subprocess."""
    import s3fs

    proxy = _s3_server
    proxy.faults, proxy.log = [], []
    bucket = f"test-{zlib.crc32(request.node.nodeid.encode()):x}"
    store = FaultyS3(f"http://127.0.0.1:{proxy.server_address[1]}", bucket, proxy)
    for name, value in store.environment().items():
        monkeypatch.setenv(name, value)
    # The bucket is made past the proxy; a filesystem of an earlier test would keep its connections and listings.
    maker = http.client.HTTPConnection(*proxy.upstream)
    maker.request("PUT", f"/{bucket}", headers={"Host": "s3.amazonaws.com"})
    assert maker.getresponse().status == 200
    maker.close()
    s3fs.S3FileSystem.clear_instance_cache()
    return store
