"""Which sampling events state a complete list, and of what: the Humboldt extension, survey targets, relevés.

What a complete list does not name was not there; of other events nobody knows. Terms: https://eco.tdwg.org/terms/
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import pandas as pd

from cube.records.darwincore.vocabulary import truth, word

HUMBOLDT_TERMS: Final = ("isTaxonomicScopeFullyReported", "targetTaxonomicScope")
TARGET_TERMS: Final = ("surveyID", "surveyTargetType", "surveyTargetValue", "includeOrExclude", "isSurveyTargetFullyReported")

EVERY_PLANT: Final = frozenset(
    (  # scopes that leave out no vascular plant
        "",
        "plantae",
        "plants",
        "plant",
        "planta",
        "viridiplantae",
        "archaeplastida",
        "embryophyta",
        "embryophytes",
        "landplants",
        "tracheophyta",
        "tracheophytes",
        "vascularplants",
        "vascularplant",
        "tracheobionta",
        "spermatophyta",
        "higherplants",
        "flora",
        "all",
        "alltaxa",
        "biota",
        "vegetation",
    )
)
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
