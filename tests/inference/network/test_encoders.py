"""The encoder of tables: a missing value is no value."""

from __future__ import annotations

import numpy as np
import torch

from inference.network.encoders import TableEncoder


def test_a_missing_value_is_the_same_whatever_column_of_numbers_surrounds_it() -> None:
    torch.manual_seed(1)
    encoder = TableEncoder(3, 8, 2, 4, 0.0).eval()
    missing = torch.tensor([[np.nan, 1.0, 2.0]])
    far = encoder(missing)
    encoder.normalisation.mean[0] = 7.0
    assert torch.equal(encoder(missing), far)
    assert torch.isfinite(far).all()
    assert not torch.equal(encoder(torch.tensor([[7.0, 1.0, 2.0]])), far)  # the mean is a value, and no missing one
