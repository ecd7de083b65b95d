"""The published ensemble as a baseline: inputs of the place asked for, learned from the rows given, told where it cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Swinv2Config, Swinv2Model

from cube.errors import ModelError
from inference.data.samples import Predictors
from inference.evaluation.baselines.multimodal import EnsembleOptions, EnsembleSpec, SwinImage, multimodal_scores, patches

TINY = {"widths": (4, 4, 8, 8), "embed": 8, "depths": (1, 1), "heads": (1, 2), "window": 4, "stochastic_depth": 0.0}


def places(n: int) -> Predictors:
    """`n` places between two 1 km cells of a climate each: half of one, half of the other."""
    rng = np.random.default_rng(0)
    cells = rng.random((n + 1, 4, 228), np.float32)
    corner = np.stack([np.arange(n), np.arange(n), np.arange(1, n + 1), np.arange(1, n + 1)], 1)
    return Predictors(
        {"satellite": rng.random((n, 4, 32, 32), np.float32), "landsat": rng.random((n, 6, 84), np.float32), "climate": cells},
        corner=corner,
        weight=np.full((n, 4), 0.25, np.float32),
    )


def test_climate_is_that_of_the_place_between_its_cells() -> None:
    given = places(5)
    assert "climate" in given.values
    rows = np.array([3, 1])
    batch = patches(given, rows)
    np.testing.assert_allclose(
        batch["climate"].numpy(), (given.values["climate"][rows] + given.values["climate"][rows + 1]) / 2, rtol=1e-5
    )
    assert {name: tuple(values.shape) for name, values in batch.items()} == {
        "landsat": (2, 6, 84),
        "climate": (2, 4, 228),
        "satellite": (2, 4, 32, 32),
    }


def test_it_learns_from_the_rows_given_and_scores_others() -> None:
    given = places(120)
    assert "landsat" in given.values
    bright = np.random.default_rng(1).random(120) > 0.5
    given.values["landsat"][:, :3] += bright[:, None, None]
    presence = np.stack([bright, ~bright], 1)
    learned, asked = np.arange(90), np.arange(90, 120)
    presence[asked] = False  # what is asked is not looked at
    options = EnsembleOptions(learning_rate=0.01, epochs=5, batch=16, stop_share=0.2)
    torch.set_num_threads(1)
    p = multimodal_scores(given, presence, learned, asked, options, **TINY)
    assert p.shape == (30, 2)
    assert p[bright[asked], 0].mean() > p[~bright[asked], 0].mean() + 0.3


def test_a_missing_modality_is_told() -> None:
    with pytest.raises(ModelError, match=r"'multimodal' needs satellite, Landsat and climate patches.*missing: climate"):
        multimodal_scores(places(4).without("climate"), np.ones((4, 1), bool), np.arange(3), np.arange(3, 4), EnsembleOptions())


def test_the_image_network_begins_with_given_weights(tmp_path: Path) -> None:
    shape = {"image_size": 64, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4}
    torch.manual_seed(1)
    given = Swinv2Model(Swinv2Config(**shape, patch_size=4, num_channels=3)).eval()
    given.save_pretrained(tmp_path / "swin")
    spec = EnsembleSpec(3, image=(4, 32, 32), **TINY)
    net = SwinImage(spec, tmp_path / "swin").eval()
    image = torch.rand(2, 4, 32, 32)
    image[:, 3] = 0  # without near infrared it is the network that was given
    expected = given(pixel_values=image[:, :3]).pooler_output
    torch.testing.assert_close(net(image), expected)
    image[:, 3] = image[:, 0]
    doubled = torch.cat([2 * image[:, :1], image[:, 1:3]], 1)
    torch.testing.assert_close(net(image), given(pixel_values=doubled).pooler_output)


def test_weights_of_another_shape_are_refused_by_name(tmp_path: Path) -> None:
    spec = EnsembleSpec(3, image=(4, 32, 32), **TINY)
    with pytest.raises(ModelError, match="nowhere: holds no weights"):
        SwinImage(spec, tmp_path / "nowhere")
    Swinv2Model(Swinv2Config(image_size=32, embed_dim=16, depths=[1, 1], num_heads=[1, 2], window_size=4)).save_pretrained(
        tmp_path
    )
    with pytest.raises(ModelError, match="give a folder of Swin-v2-T"):
        SwinImage(spec, tmp_path)
