"""The published ensemble: its sizes, its inputs and its two phases of training, on tiny shapes and random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cube.errors import ModelError
from cube.records.geoplant import published_inputs
from inference.evaluation.baselines.multimodal import EnsembleOptions, EnsembleSpec, MultimodalEnsemble, train_ensemble

TINY = EnsembleSpec(3, (4, 4, 8, 8), (4, 32, 32), embed=8, depths=(1, 1), heads=(1, 2), window=4, stochastic_depth=0.0)


def inputs(n: int, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"landsat": (6, 84), "climate": (4, 228), "satellite": (4, 32, 32)}
    return {name: torch.rand((n, *shape), generator=generator) for name, shape in shapes.items()}


def test_published_sizes():
    """ResNet-6 of 6 bands: 1.55 million weights without its head; Swin-v2-T: 27.6 million; features 512, 512, 768."""
    with torch.device("meta"):  # shapes alone: 30 million random numbers take a while
        net = MultimodalEnsemble(EnsembleSpec(10))
    count = {name: sum(p.numel() for p in branch.parameters()) for name, branch in net.branches.items()}
    convolutions = sum(9 * a * b + b + 2 * b for a, b in ((6, 64), (64, 128), (128, 256), (256, 512)))
    assert count["landsat"] == convolutions
    assert count["satellite"] == pytest.approx(27.6e6, rel=0.01)
    assert net.joint.in_features == 512 + 512 + 768


def test_series_in_order_of_time_become_the_published_cube():
    cube = np.random.default_rng(0).integers(0, 250, (2, 6, 4, 21)).astype(np.float32)
    series = torch.from_numpy(published_inputs.landsat(cube.copy()))
    net = MultimodalEnsemble(TINY)
    given = {**inputs(2), "landsat": series}
    prepared = net.prepared(given)["landsat"].numpy()
    scale = cube[0, 0, 1, 3] / prepared[0, 0, 1, 3]
    np.testing.assert_allclose(prepared * scale, cube, rtol=1e-4, atol=1e-4)


def test_missing_values_are_zero_and_all_nan_series_still_predict():
    net = MultimodalEnsemble(TINY)
    batch = inputs(2)
    batch["climate"] = torch.full_like(batch["climate"], torch.nan)
    p = net.probability(batch)
    assert p.shape == (2, 3)
    assert torch.isfinite(p).all()
    assert net.prepared(batch)["climate"].abs().max() == 0


def test_cells_share_nothing():
    net = MultimodalEnsemble(TINY)
    batch = inputs(5)
    alone = net.probability({name: values[2:3] for name, values in batch.items()})
    torch.testing.assert_close(net.probability(batch)[2:3], alone)


def test_training_goes_branch_by_branch_then_jointly_and_learns():
    torch.manual_seed(0)
    net = MultimodalEnsemble(TINY)
    batch = inputs(80)
    bright = torch.rand(80) > 0.5
    batch["landsat"][:, :3] += bright[:, None, None]
    presence = torch.stack([bright, ~bright, torch.ones(80, dtype=torch.bool)], 1)
    options = EnsembleOptions(learning_rate=0.01, epochs=4, batch=16, stop_share=0.2)
    history = train_ensemble(net, lambda rows: {name: values[rows] for name, values in batch.items()}, presence, options)
    assert list(dict.fromkeys(row["phase"] for row in history)) == ["landsat", "climate", "satellite", "joint"]
    p = net.probability(batch)
    assert p[bright, 0].mean() > p[~bright, 0].mean() + 0.3
    assert min(row["stop loss"] for row in history if row["phase"] == "joint") < 0.5


def test_wrong_inputs_are_told():
    net = MultimodalEnsemble(TINY)
    with pytest.raises(ModelError, match="needs 'climate'"):
        net({"landsat": torch.rand(1, 6, 84), "satellite": torch.rand(1, 4, 32, 32)})
    with pytest.raises(ModelError, match=r"'satellite' has shape \(4, 64, 64\), expected \(4, 32, 32\)"):
        net({**inputs(1), "satellite": torch.rand(1, 4, 64, 64)})
    with pytest.raises(ModelError, match="1 surveys cannot train"):
        train_ensemble(net, lambda rows: inputs(1), torch.ones(1, 3), EnsembleOptions())
