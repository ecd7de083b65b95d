"""The application: the cubes it was started with, what stands around every request, the page."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any, Final, Literal

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from starlette.types import ASGIApp

from cube.errors import CubeError
from cube.layers.ids import slug
from server import factory, metrics
from server.dependencies import OTHER_CUBE, refuse_unknown
from server.describing import ogc, qgis, stac, wmts
from server.describing.problem import COMMON
from server.drawing import resample
from server.errors import RETRY_SECONDS, ErrorGuard, add_handlers
from server.front import Front
from server.operating.access import AccessLog
from server.operating.answers import Answers
from server.operating.compression import Compression
from server.operating.cors import AnyOrigin
from server.operating.keys import Keys
from server.operating.limits import Limits
from server.operating.memory import give_back_large_arrays
from server.operating.page import FOLDER, add_files, index_of
from server.operating.settings import Settings, variable
from server.queries import area, cog, habitat_sheet, point, reading, regions, species_sheet, store
from server.reading.io import ChunkCache
from server.reading.snapshot import ServedCube
from server.tileroute import TileRoute
from server.waiting import WaitingServer

ENVIRONMENT: Final = "FLORACUBE_CUBES"
PROBE_SECONDS: Final = 0.5  # for a look at a new release: probes of liveness give up after a second
_OF_A_CUBE: Final = (factory, point, reading, area, regions, species_sheet, habitat_sheet, wmts, qgis, cog, stac, store)
_DESCRIPTION: Final = (
    "Plant species, biodiversity and habitat maps of one cube. Below each layer are titiler's routes: tiles, TileJSON, info,"
    " statistics, points, previews, boxes, features. Tiles and tile sets follow OGC API Tiles."
)


def create_app(urls: list[str], settings: Settings | None = None) -> FastAPI:
    """The application that serves the cubes at `urls`, the first one at the root, every one at `/cubes/{slug}`.

    `settings`: those of the environment if left out. Raises `CubeError` if a cube is not there or its release is damaged.
    """
    if not urls:
        raise CubeError("No cube to serve was named; give at least one path or URL of a cube.")
    configured = settings or Settings.from_environment()
    cache = ChunkCache(configured.cache_mb * 2**20)
    cubes: dict[str, ServedCube] = {}
    for url in urls:
        name = slug(url.rstrip("/").rsplit("/", 1)[-1].removesuffix(".zarr")) or "cube"
        while name in cubes:
            name += "_"
        cubes[name] = ServedCube(url, cache)
    # The document of all routes is titiler's application's to give: it knows the parameters of its own.
    app = FastAPI(lifespan=_lifespan, openapi_url=None, routes=[TileRoute(""), TileRoute(OTHER_CUBE)])
    add_handlers(app)
    _surround(app, configured)
    app.state.chunks, app.state.cubes, app.state.ready = cache, cubes, threading.Event()
    app.state.regions = regions.read(configured.regions, variable("regions"))
    app.state.settings = configured
    dependencies = [Depends(refuse_unknown)]
    for part in _OF_A_CUBE:
        app.include_router(part.router, responses=COMMON, dependencies=dependencies)
        app.include_router(part.router, prefix=OTHER_CUBE, include_in_schema=False, dependencies=dependencies)
    _add_operations(app, next(iter(cubes.values())), len(cubes))
    _add_page(app)
    front = Front(app, _DESCRIPTION)
    app.router.routes.append(front)
    app.openapi = lambda: front.application().openapi()  # type: ignore[method-assign]
    return app


def app_from_environment() -> ASGIApp:
    """The application for the cubes in FLORACUBE_CUBES, separated by commas: what each of several workers starts."""
    give_back_large_arrays()
    settings = Settings.from_environment()
    urls = [url.strip() for url in os.environ.get(ENVIRONMENT, "").split(",") if url.strip()]
    make = partial(create_app, urls, settings)
    return WaitingServer(make) if settings.wait else make()


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    def warm_up() -> None:
        resample.warm_up()
        app.state.ready.set()

    # Loading compiled loops takes a moment, making them some seconds, once on a machine: the server is up meanwhile.
    threading.Thread(target=warm_up, name="floracube-warm-up", daemon=True).start()
    yield


def _surround(app: FastAPI, settings: Settings) -> None:
    """What every request passes through; the last one added is the outermost."""
    app.add_middleware(ErrorGuard)
    app.add_middleware(Keys, keys=settings.api_keys, header=settings.trusted_header)
    app.add_middleware(Limits, max_running=settings.max_requests, seconds=settings.max_seconds)
    app.add_middleware(Compression)
    app.add_middleware(Answers, frame_ancestors=settings.frame_ancestors)
    app.add_middleware(AnyOrigin)
    app.add_middleware(AccessLog, lines=settings.access_log)


def _add_operations(app: FastAPI, first: ServedCube, count: int) -> None:
    @app.get("/healthz", summary="Liveness", tags=["operations"])
    def healthz(response: Response) -> dict[str, Any]:
        """Alive, and at which release; a store that is slow or away is not waited for."""
        response.headers["Cache-Control"] = "no-store"
        return {"status": "ok", "cubes": count, "release": first.probed(PROBE_SECONDS).release}

    @app.get(
        "/readyz",
        summary="Readiness",
        tags=["operations"],
        responses={503: {"description": "Alive, but its first tiles would wait for seconds."}},
    )
    def readyz(response: Response) -> dict[str, str]:
        """Whether tiles are drawn at once; a store that is away later does not change that, since much is in memory."""
        response.headers["Cache-Control"] = "no-store"
        if app.state.ready.is_set():
            return {"status": "ready"}
        response.status_code, response.headers["Retry-After"] = 503, str(RETRY_SECONDS)
        return {"status": "starting"}

    app.include_router(metrics.router)


def _add_page(app: FastAPI) -> None:
    index = index_of(FOLDER)
    add_files(app)
    app.include_router(ogc.router, responses=COMMON)

    @app.get("/", summary="The map page, or what the server has", tags=["operations"], response_class=Response, responses=COMMON)
    def page(
        request: Request, f: Annotated[Literal["html", "json"] | None, Query(description="Else as Accept says.")] = None
    ) -> Response:
        """The page; with `f=json` or `Accept: application/json` the landing page of OGC API Common."""
        accept = request.headers.get("accept", "")
        if f == "json" or (f is None and "json" in accept and "html" not in accept):
            return JSONResponse(ogc.landing_page(request), headers={"Vary": "Accept"})
        if index.is_file():
            return FileResponse(index, headers={"Cache-Control": "no-cache", "Vary": "Accept"})
        return PlainTextResponse("floracube serves tiles here: see /layers for the catalogue and /docs for the API.\n")
