"""What every answer has: a HEAD where there is a GET, and headers that keep a browser from guessing or framing."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.dependencies import HEAD, path_of

# The page, tiles of other hosts as ground, its workers. Where the server has no map library, its scripts come from a CDN,
# are compared with their hashes and run as blobs; no script is run from there.
_PAGE: Final = (
    "default-src 'self'; script-src 'self' blob:; style-src 'self' 'unsafe-inline' https://cdn.jsdelivr.net;"
    " img-src 'self' data: blob: https:; connect-src 'self' https:; worker-src 'self' blob:;"
    " object-src 'none'; base-uri 'none'; form-action 'self'"
)


class Answers:
    """Around the application."""

    def __init__(self, app: ASGIApp, frame_ancestors: str) -> None:
        """Around `app`; `frame_ancestors`: which sites may show pages of this server in a frame (Content Security Policy)."""
        self._app, self._frame_ancestors = app, frame_ancestors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        head, path = scope["method"] == "HEAD", path_of(scope)

        async def completed(message: Message) -> None:
            if head:
                scope["method"] = "HEAD"  # as it is logged, and as the HTTP server must know it: a length without a body
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                headers["X-Content-Type-Options"] = "nosniff"
                if headers.get("content-type", "").startswith("text/html"):
                    policy = headers.get("content-security-policy") or (_PAGE if path == "/" else "")
                    ancestors = f"frame-ancestors {self._frame_ancestors}"
                    headers["Content-Security-Policy"] = f"{policy}; {ancestors}" if policy else ancestors
                if path.startswith("/page/"):
                    headers.setdefault("Cache-Control", "no-cache")  # modules of one version belong together
            elif head:
                message = {**message, "body": b""}
            await send(message)

        if head:
            scope["method"], scope[HEAD] = "GET", True
        await self._app(scope, receive, completed)
