"""What a promise and a broken one are, the registry of promises, and the run that asks them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Final

from cube.check.house import House
from cube.errors import FloracubeError
from cube.storage.store import open_cube

MOST: Final = 1000  # findings that are kept of one promise: a cube that is wrong everywhere is wrong in one way
SHOWN: Final = 5  # of them for a person


@dataclass(frozen=True)
class Finding:
    """One place where a promise is broken: what should be there, what is, and what to do."""

    path: str
    expected: str
    found: str
    mend: str

    def sentence(self) -> str:
        """The finding for a person."""
        return f"{self.path}: expected {self.expected}, found {self.found}; {self.mend}"


Ask = Callable[[House], Iterator[Finding]]


@dataclass(frozen=True)
class Promise:
    """A promise of the data model and the function that looks whether it is kept."""

    ask: Ask
    reads_values: bool  # which takes as long as reading the cube

    @property
    def name(self) -> str:
        """The function's own name."""
        return self.ask.__name__

    @property
    def sentence(self) -> str:
        """The promise itself, which is the function's docstring."""
        return str(self.ask.__doc__)


PROMISES: Final[dict[str, Promise]] = {}


def promise(ask: Ask) -> Ask:
    """Register the check of a promise that metadata and receipts answer; its docstring is the promise."""
    PROMISES[ask.__name__] = Promise(ask, reads_values=False)
    return ask


def promise_of_values(ask: Ask) -> Ask:
    """Register the check of a promise that only the values answer; its docstring is the promise."""
    PROMISES[ask.__name__] = Promise(ask, reads_values=True)
    return ask


def registered() -> dict[str, Promise]:
    """Every promise by name, in the order of asking."""
    # Imported here: each of these rooms registers its own.
    from cube.check import completeness, documents, layout, meaning, predictions, values  # noqa: F401

    return PROMISES


def check(url: str, values: bool = False, release: str | None = None) -> dict[str, Any]:
    """Ask every promise of the cube at `url`; those that read values only if `values`. Raises `CubeError` without a cube.

    With a `release`, of the products only what it names is asked: other versions may be in the making.

    The answer is `{"cube", "kept", "promises": [{"name", "sentence", "kept", "findings"}]}`; `kept` of a promise is None
    where it was not asked.
    """
    house = House(open_cube(url), release)
    rows = []
    for one in registered().values():
        asked = values or not one.reads_values
        findings = list(islice(_ask(one, house), MOST)) if asked else []
        rows.append({"name": one.name, "sentence": one.sentence, "kept": not findings if asked else None,
                     "findings": [asdict(finding) for finding in findings]})  # fmt: skip
    return {"cube": house.cube.url, "kept": all(row["kept"] is not False for row in rows), "promises": rows}


def _ask(one: Promise, house: House) -> Iterator[Finding]:
    try:
        yield from one.ask(house)
    except (FloracubeError, OSError, RuntimeError, ValueError) as error:  # the last two are how codecs refuse a damaged shard
        yield Finding(house.cube.url, "something that can be read", f"an error ({error})", "mend that first, then check again")


def text(document: dict[str, Any]) -> str:
    """The answer for a person: a line a promise, a sentence a finding."""
    words = {True: "kept  ", False: "BROKEN", None: "unread"}
    lines = []
    for row in document["promises"]:
        lines.append(f"{words[row['kept']]}  {row['name']}: {row['sentence']}")
        findings = [Finding(**finding).sentence() for finding in row["findings"]]
        lines += [f"          {sentence}" for sentence in findings[:SHOWN]]
        if len(findings) > SHOWN:
            lines.append(f"          ... and {len(findings) - SHOWN} more of the kind (--json lists them)")
    broken = sum(row["kept"] is False for row in document["promises"])
    asked = sum(row["kept"] is not None for row in document["promises"])
    unread = len(document["promises"]) - asked
    lines.append(f"{document['cube']}: {asked - broken} of {asked} promises are kept" + (
        f"; {unread} more read the values, ask for them with --values." if unread else "."))  # fmt: skip
    return "\n".join(lines)
