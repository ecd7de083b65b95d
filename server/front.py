"""titiler's application at the front door, built with the first request to it: importing it costs two seconds and 140 MB."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.routing import BaseRoute, Match, compile_path
from starlette.types import Receive, Scope, Send

from server.dependencies import OTHER_CUBE, path_of
from server.errors import BusyError

_MAX_RUNNING: Final = 16
_PATHS: Final = (
    "/layers/{layer_id}/{rest:path}",
    f"{OTHER_CUBE}/layers/{{layer_id}}/{{rest:path}}",
    "/openapi.json",
    "/tileMatrixSets{rest:path}",
    "/algorithms{rest:path}",
    "/colorMaps{rest:path}",
)


class Front(BaseRoute):
    """The last route of the server: titiler's, and the document of all routes."""

    def __init__(self, server: FastAPI, description: str) -> None:
        """Beside the routes of `server`, whose state it shares."""
        self._state, self._description, self._routes = server.state, description, [*server.routes]
        self._patterns = [compile_path(path)[0] for path in _PATHS]
        self._lock, self._running = threading.Lock(), 0
        self._app: FastAPI | None = None

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Every path of titiler's and the OpenAPI document, whatever the method: what it does not have it refuses itself."""
        is_listed_path = scope["type"] == "http" and any(pattern.match(path_of(scope)) for pattern in self._patterns)
        return (Match.FULL, {}) if is_listed_path else (Match.NONE, {})

    def application(self) -> FastAPI:
        """titiler's application."""
        with self._lock:
            if self._app is None:
                from server.queries.layer_tiler import build

                self._app = build(self._state, self._description)
                self._app.openapi = self._openapi  # type: ignore[method-assign]
            return self._app

    def _openapi(self) -> dict[str, Any]:
        app = self._app
        assert app is not None
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=[*self._routes, *app.routes]
            )
            # titiler says that every link is a URI; those of tiles are templates.
            document["components"]["schemas"]["Link"]["properties"]["href"].pop("format")
            app.openapi_schema = document
        return app.openapi_schema

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or raise `BusyError`: its requests take threads that others share, so they may not take all."""
        if self._running >= _MAX_RUNNING:
            raise BusyError("The server is busy with other requests to titiler; try again in a few seconds.")
        self._running += 1
        try:
            # In a thread, so that tiles are drawn meanwhile.
            app = self._app if self._app is not None else await asyncio.to_thread(self.application)
            if path_of(scope) == "/openapi.json" and app.openapi_schema is None:
                await asyncio.to_thread(app.openapi)
            await app(scope, receive, send)
        finally:
            self._running -= 1
