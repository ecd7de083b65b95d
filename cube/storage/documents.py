"""Small JSON documents beside the arrays of a cube: receipts, releases, current.json; written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from cube.errors import CubeError
from cube.storage import backends, conditional
from cube.storage.local_files import write_file

UPDATES: Final = 10  # tries of a change where others change the same document
DOCUMENT_BATCH: Final = 1000  # bounds the memory of reading a stage's receipts


@dataclass(frozen=True)
class Documents:
    """The documents below a URL, read and written through fsspec."""

    url: str

    @cached_property
    def _files(self) -> tuple[Any, str]:
        return backends.filesystem(self.url)

    def _read(self, name: str) -> bytes | None:
        filesystem, base = self._files
        try:
            return bytes(backends.retry_web(lambda: filesystem.cat_file(f"{base}/{name}"), self.url))
        except Exception as error:
            if backends.is_absent(error):
                return None
            raise backends.with_name(error, f"{self.url}/{name}") from error

    def read_json(self, name: str) -> Any | None:
        """The document `name`, or None where there is none. A store that fails is an `OSError`, a damaged one a `CubeError`."""
        return self._document(name, self._read(name))

    def _document(self, name: str, data: bytes | None) -> Any | None:
        try:
            return None if data is None else json.loads(data)
        except (ValueError, RecursionError) as error:  # nested deeper than anything that floracube writes
            raise CubeError(f"{self.url}/{name}: this is no whole JSON document ({error}); restore or remove it.") from error

    def write_json(self, name: str, document: Any) -> None:
        """Write `name` whole or not at all: temporary file and rename locally, a single put elsewhere."""
        backends.require_writable(self.url)
        data, folder = _bytes(document), backends.local_path(self.url)
        if folder is not None:
            write_file(folder / name, data)
            return
        filesystem, base = self._files
        options = {"CacheControl": backends.NO_STORE} if backends.scheme(self.url) == "s3" else {}
        try:
            filesystem.pipe_file(f"{base}/{name}", data, **options)
        except Exception as error:
            raise backends.with_name(error, f"{self.url}/{name}") from error

    def update_json(self, name: str, change: Callable[[Any | None], Any]) -> Any:
        """Replace `name` by `change(what is there or None)` such that nobody's change in between is undone; returns it.

        None removes the document (on object stores, where no removal has a condition, `null` is written, which reads as None).
        The write is conditional on every store (`cube.storage.conditional`), and `change` is asked again where another
        writer was faster.
        """
        backends.require_writable(self.url)
        new_content = None
        for _ in range(UPDATES):
            content = conditional.read(self.url, name)
            old = self._document(name, content.data)
            if new_content is not None and content.data == new_content:
                return old  # the answer of our own put got lost: the library tried again and met itself
            new = change(old)
            if new == old:
                return new
            new_content = _bytes(new)
            if conditional.replace(self.url, name, content, new_content, remove=new is None):
                return new
        raise CubeError(f"{self.url}/{name}: other processes keep changing it; run the command again.")

    def create_json(self, name: str, document: Any) -> bool:
        """Write `name` only if it is not there; whether it was written. One of two writers at once gets False."""
        backends.require_writable(self.url)
        data = _bytes(document)
        # A put whose answer got lost is tried again by the library and then meets itself.
        return conditional.replace(self.url, name, conditional.ABSENT, data) or (
            backends.local_path(self.url) is None and self._read(name) == data
        )

    def remove_json(self, name: str) -> None:
        """Remove the document `name` if it is there."""
        backends.require_writable(self.url)
        filesystem, base = self._files
        with suppress(FileNotFoundError):
            filesystem.rm_file(f"{base}/{name}")

    def remove_documents(self, folder: str, names: Sequence[str]) -> None:
        """Remove documents of a folder, a thousand a request where the store can."""
        backends.require_writable(self.url)
        filesystem, base = self._files
        try:
            filesystem.rm([f"{base}/{folder}/{name}.json" for name in names])
        except FileNotFoundError:  # some are gone already
            for name in names:
                self.remove_json(f"{folder}/{name}.json")

    def read_folder(self, folder: str) -> Iterator[tuple[str, Any]]:
        """(name without `.json`, document) of every document in `folder`; see `read_documents`."""
        yield from self.read_documents(folder, self.list_json(folder))

    def read_documents(self, folder: str, names: Sequence[str]) -> Iterator[tuple[str, Any]]:
        """(name, document) of those of `names` that are in `folder`, many requests at once on object stores.

        A damaged one is left out: these are receipts, and a unit without one is built again.
        """
        filesystem, base = self._files
        for start in range(0, len(names), DOCUMENT_BATCH):
            paths = {f"{base}/{folder}/{name}.json": name for name in names[start : start + DOCUMENT_BATCH]}
            for path, data in filesystem.cat(list(paths), on_error="return").items():
                if isinstance(data, Exception):
                    if backends.is_absent(data):
                        continue  # removed since it was listed
                    raise backends.with_name(data, f"{self.url}/{folder}/{paths[path]}.json") from data
                with suppress(ValueError, RecursionError):
                    yield paths[path], json.loads(data)

    def sweep(self, folder: str, deep: bool = True) -> int:
        """Remove the temporary files that a kill left below `folder` of a local cube, or only in it; how many there were.

        Object stores need none: an object appears whole or not at all.
        """
        root = backends.local_path(self.url)
        if root is None:
            return 0
        path = root / folder
        orphans = list(path.rglob("*.partial") if deep else path.glob("*.partial"))
        for orphan in orphans:
            orphan.unlink(missing_ok=True)
        return len(orphans)

    def folders(self, folder: str) -> list[str]:
        """Names of the folders directly in `folder`, sorted, whatever is in them; empty where it does not exist."""
        filesystem, base = self._files
        try:
            entries = filesystem.ls(f"{base}/{folder}", detail=True, refresh=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        names = (str(entry["name"]).rstrip("/").rsplit("/", 1)[-1] for entry in entries if entry["type"] == "directory")
        return sorted(names)

    def sizes(self, folder: str) -> dict[str, int]:
        """Bytes of every file or object below `folder`, by its path there; empty where it does not exist."""
        filesystem, base = self._files
        entries = filesystem.find(f"{base}/{folder}", detail=True)
        return {str(path).removeprefix(f"{base}/{folder}/"): int(entry["size"]) for path, entry in entries.items()}

    def versions(self, folder: str) -> dict[str, str]:
        """What tells each document below `folder` from what it was before, by its path there without `.json`.

        A word of the store (an ETag, a time of writing), empty where the store has none. A folder is listed before those
        below it. Raises as `list_json`.
        """
        root = backends.local_path(self.url)
        if root is not None:
            return _local_versions(root / folder)
        filesystem, base = self._files
        entries = self._listing(folder, lambda path: filesystem.find(path, detail=True).values())
        names = ((str(entry["name"]).removeprefix(f"{base}/{folder}/"), entry) for entry in entries)
        return {name.removesuffix(".json"): _version(entry) for name, entry in names if name.endswith(".json")}

    def remove_tree(self, path: str) -> None:
        """Remove a folder with all that is in it, or one file; nothing where it is not there."""
        backends.require_writable(self.url)
        filesystem, base = self._files
        with suppress(FileNotFoundError):
            filesystem.rm(f"{base}/{path}", recursive=True)

    def _list(self, folder: str) -> list[str]:
        """Names in `folder` as the store says them now; raises `CubeError` for a web server that lists no folders."""
        filesystem, _ = self._files
        paths = self._listing(folder, lambda path: filesystem.ls(path, detail=False, refresh=True))
        return sorted(str(path).rstrip("/").rsplit("/", 1)[-1] for path in paths)

    def _listing(self, folder: str, ask: Callable[[str], Iterable[Any]]) -> Iterable[Any]:
        """What the store answers on the path of `folder`; nothing where it is not there."""
        try:
            return backends.retry_web(lambda: ask(f"{self._files[1]}/{folder}"), self.url)
        except NotADirectoryError:
            return []
        except Exception as error:
            if backends.scheme(self.url) in backends.WEB:
                raise CubeError(f"{self.url}: this web server lists no '{folder}'; ask where the cube itself lies.") from error
            if backends.is_absent(error):
                return []
            raise backends.with_name(error, f"{self.url}/{folder}") from error

    def list_json(self, folder: str) -> list[str]:
        """Names (without `.json`) of the documents in `folder`, sorted; empty where it does not exist."""
        return [n.removesuffix(".json") for n in self._list(folder) if n.endswith(".json") and n[0] != "."]


def _bytes(document: Any) -> bytes:
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


def _version(entry: Mapping[str, Any]) -> str:
    """What a store says of one state of an object: S3 and Azure an ETag, Google a generation, a memory its time."""
    return next((f"{entry[key]} {entry['size']}" for key in ("ETag", "etag", "generation", "created") if entry.get(key)), "")


def _raise_unless_absent(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _local_versions(folder: Path) -> dict[str, str]:
    """As `Documents.versions`: each write makes a new file, with a number and a time of its own."""
    versions = {}
    for directory, _, names in os.walk(folder, onerror=_raise_unless_absent, followlinks=True):
        for name in names:
            if name.endswith(".json") and name[0] != ".":
                with suppress(FileNotFoundError):
                    file = Path(directory, name)
                    status = file.stat()
                    path = file.relative_to(folder).as_posix().removesuffix(".json")
                    versions[path] = f"{status.st_ino} {status.st_mtime_ns} {status.st_size}"
    return versions
