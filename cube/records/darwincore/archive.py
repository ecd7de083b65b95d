"""A Darwin Core archive as it lies there, a zip file or a folder: its data files streamed, nothing unpacked to disk.

`meta.xml` is understood by python-dwca-reader. Its rows are streamed here: that library unpacks the archive first,
reads the first of a data file's several locations alone, and ends at the first row that is too short.
Source: Darwin Core text guide, https://dwc.tdwg.org/text/
"""

from __future__ import annotations

import csv
import io
import posixpath
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final
from xml.etree.ElementTree import ParseError

import pandas as pd
from dwca.descriptors import ArchiveDescriptor, DataFileDescriptor
from dwca.exceptions import InvalidArchive

from cube.errors import TableError
from cube.records.tables import PIECE, Report

META: Final = "meta.xml"
KEY: Final = "key"  # a core row's id, an extension row's coreid
UNDECODABLE: Final = "\ufffd"


@dataclass(frozen=True)
class DataFile:
    """The core or an extension: its kind of rows and where its terms stand."""

    archive: Archive
    kind: str  # Occurrence, Event, ...
    locations: tuple[str, ...]
    descriptor: DataFileDescriptor

    @property
    def terms(self) -> frozenset[str]:
        """Short names of the terms that the file gives."""
        return frozenset(_short(f["term"]) for f in self.descriptor.fields)

    def stream(self, terms: Sequence[str], report: Report, piece: int = PIECE) -> Iterator[pd.DataFrame]:
        """Columns `key` and `terms` as strings, `piece` rows at a time; missing where absent or empty.

        Rows that are too short are left out and noted. Raises `TableError` for a file that cannot be read.
        """
        places: dict[str, tuple[int | None, str | None]] = {}
        for field in self.descriptor.fields:
            places.setdefault(_short(field["term"]), (field["index"], field["default"]))
        core = self.descriptor.represents_corefile
        places[KEY] = (self.descriptor.id_index if core else self.descriptor.coreid_index, None)
        wanted = [(KEY, *places[KEY]), *((t, *places.get(t, (None, None))) for t in terms)]
        need = 1 + max((i for _, i, _ in wanted if i is not None), default=-1)
        for location in self.locations:
            rows = self._rows(location)
            number = self.descriptor.lines_to_ignore
            while part := list(islice(rows, piece)):
                full = [r for r in part if len(r) >= need]
                short = [f"{location} row {number + k + 1}" for k, r in enumerate(part) if len(r) < need]
                report.note("rows with fewer cells than meta.xml says, skipped", short)
                number += len(part)
                columns = {}
                for term, index, default in wanted:
                    values = [default] * len(full) if index is None else [r[index].strip() or default for r in full]
                    columns[term] = pd.Series(values, dtype=object)
                yield pd.DataFrame(columns)

    def _rows(self, location: str) -> Iterator[list[str]]:
        d = self.descriptor
        path = f"{self.archive.path}: {location}"
        ending = d.lines_terminated_by if d.lines_terminated_by in ("\n", "\r", "\r\n") else "\n"
        try:
            with self.archive.open(location) as binary:
                # Carriage returns: archives say \n and are written with \r\n; a quoted cell may hold either.
                text = io.TextIOWrapper(binary, d.file_encoding, "replace", newline="" if d.fields_enclosed_by else ending)
                if d.fields_enclosed_by:
                    rows: Iterator[list[str]] = csv.reader(text, delimiter=d.fields_terminated_by, quotechar=d.fields_enclosed_by)
                else:
                    rows = (line.rstrip("\r\n").split(d.fields_terminated_by) for line in text)
                yield from islice(rows, d.lines_to_ignore, None)
        except (LookupError, csv.Error, OSError, zipfile.BadZipFile, EOFError) as error:
            raise TableError(f"{path} cannot be read ({error}); fetch the archive again.") from None


@dataclass(frozen=True)
class Archive:
    """A zip file or a folder with a meta.xml at its top, or in the one folder at its top."""

    path: str
    root: str  # folder of meta.xml within, "" or ending in /

    def open(self, name: str) -> AbstractContextManager[IO[bytes]]:
        """A file of the archive, for reading. Raises `TableError` if there is none or it lies outside."""
        inside = posixpath.normpath(self.root + name)
        if inside.startswith(("../", "/")) or posixpath.isabs(name):
            raise TableError(f"{self.path}: meta.xml names a file outside the archive ({name}); it is refused.")
        try:
            if Path(self.path).is_dir():
                return (Path(self.path) / inside).open("rb")
            return _ZippedFile(self.path, inside)
        except (FileNotFoundError, KeyError):
            raise TableError(f"{self.path}: meta.xml names {name}, which is not in the archive; fetch it again.") from None

    def files(self) -> tuple[DataFile, list[DataFile]]:
        """(the core, its extensions). Raises `TableError` for a meta.xml that is damaged or names no core."""
        try:
            with self.open(META) as file:
                descriptor = ArchiveDescriptor(file.read().decode("utf-8-sig"))
        except (ParseError, AttributeError, InvalidArchive, ValueError) as error:
            raise TableError(
                f"{self.path}: its meta.xml does not describe a core data file ({error}); export the archive again."
            ) from None
        return self._file(descriptor.core), [self._file(e) for e in descriptor.extensions]

    def _file(self, descriptor: DataFileDescriptor) -> DataFile:
        locations = tuple(str(e.text).strip() for e in descriptor.raw_element.findall("files/location"))
        return DataFile(self, _short(descriptor.type or ""), locations, descriptor)


class _ZippedFile(AbstractContextManager[IO[bytes]]):
    """A file inside a zip; both are closed together."""

    def __init__(self, path: str, name: str) -> None:
        self._zip = zipfile.ZipFile(path)
        try:
            self._file = self._zip.open(name)
        except KeyError:
            self._zip.close()
            raise

    def __enter__(self) -> IO[bytes]:
        return self._file

    def __exit__(self, *_: Any) -> None:
        self._file.close()
        self._zip.close()


def open_archive(path: str) -> Archive:
    """The Darwin Core archive at `path`; raises `TableError` if it is neither a folder nor a zip with a meta.xml."""
    there = Path(path)
    if there.is_dir():
        names = [str(p.relative_to(there)) for p in (there / META, *there.glob(f"*/{META}")) if p.is_file()]
    elif zipfile.is_zipfile(there):
        with zipfile.ZipFile(there) as archive:
            names = archive.namelist()
    elif there.exists():
        raise TableError(f"{path}: is neither a folder nor a zip file; unpack it and give the folder.")
    else:
        raise TableError(f"{path}: there is no such archive; check the path in the configuration.")
    found = [n for n in names if n == META or (n.count("/") == 1 and n.endswith(f"/{META}"))]
    if not found:
        raise TableError(f"{path}: has no meta.xml; a Darwin Core archive has one at its top.")
    return Archive(path, min(found, key=len).removesuffix(META))


def _short(term: str) -> str:
    return term.rstrip("/").rsplit("/", 1)[-1].rsplit("#", 1)[-1]
