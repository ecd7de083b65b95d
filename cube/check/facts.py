"""The promise that the facts of whole maps are what the maps themselves give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cube.check.completeness import PREDICT
from cube.check.inspection import Inspection
from cube.check.reading import write_again
from cube.check.rules import Finding, rule_of_values
from cube.grid import Unit
from cube.pyramids.facts import Facts, all_facts, measured, of_square, stored_figures
from cube.pyramids.figures import APPLICABLE, Figures
from cube.pyramids.squares import Square, tree
from cube.storage.store import CubeStore


@rule_of_values
def facts(inspection: Inspection) -> Iterator[Finding]:
    """The facts of a unit are what its maps give, those of a square what the facts below it give."""
    for progress in inspection.progress:
        cube, stage = inspection.cube, progress.stage
        version = stage.path.removeprefix("predict/")
        every = all_facts(cube, dict.fromkeys(stage.layers, version)) if version != stage.path else ()
        if not every:
            continue
        for unit in progress.units:
            if unit.name in progress.index.fingerprints:
                figures = measured(cube, every, unit).figures()
                if "indicators" not in stage.layers:  # taken by `gc`, and what they say of applicability with them
                    figures = {
                        product_facts.product: figures[product_facts.product][_without_applicability(product_facts)]
                        for product_facts in every
                    }
                yield from _differing(cube, stage.path, every, unit, figures)
        for square in tree(cube.region, progress.units):
            if progress.squares[square.name] == "valid":
                figures = {product_facts.product: of_square(cube, product_facts, square) for product_facts in every}
                yield from _differing(cube, f"{stage.path}/overviews", every, square, figures)


def _without_applicability(facts: Facts) -> list[int]:
    """Rows of the statistics that the maps of the product alone give; those of applicability are the last ones."""
    return [row for row, name in enumerate(facts.statistics) if name not in APPLICABLE]


def _differing(
    cube: CubeStore, stage: str, every: tuple[Facts, ...], place: Unit | Square, figures: Mapping[str, Figures]
) -> Iterator[Finding]:
    for product_facts in every:
        expected_figures = figures[product_facts.product]
        differ = int((stored_figures(cube, product_facts, place)[: len(expected_figures)] != expected_figures).sum())
        if differ:
            fix = write_again(PREDICT, stage, place.name)
            yield Finding(f"{product_facts.path} of {place.name}", "what the maps give", f"{differ} figures that differ", fix)
