"""The Zarr store of a cube over HTTP, read-only: what readers of Zarr ask for, by name, whole or by a range of bytes.

Only metadata, chunks and release documents have names here; receipts, locks and half-written files have none, and
nothing lists a folder. A name is made of plain segments, so it cannot leave the cube.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final

import fsspec
from fastapi import APIRouter, Request, Response
from fastapi import Path as PathParameter
from fastapi.responses import StreamingResponse

from server.errors import NotFoundError
from server.reading.snapshot import ServedCube

BLOCK: Final = 4 * 2**20  # bytes held of one answer at a time
_SEGMENT: Final = r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,119}"
_NAME: Final = re.compile(
    rf"zarr\.json|current\.json|releases/{_SEGMENT}\.json"
    rf"|(?:{_SEGMENT}/){{1,8}}(?:zarr\.json|c(?:/\d{{1,9}}){{0,8}})"
)
_RANGE: Final = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))")


@dataclass(frozen=True)
class StoreFile:
    """A file of the store: its size in bytes and a tag that changes with its content."""

    key: str
    size: int
    tag: str


class ServedStore:
    """Files of the cube at `url`, a local folder or any fsspec URL."""

    def __init__(self, url: str) -> None:
        """Open nothing yet."""
        self._url = url

    @cached_property
    def _files(self) -> tuple[fsspec.AbstractFileSystem, str]:
        filesystem, path = fsspec.core.url_to_fs(self._url)
        return filesystem, path.rstrip("/")

    @cached_property
    def _root(self) -> Path | None:
        return None if "://" in self._url else Path(self._url).resolve()

    def find(self, name: str) -> StoreFile:
        """The file called `name` (`products/species/v1/0/zarr.json`); raises `NotFoundError` for all that is none."""
        if _NAME.fullmatch(name) is None:
            raise NotFoundError("There is no such file in this cube.")
        if self._root is not None:
            return self._find_local(name)
        filesystem, base = self._files
        try:
            info: dict[str, Any] = filesystem.info(f"{base}/{name}")
        except FileNotFoundError:
            info = {"type": "none"}
        if info.get("type") != "file" or info.get("size") is None:
            raise NotFoundError("There is no such file in this cube.")
        stamp = next((info[k] for k in ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "mtime") if info.get(k)), "")
        return StoreFile(f"{base}/{name}", int(info["size"]), _tag(name, info["size"], stamp))

    def _find_local(self, name: str) -> StoreFile:
        assert self._root is not None
        path = self._root / name
        # A link inside the cube could lead out of it.
        if not path.is_file() or not path.resolve().is_relative_to(self._root):
            raise NotFoundError("There is no such file in this cube.")
        status = path.stat()
        return StoreFile(str(path), status.st_size, _tag(name, status.st_size, status.st_mtime_ns))

    def read(self, file: StoreFile, first: int, end: int) -> Iterator[bytes]:
        """Bytes [first, end) of a file, a block at a time."""
        if self._root is not None:
            with Path(file.key).open("rb") as opened:
                opened.seek(first)
                while first < end and (block := opened.read(min(BLOCK, end - first))):
                    first += len(block)
                    yield block
            return
        filesystem, _ = self._files
        while first < end:
            block = filesystem.cat_file(file.key, start=first, end=min(first + BLOCK, end))
            if not block:
                return
            first += len(block)
            yield block


def _tag(*parts: object) -> str:
    return f'"{hashlib.sha256(" ".join(map(str, parts)).encode()).hexdigest()[:24]}"'


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """[first, end) that a Range header asks for of a file of `size` bytes; None where it asks for the whole.

    RFC 9110: one range, `first-last`, `first-` or `-length`; what is not understood, and several ranges, count as
    none. Raises `ValueError` for a range that begins beyond the file.
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None:
        return None
    start, last, suffix = match.groups()
    if suffix is not None:
        if int(suffix) == 0 or size == 0:
            raise ValueError(header)
        return max(0, size - int(suffix)), size
    first, end = int(start), size if last == "" else min(int(last) + 1, size)
    if last and int(last) < first:
        return None  # not a valid range: to be ignored
    if first >= size:
        raise ValueError(header)
    return first, end


def router(cube: ServedCube) -> APIRouter:
    """`/cube/...` of one cube."""
    routes, store = APIRouter(tags=["store"]), ServedStore(cube.url)
    bytes_of = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}, "application/json": {}}
    answers: dict[int | str, dict[str, Any]] = {
        200: {"description": "The whole file.", "content": bytes_of},
        206: {"description": "The range of bytes asked for.", "content": bytes_of},
        304: {"description": "The client holds the file already."},
        404: {"description": "No such metadata or chunk: readers of Zarr take the fill value."},
        416: {"description": "The range begins beyond the file."},
    }

    @routes.head(
        "/cube/{name:path}", summary="Size and tag of a file of the Zarr store", responses=answers, response_class=Response
    )
    @routes.get("/cube/{name:path}", summary="A file of the Zarr store", responses=answers, response_class=Response)
    def file_of_store(
        request: Request,
        name: Annotated[str, PathParameter(max_length=1000, description="Such as products/species/v1/0/zarr.json.")],
    ) -> Response:
        """Metadata or a chunk, whole or by `Range`; `xarray.open_zarr("http://host/cube/products/species/v1/0")` reads it."""
        file = store.find(name)
        document = name.endswith(".json")
        headers = {
            "ETag": file.tag,
            "Accept-Ranges": "bytes",
            "Cache-Control": "no-cache" if name == "current.json" else "public, max-age=60",
            # Ranges count the bytes as they are stored: no compression on the way.
            "Content-Encoding": "identity",
        }
        held = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
        if file.tag in held or "*" in held:
            return Response(status_code=304, headers=headers)
        asked = request.headers.get("range", "")
        if request.headers.get("if-range", file.tag) != file.tag:
            asked = ""  # the file has changed since: send it whole
        try:
            part = byte_range(asked, file.size)
        except ValueError:
            return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{file.size}"})
        first, end = part or (0, file.size)
        headers["Content-Length"] = str(end - first)
        if part is not None:
            headers["Content-Range"] = f"bytes {first}-{end - 1}/{file.size}"
        media = "application/json" if document else "application/octet-stream"
        status = 200 if part is None else 206
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers, media_type=media)
        return StreamingResponse(store.read(file, first, end), status, headers, media)

    return routes
