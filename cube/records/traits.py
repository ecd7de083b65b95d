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
from cube.records.names import Synonyms
from cube.records.numbers import parse_numbers, parse_presence
from cube.records.report import Report
from cube.records.scientific import match_key
from cube.records.tables import keep_where, read_table
from cube.yaml_tables import yaml_table

_TABLE: Final[dict[str, Any]] = yaml_table(__file__, "traits.yaml")
IUCN, IUCN_NAMES = _TABLE["iucn"], _TABLE["iucn_names"]
THREATENED: Final = ("CR", "EN", "VU")
INDICATOR_VALUES: Final[tuple[str, ...]] = tuple(_TABLE["indicator_values"])
TEXT_TRAITS, FLAG_TRAITS, NUMBER_TRAITS = (tuple(_TABLE[kind]) for kind in ("text", "flag", "number"))
NUMBER_TRAITS += tuple(f"ellenberg_{name}" for name in INDICATOR_VALUES)


def read_traits(config: Config, traits: Sequence[Trait], names: Sequence[str]) -> tuple[dict[str, Any], Report]:
    """Columns of the species table for `names`, in their order, and a report of how many each source knew.

    Text columns are '' and numbers NaN where nothing is known; flags are False. `iucn` is reduced to its category:
    `CR(PE)` and `critically endangered` are CR, `LC(NA)` LC. A species with an annex of the Habitats Directive is
    `protected`. A later table replaces what an earlier one knew, and leaves what it does not know; of several rows of a
    species the first that says something counts. Names match as `synonyms` says; the report lists all that a table does
    not know, what was matched otherwise than by the very name, and what could not be read.
    """
    columns: dict[str, Any] = {t: np.full(len(names), "", object) for t in TEXT_TRAITS}
    columns |= {t: np.zeros(len(names), bool) for t in FLAG_TRAITS}
    columns |= {t: np.full(len(names), np.nan, np.float32) for t in NUMBER_TRAITS}
    report = Report("traits", {"species": len(names)})
    synonyms = Synonyms.read(config)
    position = {synonyms.key(name): i for i, name in enumerate(names)}
    for k, trait in enumerate(traits):
        path = config.source_path(trait.table)
        table = read_table(path, [trait.name, *trait.where, *trait.columns.values()], encoding=trait.encoding)
        if trait.where and len(table):
            account, rows = f"rows of {trait.table}", len(table)
            report.count(account, rows)
            texts = table[trait.name].fillna("")
            table = keep_where(table, {k: (v,) for k, v in trait.where.items()}, texts, report, account)
            report.use(account, len(table))
            if table.empty:
                raise TableError(
                    f"{path}: none of its {rows:,} rows has what species.traits[{k}].where asks for; correct the value."
                )
        unknown = sorted(set(trait.columns) - set(columns))
        if unknown:
            raise TableError(
                f"{config.path}: species.traits[{k}].columns: '{unknown[0]}' is not a trait; known are {', '.join(columns)}."
            )
        matched_rows, at = _matched(table, trait, names, position, synonyms, report)
        if trait.flag:
            columns[trait.flag][at] = True
        for trait_column, column in trait.columns.items():
            values, valid = _trait_values(
                trait_column, matched_rows[column], matched_rows[trait.name], f"{path}: column '{column}'", report
            )
            several = pd.Series(values[valid]).groupby(at[valid]).nunique()
            report.note(
                f"species with several values of {trait_column} in {trait.table}, first used",
                [names[i] for i in several[several > 1].index],
            )
            columns[trait_column][at[valid][::-1]] = values[valid][::-1]  # the first row comes last, and stays
        present = np.zeros(len(names), bool)
        present[at] = True
        missing = [name for name, in_table in zip(names, present, strict=True) if not in_table]
        if not trait.flag:
            report.note(f"species that {trait.table} does not know", missing)
            report.lists[f"species that {trait.table} does not know"] = missing
        report.totals[f"in {trait.table}"] = int(present.sum())
    columns["protected"] |= columns["habitats_directive"] != ""
    return columns, report


def _matched(
    table: pd.DataFrame, trait: Trait, names: Sequence[str], position: Mapping[str, int], synonyms: Synonyms, report: Report
) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """(n,) rows of the species that the table knows, and which species each is of; rows of the very name replace synonyms."""
    keys = table[trait.name].map(synonyms.key, na_action="ignore")
    if trait.close:
        keys = keys.map(_spellings(keys, position), na_action="ignore")
    positions = keys.map(position)
    table, at = table[positions.notna()], np.asarray(positions.dropna(), np.int64)
    table_names = [str(name) for name in table[trait.name]]
    same = np.array([match_key(name) == match_key(names[i]) for name, i in zip(table_names, at, strict=True)], bool)
    order = np.argsort(~same, kind="stable")
    by_name = np.zeros(len(names), bool)
    by_name[at[same]] = True
    order = order[same[order] | ~by_name[at[order]]]
    first = order[np.sort(np.unique(at[order], return_index=True)[1])]
    by_synonym = [f"{table_names[row]} = {names[at[row]]}" for row in first if not same[row]]
    how = "a synonym or, as asked, a near spelling" if trait.close else "a synonym"
    report.note(f"names of {trait.table} matched by {how}", by_synonym)
    return table.iloc[order], at[order]


def _spellings(keys: pd.Series, position: Mapping[str, int]) -> Callable[[str], str]:
    """Keys by the nearest one (`difflib`, 0.92 or more alike) of a species that the table does not know by itself."""
    distinct_keys = set(keys.dropna())
    candidates: dict[str, list[str]] = {}  # by the letter that they begin with
    for key in sorted(distinct_keys - set(position)):
        candidates.setdefault(key[:1], []).append(key)
    near = {}
    for key in sorted(set(position) - distinct_keys):
        close = difflib.get_close_matches(key, candidates.get(key[:1], []), 1, 0.92)
        if close:
            near[close[0]] = key
    return lambda key: near.get(key, key)


def _trait_values(
    name: str, values: pd.Series, species: pd.Series, where: str, report: Report
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The values of a trait as they are stored, and where they are known; what cannot be read is noted by its species.

    Raises `TableError` for an invalid size of squares: it protects places of sensitive species.
    """
    has_value = values.notna().to_numpy(bool)
    out: NDArray[Any]
    if name in FLAG_TRAITS:
        numbers = parse_presence(values, where).to_numpy(np.float64)
        out, valid, expected = numbers > 0, np.isfinite(numbers), "neither yes nor no"
    elif name in NUMBER_TRAITS:
        out = parse_numbers(values, where).to_numpy(np.float32)
        valid, expected = np.isfinite(out), "no number"
        strange = values[has_value & ~((out >= 0) & (out % 1 == 0))]
        if name == "sensitive_km" and len(strange):
            raise TableError(
                f"{where}: '{strange.iloc[0]}' is no size of squares (sensitive_km); write 1 or 10 (km), or 0 for none."
            )
    elif name == "iucn":
        out = values.map(_category).to_numpy(object)
        valid, expected = out != "", f"none of the categories {', '.join(IUCN)}"
    else:
        out = values.astype("string").fillna("").str.strip().to_numpy(object)
        valid, expected = out != "", ""
    is_unreadable = has_value & ~valid
    if expected:
        examples = [f"{a}: {b}" for a, b in zip(species[is_unreadable], values[is_unreadable], strict=True)]
        report.note(f"values of {name} that are {expected}, taken as unknown", examples)
    return out, valid & has_value


def _category(status: Any) -> str:
    """The category of a code (`CR(PE)`, `vu`, `LR/nt`) or of its name; "" for none."""
    text = re.sub(r"[\W_]+", " ", str(status)).strip().upper()
    for name, code in IUCN_NAMES.items():
        if re.match(rf"{name}\b", text):
            return code
    word = text.removeprefix("LR ").split(" ")[0]
    return word if word in IUCN else ""


def traits_attributes() -> Mapping[str, Mapping[str, Any]]:
    """CF attributes of the columns of the species table: what each of them means."""
    columns = _TABLE["text"] | _TABLE["flag"] | _TABLE["number"]
    title = "Ellenberg-type indicator value of {}"
    indicators = {f"ellenberg_{name}": {"long_name": title.format(name), "units": "1"} for name in INDICATOR_VALUES}
    return {**columns, "iucn": columns["iucn"] | {"categories": " ".join(IUCN)}, **indicators}
