"""Which release a query is about: the current one, or another by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

from fastapi import Query

from server.reading.snapshot import ServedCube, Snapshot

RELEASE_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
ReleaseParameter = Annotated[
    str | None,
    Query(pattern=RELEASE_PATTERN, max_length=100, description="A release by name; left out, the one that readers follow."),
]


def release_of(cube: ServedCube) -> Callable[[str | None], Snapshot]:
    """A dependency that gives the snapshot of `?release=`; raises `NotFoundError` for a release that is not in the cube."""

    def requested(release: ReleaseParameter = None) -> Snapshot:
        return cube.snapshot() if release is None else cube.named(release)

    return requested
