"""JSON and text smaller on the way. Images and chunks are compressed already."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_MINIMUM_BYTES: Final = 1000  # bytes
_EFFORT: Final = 5
_AS_THEY_ARE: Final = (*DEFAULT_EXCLUDED_CONTENT_TYPES, "application/octet-stream", "image/tiff")


class Compression:
    """Starlette's gzip, but the compressed form of an answer carries a weak ETag: its bytes are not those of the plain one."""

    def __init__(self, app: ASGIApp) -> None:
        """Around `app`."""
        self._app = GZipMiddleware(app, _MINIMUM_BYTES, _EFFORT, exclude_content_types=_AS_THEY_ARE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)

        async def weakened(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                tag = headers.get("etag", "")
                if headers.get("content-encoding") == "gzip" and tag.startswith('"'):
                    headers["etag"] = f"W/{tag}"
            await send(message)

        await self._app(scope, receive, weakened)
