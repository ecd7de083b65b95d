"""A Darwin Core archive as it lies there, a zip file or a folder: its data files streamed, nothing unpacked to disk.

`meta.xml` is understood by python-dwca-reader. Its rows are streamed here: that library unpacks the archive first,
reads the first of a data file's several locations alone, and ends at the first row that is too short.
Source: Darwin Core text guide, https://dwc.tdwg.org/text/
"""

from __future__ import annotations

import posixpath
import re
import zipfile
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final
from xml.etree.ElementTree import ParseError

from dwca.descriptors import ArchiveDescriptor, DataFileDescriptor
from dwca.exceptions import InvalidArchive

from cube.errors import TableError
from cube.records.darwincore.table import Table, short_name
from cube.records.darwincore.vocabulary import word

META: Final = "meta.xml"
PACKAGE: Final = "datapackage.json"
DESCRIPTION_BYTES: Final = 1 << 24  # most of a meta.xml or datapackage.json; published ones have some kilobytes
EVENT_FILES: Final = ("event.csv", "event.tsv", "event.txt", "events.csv", "events.tsv", "events.txt")


@dataclass(frozen=True)
class Archive:
    """A zip file or a folder, with its tables at its top or in a folder there."""

    path: str
    root: str  # folder of its tables within, "" or ending in /
    has_meta: bool = True  # by a meta.xml

    def open(self, name: str) -> AbstractContextManager[IO[bytes]]:
        """A file of the archive, for reading. Raises `TableError` if there is none or it lies outside."""
        inside, by = posixpath.normpath(self.root + name), META if self.has_meta else PACKAGE
        if inside.startswith(("../", "/")) or posixpath.isabs(name):
            raise TableError(f"{self.path}: {by} names a file outside the archive ({name}); it is refused.")
        try:
            return self._within(inside).open("rb")
        except (FileNotFoundError, IsADirectoryError):
            raise TableError(f"{self.path}: {by} names {name}, which is not in the archive; fetch it again.") from None

    def description(self, name: str) -> str:
        """The text of the document that describes the archive; raises `TableError` for one that is far too long."""
        with self.open(name) as file:
            data = file.read(DESCRIPTION_BYTES + 1)
        if len(data) > DESCRIPTION_BYTES:
            raise TableError(
                f"{self.path}: its {name} has more than {DESCRIPTION_BYTES:,} bytes, as no description has; export the archive"
                " again."
            )
        return data.decode("utf-8-sig")

    def names(self) -> list[str]:
        """Files at the top of the archive, by name."""
        return sorted(path.name for path in self._within(self.root).iterdir() if path.is_file())

    def _within(self, inside: str) -> Path | zipfile.Path:
        return Path(self.path, inside) if Path(self.path).is_dir() else zipfile.Path(self.path, inside)

    def tables(self) -> tuple[Table, list[Table]]:
        """(the core, its extensions) of meta.xml. Raises `TableError` where that is damaged or names no core."""
        try:
            # The text guide's own default, which the library lacks.
            text = re.sub(r"<(core|extension)\b(?![^>]*\bencoding=)", r'<\1 encoding="UTF-8"', self.description(META))
            descriptor = ArchiveDescriptor(text)
        except (ParseError, AttributeError, InvalidArchive, ValueError) as error:
            raise TableError(
                f"{self.path}: its meta.xml does not describe a core data file ({error}); export the archive again."
            ) from None
        return self._table(descriptor.core), [self._table(e) for e in descriptor.extensions]

    def _table(self, d: DataFileDescriptor) -> Table:
        columns: dict[str, tuple[int | None, str | None]] = {}
        for field in d.fields:
            columns.setdefault(word(short_name(field["term"])), (field["index"], field["default"]))
        return Table(
            source=self.path,
            kind=short_name(d.type or ""),
            files=tuple(str(e.text).strip() for e in d.raw_element.findall("files/location")),
            open=self.open,
            columns=columns,
            key=d.id_index if d.represents_corefile else d.coreid_index,
            delimiter=d.fields_terminated_by,
            quote=d.fields_enclosed_by or "",
            encoding=d.file_encoding,
            header_lines=d.lines_to_ignore,
            line_end="\r" if d.lines_terminated_by == "\r" else "\n",
        )


def open_archive(path: str) -> Archive:
    """The Darwin Core archive or data package at `path`, a folder or a zip file. Raises `TableError` where it is neither."""
    file = Path(path)
    if file.is_dir():
        names = [p.relative_to(file).as_posix() for p in (*file.glob("*"), *file.glob("*/*")) if p.is_file()]
    elif zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    elif file.exists():
        raise TableError(f"{path}: is neither a folder nor a zip file; unpack it and give the folder.")
    else:
        raise TableError(f"{path}: there is no such archive; check the path in the configuration.")
    for file_names in ((META,), (PACKAGE,), EVENT_FILES):
        matches = [n for n in names if n.rsplit("/", 1)[-1] in file_names and n.count("/") <= 1]
        if matches:
            first = min(matches, key=lambda name: (name.count("/"), name))
            return Archive(path, first[: first.rfind("/") + 1], first.rsplit("/", 1)[-1] == META)
    raise TableError(
        f"{path}: has no meta.xml; a Darwin Core archive has one at its top, a data package has a datapackage.json, and a plain"
        " folder of tables an event.csv or event.tsv."
    )
