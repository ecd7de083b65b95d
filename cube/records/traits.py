"""What is known of species: names, categories, flags and indicator values, matched by scientific name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cube.config import Config, Trait
from cube.errors import TableError
from cube.records.synonyms import Synonyms, match_key
from cube.records.tables import Report, read_table

IUCN: Final = ("EX", "RE", "CR", "EN", "VU", "NT", "LC", "DD", "NE")
THREATENED: Final = ("CR", "EN", "VU")
TEXT_TRAITS: Final = ("vernacular_name", "family", "iucn", "growth_form", "habitats_directive")
FLAG_TRAITS: Final = ("invasive", "protected", "endemic")
INDICATOR_VALUES: Final = ("light", "temperature", "moisture", "reaction", "nutrients")
NUMBER_TRAITS: Final = ("sensitive_km", *(f"ellenberg_{name}" for name in INDICATOR_VALUES))


def read_traits(config: Config, traits: Sequence[Trait], names: Sequence[str]) -> tuple[dict[str, Any], Report]:
    """Columns of the species table for `names`, in their order, and a report of how many each source knew.

    Text columns are '' and numbers NaN where nothing is known; flags are False. `iucn` is reduced to its category:
    `CR(PE)` is CR, `LC(NA)` LC. A species with an annex of the Habitats Directive is `protected`. A later table replaces
    what an earlier one knew, and leaves what it does not know. Names match as `synonyms` says; the report lists all that
    a table does not know, and what was matched otherwise than by the very name.
    """
    columns: dict[str, Any] = {t: np.full(len(names), "", object) for t in TEXT_TRAITS}
    columns |= {t: np.zeros(len(names), bool) for t in FLAG_TRAITS}
    columns |= {t: np.full(len(names), np.nan, np.float32) for t in NUMBER_TRAITS}
    report = Report("traits", {"species": len(names)})
    synonyms = Synonyms.read(config)
    position = {synonyms.key(name): i for i, name in enumerate(names)}
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
        matched, at = _matched(table, trait, names, position, synonyms, report)
        if trait.flag:
            columns[trait.flag][at] = True
        for ours, theirs in trait.columns.items():
            values, known = _trait_values(ours, matched[theirs])
            columns[ours][at[known]] = values[known]
        missing = [name for i, name in enumerate(names) if i not in set(at.tolist())]
        if not trait.flag:
            report.note(f"species that {trait.table} does not know", missing)
            report.lists[f"species that {trait.table} does not know"] = missing
        report.kept[f"in {trait.table}"] = len(at)
    columns["protected"] |= columns["habitats_directive"] != ""
    return columns, report


def _matched(
    table: pd.DataFrame, trait: Trait, names: Sequence[str], position: Mapping[str, int], synonyms: Synonyms, report: Report
) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """One row of the table for each species that it knows, and which species that is; a row of the very name comes first."""
    given = table[trait.name].astype("string")
    keys = given.map(synonyms.key, na_action="ignore")
    if trait.close:
        keys = keys.map(_spellings(keys, position), na_action="ignore")
    at = keys.map(position)
    rows = table[at.notna()]
    at = at[at.notna()].astype(int)
    own = pd.Series([match_key(given[i]) == match_key(names[at[i]]) for i in rows.index], index=rows.index, dtype=bool)
    order = own.sort_values(ascending=False, kind="stable").index
    first = at[order].drop_duplicates()
    by_synonym = [f"{given[i]} = {names[at[i]]}" for i in first.index if not own[i]]
    how = "a synonym or, as asked, a near spelling" if trait.close else "a synonym"
    report.note(f"names of {trait.table} matched by {how}", by_synonym)
    return rows.loc[first.index], np.asarray(first, np.int64)


def _spellings(keys: pd.Series, position: Mapping[str, int]) -> Callable[[str], str]:
    """Keys by the nearest one (`difflib`, 0.92 or more alike) of a species that the table does not know by itself."""
    held = set(keys.dropna())
    near = {}
    for key in sorted(set(position) - held):
        found = difflib.get_close_matches(key, [k for k in held if k[:1] == key[:1] and k not in position], 1, 0.92)
        if found:
            near[found[0]] = key
    return lambda key: near.get(key, key)


def _trait_values(name: str, values: pd.Series) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The values of a trait as they are stored, and where they are known."""
    known = values.notna().to_numpy(bool)
    if name in FLAG_TRAITS:
        return pd.to_numeric(values, errors="coerce").fillna(0).to_numpy() > 0, known
    if name in NUMBER_TRAITS:
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(np.float32)
        return numbers, np.isfinite(numbers)
    texts = (values.map(_category) if name == "iucn" else values.astype("string").fillna("").str.strip()).to_numpy(object)
    return texts, known & (texts != "")


def _category(status: Any) -> str:
    match = re.match(r"[A-Z]{2}", str(status))
    return match[0] if match and match[0] in IUCN else ""


def traits_attributes() -> Mapping[str, Mapping[str, Any]]:
    """CF attributes of the columns of the species table: what each of them means."""
    return {
        "vernacular_name": {"long_name": "Vernacular name"},
        "family": {"long_name": "Family"},
        "growth_form": {"long_name": "Growth form, in the words of its source"},
        "iucn": {"long_name": "Red List category", "references": "IUCN Red List Categories and Criteria 3.1",
                 "categories": " ".join(IUCN)},
        "habitats_directive": {"long_name": "Annexes of the Habitats Directive (92/43/EEC) that list it, such as `II, IV`"},
        "invasive": {"long_name": "Invasive alien species of Union concern (Regulation (EU) 1143/2014)"},
        "protected": {"long_name": "Listed by the Habitats Directive (92/43/EEC)"},
        "endemic": {"long_name": "Endemic, as its source understands the word"},
        "sensitive_km": {"long_name": "Published no finer than squares of this size", "units": "km"},
        **{f"ellenberg_{name}": {"long_name": f"Ellenberg-type indicator value of {name}", "units": "1"}
           for name in INDICATOR_VALUES},
    }  # fmt: skip
