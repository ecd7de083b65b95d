"""The steps of species' maps reach the highest probabilities of their map, in another climate too; what is cut is counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.cascade_case import Case, make_case, make_cube
from cube.check.receipts import cut_shares, warning_of
from cube.grid import Region
from cube.layers import PROBABILITY_STEPS
from cube.layers.inputs import INPUTS
from inference.cascade import products
from inference.cascade.ceilings import SIDE, map_scale, sampled, stored_scale, with_margin
from inference.cascade.model import load_model
from inference.cascade.unit import run_unit
from tests.support.dense import embed_cells

REGION = Region(4800, 2890, 4806, 2897, 10)
SPECIES = 40


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """One unit of smooth climate and terrain, and a model whose training saw a tenth of what its map reaches."""
    folder = tmp_path_factory.mktemp("ceilings")
    spec = {"d": 8, "hidden": 8, "width": 8, "dilations": (1,)}
    return make_case(folder, REGION, SPECIES, spec, ("surface", "elevation", "bioclim"), gaps=0.1)


def warmed(case: Case, folder: Path) -> Case:
    """The same place with every bioclimatic variable 4 units higher."""
    cube = make_cube(str(folder / "warm.zarr"), REGION, ("surface", "elevation", "bioclim"), gaps=0.1)
    layer = INPUTS["bioclim"]
    array = cube.array(layer.path)
    array[:] = layer.encode(layer.decode(array[:]) + 4.0)
    return replace(case, cube=cube)


def run(case: Case, version: str, scale: np.ndarray) -> tuple[dict, np.ndarray, np.ndarray]:
    """(receipt, predicted cells (n,), their stored steps (S, n)) of the one unit."""
    model = load_model(case.model)
    products.make_species(case.cube, version, model.ensemble.species, scale, 100.0, {})
    products.make_composition(case.cube, version, {})
    products.make_indicators(case.cube, version, (), {})
    receipt = run_unit(case.job(version, ("species",), year=2020), case.units[0])
    stored = case.cube.root[f"products/species/{version}/0/occurrence"][:].reshape(SPECIES, -1)
    cells = np.flatnonzero(stored[0] != 255)
    return receipt, cells, stored[:, cells]


def exact(case: Case) -> np.ndarray:
    """(S, U x U) probabilities of every cell in one float matrix."""
    from tests.support.dense import read_window

    model, unit, cube = load_model(case.model), case.units[0], case.cube
    window = read_window(cube, unit, model.recipe, model.ensemble.spec.halo)
    z = embed_cells(model.ensemble, {k: torch.from_numpy(v) for k, v in window.items()}, 2020)
    return model.ensemble.probability(z).numpy().T


@pytest.mark.parametrize("climate", ["as it was", "warmed"])
def test_no_species_is_cut_in_a_thousandth_of_its_cells_and_sums_are_those_of_all_probabilities(case, tmp_path, climate):
    case = case if climate == "as it was" else warmed(case, tmp_path)
    model = load_model(case.model)
    model.ensemble.ceiling.fill_(1e-3)  # as if the training had seen next to nothing
    scale = map_scale(case.cube, model, case.units, REGION, 2020, 100.0)
    assert (scale <= 1 / PROBABILITY_STEPS).all()
    receipt, cells, stored = run(case, climate.replace(" ", "-"), scale)
    truth = exact(case)[:, cells]
    assert ((stored == PROBABILITY_STEPS) & (truth > PROBABILITY_STEPS * scale[:, None] * 1.002)).mean(1).max() < 1e-3
    assert max(cut_shares([receipt]).values(), default=0) < 1e-3
    # Every stored value lies within half a step, so the sum of all maps is the sum of all probabilities within theirs.
    p = stored * scale[:, None]
    assert np.abs(p.sum(0) - truth.sum(0)).max() < 0.51 * scale.sum()


def test_cut_cells_are_counted_by_species_and_warned_of_above_a_thousandth(case):
    truth = exact(case)
    scale = np.full(SPECIES, 1 / PROBABILITY_STEPS, np.float32)
    scale[3] = np.quantile(truth[3], 0.9) / PROBABILITY_STEPS
    receipt, cells, _ = run(case, "cut", scale)
    truth = truth[:, cells]
    name = load_model(case.model).ensemble.species[3]
    expected = int((truth[3] / scale[3] > PROBABILITY_STEPS + 0.5).sum())
    assert set(receipt["cut_cells"]) == {name}
    assert receipt["cut_cells"][name] == pytest.approx(expected, abs=3)
    assert receipt["counts"]["clipped"] == receipt["cut_cells"][name]
    shares = cut_shares([receipt, {"counts": {"cells": receipt["counts"]["cells"]}}])  # a second unit where nothing is cut
    assert shares[name] == pytest.approx(expected / truth.shape[1] / 2, rel=0.01)
    warned = f"1 species are cut at their largest stored probability in more than 0.1% of their cells ({name} "
    assert warned in warning_of(shares)
    assert warning_of({name: 0.001}) == ""


def test_a_ceiling_leaves_room_above_the_highest_probability_sampled():
    p = np.array([1e-5, 0.01, 0.2, 0.5, 0.8, 0.999])
    ceiling = with_margin(np.log(-np.log1p(-p)).astype(np.float32))
    np.testing.assert_allclose(ceiling, [1e-3, 0.0199, 0.36, 0.75, 1.0, 1.0], rtol=1e-3)
    assert with_margin(np.array([-np.inf], np.float32)) == pytest.approx(1e-3)


def test_a_sample_holds_whole_squares_of_wanted_cells_and_is_the_same_every_time(case):
    wanted = np.random.default_rng(0).random((200, 200)) < 0.5
    wanted[:100] = False
    first = sampled(wanted, case.units[0], 7)
    assert not (first & ~wanted).any()
    assert first.reshape(10, SIDE, 10, SIDE).any((1, 3)).sum() == 7
    np.testing.assert_array_equal(first, sampled(wanted, case.units[0], 7))
    np.testing.assert_array_equal(sampled(wanted, case.units[0], 50), wanted)


def test_steps_that_a_version_holds_are_read_again_and_those_that_a_kill_lost_are_not(case):
    scale = np.linspace(1e-4, 4e-3, SPECIES, dtype=np.float32)
    assert stored_scale(case.cube, "none") is None
    products.make_species(case.cube, "held", load_model(case.model).ensemble.species, scale, 100.0, {})
    np.testing.assert_array_equal(stored_scale(case.cube, "held"), scale)
    case.cube.array("products/species/held/0/scale")[:] = 0
    assert stored_scale(case.cube, "held") is None
