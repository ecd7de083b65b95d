"""The districts of a landscape are valid regions of the server and fill the landscape without overlap."""

from __future__ import annotations

from pathlib import Path

import pytest
import shapely

from demo.domain import Domain
from demo.regions import NAMES, write_regions
from server.queries import outline, regions


def test_districts_fill_the_landscape_without_overlap(tmp_path: Path) -> None:
    domain = Domain(4090, 2610, 20, 3)
    loaded = regions.read(f"districts={write_regions(domain, tmp_path)}")
    assert tuple(r.name for r in loaded.entries) == NAMES
    assert {r.kind for r in loaded.entries} == {"districts"}
    shapes = [r.shape for r in loaded.entries]
    whole = shapely.union_all(shapes)
    assert outline.square_kilometres(whole) == pytest.approx(400, rel=1e-3)
    assert sum(outline.square_kilometres(s) for s in shapes) == pytest.approx(outline.square_kilometres(whole), rel=1e-6)
