"""One value for each document of a folder, stored together in one document: only what changed since then is read again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from cube.errors import CubeError
from cube.storage.documents import Documents
from cube.storage.identity import digest

VERSION: Final = "version"  # of the document that a value was made from, as its store says
VALUE: Final = "value"
DIGEST: Final = "digest"  # of path, version and value


@dataclass(frozen=True)
class Memo:
    """The values of the documents of `folder`, stored as its document `name`; `derive(path, document)` makes one, as JSON.

    Each value has a digest beside it: one that was changed, or lost a part, is none, and its document is read. A memo that
    cannot be read is none, and one that cannot be written is left as it is: it only saves requests.
    """

    cube: Documents
    folder: str
    name: str
    derive: Callable[[str, Any], Any]

    def values(self, versions: Mapping[str, str], use_stored: bool = True) -> dict[str, Any]:
        """By path, the value of each of the documents in `versions` (see `Documents.versions`).

        One is taken from the memo where that has it of this version, else its document is read; a document that is gone
        since it was listed, or damaged, has none. Unless `use_stored`, all are read: the memo hides what was damaged in
        place, where the version stays.
        """
        entries = self._stored() if use_stored else {}
        values = {
            path: entries[path][VALUE]
            for path, version in versions.items()
            if version and path in entries and entries[path][VERSION] == version
        }
        for path, document in self.cube.read_documents(self.folder, [path for path in versions if path not in values]):
            values[path] = self.derive(path, document)
        return values

    def update(self, list_versions: Callable[[], Mapping[str, str]]) -> None:
        """Write the memo where it is not what the documents say; `list_versions` asks the store for their versions."""
        versions, entries = list_versions(), self._stored()
        if versions == {path: entry[VERSION] for path, entry in entries.items()}:
            return
        values = self.values(versions)
        later_versions = list_versions()
        # What was written anew while it was read may be of either version.
        memo = {
            path: {VERSION: version, VALUE: values[path], DIGEST: digest([path, version, values[path]])}
            for path, version in versions.items()
            if version and path in values and later_versions.get(path) == version
        }
        if memo != entries:
            with suppress(OSError):
                self.cube.write_json(f"{self.folder}/{self.name}.json", memo)

    def _stored(self) -> dict[str, Any]:
        entries = None
        with suppress(CubeError, OSError):  # damaged, or out of reach: then everything is read
            entries = self.cube.read_json(f"{self.folder}/{self.name}.json")
        if not isinstance(entries, dict):
            return {}
        return {path: entry for path, entry in entries.items() if _is_undamaged(path, entry)}


def _is_undamaged(path: str, entry: Any) -> bool:
    """Whether an entry of a memo is as it was written, for the document at `path`."""
    if not isinstance(entry, dict) or not {VERSION, VALUE, DIGEST} <= entry.keys():
        return False
    return bool(entry[DIGEST] == digest([path, entry[VERSION], entry[VALUE]]))
