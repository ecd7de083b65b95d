"""One task with its tries, where it runs, and what comes back of it.

Where tasks run and in which order is known to `workers`.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from cube.errors import FloracubeError, WorkersError
from cube.storage.transient import fatal_reason, retry_transient

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
    fatal_reason: str | None = None  # why no other task can succeed either


def sentence(error: BaseException) -> str:
    """An error as one line: our own speak for themselves, others need their name."""
    text = " ".join(str(error).split())
    return text if isinstance(error, FloracubeError) else f"{type(error).__name__}: {text}"


def attempt(function: Callable[[T], R], task: T, retries: int, first_wait: float) -> Outcome[T, R]:
    """Run one task where it is, with its tries; what goes wrong is named and stops no other task."""
    tries = 0

    def try_once() -> R:
        nonlocal tries
        tries += 1
        return function(task)

    try:
        return Outcome(task, retry_transient(try_once, retries, first_wait), None, tries)
    except Exception as error:
        times = f" (tried {tries} times)" if tries > 1 else ""
        is_expected = isinstance(error, FloracubeError | OSError)
        details = "" if is_expected else "".join(traceback.format_exception(error))
        return Outcome(task, None, sentence(error) + times, tries, details, fatal_reason(error))


@contextmanager
def store_named(url: str) -> Iterator[None]:
    """What a store raises outside of tasks (they name their own troubles) becomes one sentence with the fix."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        why = fatal_reason(error) or f"the store failed ({sentence(error)}); check it and your permissions"
        raise WorkersError(f"{url}: {why}, then run the same command again; finished units are kept.") from error
