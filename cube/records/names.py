"""Scientific names of species, given as names or as numbers that a table names; their synonyms, and names nearly alike.

Two names are the same by one spelling of each (see `scientific`) and a table of synonyms that the user gives. Nothing is
guessed: names that differ in a letter are two names, and are only told.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pandas as pd

from cube.config import Config, SpeciesTable
from cube.errors import TableError
from cube.records.report import Report
from cube.records.scientific import match_key, scientific_name
from cube.records.tables import read_table

ALIKE: Final = 0.85  # of the words that differ, by `difflib`: a letter or two
ACCOUNT: Final = "names of species"


@dataclass(frozen=True)
class Synonyms:
    """Accepted names by the key of a synonym."""

    accepted_by_key: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, config: Config) -> Synonyms:
        """Those of `species.synonyms`; none where the configuration names no table.

        Raises `TableError` for a name with two accepted ones, and for names that lead to one another.
        """
        settings = config.species.synonyms
        if settings is None:
            return cls()
        path = config.source_path(settings.table)
        table = read_table(path, [settings.name, settings.accepted], encoding=settings.encoding).dropna()
        direct: dict[str, str] = {}
        for name, accepted_name in zip(table[settings.name], table[settings.accepted], strict=True):
            if match_key(name) == match_key(accepted_name):
                continue
            accepted_before = direct.setdefault(match_key(name), scientific_name(accepted_name).canonical)
            if match_key(accepted_before) != match_key(accepted_name):
                raise TableError(
                    f"{path}: '{name}' is a synonym of both '{accepted_before}' and '{accepted_name}'; keep one of the rows."
                )
        return cls({key: _follow(key, direct, path) for key in direct})

    def knows(self, name: str) -> bool:
        """Whether `name` is a synonym."""
        return match_key(name) in self.accepted_by_key

    def resolve(self, name: str) -> str:
        """The accepted name of a synonym; any other name in its one spelling."""
        return self.accepted_by_key.get(match_key(name)) or scientific_name(name).canonical

    def key(self, name: str) -> str:
        """What a name is matched by: the key of its accepted name."""
        return match_key(self.resolve(name))

    def note(self, report: Report, names: list[str]) -> None:
        """Say in `report` which of `names` are synonyms."""
        report.note("names resolved as synonyms", [f"{n} = {self.resolve(n)}" for n in names if self.knows(n)])


def _follow(key: str, direct: Mapping[str, str], path: str) -> str:
    """The name at the end of a chain of synonyms."""
    chain, name = [key], direct[key]
    while (following := match_key(name)) in direct:
        if following in chain:
            raise TableError(f"{path}: '{name}' is a synonym of itself by way of {len(chain)} rows; remove one of them.")
        chain.append(following)
        name = direct[following]
    return name


class SpeciesNames:
    """Names of the species of rows; the table of numbered species is read once, when a number is first met."""

    def __init__(self, config: Config, table: SpeciesTable | None, numbers_suffice: bool = False) -> None:
        """Name numbers by `table`; without one they are an error, or named `species 6118` if `numbers_suffice`."""
        self._config, self._table, self._numbers_suffice = config, table, numbers_suffice
        self._lookup: dict[int, str] | None = None
        self._synonyms = Synonyms.read(config)
        self._cached_names: dict[str, str | None] = {}  # by the name as it is written; records come in many pieces

    def of_rows(self, rows: pd.DataFrame, report: Report) -> pd.Series:
        """Accepted names by `rows` (column name or species_id), missing where there is none; numbers without one are noted.

        Raises `TableError` where rows are numbered and no table names them.
        """
        if "name" in rows:
            return self._of_names(rows["name"], report)
        # GeoPlant stores ids as floats.
        ids = pd.to_numeric(rows["species_id"], errors="coerce")
        lookup = self._names()
        if lookup is None:
            return ids.map(lambda i: f"species {int(i)}", na_action="ignore")
        names = ids.map(lambda i: lookup.get(int(i)), na_action="ignore")
        unknown = ids[ids.notna() & names.isna()].astype(int)
        report.note("occurrences of a species id without a name, skipped", sorted(set(unknown.astype(str))))
        return names

    def _of_names(self, names: pd.Series, report: Report) -> pd.Series:
        codes, different = pd.factorize(names)
        texts = [str(name) for name in different]
        accepted_names: list[str | None] = []
        rewritten, nameless = [], []
        for name in texts:
            if name not in self._cached_names:
                canonical = self._synonyms.resolve(name)
                self._cached_names[name] = canonical if scientific_name(canonical).names_a_taxon else None
            accepted_names.append(self._cached_names[name])
            if accepted_names[-1] is None:
                nameless.append(name)
            elif accepted_names[-1] != " ".join(name.split()) and not self._synonyms.knows(name):
                rewritten.append(f"{name} = {accepted_names[-1]}")
        self._synonyms.note(report, texts)
        report.note("names written in another way than here", rewritten)
        none = np.array([name is None for name in accepted_names] + [False])
        report.note(
            "rows of a name that is of no species (a genus, a family, sp., cf.; species.synonyms may name it)",
            nameless,
            int(none[codes].sum()),
        )
        return pd.Series(np.array([*accepted_names, None], object)[codes], index=names.index)

    def _names(self) -> dict[int, str] | None:
        if self._lookup is None:
            if self._table is None:
                if self._numbers_suffice:
                    return None
                raise TableError(f"{self._config.path}: species.table is missing; it names the species ids of the table.")
            t = self._table
            table = read_table(self._config.source_path(t.table), [t.id, t.name], [t.id], encoding=t.encoding).dropna()
            canonical = ((int(i), self._synonyms.resolve(n)) for i, n in zip(table[t.id], table[t.name], strict=True))
            self._lookup = {i: name for i, name in canonical if scientific_name(name).names_a_taxon}
        return self._lookup


def near_misses(counts: Mapping[str, int]) -> list[tuple[str, str]]:
    """(name, more frequent name that is spelt nearly alike) for names that share the genus or the epithet with the other.

    `counts` says how often each name is given.
    """
    sharing: dict[tuple[int, str], list[str]] = defaultdict(list)
    for name in counts:
        words = name.lower().split()
        if len(words) > 1:
            sharing[0, words[0]].append(name)
            sharing[1, " ".join(words[1:])].append(name)
    pairs = {}
    for (place, common_part), names in sharing.items():
        # What is left of a name without the words that all of these share.
        remainder = {
            name: name.lower()[len(common_part) :] if place == 0 else name.lower()[: -len(common_part)] for name in names
        }
        for count in {counts[name] for name in names}:
            commoner = {remainder[name].strip(): name for name in names if counts[name] > count}
            for name in names if commoner else ():
                if counts[name] == count and (close := difflib.get_close_matches(remainder[name].strip(), commoner, 1, ALIKE)):
                    pairs[name] = commoner[close[0]]
    return sorted(pairs.items())


def species_report(counts: Mapping[str, int], min_records: int) -> Report:
    """How many names are given `min_records` times or more, which are modelled, and which are nearly spelt like another one."""
    report = Report("species")
    report.count(ACCOUNT, len(counts))
    rare = sorted(name for name, count in counts.items() if count < min_records)
    report.use(ACCOUNT, len(counts) - len(rare))
    report.leave_out(ACCOUNT, f"given less than {min_records} times", rare)
    report.check()
    report.totals[f"species with {min_records} records or more"] = len(counts) - len(rare)
    pairs = [f"{name} ({counts[name]}): {commoner} ({counts[commoner]})" for name, commoner in near_misses(counts)]
    report.note("names that are nearly spelt like a more frequent one; correct the table where they are one species", pairs)
    if pairs:
        report.lists["names nearly spelt alike"] = pairs
    return report
