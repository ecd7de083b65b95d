"""Facts of a whole map: equal to plain NumPy over all its cells, whatever they are put together from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from cube.check.rules import check
from cube.grid import Unit
from cube.pyramids import figures
from cube.pyramids.facts import all_facts, make_facts, read_facts, stored_figures
from cube.pyramids.squares import Square
from cube.storage.store import CubeStore
from tests.cube.check.damage import values
from tests.support.good_cube import HABITATS, REGION, STEPS, copy_of

TOP = Square(REGION, REGION.levels(), 0, 0)


def whole(cube: CubeStore, product: str) -> dict[str, np.ndarray]:
    facts = read_facts(cube, product, "v1")
    assert facts is not None
    return dict(zip(facts.statistics, stored_figures(cube, facts, TOP), strict=True))


def stored(cube: CubeStore, path: str) -> np.ndarray:
    data = xr.open_zarr(f"{cube.url}/products/{path}", mask_and_scale=False)
    return {name: data[name].values for name in data if data[name].ndim > 1}  # type: ignore[return-value]


def test_figures_of_the_top_square_are_those_of_all_cells(good_cube: CubeStore) -> None:
    maps = stored(good_cube, "species/v1/0")["occurrence"].reshape(4, -1)
    found, known = whole(good_cube, "species"), maps != 255
    assert (found["cells"] == known.sum(1)).all()
    assert (found["steps"] == np.where(known, maps, 0).sum(1, dtype=int)).all()
    assert (found["highest"] == np.where(known, maps, 0).max(1)).all()
    probability = np.where(known, maps * STEPS.astype(float)[:, None], -1)
    for least in figures.THRESHOLDS:
        assert (found[f"at_least_{least}"] == (probability >= least).sum(1)).all()
    ranked = stored(good_cube, "composition/v1")
    size = np.where(ranked["set_size"] == 65535, 0, ranked["set_size"])
    lists = np.where(np.arange(64)[:, None, None] < size, ranked["species_id"], 65535)
    assert (whole(good_cube, "composition")["listed"] == [(lists == s).any(0).sum() for s in range(4)]).all()
    names = read_facts(good_cube, "indicators", "v1").names  # type: ignore[union-attr]
    found, bounds = whole(good_cube, "indicators"), stored(good_cube, "indicators/v1/0")
    for i, name in enumerate(names):
        layer, bound = name.split(".")
        some = bounds[layer][("estimate", "lower", "upper").index(bound)]
        some = some[some != 65535]
        mine = [found[key][i] for key in figures.INDICATORS]
        assert mine == [some.size, some.sum(dtype=int), some.min(), some.max()]


def test_figures_of_habitats_count_every_level_and_the_three_best(good_cube: CubeStore) -> None:
    found, maps = whole(good_cube, "habitats"), stored(good_cube, "habitats/v1/0")
    for row, (_, _, level, *_) in enumerate(HABITATS):
        assert found[level][row] == (maps[level] == row).sum() > 0
        here = maps["level3"] == row
        assert found["probability_cells"][row] == here.sum()
        assert found["probability_steps"][row] == maps["probability"][here].sum(dtype=int)
        assert found["among_three"][row] == (maps["top3_class"] == row).any(0).sum()


def test_a_unit_that_is_written_again_changes_the_facts_above_it(good_cube: CubeStore, tmp_path: Path) -> None:
    cube = copy_of(good_cube, tmp_path)
    before = whole(cube, "indicators")

    def raise_all(held: np.ndarray) -> None:
        held[held != 65535] += 7

    values(cube, "predict/v1", "indicators richness", "products/indicators/v1/0/richness", raise_all)
    after, name = whole(cube, "indicators"), "richness.estimate"
    i = read_facts(cube, "indicators", "v1").names.index(name)  # type: ignore[union-attr]
    unit: Unit = next(REGION.units())
    rows, cols = REGION.square(unit).slices
    cells = (cube.array("products/indicators/v1/0/richness")[0, rows, cols] != 65535).sum()  # type: ignore[index, union-attr]
    assert after["steps"][i] - before["steps"][i] == 7 * cells > 0
    broken = {row["name"] for row in check(cube.url, values=True)["promises"] if row["kept"] is False}
    assert "facts" not in broken


def test_parts_in_any_order_give_the_figures_of_the_whole() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        cells = rng.choice([5, 9, 65535], (3, 40), p=[0.1, 0.1, 0.8]).astype(np.uint16)
        cuts = np.sort(rng.integers(0, 40, 3))
        parts = [figures.of_indicator(part) for part in np.split(cells, cuts, axis=1)]
        assert (figures.merged(figures.INDICATORS, parts) == figures.of_indicator(cells)).all()


def test_a_version_begun_before_there_were_facts_gets_none(good_cube: CubeStore, tmp_path: Path) -> None:
    cube = copy_of(good_cube, tmp_path)
    cube.remove_tree("products/indicators/v1/facts")
    make_facts(cube, "predict/v1", {"indicators": "v1"})
    assert [facts.product for facts in all_facts(cube, {"species": "v1", "indicators": "v1"})] == ["species"]
