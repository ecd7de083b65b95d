"""Sizes are names for shapes of the network."""

from __future__ import annotations

import pytest
import torch

from inference.network.deep_sdm import DeepSDM, ModelSpec
from inference.network.sizes import SIZES, shape_of

EVERYTHING = ("satellite", "landsat", "table_50m", "climate", "survey")


@pytest.mark.parametrize("size", SIZES)
def test_every_size_builds_and_predicts_from_every_modality(size):
    spec = ModelSpec(EVERYTHING, 5, table_50m_names=("slope",), **shape_of({"size": size}))
    net = DeepSDM(spec).eval()
    batch = {
        "satellite": torch.rand(2, 4, spec.patch, spec.patch),
        "landsat": torch.rand(2, 6, 84),
        "table_50m": torch.rand(2, 1),
        "climate": torch.rand(8, 4, 228),
        "corner": torch.arange(8).reshape(2, 4),
        "weight": torch.full((2, 4), 0.25),
        "survey": torch.rand(2, 1),
    }
    with torch.no_grad():
        assert net(batch).shape == (2, 5)


def test_sizes_rise_from_tiny_to_geoplant():
    counts = []
    for size in SIZES:
        net = DeepSDM(ModelSpec(EVERYTHING, 100, table_50m_names=("slope",), **shape_of({"size": size})))
        counts.append(sum(p.numel() for p in net.parameters()))
    assert next(iter(SIZES)) == "tiny"
    assert list(SIZES)[-1] == "geoplant"
    assert counts == sorted(counts)
    assert counts[0] < 30_000
    assert counts[-1] > 100 * counts[0]


def test_the_default_is_small():
    assert ModelSpec(EVERYTHING, 3, **shape_of({})) == ModelSpec(EVERYTHING, 3, **shape_of({"size": "small"}))


def test_single_keys_override_a_size():
    shape = shape_of({"size": "geoplant", "d": 8, "dilations": (1, 2), "modalities": ("table_50m",)})
    assert shape == {**SIZES["geoplant"], "d": 8, "dilations": (1, 2)}
