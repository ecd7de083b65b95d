"""Words of Darwin Core: what is a presence, what is a plot's area, what is a cover, what is true.

Vocabularies: Darwin Core quick reference guide, https://dwc.tdwg.org/terms/; GBIF's parsers of occurrenceStatus.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cube.records.numbers import ABSENT, PRESENT, clean_number, read_number

STATUS_TERMS: Final = ("occurrenceStatus", "basisOfRecord", "individualCount", "organismQuantity")

NO: Final = {word for word in ABSENT if word.isalpha()}  # in a column of presences
NOT_WILD: Final = frozenset(("fossilspecimen", "livingspecimen"))  # dead long ago, or planted in a garden

STATED_ABSENT: Final = "occurrences that say absent"
COUNT_OF_ZERO: Final = "occurrences with a count or quantity of zero"
UNKNOWN_STATUS: Final = "occurrences with a status that is neither present nor absent"
FOSSIL_OR_LIVING: Final = "fossils and living collections"

_AREAS: Final = {"m": 1.0, "km": 1e6, "dm": 1e-2, "cm": 1e-4, "hm": 1e4}
_UNITS: Final = {"ha": 1e4, "hectare": 1e4, "hectares": 1e4, "a": 100.0, "are": 100.0, "ares": 100.0, "sqm": 1.0, "qm": 1.0}
_PREFIXES: Final = {"": "m", "k": "km", "kilo": "km", "d": "dm", "deci": "dm", "c": "cm", "centi": "cm", "h": "hm", "hecto": "hm"}
_SQUARE: Final = re.compile(r"(?:square|sq)(kilo|deci|centi|hecto|[kdch]|)(?:met(?:re|er)s?|m)")
_SQUARED: Final = re.compile(r"(kilo|deci|centi|hecto|)met(?:re|er)s?(?:squared?|2)")
_PERCENT: Final = re.compile(r"%|per ?cent|^cover(age)?$", re.IGNORECASE)
_SCALE: Final = re.compile(r"scale|class|blanquet|domin|londo|barkman|segal|maarel|ordinal|code", re.IGNORECASE)


def word(value: object) -> str:
    """Letters and digits of a term or a word of a vocabulary, in lower case: `HUMAN_OBSERVATION` is humanobservation."""
    return re.sub(r"[\W_]+", "", str(value)).casefold()


def not_a_presence(rows: pd.DataFrame, counts: Sequence[str] = (), statuses: Sequence[str] = ()) -> pd.Series:
    """The reason why a row is no plant that grew there, "" where it is one; `rows` may have any of `STATUS_TERMS`.

    A missing status is a presence, and a count of zero an absence, whatever its status says; `counts` are further columns
    of counts, `statuses` further columns of counts or words such as FALSE and absent.
    """
    out = pd.Series("", index=rows.index, dtype=object)
    if "basisOfRecord" in rows:
        out[_words(rows["basisOfRecord"]).isin(NOT_WILD)] = FOSSIL_OR_LIVING
    for term in ("individualCount", "organismQuantity", *counts, *statuses):
        if term in rows:
            out[_each(rows[term], _is_zero)] = COUNT_OF_ZERO
    for term in statuses:
        out[_each(rows[term], lambda value: word(value) in NO)] = STATED_ABSENT
    if "occurrenceStatus" in rows:
        status = _words(rows["occurrenceStatus"])
        out[~status.isin(PRESENT | ABSENT | {""})] = UNKNOWN_STATUS
        out[status.isin(ABSENT)] = STATED_ABSENT
    return out


def _is_zero(value: object) -> bool:
    return read_number(clean_number(str(value))) == 0


def _each(values: pd.Series, test: Callable[[object], bool]) -> NDArray[np.bool_]:
    """Where a test is true, False for missing cells; a column has far fewer values than rows."""
    return np.asarray(values.map({value: test(value) for value in values.dropna().unique()}).eq(True))


def _words(values: pd.Series) -> pd.Series:
    """`word` of each value, "" where there is none."""
    return values.map({value: word(value) for value in values.dropna().unique()}).fillna("")


def square_metres(unit: object) -> float | None:
    """Square metres in one unit of area: `m²`, `square metre`, `m^2`, `ha`; None where the text is no unit of area."""
    text = word(str(unit).replace("²", "2"))
    if match := _SQUARE.fullmatch(text) or _SQUARED.fullmatch(text):
        return _AREAS[_PREFIXES[match[1]]]
    if text.endswith("2") and text[:-1] in _AREAS:
        return _AREAS[text[:-1]]
    return _UNITS.get(text)


def is_percent(quantity_type: object) -> bool:
    """Whether an organismQuantityType says percent cover; a scale such as Braun-Blanquet's or Londo's does not."""
    text = str(quantity_type)
    return bool(_PERCENT.search(text.strip())) and not _SCALE.search(text)


def truth(value: object) -> bool | None:
    """True or false as text; None where it is neither."""
    text = word(value)
    if text in ("true", "t", "yes", "y", "1"):
        return True
    return False if text in ("false", "f", "no", "n", "0") else None
