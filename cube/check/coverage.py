"""The promise on what inputs cover, from the counts of receipts: they add up, and are as much as each source asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cube.check.completeness import BUILD
from cube.check.inspection import Inspection
from cube.check.rules import Finding, rule
from cube.sources.coverage import MINIMUM, Coverage, coverage_of
from cube.storage.progress import Progress


def coverages(inspection: Inspection) -> list[Coverage]:
    """Of every input layer whose receipts count pixels."""
    return [row for progress in _inputs(inspection) for row in coverage_of(progress.index.counts)]


def _inputs(inspection: Inspection) -> list[Progress]:
    return [progress for progress in inspection.progress if progress.stage.path.startswith("inputs/")]


@rule
def coverage(inspection: Inspection) -> Iterator[Finding]:
    """Counts of receipts add up, and each input has values in as much of the region as its source asks for."""
    for progress in _inputs(inspection):
        stage = progress.stage
        for unit, row in inspection.receipts[stage.path].uneven if progress in inspection.changed_stages else ():
            counts_text = f"{row.used} used + {row.no_data} no data + {row.refused} refused"
            expected = f"counts of {row.layer} that add up to {row.pixels} pixels"
            yield Finding(f"ledger/{stage.path}/{unit}.json", expected, counts_text, BUILD)
        name = stage.path.removeprefix("inputs/")
        if progress.missing:
            continue  # units are missing still: that is another promise
        minimum = _minimum(inspection, name)
        for row in coverage_of(progress.index.counts):
            shortfall = row.shortfall(minimum) if row.layer == name else None
            if shortfall is not None:
                yield Finding(inspection.layers[name].path, "values in the region", shortfall, "fix the source and build again")


def _minimum(inspection: Inspection, name: str) -> float | None:
    leaf = inspection.leaf(inspection.layers[name].group)
    attributes: Mapping[str, Any] = leaf.arrays[name].get("attributes", {}) if leaf and name in leaf.arrays else {}
    minimum = attributes.get(MINIMUM)
    return None if minimum is None else float(minimum)
