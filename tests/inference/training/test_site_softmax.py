"""Records against sites: the likelihood against its definition, and what a network learns by it against the truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cube.config.learning import TrainOptions
from cube.errors import ModelError
from inference.data.records import Records
from inference.data.samples import Predictors, Surveys
from inference.network.batches import predict_surveys
from inference.network.deep_sdm import ModelSpec
from inference.training.fit import TrainedModel, train
from inference.training.likelihood import site_softmax_loss
from inference.training.loop import steps_of
from inference.training.site_softmax import SiteSoftmaxObjective

OPTIONS = TrainOptions(members=2, epochs=1, least_steps=150, batch=64, modality_dropout=0.0, threads=1)


def records_of(species: np.ndarray, row: np.ndarray, background: np.ndarray) -> Records:
    n, m = len(row), len(background)
    return Records(
        species.astype(np.int32),
        row,
        np.zeros(n),
        np.zeros(n),
        np.full(n, np.nan, np.float32),
        background,
        np.zeros(m),
        np.zeros(m),
    )


def trained_on(places: Predictors, records: Records, spec: ModelSpec, options: TrainOptions) -> TrainedModel:
    nobody = Surveys(
        np.zeros((0, spec.species), bool),
        *np.zeros((2, 0), np.float32),
        np.zeros(0, np.int64),
        *np.zeros((2, 0)),
        tuple("abcd"[: spec.species]),
    )
    nowhere = places.subset(np.zeros(0, np.int64))
    return train(nowhere, nobody, spec, options, records=records, record_predictors=places)


def intensity(trained: TrainedModel, places: Predictors) -> np.ndarray:
    return predict_surveys(trained.ensemble, places, np.zeros(len(places)), np.full(len(places), 100.0))


def landscape(seed: int = 0) -> tuple[Predictors, Records, np.ndarray]:
    """Three species along one column of two: records drawn by exp(f), f known up to a constant."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (4000, 2)).astype(np.float32)
    f = np.stack([2 * x[:, 0], -2 * x[:, 0], -3 * x[:, 0] ** 2], 1)
    p = np.exp(f) / np.exp(f).sum(0)
    row = np.concatenate([rng.choice(4000, k, p=p[:, s]) for s, k in enumerate((400, 60, 200))])
    species = np.repeat([0, 1, 2], (400, 60, 200))
    return Predictors({"table_50m": x}, table_50m_names=("a", "b")), records_of(species, row, np.arange(4000)), f


def test_loss_is_the_softmax_over_a_records_own_place_and_the_sites():
    generator = torch.Generator().manual_seed(0)
    at, away = torch.randn(3, 2, generator=generator), torch.randn(5, 2, generator=generator)
    species = torch.tensor([1, 0, 1])
    for i, s in enumerate(species.tolist()):
        choices = torch.cat([at[i, s : s + 1], away[:, s]])
        expected = -torch.log_softmax(choices, 0)[0]
        torch.testing.assert_close(site_softmax_loss(at, species, away)[i], expected)


def test_a_constant_per_species_cancels():
    generator = torch.Generator().manual_seed(1)
    at, away = torch.randn(4, 3, generator=generator), torch.randn(6, 3, generator=generator)
    species, constant = torch.tensor([0, 1, 2, 0]), torch.tensor([3.0, -7.0, 0.5])
    torch.testing.assert_close(site_softmax_loss(at + constant, species, away + constant), site_softmax_loss(at, species, away))


def test_network_recovers_intensities_up_to_a_constant():
    places, records, truth = landscape()
    spec = ModelSpec(("table_50m",), 3, table_50m_names=places.table_50m_names, d=16, hidden=32, dropout=0.1)
    f = intensity(trained_on(places, records, spec, replace(OPTIONS, recorded_sites=0.0)), places)
    for s, least in enumerate((0.95, 0.9, 0.8)):
        assert np.corrcoef(f[:, s], truth[:, s])[0, 1] > least
    # 1 at a typical place of the records: the mean of f over places drawn by exp(f) is 0
    share = np.exp(f[records.background]) / np.exp(f[records.background]).sum(0)
    np.testing.assert_allclose((share * f[records.background]).sum(0), 0, atol=1e-3)


def test_same_seed_same_weights():
    places, records, _ = landscape()
    spec = ModelSpec(("table_50m",), 3, table_50m_names=places.table_50m_names, d=8, hidden=8)
    quick = TrainOptions(members=1, epochs=1, least_steps=5, batch=32, threads=1)
    first, again = (trained_on(places, records, spec, quick).ensemble for _ in range(2))
    for one, other in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_rare_species_are_drawn_by_the_root_of_their_records():
    places, records, _ = landscape()
    spec = ModelSpec(("table_50m",), 4, table_50m_names=places.table_50m_names)
    objective = SiteSoftmaxObjective(places, records, spec, TrainOptions(batch=600))
    generator = torch.Generator().manual_seed(0)
    drawn = torch.cat([objective.load(objective.draw(generator))["species"] for _ in range(20)])
    root = np.sqrt([400, 60, 200, 0])
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / len(drawn), root / root.sum(), atol=0.02)


@pytest.mark.parametrize(("count", "steps"), [(40, 25), (128, 25), (256, 50), (660, 129), (20_000, 400), (102_400, 800)])
def test_few_records_are_passed_through_25_times_and_many_once(count: int, steps: int) -> None:
    places, _, _ = landscape()
    spec = ModelSpec(("table_50m",), 3, table_50m_names=places.table_50m_names)
    rng = np.random.default_rng(0)
    records = records_of(rng.integers(0, 3, count), rng.integers(0, 4000, count), np.arange(4000))
    options = TrainOptions(epochs=1, least_steps=400, batch=128)
    assert steps_of(SiteSoftmaxObjective(places, records, spec, options), options) == steps


def test_few_records_are_not_learned_by_heart() -> None:
    rng = np.random.default_rng(0)
    noise = Predictors(
        {"table_50m": rng.normal(size=(4000, 20)).astype(np.float32)}, table_50m_names=tuple("abcdefghijklmnopqrst")
    )
    records = records_of(np.repeat([0, 1, 2], 15), rng.choice(4000, 45, replace=False), np.arange(4000))  # of no preference
    spec = ModelSpec(("table_50m",), 3, table_50m_names=noise.table_50m_names, d=64, hidden=128, dropout=0.3)
    f = intensity(trained_on(noise, records, spec, TrainOptions(members=1, epochs=1, threads=1, recorded_sites=0.0)), noise)
    gain = [f[records.row[records.species == s], s].mean() - f[:, s].mean() for s in range(3)]
    assert np.mean(gain) < 2.5, gain  # of the logarithm; 400 steps gave 14


def test_nothing_to_set_records_against_is_said():
    places, records, _ = landscape()
    spec = ModelSpec(("table_50m",), 3, table_50m_names=places.table_50m_names)
    with pytest.raises(ModelError, match="0 sites of background"):
        SiteSoftmaxObjective(places, records_of(records.species, records.row, np.zeros(0, np.int64)), spec, OPTIONS)


@pytest.mark.slow
def test_effort_cancels_by_the_share_of_recorded_sites():
    """Nobody goes where x1 is low: against random sites that is learned, against what is recorded it is not."""
    places, records, f = landscape()
    assert "table_50m" in places.values
    rng = np.random.default_rng(1)
    effort = np.exp(2 * places.values["table_50m"][:, 1])
    rows, species = [], []
    for s, k in enumerate((400, 300, 200)):
        p = np.exp(f[:, s]) * effort
        rows.append(rng.choice(4000, k, p=p / p.sum()))
        species.append(np.full(k, s))
    seen = records_of(np.concatenate(species), np.concatenate(rows), records.background)
    spec = ModelSpec(("table_50m",), 3, table_50m_names=places.table_50m_names, d=16, hidden=32, dropout=0.1)
    slope = {}
    for share in (0.0, 1.0):
        learned = intensity(trained_on(places, seen, spec, replace(OPTIONS, recorded_sites=share)), places)
        slope[share] = float(np.polyfit(places.values["table_50m"][:, 1], learned.mean(1), 1)[0])
    assert slope[0.0] > 1.5
    assert abs(slope[1.0]) < 0.4
