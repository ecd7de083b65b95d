"""The Zarr store of a cube over HTTP, read-only: what readers of Zarr ask for, by name, whole or by a range of bytes.

Only metadata, chunks, and documents of releases have names here; receipts, locks and half-written files have none, and
nothing lists a folder. A name is made of plain segments, so it cannot leave the cube.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Final

import fsspec
from fastapi import APIRouter, Request, Response
from fastapi import Path as PathParameter
from fastapi.responses import StreamingResponse

from server.dependencies import HEAD, CubeOfAddress, unchanged
from server.errors import NotFoundError, StoreError
from server.queries.gate import Gate
from server.queries.ranges import part_of
from server.reading.snapshot import ServedCube

BLOCK: Final = 2**20  # bytes of one answer in memory at a time
# Files of the store wait for each other, not tiles for them.
_GATE: Final = Gate(16, 48)
_READERS: Final = ThreadPoolExecutor(16, "floracube-store")
_NO_FILE: Final = "There is no such file in this cube; begin with zarr.json."
_SEGMENT: Final = r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,119}"
_NAME: Final = re.compile(
    rf"zarr\.json|current\.json|releases/{_SEGMENT}\.json"
    rf"|stac/{_SEGMENT}/(?:items/)?{_SEGMENT}\.json"
    rf"|(?:{_SEGMENT}/){{1,8}}(?:zarr\.json|c(?:/\d{{1,9}}){{0,8}})"
)


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
        """The file called `name` (`products/species/v1/0/zarr.json`).

        Raises `NotFoundError` for any other name, `StoreError` where the cube itself is not found either.
        """
        if _NAME.fullmatch(name) is None:
            raise NotFoundError(_NO_FILE)
        file = self._find(name)
        if file is None and self._find("zarr.json") is None:
            raise StoreError(f"{self._url}: zarr.json is not there any more; see whether the store is mounted.")
        if file is None:
            raise NotFoundError(_NO_FILE)
        return file

    def _find(self, name: str) -> StoreFile | None:
        if self._root is not None:
            path = self._root / name
            # A link inside the cube could lead out of it.
            if not path.is_file() or not path.resolve().is_relative_to(self._root):
                return None
            status = path.stat()
            return StoreFile(str(path), status.st_size, _tag(name, status.st_size, status.st_mtime_ns))
        filesystem, base = self._files
        try:
            info: dict[str, Any] = filesystem.info(f"{base}/{name}")
        except FileNotFoundError:
            return None
        if info.get("type") != "file" or info.get("size") is None:
            return None
        stamp = next((info[k] for k in ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "mtime") if info.get(k)), "")
        return StoreFile(f"{base}/{name}", int(info["size"]), _tag(name, info["size"], stamp))

    def read(self, file: StoreFile, first: int, end: int) -> Iterator[bytes]:
        """Bytes [first, end) of a file, a block at a time."""
        if self._root is not None:
            with Path(file.key).open("rb") as stream:
                stream.seek(first)
                while first < end and (block := stream.read(min(BLOCK, end - first))):
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


async def _blocks(blocks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """What a blocking iterator gives, read in threads of its own."""
    loop = asyncio.get_running_loop()
    while (block := await loop.run_in_executor(_READERS, next, blocks, None)) is not None:
        yield block


def _tag(*parts: object) -> str:
    return f'"{hashlib.sha256(" ".join(map(str, parts)).encode()).hexdigest()[:24]}"'


router: Final = APIRouter(tags=["store"])
_BYTES: Final[dict[str, Any]] = {
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    "application/json": {},
}
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The whole file.", "content": _BYTES},
    206: {"description": "The range of bytes asked for.", "content": _BYTES},
    304: {"description": "The client holds the file already."},
    404: {"description": "No such metadata or chunk: readers of Zarr take the fill value."},
    416: {"description": "The range begins beyond the file."},
}
_store: Final = lru_cache(maxsize=64)(ServedStore)


def _find(cube: ServedCube, name: str) -> StoreFile:
    try:
        return _store(cube.url).find(name)
    except NotFoundError:
        array, _, numbers = name.rpartition("/c/")
        if array:  # a reader of Zarr takes what is not found for no data: only where that is so
            cube.last_snapshot.reader.require_empty(array, [tuple(int(number) for number in numbers.split("/"))])
        raise


@router.get("/cube/{name:path}", summary="A file of the Zarr store", responses=_ANSWERS, response_class=Response)
async def file_of_store(
    request: Request,
    cube: CubeOfAddress,
    name: Annotated[str, PathParameter(max_length=1000, description="Such as products/species/v1/0/zarr.json.")],
) -> Response:
    """Metadata or a chunk, whole or by `Range`; `xarray.open_zarr("http://host/cube/products/species/v1/0")` reads it."""
    file = await _GATE.run(lambda: _find(cube, name))
    headers = {"ETag": file.tag, "Cache-Control": "no-cache" if name == "current.json" else "public, max-age=60"}
    if (not_modified := unchanged(request, headers)) is not None:
        return not_modified
    status, first, end = part_of(request, file.size, headers)
    headers["Content-Length"] = str(end - first)
    media = "application/json" if name.endswith(".json") else "application/octet-stream"
    if status == 416 or HEAD in request.scope:
        return Response(status_code=status, headers=headers, media_type=media)
    return StreamingResponse(_blocks(_store(cube.url).read(file, first, end)), status, headers, media)
