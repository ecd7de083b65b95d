"""Scientific names of species, given as names or as numbers that a table names."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cube.config import Config, SpeciesTable
from cube.errors import TableError
from cube.records.report import Report
from cube.records.scientific import scientific_name
from cube.records.synonyms import Synonyms
from cube.records.tables import read_table


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
