"""The application: the cubes it was started with, what stands around every request, the page."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from fastapi import FastAPI, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from cube.errors import CubeError
from server.asking.gate import BusyError
from server.describing.problem import COMMON
from server.drawing import resample
from server.errors import ErrorGuard, add_handlers
from server.factory import cube_router
from server.operating import metrics
from server.operating.access import AccessLog
from server.operating.compression import Compression
from server.operating.keys import Keys
from server.operating.limits import Limits
from server.operating.settings import Settings
from server.reading.io import ChunkCache
from server.reading.layers import slug
from server.reading.snapshot import ServedCube

ENVIRONMENT: Final = "FLORACUBE_CUBES"
_PAGE: Final = Path(__file__).with_name("page")
_TITILER_AT_ONCE: Final = 16
_DESCRIPTION: Final = (
    "Plant species, biodiversity and habitat maps of one cube. titiler's own routes (info, statistics, previews, features,"
    " algorithms) over the same layers lie under /titiler, described at /titiler/docs."
)


def create_app(urls: list[str], settings: Settings | None = None) -> FastAPI:
    """The application that serves the cubes at `urls`, the first one at the root, every one at `/cubes/{slug}`.

    `settings`: those of the environment if left out. Raises `CubeError` if a cube is not there or its release is damaged.
    """
    if not urls:
        raise CubeError("No cube to serve was named; give at least one path or URL of a cube.")
    chosen = settings or Settings.from_environment()
    cache = ChunkCache(chosen.cache_mb * 2**20)
    cubes: dict[str, ServedCube] = {}
    for url in urls:
        name = slug(url.rstrip("/").rsplit("/", 1)[-1].removesuffix(".zarr")) or "cube"
        while name in cubes:
            name += "_"
        cubes[name] = ServedCube(url, cache)
    app = FastAPI(title="floracube", description=_DESCRIPTION, lifespan=_lifespan)
    add_handlers(app)
    _surround(app, chosen)
    app.state.chunks = cache
    first = next(iter(cubes.values()))
    app.include_router(cube_router(first), responses=COMMON)
    for name, cube in cubes.items():
        app.include_router(cube_router(cube, f"/cubes/{name}"), include_in_schema=False)
    for prefix, cube in (("", first), *((f"/cubes/{name}", cube) for name, cube in cubes.items())):
        app.mount(f"{prefix}/titiler", _Titiler(cube, f"{prefix}/titiler"))
    _add_operations(app, first, len(cubes))
    _add_page(app)
    return app


def app_from_environment() -> FastAPI:
    """The application for the cubes in FLORACUBE_CUBES, separated by commas: what each of several workers starts."""
    return create_app([url.strip() for url in os.environ.get(ENVIRONMENT, "").split(",") if url.strip()])


class _Titiler:
    """titiler's application over one cube, built with its first request: importing it costs two seconds and 140 MB."""

    def __init__(self, cube: ServedCube, prefix: str) -> None:
        self._cube, self._prefix, self._lock, self._running = cube, prefix, threading.Lock(), 0
        self._app: ASGIApp | None = None

    def _built(self) -> ASGIApp:
        with self._lock:
            if self._app is None:
                from server.asking.explore import build

                self._app = build(self._cube, self._prefix)
            return self._app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Its requests take threads that the other routes share, so they may not take all.
        if self._running >= _TITILER_AT_ONCE:
            raise BusyError("The server is busy with other requests to titiler; try again in a few seconds.")
        self._running += 1
        try:
            # In a thread, so that tiles are drawn meanwhile.
            app = self._app if self._app is not None else await asyncio.to_thread(self._built)
            await app(scope, receive, send)
        finally:
            self._running -= 1
            if "route" in scope:  # as it is counted: its routes have names of ours
                scope["route"] = SimpleNamespace(path=self._prefix + getattr(scope["route"], "path", ""))


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    # Loading compiled loops takes a moment, making them some seconds, once on a machine: the server is up meanwhile.
    threading.Thread(target=resample.warm_up, name="floracube-warm-up", daemon=True).start()
    yield


def _surround(app: FastAPI, settings: Settings) -> None:
    """What every request passes through; the last one added is the outermost."""
    app.add_middleware(ErrorGuard)
    app.add_middleware(Keys, keys=settings.api_keys, header=settings.trusted_header)
    app.add_middleware(Limits, at_once=settings.max_requests, seconds=settings.max_seconds)
    app.add_middleware(Compression)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=["*"],
        allow_methods=["GET", "HEAD", "POST"],
        allow_headers=["Authorization", "Content-Type", "If-None-Match", "Range", "X-API-Key"],
        expose_headers=["ETag", "Content-Range", "Accept-Ranges", "Retry-After"],
        max_age=86_400,
    )
    app.add_middleware(AccessLog, lines=settings.access_log)


def _add_operations(app: FastAPI, first: ServedCube, count: int) -> None:
    @app.get("/healthz", summary="Liveness", tags=["operations"])
    def healthz(response: Response) -> dict[str, Any]:
        """Alive, and at which release; answers without the store."""
        response.headers["Cache-Control"] = "no-store"
        return {"status": "ok", "cubes": count, "release": first.held.release}

    app.include_router(metrics.router())


def _add_page(app: FastAPI) -> None:
    index = _PAGE / "index.html"
    app.mount("/page", StaticFiles(directory=_PAGE, check_dir=False), name="page")

    @app.get("/", include_in_schema=False)
    def page() -> Response:
        if index.is_file():
            return FileResponse(index, headers={"Cache-Control": "no-cache"})
        return PlainTextResponse("floracube serves tiles here: see /layers for the catalogue and /docs for the API.\n")
