"""Events and occurrences of whatever shape: an archive of either core, a data package, or a folder of tables.

An event may state a complete list, and of what: by the Humboldt extension, survey targets, relevés. What such a list does not
name was not there; of other events nobody knows. Terms: https://eco.tdwg.org/terms/
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pandas as pd

from cube.errors import TableError
from cube.records.darwincore.archive import open_archive
from cube.records.darwincore.package import package_tables
from cube.records.darwincore.table import KEY, Table
from cube.records.darwincore.vocabulary import truth, word
from cube.records.report import Report

HUMBOLDT_TERMS: Final = ("isTaxonomicScopeFullyReported", "targetTaxonomicScope")
TARGET_TERMS: Final = ("surveyID", "surveyTargetType", "surveyTargetValue", "includeOrExclude", "isSurveyTargetFullyReported")

_SCOPES: Final = """
    plantae plants plant planta viridiplantae archaeplastida embryophyta embryophytes landplants tracheophyta tracheophytes
    vascularplants vascularplant tracheobionta spermatophyta higherplants flora all alltaxa biota vegetation
"""
EVERY_PLANT: Final = frozenset(("", *_SCOPES.split()))  # scopes that leave out no vascular plant
PLANTS: Final = frozenset(("plants",))


@dataclass
class Statement:
    """What an event states of its list: targets that are fully reported, and whether any is not."""

    complete: bool = False
    incomplete: bool = False
    targets: set[str] = field(default_factory=set)

    @property
    def scope(self) -> frozenset[str]:
        """What the list is complete of: `PLANTS`, or the names of narrower targets."""
        return PLANTS if self.targets & EVERY_PLANT else frozenset(self.targets)


Statements = dict[str, Statement]


def add_humboldt(statements: Statements, rows: pd.DataFrame, event: str) -> None:
    """Add what rows of the Humboldt extension state; `event` is the column of the event's id."""
    for key, full, scope in rows[[event, *HUMBOLDT_TERMS]].itertuples(index=False):
        add_target(statements, key, truth(full), re.split(r"\s*[|;]\s*", scope) if isinstance(scope, str) else ())


def add_target(statements: Statements, event: object, full: bool | None, targets: Iterable[str]) -> None:
    """Add that an event reports `targets` fully, not fully, or does not say."""
    if not isinstance(event, str) or full is None:
        return
    statement = statements.setdefault(event, Statement())
    if full:
        statement.complete = True
        statement.targets |= {word(target) for target in targets} or {""}
    else:
        statement.incomplete = True


def inherited(statements: Mapping[str, Statement], parents: Mapping[str, str]) -> Statements:
    """The statements of `parents`' events (event to parent): their own, else those of the nearest event above them."""
    out: Statements = {}
    for event in parents:
        above, steps = event, 0
        while above not in statements and isinstance(parents.get(above), str) and steps < 20:
            above, steps = parents[above], steps + 1
        if above in statements:
            out[event] = statements[above]
    return out


def common_scope(statements: Iterable[Statement]) -> frozenset[str]:
    """The scope that surveys share: all plants where any list is of them, else the commonest."""
    scopes = Counter(s.scope for s in statements if s.complete)
    if PLANTS in scopes or not scopes:
        return PLANTS
    return min(scopes, key=lambda scope: (-scopes[scope], sorted(scope)))


@dataclass(frozen=True)
class Source:
    """`events` is None where occurrences stand alone; the key of every other table is the event."""

    path: str
    occurrences: Table
    events: Table | None
    extensions: tuple[Table, ...] = ()

    @property
    def places(self) -> Table:
        """The table that gives positions."""
        return self.events or self.occurrences

    def extension(self, kind: str) -> Table | None:
        """The first extension of a kind."""
        return next((t for t in self.extensions if t.kind == kind), None)

    def require(self, table: Table, terms: Sequence[str]) -> None:
        """Raise `TableError` naming the first of `terms` that a table lacks."""
        for term in terms:
            if not table.has(term):
                raise TableError(f"{self.path}: its {table.kind} data have no {term}; export the archive with it.")


def open_source(path: str) -> Source:
    """What lies at `path`. Raises `TableError` where there are neither occurrences nor events with occurrences."""
    archive = open_archive(path)
    if archive.has_meta:
        core, extensions = archive.tables()
        if core.kind == "Occurrence":
            return Source(path, core, None, tuple(extensions))
        tables = [core, *extensions]
        of_events = core.kind == "Event"
    else:
        tables = list(package_tables(archive).values())
        of_events = any(t.kind == "Event" for t in tables)
    occurrences = next((t for t in tables if t.kind == "Occurrence"), None)
    if occurrences is None or not of_events:
        kinds = ", ".join(t.kind for t in tables) or "no table of Darwin Core"
        raise TableError(f"{path}: holds {kinds}; expected a core of Occurrence, or of Event with an extension of Occurrence.")
    # The Humboldt extension is of the kind Event, too: the core comes first.
    events = next(t for t in tables if t.kind == "Event")
    return Source(path, occurrences, events, tuple(t for t in tables if t is not events and t is not occurrences))


def read_statements(source: Source, report: Report) -> Statements:
    """What each event states of the completeness of its list."""
    out: Statements = {}
    for table in (source.places, *source.extensions):
        if table.has(HUMBOLDT_TERMS[0]):
            event = "eventID" if source.events is None else KEY
            for part in table.stream((*HUMBOLDT_TERMS, "eventID"), report):
                add_humboldt(out, part, event)
    targets, surveys = source.extension("SurveyTarget"), source.extension("Survey")
    if targets is not None and surveys is not None and surveys.has("surveyID"):
        event_of: dict[str, str] = {}
        for part in surveys.stream(("surveyID",), report):
            event_of |= dict(zip(part["surveyID"], part[KEY], strict=True))
        for part in targets.stream(TARGET_TERMS, report):
            for survey, kind, value, include, full in part[list(TARGET_TERMS)].itertuples(index=False):
                if word(kind) in ("taxon", "taxa", "taxonomicscope", "targettaxonomicscope") and word(include) != "exclude":
                    add_target(out, event_of.get(survey), truth(full), [str(value)])
    releves = source.extension("Releve")
    if releves is not None:  # a list of all plants of a plot, by what the word means
        for part in releves.stream((), report):
            for event in part[KEY].dropna():
                if event not in out:
                    add_target(out, event, True, ())
    return out


def accepted_names(source: Source, report: Report) -> pd.Series | None:
    """scientificName by occurrence, of a package that keeps identifications apart; None where there is no such table."""
    table = source.extension("Identification")
    if table is None:
        return None
    id_term = next(
        (t for t in ("basedOnOccurrenceID", "identificationBasedOnOccurrenceID", "occurrenceID") if table.has(t)), None
    )
    if id_term is None:
        return None
    parts = list(table.stream((id_term, "scientificName", "isAcceptedIdentification"), report))
    rows = pd.concat(parts, ignore_index=True).dropna(subset=id_term)
    is_rejected = rows["isAcceptedIdentification"].map(truth).eq(False)
    return rows[~is_rejected].drop_duplicates(id_term).set_index(id_term)["scientificName"]
