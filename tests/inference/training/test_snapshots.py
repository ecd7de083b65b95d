"""One training leaves several networks, one a cycle of the rate; they are members like any other, and a kill changes none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cube.errors import ModelError
from inference.calibration.members import member_spread, witnesses
from inference.network import checkpoint
from inference.training.curves import runs_of
from inference.training.fit import train
from inference.training.options import TrainOptions
from tests.inference.training.test_fit import landscape
from tests.inference.training.test_joint import World
from tests.inference.training.test_resume import OPTIONS, Stopped, run_of, same, stopped_after

SNAPSHOTS = replace(OPTIONS, members=1, snapshots=3, schedule="cosine", least_steps=60, checkpoint_seconds=0)


@pytest.fixture(scope="module")
def undisturbed():
    return run_of(None, SNAPSHOTS)


def test_snapshots_are_members_of_an_ensemble_with_a_spread(undisturbed, tmp_path):
    ensemble = undisturbed.ensemble
    assert len(ensemble.members) == 3
    checkpoint.save(tmp_path, ensemble)
    again, card = checkpoint.load(tmp_path)
    assert card.members == 3
    z = torch.randn(50, ensemble.dimension, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(again.probability(z), ensemble.probability(z))
    assert (member_spread(ensemble, z, witnesses(ensemble)) > 0).all()


def test_the_rate_runs_from_its_peak_to_nothing_in_every_cycle(undisturbed):
    cycles = runs_of(undisturbed.history)
    assert [cycle[-1]["step"] for cycle in cycles] == [20, 20, 20]  # together as long as one training
    for cycle in cycles:
        rates = np.array([row["rate"] for row in cycle])
        assert rates.max() == pytest.approx(SNAPSHOTS.learning_rate, rel=0.02)
        assert (np.diff(rates[2:]) < 0).all()
        assert rates[-1] < 0.01 * SNAPSHOTS.learning_rate


def test_each_snapshot_is_the_best_state_of_its_cycle_and_begins_at_the_last_one():
    """Without stop blocks a cycle ends where it ends: the same seed trained for one cycle alone is the first snapshot."""
    predictors, surveys, _ = landscape(120)
    options = replace(SNAPSHOTS, snapshots=2, members=2, least_steps=24)
    both = train(predictors.without("satellite"), surveys, options=options)
    first = train(predictors.without("satellite"), surveys, options=replace(options, snapshots=1, least_steps=12))
    states = [net.state_dict() for net in both.ensemble.networks]
    for one, other in zip(states[::2], first.ensemble.networks, strict=True):
        assert all(torch.equal(values, other.state_dict()[name]) for name, values in one.items())
    moved = [
        float((a["species_embedding"] - b["species_embedding"]).abs().max())
        for a, b in zip(states[::2], states[1::2], strict=True)
    ]
    assert min(moved) > 0


@pytest.mark.parametrize("kills", [(3, 9), (22, 20)])
def test_killed_at_any_cycle_it_ends_with_the_same_snapshots(tmp_path, undisturbed, kills):
    for times in kills:
        with pytest.raises(Stopped):
            run_of(tmp_path, SNAPSHOTS, stopped_after(times))
    again = run_of(tmp_path, SNAPSHOTS)
    assert same(again, undisturbed)
    assert again.history == undisturbed.history


def test_rates_of_reporting_go_on_from_cycle_to_cycle_and_after_a_kill(tmp_path):
    world = World(40, 500)
    options = TrainOptions(members=1, snapshots=2, epochs=1, least_steps=24, batch=32, threads=1, device="cpu",
                           checkpoint_seconds=0, seed=3)  # fmt: skip

    def run(folder=None, progress=lambda *told: None):
        return train(world.places.subset(world.at), world.surveys, options=options, records=world.records,
                     record_predictors=world.places, run=folder, progress=progress)  # fmt: skip

    whole = run()
    with pytest.raises(Stopped):
        run(tmp_path, stopped_after(18))
    again = run(tmp_path)
    assert same(again, whole)
    np.testing.assert_array_equal(again.reporting, whole.reporting)


def test_no_snapshot_at_all_is_refused():
    with pytest.raises(ModelError, match=r"train\.snapshots is 0, expected 1 or more"):
        TrainOptions(snapshots=0)
