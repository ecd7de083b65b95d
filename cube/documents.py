"""Small JSON documents beside the arrays of a cube: receipts, releases, current.json; written whole or not at all."""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import fsspec


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

    def list_json(self, folder: str) -> list[str]:
        """Names (without `.json`) of the documents in `folder`, sorted; empty where it does not exist."""
        filesystem, base = self._files
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
