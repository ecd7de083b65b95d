"""EUNIS as data: classes of levels 3, 2 and 1 from their codes, and from the table of all versions that is published.

Pl@ntBERT names a coastal saltmarsh by one letter more (`MA221`) than a terrestrial class (`T17`): both are its level 3, and a
level up is a code with one character less.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pandas as pd

TERRESTRIAL: Final = "EUNIS_T_2021"
MARINE: Final = "EUNIS_M_2022"
SALTMARSH: Final = "MA2"
COLUMNS: Final = ("classification", "version", "level", "code", "name")


def eunis_rows(codes: Sequence[str], names: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """Rows code, name, level, parent of level 3 `codes` and of all above them."""
    rows: dict[str, dict[str, Any]] = {}
    for code in codes:
        for depth, (code_at_depth, parent) in enumerate(((code, code[:-1]), (code[:-1], code[:-2]), (code[:-2], ""))):
            rows[code_at_depth] = {
                "code": code_at_depth,
                "name": (names or {}).get(code_at_depth, code_at_depth),
                "level": f"level{3 - depth}",
                "parent": parent,
            }
    return list(rows.values())


def is_published(table: pd.DataFrame) -> bool:
    """Whether a table has the columns of the published one, `eunis_habitats.csv` (R package eunis.habitats, CC0)."""
    return set(COLUMNS) <= set(table.columns)


def published_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of EUNIS 2021 (terrestrial) and of the saltmarshes of EUNIS 2022 (marine) from the published table, as strings.

    That table has neither codes nor names of the man-made habitats (V): who maps them adds rows of their own.
    """
    land = (table["classification"] == TERRESTRIAL) & (table["code"].str.len() == 3)
    marsh = (table["classification"] == MARINE) & table["code"].str.startswith(SALTMARSH) & (table["code"].str.len() == 5)
    current = table["classification"].isin([TERRESTRIAL, MARINE]) & (table["code"] != "")
    names = dict(zip(table["code"][current], table["name"][current].str.strip(), strict=True))
    return eunis_rows(sorted(set(table["code"][land | marsh])), names)
