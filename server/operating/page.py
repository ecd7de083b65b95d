"""The files of the map page and of the API's own page: a list made at the start, and nothing else of the folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fastapi import FastAPI, Response
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER: Final = Path(__file__).parents[1] / "page"
# Our own files, and of the packages those that a browser asks for; a pattern names files of one folder.
_PAGE_FILES: Final = (
    "js/*.js",
    "css/*.css",
    "dist/app-*.js",
    "dist/app-*.css",
    "node_modules/maplibre-gl/dist/maplibre-gl.mjs",
    "node_modules/maplibre-gl/dist/maplibre-gl-worker.mjs",
    "node_modules/maplibre-gl/dist/maplibre-gl.css",
    "node_modules/topojson-client/src/*.js",
    "node_modules/world-atlas/countries-50m.json",
    "node_modules/swagger-ui-dist/swagger-ui-bundle.js",
    "node_modules/swagger-ui-dist/swagger-ui.css",
)
_SOURCES: Final = ("index.html", "js/*.js", "css/*.css")
_IMMUTABLE: Final = "public, max-age=31536000, immutable"
# Swagger UI draws with styles of its own and icons in them; it runs no script but its own file.
_DOCS_POLICY: Final = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'none';"
    " form-action 'none'"
)


class _ListedFiles(StaticFiles):
    """Files of the page that are on the list; those named by their content may be kept for ever."""

    def __init__(self, folder: Path) -> None:
        super().__init__(directory=folder, check_dir=False)
        self._names = frozenset(file.relative_to(folder).as_posix() for file in _matching(folder, _PAGE_FILES))

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """As Starlette's, of listed names alone."""
        return super().lookup_path(path) if path.replace(os.sep, "/") in self._names else ("", None)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file; a bundle's name holds a hash of its content."""
        answer = await super().get_response(path, scope)
        if path.startswith(f"dist{os.sep}") and answer.status_code < 400:
            answer.headers["Cache-Control"] = _IMMUTABLE
        return answer


def _matching(folder: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    return (file for pattern in patterns for file in folder.glob(pattern) if file.is_file())


def index_of(folder: Path) -> Path:
    """The page with one script and one stylesheet, where they are made and no source is newer; else the one with modules."""
    bundle = folder / "dist/index.html"
    if bundle.is_file() and all(file.stat().st_mtime <= bundle.stat().st_mtime for file in _matching(folder, _SOURCES)):
        return bundle
    return folder / "index.html"


def add_files(app: FastAPI, folder: Path = FOLDER) -> None:
    """`/page/...` and `/docs`, which tries out the API without any other machine."""
    app.mount("/page", _ListedFiles(folder), name="page")

    @app.get("/docs", include_in_schema=False)
    def docs() -> Response:
        headers = {"Cache-Control": "no-cache", "Content-Security-Policy": _DOCS_POLICY}
        return FileResponse(folder / "docs.html", headers=headers)
