"""The application: the cubes it was started with, errors as one sentence, CORS, the page."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from titiler.core.errors import add_exception_handlers

from cube.errors import CubeError
from server.errors import NotFoundError, TooLargeError, WrongRequestError
from server.factory import cube_router
from server.io import ChunkCache
from server.layers import slug
from server.snapshot import ServedCube

ENVIRONMENT: Final = "FLORACUBE_CUBES"
_PAGE: Final = Path(__file__).with_name("page")
# Not titiler's own table: it knows datasets by URL, and its messages carry their paths.
_STATUS: Final[dict[type[Exception], int]] = {NotFoundError: 404, WrongRequestError: 400, TooLargeError: 400}


def create_app(urls: list[str]) -> FastAPI:
    """The application that serves the cubes at `urls`, the first one at the root, every one at `/cubes/{slug}`.

    Raises `CubeError` if a cube is not there or its release is damaged.
    """
    if not urls:
        raise CubeError("No cube to serve was named; give at least one path or URL of a cube.")
    cache = ChunkCache()
    cubes: dict[str, ServedCube] = {}
    for url in urls:
        name = slug(url.rstrip("/").rsplit("/", 1)[-1].removesuffix(".zarr")) or "cube"
        while name in cubes:
            name += "_"
        cubes[name] = ServedCube(url, cache)
    app = FastAPI(title="floracube", description="Plant species, biodiversity and habitat maps of one cube.")
    add_exception_handlers(app, _STATUS)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(CubeError, _unavailable)
    app.add_exception_handler(OSError, _unavailable)
    app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["GET", "HEAD"], expose_headers=["ETag"])
    first = next(iter(cubes.values()))
    app.include_router(cube_router(first))
    for name, cube in cubes.items():
        app.include_router(cube_router(cube, f"/cubes/{name}"), include_in_schema=False)
    _add_operations(app, first, len(cubes))
    _add_store(app, urls[0])
    _add_page(app)
    return app


def app_from_environment() -> FastAPI:
    """The application for the cubes in FLORACUBE_CUBES, separated by commas: what each of several workers starts."""
    return create_app([url.strip() for url in os.environ.get(ENVIRONMENT, "").split(",") if url.strip()])


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found: dict[str, Any] = dict(error.errors()[0])
    place = ".".join(str(part) for part in found.get("loc", ())[1:]) or "request"
    return JSONResponse({"detail": f"Parameter '{place}': {found.get('msg', 'invalid')}."}, status_code=422)


async def _unavailable(request: Request, error: Exception) -> JSONResponse:
    # The message may carry paths of this machine, which are nobody else's business.
    return JSONResponse({"detail": "The cube cannot be read at the moment; try again."}, status_code=503)


def _add_operations(app: FastAPI, first: ServedCube, count: int) -> None:
    @app.get("/healthz", summary="Liveness", tags=["operations"])
    def healthz() -> dict[str, str | int]:
        return {"status": "ok", "cubes": count, "release": first.snapshot().release}


def _add_store(app: FastAPI, url: str) -> None:
    """The first cube's store, read-only with range requests, where it lies in a local folder."""
    if "://" not in url:
        app.mount("/cube", StaticFiles(directory=Path(url).resolve()), name="cube")


def _add_page(app: FastAPI) -> None:
    index = _PAGE / "index.html"
    app.mount("/page", StaticFiles(directory=_PAGE, check_dir=False), name="page")

    @app.get("/", include_in_schema=False)
    def page() -> Response:
        if index.is_file():
            return FileResponse(index, headers={"Cache-Control": "no-cache"})
        return PlainTextResponse("floracube serves tiles here: see /layers for the catalogue and /docs for the API.\n")
