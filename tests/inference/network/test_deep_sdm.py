"""The network gives the same embedding per place and over a window, whatever is missing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cube.errors import ModelError
from inference.data.kilometres import bilinear
from inference.data.samples import Input
from inference.network.deep_sdm import DeepSDM, ModelSpec
from tests.support.dense import embed_window

U, K = 40, 2
EVERY = ("satellite", "landsat", "table_50m", "climate", "table_1km")


def spec_of(*modalities: str, dilations: tuple[int, ...] = (1, 2)) -> ModelSpec:
    return ModelSpec(
        modalities=modalities,
        species=7,
        table_50m_names=("a", "b", "c"),
        table_1km_names=("d", "e"),
        d=16,
        hidden=24,
        width=8,
        dilations=dilations,
    )


def network(spec: ModelSpec, seed: int = 0) -> DeepSDM:
    torch.manual_seed(seed)
    net = DeepSDM(spec).eval()
    with torch.no_grad():
        for vector in net.absent:
            vector.normal_()
        for encoder in net.encoders.values():
            encoder.normalisation.mean.normal_()
            encoder.normalisation.std.uniform_(0.5, 2.0)
    return net


def window_of(spec: ModelSpec, missing: float, seed: int = 1) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(seed)
    side = 5 * (U + spec.receptive_field - 1)
    shapes = {
        "satellite": (4, side, side),
        "landsat": (6, 84, U, U),
        "table_50m": (3, U, U),
        "climate": (4, 228, K + 2, K + 2),
        "table_1km": (2, K + 2, K + 2),
    }
    window = {}
    for name in (m for m in EVERY if m in spec.modalities):
        values = rng.normal(size=shapes[name]).astype(np.float32)
        values[rng.random(shapes[name]) < missing] = np.nan
        if missing:  # a corner without any value, as at a region's edge
            values[..., : values.shape[-2] // 2, : values.shape[-1] // 2] = np.nan
        window[name] = torch.from_numpy(values)
    return window


def places_of(spec: ModelSpec, window: dict[str, torch.Tensor], rows, cols) -> dict[str, torch.Tensor]:
    batch = {}
    if "satellite" in window:
        patches = [
            window["satellite"][:, 5 * r : 5 * r + spec.patch, 5 * c : 5 * c + spec.patch]
            for r, c in zip(rows, cols, strict=True)
        ]
        batch["satellite"] = torch.stack(patches)
    if "landsat" in window:
        batch["landsat"] = window["landsat"][:, :, rows, cols].movedim(-1, 0)
    if "table_50m" in window:
        batch["table_50m"] = window["table_50m"][:, rows, cols].T
    corner, weight = bilinear((rows + 0.5) / 20 + 0.5, (cols + 0.5) / 20 + 0.5, (K + 2, K + 2))
    batch["corner"], batch["weight"] = torch.from_numpy(corner), torch.from_numpy(weight)
    for name, axes in (("climate", 2), ("table_1km", 1)):
        if name in window:
            batch[name] = window[name].flatten(axes).movedim(-1, 0)
    return batch


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("modalities", [*[(m,) for m in EVERY], (*EVERY, "survey")])
def test_dense_pass_equals_per_place_pass_at_every_cell(modalities, missing):
    spec = spec_of(*modalities)
    net, window = network(spec), window_of(spec, missing)
    rows, cols = (a.ravel() for a in np.meshgrid(np.arange(U), np.arange(U), indexing="ij"))
    batch = places_of(spec, window, rows, cols)
    survey = torch.tensor([1.3]) if "survey" in modalities else None
    if survey is not None:
        batch["survey"] = survey.expand(len(rows), 1)
    with torch.no_grad():
        dense = embed_window(net, window, survey)
        single = net.embed_places(batch)
    assert dense.shape == (spec.d, U, U)
    torch.testing.assert_close(dense.flatten(1).T, single, atol=1e-5, rtol=0)


def test_parts_of_a_window_leave_no_seam(monkeypatch):
    spec = spec_of(*EVERY)
    net, window = network(spec), window_of(spec, 0.1)
    with torch.no_grad():
        whole = embed_window(net, window)
        monkeypatch.setattr("inference.network.deep_sdm.TILE", 20)
        parts = embed_window(net, window)
    torch.testing.assert_close(whole, parts, atol=1e-5, rtol=0)


@pytest.mark.parametrize("left_out", EVERY)
def test_leaving_out_any_modality_still_predicts_and_matters(left_out):
    spec = spec_of(*EVERY, "survey")
    net, window = network(spec), window_of(spec, 0.0)
    with torch.no_grad():
        whole = embed_window(net, window, torch.zeros(1))
        less = embed_window(net, {k: v for k, v in window.items() if k != left_out}, torch.zeros(1))
    assert torch.isfinite(less).all()
    assert not torch.allclose(whole, less)


def test_a_modality_of_nan_equals_a_modality_left_out():
    spec = spec_of(*EVERY)
    net, window = network(spec), window_of(spec, 0.0)
    for name in EVERY:
        with torch.no_grad():
            empty = embed_window(net, window | {name: torch.full_like(window[name], torch.nan)})
            absent = embed_window(net, {k: v for k, v in window.items() if k != name})
        torch.testing.assert_close(empty, absent, atol=1e-5, rtol=0)


def test_prediction_depends_on_nothing_beyond_the_receptive_field():
    spec = spec_of("satellite", dilations=(1, 1, 2))
    net, window = network(spec), window_of(spec, 0.0)
    image = window["satellite"].clone().requires_grad_()
    embed_window(net, {"satellite": image})[:, 20, 20].sum().backward()
    touched = np.argwhere(image.grad.abs().sum(0).numpy() > 0)
    assert touched.min(0).tolist() == [100, 100]
    assert touched.max(0).tolist() == [100 + spec.patch - 1] * 2
    assert spec.receptive_field == 9
    assert spec.halo == 4


def test_no_modality_at_all_is_refused():
    net = network(spec_of("table_50m"))
    with pytest.raises(ModelError, match="None of the model's modalities"):
        net.embed_places({"table_1km": torch.zeros(2, 4)})
    with pytest.raises(ModelError, match="sateλλite"):
        ModelSpec(modalities=("sateλλite",), species=3)


def test_spec_survives_json():
    import json

    spec = spec_of(*EVERY, "survey")
    assert ModelSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    with pytest.raises(ModelError, match="another version"):
        ModelSpec.from_json({**spec.to_json(), "novel": 1})


@given(
    st.lists(st.tuples(st.floats(-2, 12), st.floats(-2, 9)), min_size=1, max_size=20),
)
@settings(max_examples=50, deadline=None)
def test_bilinear_reproduces_a_plane_inside_and_repeats_the_edge_outside(points):
    row, col = np.array(points).T
    corner, weight = bilinear(row, col, (11, 8))
    r, c = np.divmod(np.arange(88), 8)
    plane = 3.0 * r - 2.0 * c + 1
    got = (plane[corner] * weight).sum(1)
    expected = 3 * np.clip(row, 0, 10) - 2 * np.clip(col, 0, 7) + 1
    np.testing.assert_allclose(got, expected, atol=1e-4)
    np.testing.assert_allclose(weight.sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("name", ["to", "cuda", "forward", "train", "training", "keys", "type", "requires_grad_", "parameters"])
def test_a_layer_may_have_the_name_of_what_torch_has(name: str) -> None:
    images = {name: Input(("red", "green")), "series": Input(("a",), 12, 12, "50m")}
    spec = ModelSpec((name, "series"), 3, d=8, hidden=8, width=4, dilations=(1,), inputs=images)
    net, again = network(spec), network(spec, seed=1)
    again.load_state_dict(net.state_dict())
    batch = {name: torch.randn(5, 2, 15, 15), "series": torch.randn(5, 1, 12)}
    batch[name][2] = torch.nan
    assert torch.equal(again.train().eval().to("cpu")(batch), net(batch))
    assert not torch.equal(net({"series": batch["series"]})[:2], net(batch)[:2])
    assert torch.equal(net({"series": batch["series"]})[2], net(batch)[2])  # the vector of what is absent
