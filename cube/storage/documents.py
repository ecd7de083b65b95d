"""Small JSON documents beside the arrays of a cube: receipts, releases, current.json; written whole or not at all."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from cube.errors import CubeError
from cube.storage import backends

UPDATES: Final = 10  # tries of a change where others change the same document
DOCUMENTS_AT_ONCE: Final = 1000  # bounds the memory of reading a stage's receipts


@dataclass(frozen=True)
class Documents:
    """The documents below a URL, read and written through fsspec."""

    url: str

    @cached_property
    def _files(self) -> tuple[Any, str]:
        return backends.filesystem(self.url)

    def _local(self, name: str) -> Path | None:
        folder = backends.local_path(self.url)
        return None if folder is None else folder / name

    def _refuse_if_read_only(self) -> None:
        if not backends.writable(self.url):
            raise CubeError(f"{self.url}: a cube on a web server can only be read; write to the folder or bucket that it serves.")

    def _read(self, name: str) -> bytes | None:
        filesystem, base = self._files
        try:
            return bytes(backends.patiently(lambda: filesystem.cat_file(f"{base}/{name}"), self.url))
        except Exception as error:
            if backends.is_absent(error):
                return None
            raise backends.named(error, f"{self.url}/{name}") from error

    def read_json(self, name: str) -> Any | None:
        """The document `name`, or None where there is none. A store that fails is an `OSError`, a damaged one a `CubeError`."""
        data = self._read(name)
        try:
            return None if data is None else json.loads(data)
        except ValueError as error:
            raise CubeError(f"{self.url}/{name}: this is no whole JSON document ({error}); restore or remove it.") from error

    def write_json(self, name: str, document: Any) -> None:
        """Write `name` whole or not at all: temporary file and rename locally, a single put elsewhere."""
        self._put(name, _bytes(document))

    def _put(self, name: str, data: bytes, **conditions: str) -> None:
        self._refuse_if_read_only()
        target = self._local(name)
        if target is not None:
            partial = _write_beside(target, data)
            partial.replace(target)
            _sync_folder(target.parent)
            return
        filesystem, base = self._files
        if backends.scheme(self.url) == "s3":
            conditions["CacheControl"] = "no-store"  # for whoever puts a web cache before the bucket
        try:
            filesystem.pipe_file(f"{base}/{name}", data, **conditions)
        except FileExistsError:
            raise
        except Exception as error:
            raise backends.named(error, f"{self.url}/{name}") from error

    def update_json(self, name: str, change: Callable[[Any | None], Any]) -> Any:
        """Replace `name` by `change(what is there or None)` such that nobody's change in between is undone; returns it.

        On S3 the put carries a condition (`If-Match`, or `If-None-Match` for the first), and `change` is asked again
        where another writer was faster; elsewhere what is there is compared once more right before it is replaced.
        """
        for _ in range(UPDATES):
            version = self._version(name)
            before = self.read_json(name)
            after = change(before)
            if after == before:
                return after
            if backends.scheme(self.url) != "s3":
                if self.read_json(name) == before:
                    self.write_json(name, after)
                    return after
                continue
            try:
                self._put(name, _bytes(after), **({"mode": "create"} if version is None else {"IfMatch": version}))
            except OSError as error:
                if not _beaten(error):
                    raise
            else:
                return after
        raise CubeError(f"{self.url}/{name}: other processes keep changing it; run the command again.")

    def _version(self, name: str) -> str | None:
        """What S3 calls the present content of `name`, asked before it is read: a change in between fails the condition."""
        if backends.scheme(self.url) != "s3":
            return None
        filesystem, base = self._files
        try:
            return str(filesystem.info(f"{base}/{name}", refresh=True)["ETag"])
        except Exception as error:
            if backends.is_absent(error):
                return None
            raise backends.named(error, f"{self.url}/{name}") from error

    def create_json(self, name: str, document: Any) -> bool:
        """Write `name` only if it is not there; whether it was written. One of two writers at once gets False."""
        data, target = _bytes(document), self._local(name)
        if target is None:
            try:
                self._put(name, data, mode="create")
            except OSError as error:
                if not _beaten(error):
                    raise
                # A put whose answer got lost is tried again by the library and then meets itself.
                return self._read(name) == data
            return True
        partial = _write_beside(target, data)
        try:
            os.link(partial, target)  # fails where `name` exists, as a rename would not
        except FileExistsError:
            return False
        finally:
            partial.unlink()
        _sync_folder(target.parent)
        return True

    def remove_json(self, name: str) -> None:
        """Remove the document `name` if it is there."""
        self._refuse_if_read_only()
        filesystem, base = self._files
        with suppress(FileNotFoundError):
            filesystem.rm_file(f"{base}/{name}")

    def read_folder(self, folder: str) -> Iterator[tuple[str, Any]]:
        """(name without `.json`, document) of every document in `folder`, many requests at once on object stores.

        A damaged one is left out: these are receipts, and a unit without one is built again.
        """
        filesystem, base = self._files
        names = self.list_json(folder)
        for start in range(0, len(names), DOCUMENTS_AT_ONCE):
            paths = {f"{base}/{folder}/{name}.json": name for name in names[start : start + DOCUMENTS_AT_ONCE]}
            for path, data in filesystem.cat(list(paths), on_error="return").items():
                if isinstance(data, Exception):
                    if backends.is_absent(data):
                        continue  # removed since it was listed
                    raise backends.named(data, f"{self.url}/{folder}/{paths[path]}.json") from data
                with suppress(ValueError):
                    yield paths[path], json.loads(data)

    def sweep(self, folder: str, deep: bool = True) -> int:
        """Remove the temporary files that a kill left below `folder` of a local cube, or only in it; how many there were.

        Object stores need none: an object appears whole or not at all.
        """
        here = self._local(folder)
        if here is None:
            return 0
        orphans = list(here.rglob("*.partial") if deep else here.glob("*.partial"))
        for orphan in orphans:
            orphan.unlink(missing_ok=True)
        return len(orphans)

    def folders(self, folder: str) -> list[str]:
        """Names of the folders directly in `folder`, sorted, whatever is in them; empty where it does not exist."""
        filesystem, base = self._files
        try:
            found = filesystem.ls(f"{base}/{folder}", detail=True, refresh=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        names = (str(entry["name"]).rstrip("/").rsplit("/", 1)[-1] for entry in found if entry["type"] == "directory")
        return sorted(names)

    def sizes(self, folder: str) -> dict[str, int]:
        """Bytes of every file or object below `folder`, by its path there; empty where it does not exist."""
        filesystem, base = self._files
        found = filesystem.find(f"{base}/{folder}", detail=True)
        return {str(path).split(f"{folder}/", 1)[-1]: int(entry["size"]) for path, entry in found.items()}

    def remove_tree(self, path: str) -> None:
        """Remove a folder with all that is in it, or one file; nothing where it is not there."""
        self._refuse_if_read_only()
        filesystem, base = self._files
        with suppress(FileNotFoundError):
            filesystem.rm(f"{base}/{path}", recursive=True)

    def _list(self, folder: str) -> list[str]:
        """Names in `folder` as the store says them now; raises `CubeError` for a web server that lists no folders."""
        filesystem, base = self._files
        try:
            found = backends.patiently(lambda: filesystem.ls(f"{base}/{folder}", detail=False, refresh=True), self.url)
        except NotADirectoryError:
            return []
        except Exception as error:
            if backends.scheme(self.url) in backends.WEB:
                raise CubeError(f"{self.url}: this web server lists no '{folder}'; ask where the cube itself lies.") from error
            if backends.is_absent(error):
                return []
            raise backends.named(error, f"{self.url}/{folder}") from error
        return sorted(str(path).rstrip("/").rsplit("/", 1)[-1] for path in found)

    def list_json(self, folder: str) -> list[str]:
        """Names (without `.json`) of the documents in `folder`, sorted; empty where it does not exist."""
        return [n.removesuffix(".json") for n in self._list(folder) if n.endswith(".json") and n[0] != "."]

    def stages(self, folder: str) -> list[str]:
        """Stages that have receipts below `ledger/<folder>`, sorted."""
        return self._list(f"ledger/{folder}")


def _bytes(document: Any) -> bytes:
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


def _write_beside(target: Path, data: bytes) -> Path:
    """A temporary file beside `target` that is safely on the disk; a kill leaves at most this (`Documents.sweep`)."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return partial


def _sync_folder(folder: Path) -> None:
    """Make a rename or a new name survive a power cut; where a system cannot open folders, there is nothing to do."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _beaten(error: BaseException | None) -> bool:
    """Whether a put failed since its condition did: another writer was first."""
    while error is not None:
        response = getattr(error, "response", None)
        code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
        if isinstance(error, FileExistsError) or code in ("PreconditionFailed", "ConditionalRequestConflict", "412", "409"):
            return True
        error = error.__cause__
    return False
