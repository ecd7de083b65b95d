"""Records and surveys in one training: the truth of a simulation, what is withheld, and input that cannot be right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cube.config.learning import TrainOptions
from cube.errors import ModelError, TableError
from inference.data.blocks import make_folds
from inference.data.records import Records
from inference.data.samples import Predictors, Surveys
from inference.evaluation.metrics import species_correlation
from inference.network.batches import predict_surveys
from inference.network.deep_sdm import DeepSDM
from inference.training.fit import TrainedModel, spec_for, train
from inference.training.joint import JointObjective, RecordRows
from inference.training.objective import SurveyObjective, SurveyRows
from inference.training.reporting import Reporting

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
            {"table_50m": np.concatenate([z, rng.normal(size=(CELLS, 2))], 1).astype(np.float32)}, table_50m_names=tuple("abcd")
        )
        at = rng.integers(0, CELLS, surveys)
        presence = rng.random((surveys, SPECIES)) < -np.expm1(-np.exp(np.minimum(self.eta[at], 3)))
        self.at = at
        self.surveys = Surveys(
            presence,
            np.full(surveys, 100, np.float32),
            np.full(surveys, 2010, np.float32),
            np.arange(surveys),
            self.x[at],
            self.y[at],
            NAMES,
        )
        effort = np.exp(0.8 * z[:, 0] + rng.normal(0, 1, CELLS))
        weight = effort[:, None] * np.exp(np.minimum(self.eta, 3) + self.rate)
        flat = rng.choice(weight.size, records, p=(weight / weight.sum()).ravel())
        row, species = np.divmod(flat, SPECIES)
        uniform = rng.integers(0, CELLS, 400)
        years = rng.integers(1990, 2021, records).astype(np.float32)
        self.records = Records(
            species.astype(np.int32), row, self.x[row], self.y[row], years, uniform, self.x[uniform], self.y[uniform]
        )

    def trained(self, likelihood: str, **options: object) -> TrainedModel:
        chosen = replace(QUICK, likelihood=likelihood, **options)
        at = self.places.subset(self.at)
        surveys = self.surveys if likelihood != "records_only" else self.surveys.subset(np.zeros(0, np.int64))
        spec = spec_for(at, surveys, d=16, hidden=32, dropout=0.0)
        return train(at, self.surveys, spec, chosen, records=self.records, record_predictors=self.places)

    def correlation(self, trained: TrainedModel) -> float:
        n = np.full(CELLS, 100)
        eta = predict_surveys(trained.ensemble, self.places, n * 0 + 2015, n)
        return float(np.mean(species_correlation(-np.expm1(-np.exp(eta)), -np.expm1(-np.exp(self.eta)))))


@pytest.fixture(scope="module")
def world() -> World:
    return World(60, 3_000)


@pytest.mark.slow
def test_joint_training_recovers_truth_prevalence_and_reporting_rates(world: World) -> None:
    joint, alone = world.trained("joint", least_steps=400), world.trained("surveys_only")
    assert world.correlation(joint) > 0.75
    assert world.correlation(joint) > world.correlation(alone) + 0.04
    assert np.corrcoef(joint.reporting, world.rate)[0, 1] > 0.7
    assert joint.output_kind == "probability"
    n = np.full(CELLS, 100)
    p = -np.expm1(-np.exp(predict_surveys(joint.ensemble, world.places, n * 0 + 2015, n)))
    off = np.abs(np.log(p.mean(0) / -np.expm1(-np.exp(world.eta)).mean(0)))
    assert np.exp(np.median(off)) < 1.5


def test_records_alone_give_relative_intensities(world: World) -> None:
    trained = world.trained("records_only", least_steps=60)
    assert trained.output_kind == "relative intensity"
    assert trained.reporting is None
    assert world.correlation(trained) > 0.5
    none = world.surveys.subset(np.zeros(0, np.int64))
    empty = world.places.subset(np.zeros(0, np.int64))
    same = train(
        empty,
        none,
        options=replace(QUICK, likelihood="joint", least_steps=5),
        records=world.records,
        record_predictors=world.places,
    )
    assert same.output_kind == "relative intensity"


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


def test_records_of_the_fold_that_is_left_out_are_withheld_and_so_are_those_within_reach(world: World) -> None:
    folds = make_folds(world.surveys, 5, 3, reach_m=250.0)
    for k in range(3):
        kept = folds.records_of(k, world.surveys, world.records)
        away = np.stack([world.surveys.x, world.surveys.y], 1)[folds.fold == k]
        own = np.stack([kept.x, kept.y], 1)
        assert np.abs(own[:, None] - away[None]).max(2).min() > 250
        assert k not in folds.at(kept.x, kept.y)
        assert k not in folds.at(kept.background_x, kept.background_y)
        assert 0 < len(kept) < len(world.records)
        assert 0 < len(kept.background) < len(world.records.background)
    assert folds.records_of(0, world.surveys, world.records, all_records=True) is world.records


def test_records_of_whole_groups_that_are_left_out_are_withheld_too(world: World) -> None:
    """Groups west and east: no record is learned from where the nearest survey is of the group that is left out."""
    east = (world.surveys.x > 20_000).astype(int)
    folds = make_folds(world.surveys, 5, 2, group=east)
    for k in range(2):
        side = folds.fold[east == 1][0] == k
        kept = folds.records_of(k, world.surveys, world.records)
        for x in (kept.x, kept.background_x):
            assert len(x) > 100
            assert ((x > 25_000) if side else (x < 15_000)).sum() == 0


def test_no_out_of_fold_score_saw_records_of_its_blocks_unless_they_are_allowed(world: World) -> None:
    folds = make_folds(world.surveys, 5, 2)
    inside = folds.at(world.records.x, world.records.y) == 0
    poisoned = replace(world.records, species=np.where(inside, 0, world.records.species).astype(np.int32))
    for allowed in (False, True):
        options = replace(QUICK, members=2, least_steps=8, po_allowed=allowed)
        found = [
            train(
                world.places.subset(world.at),
                world.surveys,
                options=options,
                folds=folds,
                records=records,
                record_predictors=world.places,
            ).out_of_fold
            for records in (world.records, poisoned)
        ]
        assert (found[0] == found[1])[folds.fold == 0].all() != allowed


def test_input_that_cannot_be_right_is_named(world: World) -> None:
    beyond = replace(world.records, species=np.where(np.arange(3_000) == 7, 99, world.records.species).astype(np.int32))
    with pytest.raises(TableError, match=r"'species' of record 7 is 99, expected 0 to 11 \(1 such"):
        train(world.places.subset(world.at), world.surveys, options=QUICK, records=beyond, record_predictors=world.places)
    with pytest.raises(ModelError, match="neither surveys nor records"):
        train(world.places.subset(world.at), world.surveys, options=replace(QUICK, likelihood="records_only"))
    nowhere = world.records.without_background(np.ones(400, bool))
    with pytest.raises(ModelError, match="0 sites of background"):
        train(
            world.places.subset(world.at),
            world.surveys,
            options=replace(QUICK, likelihood="records_only"),
            records=nowhere,
            record_predictors=world.places,
        )


def test_a_species_without_presence_and_places_without_any_value_train_and_predict(world: World) -> None:
    presence = world.surveys.presence.copy()
    presence[:, 3] = False
    static = world.places.values["table_50m"].copy()
    static[::7] = np.nan
    holes = world.places.with_values({"table_50m": static})
    trained = train(
        holes.subset(world.at),
        replace(world.surveys, presence=presence),
        records=world.records,
        record_predictors=holes,
        options=replace(QUICK, least_steps=60),
    )
    n = np.full(CELLS, 100)
    eta = predict_surveys(trained.ensemble, holes, n * 0 + 2015, n)
    assert np.isfinite(eta).all()
    # its records and its family's rate say how common it is: not absent, as the surveys alone would have it
    assert -np.expm1(-np.exp(eta[:, 3])).mean() > 0.005


def test_rows_that_share_the_weight_of_a_record_cost_what_the_record_costs(world: World) -> None:
    few = world.records.subset(np.arange(40))
    again = few.subset(np.repeat(np.arange(40), 4))
    shared = replace(again, weight=np.full(160, 0.25, np.float32))
    spec = spec_for(world.places.subset(world.at), world.surveys, d=8, hidden=8, dropout=0.0)
    torch.manual_seed(0)
    net = DeepSDM(spec).eval()
    options = replace(QUICK, likelihood="joint")
    losses = []
    surveys = SurveyObjective(SurveyRows(world.places.subset(world.at), world.surveys), spec, options)
    batch = surveys._gather(np.arange(5))
    for records in (few, shared):
        rows = RecordRows(records, world.places, SPECIES)
        np.testing.assert_allclose(rows.counts, np.bincount(few.species, minlength=SPECIES))
        objective = JointObjective(surveys, 1.0, rows, Reporting(np.zeros(SPECIES), np.zeros(SPECIES, np.int64)), spec, options)
        own = {"record." + k: v for k, v in objective._gather(np.arange(len(records))).items()}
        with torch.no_grad():
            losses.append(float(objective.loss(net, batch | own)))
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
