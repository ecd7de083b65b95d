"""Letting readers follow a release: only once the cube keeps its promises on all that the release names."""

from __future__ import annotations

from typing import Any

from cube.check.rules import Finding, check
from cube.export import stac
from cube.storage import releases
from cube.storage.store import open_cube


def publish(url: str, name: str, values: bool = False) -> tuple[bool, dict[str, Any]]:
    """Check the cube at `url` as the release `name` shows it (with `values` all values too) and flip `current.json` if it holds.

    Returns whether readers follow the release now, and the answer of the check. Where a promise is broken nothing changes.
    Raises `CubeError` for a release or a version that is not there.
    """
    cube = open_cube(url, writable=True)
    releases.require(cube, name)
    document = check(url, values, release=name)
    if document["kept"]:
        stac.write(cube, name)
        releases.publish(cube, name)
    return bool(document["kept"]), document


def broken(document: dict[str, Any]) -> list[str]:
    """A sentence for each promise that a check found broken: its first finding, and how many more there are."""
    out = []
    for row in document["promises"]:
        if row["kept"] is False:
            more = len(row["findings"]) - 1
            first = Finding(**row["findings"][0]).sentence()
            out.append(f"promise {row['name']}: {first}" + (f" (and {more} more of the kind)" if more else ""))
    return out
