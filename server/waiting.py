"""The server before there is a cube: a page that says how to make one, until the cube can be opened."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.responses import Response
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from cube.errors import CubeError
from server.dependencies import path_of
from server.errors import RETRY_SECONDS, error_answer

LOOK_SECONDS: Final = 5.0  # between two looks at the store
_SENTENCE: Final = "This server has no cube yet; make one with `floracube build`, `train` and `predict`, and it is served here."
_PAGE: Final = Path(__file__).with_name("page") / "waiting.html"  # which loads itself again every 5 s
log = logging.getLogger("floracube.server")


class WaitingServer:
    """An application that makes the real one as soon as it can, and then is nothing but that one.

    Until then `/healthz` is 200, `/readyz` and everything else 503: an orchestrator neither restarts the server nor sends it
    visitors.
    """

    def __init__(self, make: Callable[[], FastAPI]) -> None:
        """`make` gives the real application and raises `CubeError` while there is no cube."""
        self._make = make
        self._app: FastAPI | None = None
        self._lifespan: ASGIApp = Router(lifespan=self._looking)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or live as long as the server."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        elif self._app is not None:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await _answer(path_of(scope))(scope, receive, send)

    @asynccontextmanager
    async def _looking(self, _: object) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            task = asyncio.create_task(self._look(stack))
            try:
                yield
            finally:
                task.cancel()

    async def _look(self, stack: AsyncExitStack) -> None:
        """Try to make the application until it is made; a reason is logged when it changes."""
        reason = ""
        while True:
            try:
                app = await asyncio.to_thread(self._make)
            except Exception as error:  # whatever it is, there is nothing to serve, and the next look may succeed
                if str(error) != reason:
                    reason = str(error)
                    log.warning("waiting for a cube: %s", reason, exc_info=None if isinstance(error, CubeError) else error)
                await asyncio.sleep(LOOK_SECONDS)
            else:
                await stack.enter_async_context(app.router.lifespan_context(app))
                self._app = app
                return


def _answer(path: str) -> Response:
    if path == "/healthz":
        return JSONResponse({"status": "ok", "cubes": 0, "release": None}, headers={"Cache-Control": "no-store"})
    if path == "/":
        headers = {
            "Cache-Control": "no-store",
            "Retry-After": str(RETRY_SECONDS),
            "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
        }
        return HTMLResponse(_PAGE.read_text(encoding="utf-8"), 503, headers)
    return error_answer(503, "no_cube_yet", _SENTENCE)
