"""A Darwin Core Data Package, or a folder of tables named by their kind: the same rows as an archive's, by other names.

Terms stand as `decimalLatitude` or `decimal_latitude`, resources may have any name. Sources: https://dwc.tdwg.org/dp/,
https://specs.frictionlessdata.io/tabular-data-resource/
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import replace
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


def package_tables(archive: Archive) -> dict[str, Table]:
    """Tables by kind, of the kinds that are read here. Raises `TableError` for a datapackage.json that is damaged."""
    names = archive.names()
    try:
        if PACKAGE in names:
            resources = [r for r in json.loads(archive.description(PACKAGE))["resources"] if r.get("path")]
        else:
            resources = [{"path": name} for name in names if PurePosixPath(name).suffix.lower() in (".tsv", ".txt", ".csv")]
        tables = [(_kind_by_name(resource), _table(archive, resource)) for resource in resources]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TableError(f"{archive.path}: its {PACKAGE} lists no resources ({error!r}); export the package again.") from None
    out = {kind: replace(table, kind=kind) for kind, table in reversed(tables) if kind}
    for kind, has, lacks in SIGNS:
        for name, table in tables:
            if name is None and kind not in out and all(map(table.has, has)) and not table.has(lacks):
                out[kind] = replace(table, kind=kind)
    return {kind: replace(table, key=_key(table)) for kind, table in out.items()}


def _key(table: Table) -> int | None:
    return next((table.columns[w][0] for w in (word(KEYS.get(table.kind, "eventID")), "id") if w in table.columns), None)


def _part(resource: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The schema or the dialect of a resource; empty where it is none, or a mere address."""
    part = resource.get(name)
    return part if isinstance(part, dict) else {}


def _paths(resource: Mapping[str, Any]) -> tuple[str, ...]:
    paths = resource["path"] if isinstance(resource["path"], list) else [resource["path"]]
    return tuple(map(str, paths))


def _kind_by_name(resource: Mapping[str, Any]) -> str | None:
    """The kind that a schema's address or a name says; "" for a kind that is not read here, None where nothing says it."""
    schema = _part(resource, "schema")
    addresses = (str(schema.get(key) or "") for key in ("identifier", "url"))
    for address in addresses:
        if "dwc-dp" in address:
            return KINDS.get(word(short_name(address).removesuffix(".json")), "")
    names = (resource.get("name", ""), schema.get("name", ""), PurePosixPath(_paths(resource)[0]).stem)
    return next((KINDS[w] for name in names if (w := word(name).removesuffix("s")) in KINDS), None)


def _table(archive: Archive, resource: Mapping[str, Any]) -> Table:
    dialect, files = _part(resource, "dialect"), _paths(resource)
    dialect = dialect.get("csv", dialect)
    fields = [field for field in _part(resource, "schema").get("fields", ()) if isinstance(field, dict)]
    # Names of columns, and the addresses of terms where the schema gives them.
    terms = {str(f["name"]): f.get("iri") or f.get("rdfType") or f.get("dcterms:isVersionOf") for f in fields}
    encoding = str(resource.get("encoding", "utf-8")).lower()
    encoding = "utf-8-sig" if encoding in ("utf-8", "utf8") else encoding
    quote, has_header = str(dialect.get("quoteChar", '"') or ""), bool(dialect.get("header", True))
    with archive.open(files[0]) as file:
        line = file.readline().decode(encoding, "replace").rstrip("\r\n")
    delimiter = dialect.get("delimiter") or max(("\t", ",", ";"), key=line.count)
    names = list(terms)
    if has_header or not names:
        names = next(csv.reader([line], delimiter=delimiter, quotechar=quote or '"'), [])
    columns: dict[str, tuple[int | None, str | None]] = {}
    for index, name in enumerate(names):
        columns.setdefault(word(short_name(name)), (index, None))
    for index, name in enumerate(names):
        if terms.get(name):
            columns.setdefault(word(short_name(str(terms[name]))), (index, None))
    return Table(
        source=archive.path,
        kind="",
        files=files,
        open=archive.open,
        columns=columns,
        key=None,
        delimiter=delimiter,
        quote=quote,
        encoding=encoding,
        header_lines=int(has_header),
    )
