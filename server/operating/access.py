"""What happened to each request: the figures of `metrics` and, if asked for, one line of JSON on standard output."""

from __future__ import annotations

import datetime
import json
import sys
import time
from typing import Any
from urllib.parse import unquote_plus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server import metrics
from server.dependencies import KEY


def route_of(scope: Scope) -> str:
    """The pattern of the route that answered, of which there are few, unlike addresses."""
    path = getattr(scope.get("route"), "path", None)
    if isinstance(path, str):
        return path
    return "/page" if scope["path"].startswith("/page/") else "none"


class AccessLog:
    """Around the whole application."""

    def __init__(self, app: ASGIApp, lines: bool) -> None:
        """Around `app`; `lines`: write one a request."""
        self._app, self._lines = app, lines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and note how it was answered."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        start, status, bytes_out = time.perf_counter(), 500, 0

        async def watched(message: Message) -> None:
            nonlocal status, bytes_out
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                bytes_out += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            seconds = time.perf_counter() - start
            route = route_of(scope)
            metrics.REQUESTS.labels(route, str(status)).inc()
            metrics.LATENCY.labels(route).observe(seconds)
            metrics.SENT_BYTES.labels(route).inc(bytes_out)
            if self._lines:
                _write(scope, route, status, bytes_out, seconds)


def _is_key(part: str) -> bool:
    """Whether a part of a query names a key, however its letters are written."""
    return unquote_plus(part.partition("=")[0]).strip().lower() == KEY


def _write(scope: Scope, route: str, status: int, bytes_out: int, seconds: float) -> None:
    headers = {name: value.decode("latin-1") for name, value in scope["headers"] if name in (b"user-agent", b"referer")}
    query = scope["query_string"].decode("latin-1")
    line: dict[str, Any] = {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
        "method": scope["method"],
        "path": scope["path"],
        # A key in an address must not stay in a log.
        "query": "&".join(part for part in query.split("&") if part and not _is_key(part)),
        "route": route,
        "status": status,
        "bytes": bytes_out,
        "ms": round(seconds * 1e3, 2),
        "client": (scope.get("client") or ("",))[0],
        "agent": headers.get(b"user-agent", ""),
    }
    # One write a line: lines of several workers do not mix.
    sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
    sys.stdout.flush()
