"""What a model looks at is told by permuting it; what it does not look at has no importance and a flat response."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch

from inference.calibration.columns import column_names
from inference.data.samples import Input, Predictors
from inference.explanation.encoded import Encoded
from inference.explanation.importance import column_importance, permutation_importance, write_importance
from inference.explanation.responses import at_level, level_of, response, write_responses
from inference.network.batches import covariates_of, gather, predict_surveys
from inference.network.deep_sdm import DeepSDM, ModelSpec
from inference.network.ensemble import Ensemble
from inference.training.likelihood import cloglog_probability

N = 150
SPEC = ModelSpec(
    ("table_50m", "climate", "table_1km", "survey"),
    3,
    ("a", "b"),
    ("c", "d"),
    d=8,
    hidden=16,
    width=4,
    dropout=0.0,
    inputs={"climate": Input(tuple(f"climate.{i}" for i in range(4)), 24, 12, "1km")},
)


@pytest.fixture(scope="module")
def places() -> Encoded:
    """Species 0 follows column a of 50 m, species 1 column c of 1 km, species 2 nothing: weights are trained on that."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    predictors = Predictors(
        {
            "table_50m": rng.normal(size=(N, 2)).astype(np.float32),
            "climate": rng.normal(size=(N, 4, 24)).astype(np.float32),
            "table_1km": rng.normal(size=(N, 2)).astype(np.float32),
        },
        corner=np.tile(np.arange(N)[:, None], (1, 4)),
        weight=np.full((N, 4), 0.25, np.float32),
        table_50m_names=SPEC.table_50m_names,
        table_1km_names=SPEC.table_1km_names,
        inputs=SPEC.inputs,
    )
    held = Ensemble(SPEC, 1, ("Alpha", "Beta", "Gamma"))
    area, year = np.full(N, 100.0), np.full(N, 2010.0)
    net: DeepSDM = held.networks[0]
    wanted = torch.from_numpy(
        np.stack([2 * predictors.values["table_50m"][:, 0], 2 * predictors.values["table_1km"][:, 0], np.zeros(N)], 1) - 1
    ).float()
    batch = gather(predictors, np.arange(N), SPEC.modalities, covariates_of(year - 2010))
    optimiser = torch.optim.Adam(net.parameters(), 0.02)
    for _ in range(150):
        optimiser.zero_grad()
        (net(batch) - wanted).square().mean().backward()
        optimiser.step()
    return Encoded.encode_all(held, predictors, year - 2010, area)


@pytest.fixture(scope="module")
def presence(places) -> np.ndarray:
    return np.random.default_rng(1).random((N, 3)) < places.probability()


def test_encoded_places_give_the_probabilities_of_surveys(places):
    eta = predict_surveys(places.ensemble, places.predictors, places.covariates[:, 0], np.full(N, 100.0))
    np.testing.assert_allclose(places.probability(), cloglog_probability(torch.from_numpy(eta)).numpy(), atol=1e-5)


def test_modalities_and_channels_that_matter_come_first(places, presence):
    of = {r.modality: r.more_log_loss for r in permutation_importance(places, presence)}
    assert set(of) == set(SPEC.modalities)
    assert min(of["table_50m"], of["table_1km"]) > 0.05
    assert max(abs(of["climate"]), abs(of["survey"])) < 0.01
    rows = permutation_importance(places, presence, channels=True)
    channel = {r.channel: r.more_log_loss for r in rows}
    assert min(channel["a"], channel["c"]) > 5 * max(abs(channel["b"]), abs(channel["d"]), 1e-3)
    weights = dict(zip(column_names(SPEC)[1], column_importance(SPEC, rows), strict=True))
    assert weights["a"] == pytest.approx(channel["a"])
    assert weights["climate.0.mean"] == pytest.approx(channel["climate.0"] / 2)


def test_rows_are_written_the_greatest_first(places, presence, tmp_path):
    write_importance(tmp_path, permutation_importance(places, presence, repeats=1))
    with (tmp_path / "importance.csv").open() as file:
        values = [float(row["more_log_loss"]) for row in csv.DictReader(file)]
    assert values == sorted(values, reverse=True)


def test_responses_rise_where_the_truth_rises_and_are_flat_where_it_is(places, tmp_path):
    every = np.arange(3)
    a, b = (response(places, "table_50m", name, every) for name in ("a", "b"))
    c, warm = response(places, "table_1km", "c", every), response(places, "climate", "climate.1", every)
    assert (np.diff(a.mean[:, 0]) > 0).all()
    assert a.mean[-1, 0] > 3 * a.mean[0, 0]
    assert np.ptp(c.mean[:, 1]) > 0.4
    for flat in (a.mean[:, 1], b.mean[:, 0], c.mean[:, 0], warm.mean[:, 2]):
        assert np.ptp(flat) < 0.1
    assert (a.lower <= a.upper).all()
    write_responses(tmp_path, [a, b, c, warm], ["Alpha", "Beta", "Gamma"])
    assert len((tmp_path / "responses.csv").read_text().splitlines()) == 1 + 3 * 4 * len(a.grid)
    for name in ("alpha", "beta", "gamma"):
        assert (tmp_path / f"response_{name}.png").read_bytes().startswith(b"\x89PNG")


def test_an_input_that_does_not_vary_has_no_response(places):
    assert response(places, "survey", "year", np.arange(3)) is None


@pytest.mark.parametrize(
    ("axis", "as_whole", "shape"),
    [(1, False, (5, 2)), (2, False, (5, 4, 2)), (2, True, (5, 4, 4, 12)), (1, True, (5, 6, 12)), (1, True, (5, 4, 10, 10))],
)
def test_a_channel_is_moved_to_a_level_and_no_other_is(axis, as_whole, shape):
    values = torch.randn(shape)
    moved = at_level(values, axis, 1, 2.5, as_whole)
    torch.testing.assert_close(level_of(moved, axis, 1), torch.full((5,), 2.5))
    torch.testing.assert_close(level_of(moved, axis, 0), level_of(values, axis, 0))
