"""What one request may cost: how many at once, how long until an answer begins, how large an address and a body."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.errors import RequestError, error_answer
from server.operating import metrics

MAX_BODY: Final = 2 * 2**20  # bytes; a region drawn by hand or a country's outline is far smaller
MAX_ADDRESS: Final = 8192  # bytes of path and query
_ALWAYS: Final = frozenset({"/healthz", "/metrics"})  # a server that is full must still say so


class _TooMuchError(RequestError):
    """More body than may come (413)."""

    status = 413
    name = "body_too_large"


class Limits:
    """Refuses with a JSON sentence what is too large (413, 414) or too much at the moment (503)."""

    def __init__(self, app: ASGIApp, at_once: int, seconds: float) -> None:
        """At most `at_once` requests in `app`, each with `seconds` until its answer begins."""
        self._app, self._at_once, self._seconds, self._running = app, at_once, seconds, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        refusal = self._refusal(scope)
        if refusal is not None:
            return await error_answer(*refusal)(scope, receive, send)
        self._running += 1
        metrics.IN_FLIGHT.inc()
        try:
            await self._limited(scope, receive, send)
        finally:
            self._running -= 1
            metrics.IN_FLIGHT.dec()

    def _refusal(self, scope: Scope) -> tuple[int, str, str] | None:
        if self._running >= self._at_once and scope["path"] not in _ALWAYS:
            return 503, "busy", f"The server is answering {self._at_once} requests already; try again."
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_ADDRESS:
            return 414, "address_too_long", f"The address is longer than {MAX_ADDRESS} bytes."
        length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not length.isdigit() or int(length) > MAX_BODY:
            return 413, "body_too_large", f"The body is larger than {MAX_BODY // 2**20} MiB."
        return None

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun, taken = False, 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > MAX_BODY:
                raise _TooMuchError(f"The body is larger than {MAX_BODY // 2**20} MiB.")
            return message

        try:
            async with asyncio.timeout(self._seconds) as clock:

                async def watched(message: Message) -> None:
                    nonlocal begun
                    if not begun:
                        begun = True
                        clock.reschedule(None)  # a long download is the client's own affair
                    await send(message)

                await self._app(scope, counted, watched)
        except TimeoutError:
            if begun:
                raise
            sentence = f"There was no answer within {self._seconds:g} seconds; try again."
            await error_answer(503, "too_slow", sentence)(scope, receive, send)
