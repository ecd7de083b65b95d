"""Which release a query is about: the current one, or another by name."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Depends, Query, Request

from server.dependencies import cube_of
from server.reading.snapshot import Snapshot

RELEASE_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
ReleaseParameter = Annotated[
    str | None,
    Query(pattern=RELEASE_PATTERN, max_length=100, description="A release by name; left out, the one that readers follow."),
]


def requested(request: Request, release: ReleaseParameter = None) -> Snapshot:
    """The snapshot of `?release=` of the cube of an address; raises `NotFoundError` for what is not there."""
    cube = cube_of(request)
    return cube.snapshot() if release is None else cube.named(release)


RequestedSnapshot = Annotated[Snapshot, Depends(requested)]
