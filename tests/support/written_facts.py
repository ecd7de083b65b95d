"""The facts of a cube whose maps a test wrote by itself, as `predict` would have left them."""

from __future__ import annotations

from collections.abc import Mapping

from cube.pyramids.facts import all_facts, make_facts, measured, write_square
from cube.pyramids.squares import tree
from cube.storage.store import CubeStore
from inference.cascade.fidelity import write_documents


def write_facts(cube: CubeStore, products: Mapping[str, str]) -> None:
    """Count every unit and square of these versions, whose maps and tables are whole and which have no receipts."""
    make_facts(cube, "predict/none", products)
    facts = all_facts(cube, products)
    units = list(cube.region.units())
    for unit in units:
        measured(cube, facts, unit).write()
    for square in tree(cube.region, units):
        write_square(cube, facts, square)
    write_documents(cube, products)
