"""Small JSON documents beside the arrays of a cube: receipts, releases, current.json; written whole or not at all."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import fsspec

DOCUMENTS_AT_ONCE: Final = 1000  # bounds the memory of reading a stage's receipts


@dataclass(frozen=True)
class Documents:
    """The documents below a URL, read and written through fsspec."""

    url: str

    @cached_property
    def _files(self) -> tuple[fsspec.AbstractFileSystem, str]:
        filesystem, path = fsspec.core.url_to_fs(self.url)
        return filesystem, path.rstrip("/")

    def read_json(self, name: str) -> Any | None:
        """The document `name`, or None where there is none; a truncated one counts as none."""
        filesystem, base = self._files
        try:
            return json.loads(filesystem.cat_file(f"{base}/{name}"))
        except (FileNotFoundError, ValueError):
            return None

    def write_json(self, name: str, document: Any) -> None:
        """Write `name` whole or not at all: temporary file and rename locally, a single put elsewhere."""
        filesystem, base = self._files
        data = (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()
        if "file" in filesystem.protocol:
            target = Path(base) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
            with partial.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        else:
            filesystem.pipe_file(f"{base}/{name}", data)

    def create_json(self, name: str, document: Any) -> bool:
        """Write `name` only if it is not there; whether it was written. One of two writers at once gets False."""
        filesystem, base = self._files
        if filesystem.exists(f"{base}/{name}"):
            return False
        if "file" not in filesystem.protocol:
            try:
                filesystem.pipe_file(f"{base}/{name}", json.dumps(document).encode(), mode="create")
            except FileExistsError:
                return False
            return True
        partial = f"{name}.{uuid.uuid4().hex}.partial"
        self.write_json(partial, document)
        try:
            os.link(Path(base) / partial, Path(base) / name)  # fails where `name` exists, as a rename would not
        except FileExistsError:
            return False
        finally:
            (Path(base) / partial).unlink()
        return True

    def remove_json(self, name: str) -> None:
        """Remove the document `name` if it is there."""
        filesystem, base = self._files
        with suppress(FileNotFoundError):
            filesystem.rm_file(f"{base}/{name}")

    def read_folder(self, folder: str) -> Iterator[tuple[str, Any]]:
        """(name without `.json`, document) of every whole document in `folder`, many requests at once on object stores."""
        filesystem, base = self._files
        names = self.list_json(folder)
        for start in range(0, len(names), DOCUMENTS_AT_ONCE):
            paths = {f"{base}/{folder}/{name}.json": name for name in names[start : start + DOCUMENTS_AT_ONCE]}
            for path, data in filesystem.cat(list(paths), on_error="return").items():
                if isinstance(data, FileNotFoundError):
                    continue  # removed since it was listed
                if isinstance(data, Exception):
                    raise data
                with suppress(ValueError):
                    yield paths[path], json.loads(data)

    def sweep(self, folder: str) -> int:
        """Remove the temporary files that a kill left below `folder` of a local cube; how many there were.

        Object stores need none: an object appears whole or not at all.
        """
        filesystem, base = self._files
        if "file" not in filesystem.protocol:
            return 0
        orphans = list((Path(base) / folder).rglob("*.partial"))
        for orphan in orphans:
            orphan.unlink(missing_ok=True)
        return len(orphans)

    def list_json(self, folder: str) -> list[str]:
        """Names (without `.json`) of the documents in `folder`, sorted; empty where it does not exist."""
        filesystem, base = self._files
        # Workers are other processes: what they wrote since the last listing must be seen.
        filesystem.invalidate_cache(f"{base}/{folder}")
        try:
            found = filesystem.ls(f"{base}/{folder}", detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
        names = (str(path).rsplit("/", 1)[-1] for path in found)
        return sorted(n.removesuffix(".json") for n in names if n.endswith(".json") and n[0] != ".")

    def stages(self, folder: str) -> list[str]:
        """Stages that have receipts below `ledger/<folder>`, sorted."""
        filesystem, base = self._files
        try:
            found = filesystem.ls(f"{base}/ledger/{folder}", detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(str(path).rstrip("/").rsplit("/", 1)[-1] for path in found)
