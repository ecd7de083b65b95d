"""What one request may cost: how many at once, how long until an answer begins, how large an address and a body.

A client that is slow takes no place of those that are quick: a body is received before its request is counted, an answer
is counted until it begins, and both are given up where they stop moving.
"""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server import metrics
from server.dependencies import path_of
from server.errors import error_answer

MAX_BODY: Final = 2 * 2**20  # bytes; a region drawn by hand or a country's outline is far smaller
MAX_BODIES: Final = 64 * 2**20  # bytes of all bodies that are being received
BODY_SECONDS: Final = 20.0  # until a body has arrived
MAX_ADDRESS: Final = 8192  # bytes of path and query
MAX_SENDING: Final = 1024  # answers on their way to clients at once
# 256 KiB a minute is the least rate of a download: 4 kB/s, a tenth of the slowest telephone connections.
PIECE: Final = 256 * 2**10
PIECE_SECONDS: Final = 60.0
_ALWAYS: Final = frozenset({"/healthz", "/readyz", "/metrics"})  # a server that is full must still say so
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})


class _BodyError(Exception):
    """A body that is not received; its arguments are those of `error_answer`."""


class Limits:
    """Refuses with a JSON sentence what is too large (413, 414), too slow (408) or too much at the moment (503)."""

    def __init__(self, app: ASGIApp, max_running: int, seconds: float) -> None:
        """At most `max_running` requests in `app`, each with `seconds` until its answer begins."""
        self._app, self._max_running, self._seconds = app, max_running, seconds
        self._running, self._sending, self._receiving_bytes = 0, 0, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        refusal = self._refusal(scope)
        if refusal is not None:
            return await error_answer(*refusal)(scope, receive, send)
        if scope["method"] in _WITH_BODY:
            try:
                receive = _already_received(await self._body(receive), receive)
            except _BodyError as error:
                return await error_answer(*error.args)(scope, receive, send)
            refusal = self._full(scope)  # others may have come meanwhile
            if refusal is not None:
                return await error_answer(*refusal)(scope, receive, send)
        await self._answer(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str, str] | None:
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_ADDRESS:
            return 414, "address_too_long", f"The address is longer than {MAX_ADDRESS} bytes."
        length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not length.isdigit() or int(length) > MAX_BODY:
            return _too_large()
        return self._full(scope)

    def _full(self, scope: Scope) -> tuple[int, str, str] | None:
        if path_of(scope) in _ALWAYS:
            return None
        if self._running >= self._max_running:
            return 503, "busy", f"The server is answering {self._max_running} requests already; try again."
        if self._sending >= MAX_SENDING:
            return 503, "busy", f"The server is sending {MAX_SENDING} answers already; try again."
        return None

    async def _body(self, receive: Receive) -> bytes:
        """The whole body of a request; raises `_BodyError` for one that is too large or does not arrive."""
        parts: list[bytes] = []
        size, more = 0, True
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _BodyError(400, "body_incomplete", "The connection ended before the body was complete.")
                    part, more = message.get("body", b""), message.get("more_body", False)
                    parts.append(part)
                    size += len(part)
                    self._receiving_bytes += len(part)
                    if size > MAX_BODY:
                        raise _BodyError(*_too_large())
                    if self._receiving_bytes > MAX_BODIES:
                        raise _BodyError(503, "busy", "The server is receiving too many bodies already; try again.")
        except TimeoutError:
            raise _BodyError(408, "body_too_slow", f"The body did not arrive within {BODY_SECONDS:g} seconds.") from None
        finally:
            self._receiving_bytes -= size
        return b"".join(parts)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_started = False
        self._running += 1
        metrics.IN_FLIGHT.inc()
        try:
            async with asyncio.timeout(self._seconds) as clock:

                async def watched(message: Message) -> None:
                    nonlocal has_started
                    if not has_started:
                        has_started = True
                        clock.reschedule(None)  # from here on the rate counts
                        self._running -= 1
                        self._sending += 1
                        metrics.IN_FLIGHT.dec()
                    await _send_in_pieces(message, send)

                await self._app(scope, receive, watched)
        except TimeoutError:
            if has_started:
                raise
            sentence = f"There was no answer within {self._seconds:g} seconds; try again."
            await error_answer(503, "too_slow", sentence)(scope, receive, send)
        finally:
            if has_started:
                self._sending -= 1
            else:
                self._running -= 1
                metrics.IN_FLIGHT.dec()


def _too_large() -> tuple[int, str, str]:
    return 413, "body_too_large", f"The body is larger than {MAX_BODY // 2**20} MiB; simplify the outline."


def _already_received(body: bytes, receive: Receive) -> Receive:
    """What gives `body` as one message and then what `receive` gives (that the client has left)."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay


async def _send_in_pieces(message: Message, send: Send) -> None:
    """Send a message; raises `TimeoutError`, which closes the connection, where a client takes longer than `PIECE_SECONDS`
    for `PIECE` bytes.
    """
    body = message.get("body", b"")
    starts = range(0, max(len(body), 1), PIECE)
    for start in starts:
        last = start + PIECE >= len(body)
        piece = message
        if len(starts) > 1:
            piece = {**message, "body": body[start : start + PIECE], "more_body": message.get("more_body", False) or not last}
        async with asyncio.timeout(PIECE_SECONDS):
            await send(piece)
