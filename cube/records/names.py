"""Scientific names of species, given as names or as numbers that a table names."""

from __future__ import annotations

import pandas as pd

from cube.config import Config, SpeciesTable
from cube.errors import TableError
from cube.records.synonyms import Synonyms
from cube.records.tables import Report, read_table


class SpeciesNames:
    """Names of the species of rows; the table of numbered species is read once, when a number is first met."""

    def __init__(self, config: Config, table: SpeciesTable | None, numbers_suffice: bool = False) -> None:
        """Name numbers by `table`; without one they are an error, or named `species 6118` if `numbers_suffice`."""
        self._config, self._table, self._numbers_suffice = config, table, numbers_suffice
        self._lookup: dict[int, str] | None = None
        self._synonyms = Synonyms.read(config)

    def of(self, rows: pd.DataFrame, report: Report) -> pd.Series:
        """Accepted names by `rows` (column name or species_id), missing where there is none; numbers without one are noted.

        Raises `TableError` where rows are numbered and no table names them.
        """
        if "name" in rows:
            names = rows["name"].astype("string")
            held = [str(name) for name in names.dropna().unique()]
            self._synonyms.note(report, held)
            accepted = {name: self._synonyms.resolve(name) for name in held}
            return names.map(accepted.get, na_action="ignore")
        # GeoPlant stores ids as floats.
        ids = pd.to_numeric(rows["species_id"], errors="coerce")
        lookup = self._names()
        if lookup is None:
            return ids.map(lambda i: f"species {int(i)}", na_action="ignore")
        names = ids.map(lambda i: lookup.get(int(i)), na_action="ignore")
        unknown = ids[ids.notna() & names.isna()].astype(int)
        report.note("occurrences of a species id without a name, skipped", sorted(set(unknown.astype(str))))
        return names

    def _names(self) -> dict[int, str] | None:
        if self._lookup is None:
            if self._table is None:
                if self._numbers_suffice:
                    return None
                raise TableError(f"{self._config.path}: species.table is missing; it names the species ids of the table.")
            t = self._table
            table = read_table(self._config.source_path(t.table), [t.id, t.name])
            self._lookup = {int(i): self._synonyms.resolve(n) for i, n in zip(table[t.id], table[t.name], strict=True)}
        return self._lookup
