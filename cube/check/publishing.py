"""Letting readers follow a release: only once the cube keeps the rules on all that the release names."""

from __future__ import annotations

from typing import Any

from cube.check.inspection import Inspection
from cube.check.rules import Finding, inspect
from cube.export import stac
from cube.storage import releases
from cube.storage.store import open_cube
from cube.storage.whole_shards import with_metadata_once


def publish(url: str, name: str, values: bool = False, everything: bool = False) -> tuple[bool, dict[str, Any]]:
    """Check the cube at `url` as the release `name` shows it (with `values` all values too) and flip `current.json` if it holds.

    Receipts and shards of stages that are as they were at the last publication are not read again, unless `everything` is.
    Returns whether readers follow the release now, and the answer of the check. Where a rule is broken nothing changes.
    Raises `CubeError` for a release or a version that is not there.
    """
    cube = open_cube(url, writable=True)
    releases.require(cube, name)
    inspection = Inspection(with_metadata_once(cube), name, {} if everything or values else releases.verified_states(cube))
    document = inspect(inspection, values)
    if document["kept"]:
        stac.write(inspection.cube, name)
        releases.publish(cube, name, {progress.stage.path: progress.state for progress in inspection.progress})
    return bool(document["kept"]), document


def broken_rules(document: dict[str, Any]) -> list[str]:
    """A sentence for each rule that a check found broken: its first finding, and how many more there are."""
    out = []
    for row in document["promises"]:
        if row["kept"] is False:
            more = len(row["findings"]) - 1
            first = Finding(**row["findings"][0]).sentence()
            out.append(f"rule {row['name']}: {first}" + (f" (and {more} more of the kind)" if more else ""))
    return out
