"""Names of species beside each other: which are modelled, and which look like another one misspelt."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from cube.records.report import Report

ALIKE: Final = 0.85  # of the words that differ, by `difflib`: a letter or two
ACCOUNT: Final = "names of species"


def near_misses(counts: Mapping[str, int]) -> list[tuple[str, str]]:
    """(name, more frequent name that is spelt nearly alike) for names that share the genus or the epithet with the other.

    `counts` says how often each name is given.
    """
    sharing: dict[tuple[int, str], list[str]] = defaultdict(list)
    for name in counts:
        words = name.lower().split()
        if len(words) > 1:
            sharing[0, words[0]].append(name)
            sharing[1, " ".join(words[1:])].append(name)
    pairs = {}
    for (place, common_part), names in sharing.items():
        # What is left of a name without the words that all of these share.
        remainder = {
            name: name.lower()[len(common_part) :] if place == 0 else name.lower()[: -len(common_part)] for name in names
        }
        for count in {counts[name] for name in names}:
            commoner = {remainder[name].strip(): name for name in names if counts[name] > count}
            for name in names if commoner else ():
                if counts[name] == count and (close := difflib.get_close_matches(remainder[name].strip(), commoner, 1, ALIKE)):
                    pairs[name] = commoner[close[0]]
    return sorted(pairs.items())


def species_report(counts: Mapping[str, int], min_records: int) -> Report:
    """How many names are given `min_records` times or more, which are modelled, and which are nearly spelt like another one."""
    report = Report("species")
    report.count(ACCOUNT, len(counts))
    rare = sorted(name for name, count in counts.items() if count < min_records)
    report.use(ACCOUNT, len(counts) - len(rare))
    report.leave_out(ACCOUNT, f"given less than {min_records} times", rare)
    report.check()
    report.totals[f"species with {min_records} records or more"] = len(counts) - len(rare)
    pairs = [f"{name} ({counts[name]}): {commoner} ({counts[commoner]})" for name, commoner in near_misses(counts)]
    report.note("names that are nearly spelt like a more frequent one; correct the table where they are one species", pairs)
    if pairs:
        report.lists["names nearly spelt alike"] = pairs
    return report
