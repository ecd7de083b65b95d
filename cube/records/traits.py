"""What is known of species: names, categories, flags and indicator values, matched by exact scientific name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from cube.config import Config, Trait
from cube.errors import TableError
from cube.records.tables import Report, normal_name, read_table

IUCN: Final = ("EX", "RE", "CR", "EN", "VU", "NT", "LC", "DD", "NE")
THREATENED: Final = ("CR", "EN", "VU")
TEXT_TRAITS: Final = ("vernacular_name", "family", "iucn", "growth_form")
FLAG_TRAITS: Final = ("invasive", "protected", "endemic")
INDICATOR_VALUES: Final = ("light", "temperature", "moisture", "reaction", "nutrients")
NUMBER_TRAITS: Final = ("sensitive_km", *(f"ellenberg_{name}" for name in INDICATOR_VALUES))


def read_traits(config: Config, traits: Sequence[Trait], names: Sequence[str]) -> tuple[dict[str, Any], Report]:
    """Columns of the species table for `names`, in their order, and a report of how many each source knew.

    Text columns are '' and numbers NaN where nothing is known; flags are False. `iucn` is reduced to its category:
    `CR(PE)` is CR, `LC(NA)` LC.
    """
    columns: dict[str, Any] = {t: np.full(len(names), "", object) for t in TEXT_TRAITS}
    columns |= {t: np.zeros(len(names), bool) for t in FLAG_TRAITS}
    columns |= {t: np.full(len(names), np.nan, np.float32) for t in NUMBER_TRAITS}
    report = Report("traits", {"species": len(names)})
    position = {normal_name(name): i for i, name in enumerate(names)}
    for k, trait in enumerate(traits):
        path = config.source_path(trait.table)
        table = read_table(path, [trait.name, *trait.where, *trait.columns.values()])
        for column, value in trait.where.items():
            table = table[table[column].astype(str) == value]
        unknown = sorted(set(trait.columns) - set(columns))
        if unknown:
            raise TableError(
                f"{config.path}: species.traits[{k}].columns: '{unknown[0]}' is not a trait; known are {', '.join(columns)}."
            )
        rows = table[trait.name].astype("string").map(normal_name, na_action="ignore").map(position)
        matched = table[rows.notna()].drop_duplicates(trait.name)
        at = rows[matched.index].astype(int).to_numpy()
        if trait.flag:
            columns[trait.flag][at] = True
        for ours, theirs in trait.columns.items():
            columns[ours][at] = _trait_values(ours, matched[theirs])
        missing = [name for i, name in enumerate(names) if i not in set(at.tolist())]
        if not trait.flag:
            report.note(f"species that {trait.table} does not know", missing)
        report.kept[f"in {trait.table}"] = len(set(at.tolist()))
    return columns, report


def _trait_values(name: str, values: pd.Series) -> Any:
    if name == "iucn":
        return values.map(_category).to_numpy(object)
    if name in FLAG_TRAITS:
        return pd.to_numeric(values, errors="coerce").fillna(0).to_numpy() > 0
    if name in NUMBER_TRAITS:
        return pd.to_numeric(values, errors="coerce").to_numpy(np.float32)
    return values.astype("string").fillna("").to_numpy(object)


def _category(status: Any) -> str:
    match = re.match(r"[A-Z]{2}", str(status))
    return match[0] if match and match[0] in IUCN else ""


def traits_attributes() -> Mapping[str, Mapping[str, Any]]:
    """CF attributes of the columns of the species table."""
    return {
        "iucn": {"long_name": "Red List category", "references": "IUCN Red List Categories and Criteria 3.1"},
        "invasive": {"long_name": "Invasive alien species of Union concern (Regulation (EU) 1143/2014)"},
        "protected": {"long_name": "Listed by the Habitats Directive (92/43/EEC)"},
        "endemic": {"long_name": "Endemic"},
        "sensitive_km": {"long_name": "Published no finer than squares of this size", "units": "km"},
    }
