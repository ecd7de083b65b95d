"""Answers that pages of any origin may read, the same for all of them."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_REQUEST_HEADERS: Final = ("Authorization", "Content-Type", "If-None-Match", "Range", "X-API-Key")
_ANSWER_HEADERS: Final = ("ETag", "Content-Range", "Accept-Ranges", "Retry-After")


class AnyOrigin(CORSMiddleware):
    """Starlette's for `*`, but every answer carries its headers: one that varied by origin would be cached once for each."""

    def __init__(self, app: ASGIApp) -> None:
        """Around `app`."""
        super().__init__(app, ["*"], ["GET", "HEAD", "POST"], _REQUEST_HEADERS, expose_headers=_ANSWER_HEADERS, max_age=86_400)

    async def simple_response(self, scope: Scope, receive: Receive, send: Send, request_headers: Headers) -> None:
        """Pass the request on."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self.simple_headers)
            await send(message)

        await self.app(scope, receive, with_headers)
