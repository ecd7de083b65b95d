"""Words of scientific names that are no epithets: ranks, groups, signs of doubt, authors, stand-ins for a missing name.

They stand in the table `name_words.yaml` beside this module, with the letters that are transcribed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cube.yaml_tables import yaml_table

_TABLE: Final[dict[str, Any]] = yaml_table(__file__, "name_words.yaml")


def _abbreviations(kind: str) -> Mapping[str, str]:
    """The abbreviation by each way of writing it."""
    return {spelling: abbreviation for abbreviation, words in _TABLE[kind].items() for spelling in words.split()}


RANKS, GROUPS, AGGREGATES = (_abbreviations(kind) for kind in ("ranks", "groups", "aggregates"))
OPEN, SPECIES_WORDS, NO_NAMES, AUTHOR_WORDS = (
    frozenset(_TABLE[kind].split()) for kind in ("open", "species_words", "no_names", "author_words")
)
NO_EPITHETS: Final = AUTHOR_WORDS | SPECIES_WORDS
LETTERS: Final[dict[str, str]] = _TABLE["letters"]
