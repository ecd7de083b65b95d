"""Presence and absence as tables write them: 1 and 0, TRUE and FALSE, present and absent, counts."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from cube.records.numbers import parse_numbers

# Words of tables and of GBIF's parsers of occurrenceStatus, without blanks and underscores between them.
_PRESENT: Final = """
    true t yes y 1 + x p present presence detected observed found seen common rare abundant occasional frequent irregular
    presente présent vorhanden ja oui
"""
_ABSENT: Final = """
    false f no n 0 - . a absent absence undetected notdetected notobserved notpresent notfound nonobserved excluded extinct
    ausente assente absente abwesend nein non
"""
# Names of columns that may tell presence from absence.
_NAMES: Final = """
    presence present pres pa occ occurrence occurrencestatus presenceabsence presabs detected detection observed seen status
    abundance individualcount individuals count organismquantity cover coverage coverperc coverpercent percentcover
"""
PRESENT, ABSENT, NAMES = (frozenset(words.split()) for words in (_PRESENT, _ABSENT, _NAMES))


def parse_presence(column: pd.Series, where: str = "column") -> pd.Series:
    """1.0 where `column` says present or a number above zero, 0.0 where absent or zero; NaN where it says neither."""
    words = column.astype("string").str.strip().str.lower()
    numbers = parse_numbers(words, where)
    out = pd.Series(np.where(numbers.isna(), np.nan, (numbers > 0).astype(float)), index=column.index)
    out = out.mask(words.isin(PRESENT).fillna(False).astype(bool), 1.0)
    return out.mask(words.isin(ABSENT).fillna(False).astype(bool), 0.0)


def tells_absence(name: str, column: pd.Series, any_name: bool = False) -> bool:
    """Whether `column` has presences and absences and nothing else, and is called so (or `any_name`)."""
    is_status_name = "".join(c for c in name.lower() if c.isalnum()) in NAMES
    if not (is_status_name or any_name):
        return False
    values = column.dropna().drop_duplicates()
    if not is_status_name and len(values) > 2:
        return False
    presence = parse_presence(values)
    return bool(presence.notna().all() and (presence == 0).any() and (presence == 1).any())
