"""Records and surveys in one training: the truth of a simulation, what is withheld, and input that cannot be right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cube.errors import ModelError, TableError
from inference.data.blocks import assign_roles, record_roles, roles_at
from inference.data.records import Records
from inference.data.samples import Predictors, Surveys
from inference.evaluation.metrics import species_correlation
from inference.network.batches import predict_surveys
from inference.training.fit import Trained, spec_for, train
from inference.training.joint import RecordRows
from inference.training.options import TrainOptions

SPECIES, CELLS = 12, 1_500
QUICK = TrainOptions(
    members=1, epochs=1, least_steps=160, batch=64, record_batch=64, modality_dropout=0.0, threads=1, device="cpu"
)
NAMES = tuple(f"species {i}" for i in range(SPECIES))


class World:
    """Two drivers; effort follows one of them and something hidden; species are reported at very different rates."""

    def __init__(self, surveys: int, records: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        z = rng.normal(size=(CELLS, 2)).astype(np.float32)
        self.x, self.y = rng.uniform(0, 40_000, (2, CELLS))
        self.eta = z @ rng.normal(0, 1, (2, SPECIES)) - rng.uniform(1, 3, SPECIES)
        self.rate = rng.normal(0, 1, SPECIES)
        self.places = Predictors(
            static=np.concatenate([z, rng.normal(size=(CELLS, 2))], 1).astype(np.float32), static_names=tuple("abcd")
        )
        at = rng.integers(0, CELLS, surveys)
        presence = rng.random((surveys, SPECIES)) < -np.expm1(-np.exp(np.minimum(self.eta[at], 3)))
        self.at = at
        self.surveys = Surveys(presence, np.full(surveys, 100, np.float32), np.full(surveys, 2010, np.float32),
                               np.arange(surveys), self.x[at], self.y[at], NAMES)  # fmt: skip
        effort = np.exp(0.8 * z[:, 0] + rng.normal(0, 1, CELLS))
        weight = effort[:, None] * np.exp(np.minimum(self.eta, 3) + self.rate)
        flat = rng.choice(weight.size, records, p=(weight / weight.sum()).ravel())
        row, species = np.divmod(flat, SPECIES)
        uniform = rng.integers(0, CELLS, 400)
        years = rng.integers(1990, 2021, records).astype(np.float32)
        self.records = Records(species.astype(np.int32), row, self.x[row], self.y[row], years,
                               np.zeros(records, np.int16), uniform, self.x[uniform], self.y[uniform])  # fmt: skip

    def trained(self, likelihood: str, **options: object) -> Trained:
        chosen = replace(QUICK, likelihood=likelihood, **options)
        at = self.places.subset(self.at)
        spec = spec_for(at, self.surveys, d=16, hidden=32, dropout=0.0)
        return train(at, self.surveys, spec, chosen, records=self.records,
                     record_predictors=self.places)  # fmt: skip

    def correlation(self, trained: Trained) -> float:
        n = np.full(CELLS, 100)
        eta = predict_surveys(trained.ensemble, self.places, n * 0 + 2015, n)
        return float(np.mean(species_correlation(-np.expm1(-np.exp(eta)), -np.expm1(-np.exp(self.eta)))))


@pytest.fixture(scope="module")
def world() -> World:
    return World(60, 3_000)


def test_joint_training_recovers_truth_prevalence_and_reporting_rates(world: World) -> None:
    joint, alone = world.trained("joint", least_steps=400), world.trained("surveys_only")
    assert world.correlation(joint) > 0.75
    assert world.correlation(joint) > world.correlation(alone) + 0.1
    assert np.corrcoef(joint.reporting, world.rate)[0, 1] > 0.7
    assert joint.statement == "probability"
    n = np.full(CELLS, 100)
    p = -np.expm1(-np.exp(predict_surveys(joint.ensemble, world.places, n * 0 + 2015, n)))
    off = np.abs(np.log(p.mean(0) / -np.expm1(-np.exp(world.eta)).mean(0)))
    assert np.exp(np.median(off)) < 1.5


@pytest.mark.parametrize(
    "likelihood", ["thinned_poisson", "target_group", "site_softmax", "assume_negative", "full_weighting", "pretrain"]
)
def test_the_alternatives_learn_too(world: World, likelihood: str) -> None:
    trained = world.trained(likelihood, least_steps=200, record_batch=256)
    assert world.correlation(trained) > 0.5
    assert trained.statement == "probability"


def test_background_places_are_not_told_from_records_by_their_year(world: World) -> None:
    rows = RecordRows(world.records, world.places, None, SPECIES, replace(QUICK, likelihood="thinned_poisson"))
    given = rows.covariates(np.arange(300), 300).numpy()
    np.testing.assert_array_equal(np.sort(given[300:, 0]), np.sort(given[:300, 0]))
    assert len(np.unique(given[300:, 0])) > 20


def test_records_alone_give_relative_intensities(world: World) -> None:
    trained = world.trained("records_only", least_steps=60)
    assert trained.statement == "relative intensity"
    assert trained.reporting is None
    assert world.correlation(trained) > 0.5
    none = world.surveys.subset(np.zeros(0, np.int64))
    empty = world.places.subset(np.zeros(0, np.int64))
    same = train(empty, none, options=replace(QUICK, likelihood="joint", least_steps=5), records=world.records,
                 record_predictors=world.places)  # fmt: skip
    assert same.statement == "relative intensity"


def test_an_epoch_shows_every_record_once_in_batches_of_their_own_size(world: World) -> None:
    trained = world.trained("joint", least_steps=0, record_batch=500)
    assert trained.history[-1]["step"] == len(world.records) // 500


def test_the_same_seed_gives_the_same_weights(world: World) -> None:
    states = [world.trained("joint", least_steps=15).ensemble.state_dict() for _ in range(2)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_records_do_not_change_a_training_on_surveys_only(world: World) -> None:
    given = world.trained("surveys_only", least_steps=15).ensemble
    options = replace(QUICK, least_steps=15)
    without = train(world.places.subset(world.at), world.surveys, given.spec, options).ensemble.state_dict()
    given = given.state_dict()
    assert all(torch.equal(given[name], without[name]) for name in given)


def test_records_of_held_out_blocks_are_withheld_and_so_are_those_within_reach(world: World) -> None:
    roles = assign_roles(world.surveys, 5)
    found, kept = record_roles(world.records, world.surveys, roles, 5, 250.0)
    away = np.stack([world.surveys.x, world.surveys.y], 1)[roles != "train"]
    own = np.stack([world.records.x, world.records.y], 1)[found == "train"]
    distance = np.sqrt(((own[:, None] - away[None]) ** 2).sum(2)).min()
    assert distance > 250
    at_surveys = roles_at(world.surveys.x, world.surveys.y, world.surveys, roles, 5)
    np.testing.assert_array_equal(at_surveys, roles)
    assert set(np.unique(found)) >= {"train", "stop", "test"}
    assert 0 < len(kept.background) < len(world.records.background)
    allowed, same = record_roles(world.records, world.surveys, roles, 5, 250.0, po_allowed=True)
    assert (allowed == "train").all()
    assert same is world.records


def test_input_that_cannot_be_right_is_named(world: World) -> None:
    beyond = replace(world.records, species=np.where(np.arange(3_000) == 7, 99, world.records.species).astype(np.int32))
    with pytest.raises(TableError, match=r"'species' of record 7 is 99, expected 0 to 11 \(1 such"):
        train(world.places.subset(world.at), world.surveys, options=QUICK, records=beyond, record_predictors=world.places)
    with pytest.raises(ModelError, match="records_only"):
        train(world.places.subset(world.at), world.surveys, options=replace(QUICK, likelihood="records_only"))
    nowhere = world.records.without_background(np.ones(400, bool))
    with pytest.raises(ModelError, match="uniform places"):
        train(world.places.subset(world.at), world.surveys, options=replace(QUICK, likelihood="thinned_poisson"),
              records=nowhere, record_predictors=world.places)  # fmt: skip
    with pytest.raises(ModelError, match="'z' is no column"):
        train(world.places.subset(world.at), world.surveys, records=world.records, record_predictors=world.places,
              options=replace(QUICK, likelihood="thinned_poisson", thinning=("z",)))  # fmt: skip


def test_a_species_without_presence_and_places_without_any_value_train_and_predict(world: World) -> None:
    presence = world.surveys.presence.copy()
    presence[:, 3] = False
    static = world.places.static.copy()
    static[::7] = np.nan
    holes = replace(world.places, static=static)
    trained = train(holes.subset(world.at), replace(world.surveys, presence=presence), records=world.records,
                    record_predictors=holes, options=replace(QUICK, least_steps=60))  # fmt: skip
    n = np.full(CELLS, 100)
    eta = predict_surveys(trained.ensemble, holes, n * 0 + 2015, n)
    assert np.isfinite(eta).all()
    # its records and its family's rate say how common it is: not absent, as the surveys alone would have it
    assert -np.expm1(-np.exp(eta[:, 3])).mean() > 0.005
