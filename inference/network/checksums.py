"""Checksums of a model folder: `checksums.json` lists every file with its size and SHA-256, and loading compares them.

A folder inside the model that has a list of its own (the habitats reader, which is trained and replaced alone) is left to it.
Models of earlier versions and checkpoints of the hub have no list; nothing is compared there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from cube.errors import ModelError

FILE: Final = "checksums.json"
FORMAT: Final = 1
FIX: Final = "copy the whole model folder again or train again"


def write_checksums(folder: Path) -> None:
    """Write the list of a model folder, the last thing that is written of it; overwrites an older list."""
    files = {str(path.relative_to(folder).as_posix()): _entry(path) for path in _files(folder)}
    document = {"format": FORMAT, "files": files, "sha256": _digest(files)}
    (folder / FILE).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def verify_checksums(folder: Path, optional: Iterable[str] = ()) -> None:
    """Compare every file of a model folder with its list; nothing where the folder has none.

    `optional`: names of files that are read where they exist, so that one of them must not be added to the folder either.
    Raises: ModelError that names the first file that is missing, truncated, altered or of another model.
    """
    path = folder / FILE
    if not path.is_file():
        return
    for name, entry in _read_checksums(path).items():
        file = folder / name
        if not file.is_file():
            raise ModelError(f"{file}: is missing, and {FILE} of the model lists it; {FIX}.")
        size = file.stat().st_size
        if size != entry["bytes"]:
            raise ModelError(f"{file}: has {size} bytes, and {FILE} of the model says {entry['bytes']}; {FIX}.")
        if sha256_of(file) != entry["sha256"]:
            raise ModelError(
                f"{file}: is damaged or from another model (its SHA-256 is not the one in {FILE} of the model); {FIX}."
            )
    for name in optional:
        if (folder / name).is_file() and name not in _read_checksums(path):
            raise ModelError(f"{folder / name}: is not a file of this model ({FILE} does not list it); remove it or train again.")


def _read_checksums(path: Path) -> dict[str, dict[str, Any]]:
    """`{file: {"bytes", "sha256"}}` of a list. Raises: ModelError where it is damaged or of a newer version."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        files: dict[str, dict[str, Any]] = document["files"]
        newer, unchanged = int(document["format"]) > FORMAT, document["sha256"] == _digest(files)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: is damaged ({error!r}); {FIX}.") from error
    if newer:
        raise ModelError(f"{path}: was written by a newer floracube; upgrade floracube to read this model.")
    if not unchanged:
        raise ModelError(f"{path}: is damaged (its own checksum is another); {FIX}.")
    return files


def _files(folder: Path) -> Iterator[Path]:
    """Every file of a model folder in order, without its list, hidden files and folders with a list of their own."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name == FILE:
            continue
        if path.is_dir():
            if not (path / FILE).is_file():
                yield from _files(path)
        elif path.is_file():
            yield path


def _entry(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": sha256_of(path)}


def sha256_of(path: Path) -> str:
    """Of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(files: dict[str, dict[str, Any]]) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
