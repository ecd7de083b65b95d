"""What a rule of the data model is, and a place that breaks it; the registry of rules, and the run that checks them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cube.check.inspection import Inspection
from cube.check.receipts import warning_of
from cube.errors import FloracubeError
from cube.storage.store import open_cube
from cube.storage.whole_shards import with_metadata_once

MAX_FINDINGS: Final = 1000  # findings that are listed of one rule: a cube that is wrong everywhere is wrong in one way
MAX_SENTENCES: Final = 5  # of them for a person


@dataclass(frozen=True)
class Finding:
    """One place where a rule is broken: what should be there, what is, and what to do."""

    path: str
    expected: str
    found: str
    fix: str

    def sentence(self) -> str:
        """The finding for a person."""
        return f"{self.path}: expected {self.expected}, found {self.found}; {self.fix}"


def wrong_cells(location: str, wrong: NDArray[np.bool_], expected: str, problem: str, fix: str) -> Iterator[Finding]:
    """A finding where some cells are `wrong`; `problem` says behind their number what they are."""
    if wrong.any():
        yield Finding(location, expected, f"{int(wrong.sum())} {problem}", fix)


Check = Callable[[Inspection], Iterator[Finding]]


@dataclass(frozen=True)
class Rule:
    """A rule of the data model: the function's name, its docstring as the sentence, and the findings that it yields."""

    check: Check
    reads_values: bool  # which takes as long as reading the cube

    @property
    def name(self) -> str:
        """The function's own name."""
        return self.check.__name__

    @property
    def sentence(self) -> str:
        """The rule in words, which is the function's docstring."""
        return str(self.check.__doc__)


RULES: Final[dict[str, Rule]] = {}


def rule(function: Check) -> Check:
    """Register the check of a rule that metadata and receipts answer; its docstring is the rule."""
    RULES[function.__name__] = Rule(function, reads_values=False)
    return function


def rule_of_values(function: Check) -> Check:
    """Register the check of a rule that only the values answer; its docstring is the rule."""
    RULES[function.__name__] = Rule(function, reads_values=True)
    return function


def registered() -> dict[str, Rule]:
    """Every rule by name, in the order of checking."""
    # Imported here: each of these rooms registers its own.
    from cube.check import completeness, meaning, metadata, predictions, values  # noqa: F401

    return RULES


def check(url: str, values: bool = False) -> dict[str, Any]:
    """Check every rule on the cube at `url`; those that read values only if `values`. Raises `CubeError` without a cube."""
    return inspect(Inspection(with_metadata_once(open_cube(url))), values)


def inspect(inspection: Inspection, values: bool = False) -> dict[str, Any]:
    """Check every rule on what an inspection looks at.

    The answer is `{"cube", "kept", "promises": [{"name", "sentence", "kept", "findings"}], "warnings", "coverage"}`; `kept` of
    a rule is None where it was not asked. A warning is a sentence on values that keep the rules and are limited all the same;
    `coverage` has what became of the pixels of each input.
    """
    from cube.check.completeness import coverages

    rows = []
    for rule_ in registered().values():
        applies = values or not rule_.reads_values
        findings = list(islice(_findings(rule_, inspection), MAX_FINDINGS)) if applies else []
        rows.append(
            {
                "name": rule_.name,
                "sentence": rule_.sentence,
                "kept": not findings if applies else None,
                "findings": [asdict(finding) for finding in findings],
            }
        )
    return {
        "cube": inspection.cube.url,
        "kept": all(row["kept"] is not False for row in rows),
        "promises": rows,
        "warnings": list(_warnings(inspection)),
        "coverage": [row.document() | {"line": row.line()} for row in coverages(inspection)],
    }


def _warnings(inspection: Inspection) -> Iterator[str]:
    """A sentence for each version of the species with many values cut."""
    for progress in inspection.changed_stages:
        shares = inspection.receipts[progress.stage.path].cut_values.shares()
        if "species" in progress.stage.layers and (warning := warning_of(shares)):
            yield f"species {progress.stage.path.removeprefix('predict/')}: {warning}"


def _findings(rule_: Rule, inspection: Inspection) -> Iterator[Finding]:
    try:
        yield from rule_.check(inspection)
    # RuntimeError and ValueError are how codecs refuse a damaged shard, the last three how damaged metadata end.
    except (FloracubeError, OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        yield Finding(
            inspection.cube.url, "something that can be read", f"an error ({error})", "fix that first, then check again"
        )


def text(document: dict[str, Any]) -> str:
    """The answer for a person: a line a rule, a sentence a finding."""
    words = {True: "kept  ", False: "BROKEN", None: "unread"}
    lines = []
    for row in document["promises"]:
        lines.append(f"{words[row['kept']]}  {row['name']}: {row['sentence']}")
        findings = [Finding(**finding).sentence() for finding in row["findings"]]
        lines += [f"          {sentence}" for sentence in findings[:MAX_SENTENCES]]
        if len(findings) > MAX_SENTENCES:
            lines.append(f"          ... and {len(findings) - MAX_SENTENCES} more of the kind (--json lists them)")
    lines += [f"WARNED  {sentence}" for sentence in document.get("warnings", [])]
    lines += [row["line"] for row in document["coverage"]]
    n_broken = sum(row["kept"] is False for row in document["promises"])
    n_checked = sum(row["kept"] is not None for row in document["promises"])
    n_skipped = len(document["promises"]) - n_checked
    lines.append(
        f"{document['cube']}: {n_checked - n_broken} of {n_checked} rules are kept"
        + (f"; {n_skipped} more read the values, ask for them with --values." if n_skipped else ".")
    )
    return "\n".join(lines)
