"""The spread between members is that of their own probabilities."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from inference.calibration.calibrate import Calibration
from inference.calibration.members import common_species, member_spread
from inference.cascade import maps
from inference.cascade.unit import _spread
from inference.network.deep_sdm import DeepSDM, ModelSpec
from inference.network.ensemble import Ensemble
from inference.network.forest import Forest
from inference.training.forest import grow_tree
from inference.training.likelihood import cloglog_probability

SPEC = ModelSpec(("table_50m",), 6, ("a", "b"), d=8)


def ensemble(members: int) -> Ensemble:
    torch.manual_seed(0)
    nets = [DeepSDM(SPEC) for _ in range(members)]
    with torch.no_grad():
        for net in nets:
            net.species_bias.normal_(-1, 1)
            net.species_embedding.normal_()
    held = Ensemble(SPEC, nets, tuple("abcdef"))
    held.calibrate(Calibration(0.8, np.linspace(-0.5, 0.5, 6).astype(np.float32)))
    return held.eval()


def test_spread_is_that_of_probabilities_member_by_member():
    held = ensemble(3)
    batch = {"table_50m": torch.randn(40, 2)}
    with torch.no_grad():
        z = held.embed_places(batch)
        eta = torch.stack([net(batch) + net.beta * np.log(4.0) for net in held.networks])
    p = cloglog_probability(held.slope * eta + held.intercept)
    wanted = p.std(0, correction=0).sum(1) / p.mean(0).sum(1)
    torch.testing.assert_close(member_spread(held, z, torch.arange(6), 400.0), wanted, rtol=1e-4, atol=1e-5)


def test_one_member_agrees_with_itself():
    held = ensemble(1)
    z = held.embed_places({"table_50m": torch.randn(5, 2)})
    assert member_spread(held, z, torch.arange(6)).abs().max() < 1e-3


def test_witnesses_are_the_commonest_species():
    held = ensemble(2)
    found = common_species(held, 2)
    mean = (sum(net.species_bias.detach() for net in held.networks) / 2) * held.slope + held.intercept
    assert set(found.tolist()) == set(mean.topk(2).indices.tolist())


def test_the_forest_of_the_common_species_is_made_once_for_all_parts_of_a_unit(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(0)
    columns, presence = rng.normal(size=(300, 4)).astype(np.float32), rng.random((300, 6)) < 0.3
    tree = grow_tree(columns, csr_array(presence.astype(np.float32)), 5, (0,))
    held = ensemble(3)
    held.forest = Forest.from_trees([tree], np.zeros(4, np.float32), presence.sum(0), 300)
    made, of_species = [], Forest.of_species

    def counted(forest: Forest, species: torch.Tensor) -> Forest:
        made.append(species)
        return of_species(forest, species)

    monkeypatch.setattr(Forest, "of_species", counted)
    monkeypatch.setattr(maps, "PART", 100)
    with torch.no_grad():
        z = held.embed_places({"table_50m": torch.randn(300, 2), "survey": torch.randn(300, 1)}, 1.0)
        with ThreadPoolExecutor(2) as pool:
            spread = _spread(cast(Any, SimpleNamespace(ensemble=held)), z, 400.0, pool)
    assert len(made) == 1
    np.testing.assert_allclose(spread, member_spread(held, z, common_species(held), 400.0).numpy(), rtol=1e-5)
