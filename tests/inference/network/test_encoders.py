"""The encoder of tables: what waves of its columns can tell that values alone do not, and what they leave alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from inference.network.encoders import TableEncoder
from inference.training.loop import decay_groups


def explained(waves: int) -> float:
    """Share of the variance of a fast sine of one column, on places that were not learned from, after 400 steps."""
    torch.manual_seed(0)
    encoder = TableEncoder(1, 16, 2, 1, 0.0, waves)
    x = torch.rand(1200, 1) * 4 - 2
    truth = torch.sin(9 * x)
    optimiser = torch.optim.Adam(encoder.parameters(), 0.01)
    for _ in range(400):
        optimiser.zero_grad()
        ((encoder(x[:1000]) - truth[:1000]) ** 2).mean().backward()
        optimiser.step()
    with torch.no_grad():
        return float(1 - ((encoder(x[1000:]) - truth[1000:]) ** 2).mean() / truth[1000:].var())


def test_waves_learn_a_sine_that_values_alone_do_not() -> None:
    assert explained(0) < 0.5
    assert explained(8) > 0.95


@pytest.mark.parametrize("waves", [0, 4])
def test_a_missing_value_is_the_same_whatever_column_of_numbers_surrounds_it(waves: int) -> None:
    torch.manual_seed(1)
    encoder = TableEncoder(3, 8, 2, 4, 0.0, waves).eval()
    missing = torch.tensor([[np.nan, 1.0, 2.0]])
    far = encoder(missing)
    encoder.normalisation.mean[0] = 7.0
    assert torch.equal(encoder(missing), far)
    assert torch.isfinite(far).all()
    assert not torch.equal(encoder(torch.tensor([[7.0, 1.0, 2.0]])), far)  # the mean is a value, and no missing one


def test_frequencies_are_learned_and_do_not_decay() -> None:
    encoder = TableEncoder(2, 8, 2, 4, 0.0, 3)
    assert encoder.frequency is not None
    groups = decay_groups(encoder, 0.05)
    assert any(encoder.frequency is parameter for group in groups for parameter in group["params"])
    decayed = [parameter for group in groups if group["weight_decay"] for parameter in group["params"]]
    assert not any(encoder.frequency is parameter for parameter in decayed)
