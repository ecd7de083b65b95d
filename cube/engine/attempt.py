"""Tries: of one task where it runs, with what comes back of it, and of what a coordinator itself asks of a store.

Where tasks run and in which order is known to `workers`.
"""

from __future__ import annotations

import random
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from cube.engine.transient import hopeless, is_transient
from cube.errors import FloracubeError, WorkersError

LONGEST_WAIT: Final = 60.0  # seconds between two tries

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Outcome(Generic[T, R]):
    """How a task ended: its result, or the sentence that says what went wrong; never both, never neither."""

    task: T
    result: R | None
    error: str | None = None
    tries: int = 1
    details: str = ""  # the traceback of an error that nobody foresaw


@dataclass(frozen=True)
class Ended:
    """What comes back from where a task ran."""

    result: Any
    error: str | None
    tries: int
    details: str = ""
    hopeless: str | None = None


def sentence(error: BaseException) -> str:
    """An error as one line: our own speak for themselves, others need their name."""
    text = " ".join(str(error).split())
    return text if isinstance(error, FloracubeError) else f"{type(error).__name__}: {text}"


def attempt(function: Callable[[T], R], task: T, retries: int, first_wait: float) -> Ended:
    """Run one task where it is, with its tries; what goes wrong is named and stops no other task."""
    for tried in range(1, retries + 2):
        try:
            return Ended(function(task), None, tried)
        except Exception as error:
            if tried <= retries and is_transient(error):
                # Jitter, or all workers would come back to a struggling server in the same instant.
                time.sleep(min(LONGEST_WAIT, first_wait * 2 ** (tried - 1)) * random.uniform(0.5, 1.0))
                continue
            times = f" (tried {tried} times)" if tried > 1 else ""
            foreseen = isinstance(error, FloracubeError | OSError)
            details = "" if foreseen else "".join(traceback.format_exception(error))
            return Ended(None, sentence(error) + times, tried, details, hopeless(error))
    raise AssertionError("unreachable")


def patiently(function: Callable[[], R], retries: int, first_wait: float = 1.0) -> R:
    """The result of what the coordinator itself asks of a store, asked again while its failures are of those that pass.

    Raises what the last try raised. `function` may be asked several times, so twice must be as good as once.
    """
    for tried in range(1, retries + 2):
        try:
            return function()
        except Exception as error:
            if tried > retries or not is_transient(error):
                raise
            time.sleep(min(LONGEST_WAIT, first_wait * 2 ** (tried - 1)) * random.uniform(0.5, 1.0))
    raise AssertionError("unreachable")


@contextmanager
def store_named(url: str) -> Iterator[None]:
    """What a store raises outside of tasks (they name their own troubles) becomes one sentence with the mend."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        why = hopeless(error) or f"the store failed ({sentence(error)}); check it and your rights"
        raise WorkersError(f"{url}: {why}, then run the same command again: what is built stays.") from error
