"""A Darwin Core Data Package, or a folder of tables named by their kind: the same rows as an archive's, by other names.

Terms stand as `decimalLatitude` or `decimal_latitude`, resources may have any name. Sources: https://dwc.tdwg.org/dp/,
https://specs.frictionlessdata.io/tabular-data-resource/
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, Final

from cube.errors import TableError
from cube.records.darwincore.archive import PACKAGE, Archive
from cube.records.darwincore.table import Table, short_name
from cube.records.darwincore.vocabulary import word

KINDS: Final = {
    "event": "Event",
    "occurrence": "Occurrence",
    "survey": "Survey",
    "surveytarget": "SurveyTarget",
    "identification": "Identification",
    "releve": "Releve",
    "humboldt": "Survey",
}
KEYS: Final = {"SurveyTarget": "surveyID"}  # of the other kinds it is the event
# What a resource is where neither its name nor its schema says it: the terms that it has, and one that it has not.
SIGNS: Final = (
    ("SurveyTarget", ("surveyTargetType", "surveyTargetValue"), ""),
    ("Survey", ("surveyID", "eventID"), "occurrenceID"),
    ("Identification", ("identificationID", "scientificName"), "organismQuantity"),
    ("Occurrence", ("occurrenceID", "eventID"), "assertionID"),
    ("Event", ("eventID", "decimalLatitude"), "occurrenceID"),
)


@dataclass(frozen=True)
class _Resource:
    """A file of a package and what is said of it."""

    paths: tuple[str, ...]
    address: str  # kind by the address of a schema of the standard, "" where there is none
    names: tuple[str, ...]  # that may say its kind
    terms: Mapping[str, str]  # names of columns -> terms, where the schema gives addresses of terms
    fields: tuple[str, ...]
    delimiter: str | None
    quote: str
    header: bool
    encoding: str


def package_tables(archive: Archive) -> dict[str, Table]:
    """Tables by kind, of the kinds that are read here. Raises `TableError` for a datapackage.json that is damaged."""
    names = archive.names()
    resources = _described(archive) if PACKAGE in names else [_plain(name) for name in names if _is_table(name)]
    tables = [(_kind_by_name(resource), _table(archive, resource)) for resource in resources]
    out = {kind: replace(table, kind=kind) for kind, table in reversed(tables) if kind}
    for kind, has, lacks in SIGNS:
        for name, table in tables:
            if name is None and kind not in out and all(map(table.has, has)) and not table.has(lacks):
                out[kind] = replace(table, kind=kind)
    return {kind: replace(table, key=_key(table)) for kind, table in out.items()}


def _is_table(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in (".tsv", ".txt", ".csv")


def _key(table: Table) -> int | None:
    return next((table.columns[w][0] for w in (word(KEYS.get(table.kind, "eventID")), "id") if w in table.columns), None)


def _kind_by_name(resource: _Resource) -> str | None:
    """The kind that a schema's address or a name says; "" for a kind that is not read here, None where nothing says it."""
    if resource.address:
        return KINDS.get(word(resource.address), "")
    return next((KINDS[w] for name in resource.names if (w := word(name).removesuffix("s")) in KINDS), None)


def _plain(name: str) -> _Resource:
    return _Resource((name,), "", (PurePosixPath(name).stem,), {}, (), None, '"', True, "utf-8-sig")


def _described(archive: Archive) -> list[_Resource]:
    try:
        document = json.loads(archive.description(PACKAGE))
        return [_resource(r) for r in document["resources"] if r.get("path")]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TableError(f"{archive.path}: its {PACKAGE} lists no resources ({error!r}); export the package again.") from None


def _resource(document: Mapping[str, Any]) -> _Resource:
    schema = document.get("schema") if isinstance(document.get("schema"), dict) else {}
    assert isinstance(schema, dict)
    dialect = document.get("dialect") if isinstance(document.get("dialect"), dict) else {}
    assert isinstance(dialect, dict)
    dialect = dialect.get("csv", dialect)
    paths = document["path"] if isinstance(document["path"], list) else [document["path"]]
    fields = [f for f in schema.get("fields", ()) if isinstance(f, dict)]
    terms = {str(f["name"]): f.get("iri") or f.get("rdfType") or f.get("dcterms:isVersionOf") for f in fields}
    addresses_of = (str(schema.get(k) or "") for k in ("identifier", "url"))
    address = next((short_name(a).removesuffix(".json") for a in addresses_of if "dwc-dp" in a), "")
    encoding = str(document.get("encoding", "utf-8")).lower()
    return _Resource(
        paths=tuple(str(p) for p in paths),
        address=address,
        names=(str(document.get("name", "")), str(schema.get("name", "")), PurePosixPath(str(paths[0])).stem),
        terms={name: short_name(str(iri)) for name, iri in terms.items() if iri},
        fields=tuple(terms),
        delimiter=dialect.get("delimiter"),
        quote=str(dialect.get("quoteChar", '"') or ""),
        header=bool(dialect.get("header", True)),
        encoding="utf-8-sig" if encoding in ("utf-8", "utf8") else encoding,
    )


def _table(archive: Archive, resource: _Resource) -> Table:
    with archive.open(resource.paths[0]) as file:
        line = file.readline().decode(resource.encoding, "replace").rstrip("\r\n")
    delimiter = resource.delimiter or max(("\t", ",", ";"), key=line.count)
    names: Sequence[str] = resource.fields
    if resource.header or not names:
        names = next(csv.reader([line], delimiter=delimiter, quotechar=resource.quote or '"'), [])
    columns: dict[str, tuple[int | None, str | None]] = {}
    for index, name in enumerate(names):
        columns.setdefault(word(short_name(name)), (index, None))
    for index, name in enumerate(names):
        if name in resource.terms:
            columns.setdefault(word(resource.terms[name]), (index, None))
    return Table(
        source=archive.path,
        kind="",
        files=resource.paths,
        open=archive.open,
        columns=columns,
        key=None,
        delimiter=delimiter,
        quote=resource.quote,
        encoding=resource.encoding,
        header_lines=1 if resource.header else 0,
    )
