"""When two scientific names are the same: one spelling of each (see `scientific`), and a table of synonyms that the user gives.

Nothing is guessed: names that differ in a letter are two names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cube.config import Config
from cube.errors import TableError
from cube.records.report import Report
from cube.records.scientific import match_key, scientific_name
from cube.records.tables import read_table


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
