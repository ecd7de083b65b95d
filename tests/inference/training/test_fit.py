"""Training learns what is there, repeats itself for a seed, and survives missing data."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from cube.config.learning import TrainOptions
from cube.errors import ModelError
from inference.calibration.calibrate import fit_calibration
from inference.data.blocks import make_folds
from inference.data.samples import Predictors, Surveys
from inference.evaluation.metrics import log_loss, species_correlation
from inference.evaluation.out_of_fold import cross_calibrated
from inference.explanation.encoded import Encoded
from inference.network import checkpoint
from inference.network.batches import predict_surveys
from inference.network.forest import FOREST_SHARE, HALF_AT, PREVALENCE_SHARE
from inference.training.fit import spec_for, train
from inference.training.likelihood import cloglog_probability
from inference.training.loop import steps_of
from inference.training.objective import SurveyObjective, SurveyRows

QUICK = TrainOptions(members=1, epochs=1, least_steps=30, batch=32, threads=1)


def landscape(n: int = 500, species: int = 12, seed: int = 0):
    """Places on a 40 km square, one driver in each of two modalities, and the true cloglog scores."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, 40_000, (2, n))
    hidden = rng.normal(size=(n, 2)).astype(np.float32)
    static = np.concatenate([hidden, rng.normal(size=(n, 2))], 1).astype(np.float32)
    satellite = rng.normal(0.3, 0.05, (n, 4, 15, 15)).astype(np.float32)
    predictors = Predictors(
        {"satellite": satellite, "table_50m": static, "table_1km": rng.normal(size=(n, 3)).astype(np.float32)},
        table_50m_names=("a", "b", "c", "d"),
        table_1km_names=("u", "v", "w"),
        corner=np.repeat(np.arange(n)[:, None], 4, 1),
        weight=np.full((n, 4), 0.25, np.float32),
    )
    slopes = rng.normal(0, 1.0, (2, species))
    eta = hidden @ slopes - rng.uniform(1, 2.5, species)
    presence = rng.random(eta.shape) < -np.expm1(-np.exp(np.clip(eta, -20, 3)))
    names = tuple(f"species {i}" for i in range(species))
    year = rng.integers(2000, 2020, n).astype(np.float32)
    area = np.full(n, 100, np.float32)
    return predictors, Surveys(presence, area, year, np.arange(n), x, y, names), eta


def scores(trained, predictors, surveys):
    return predict_surveys(trained.ensemble, predictors, surveys.year, surveys.area_m2)


def test_same_seed_gives_the_same_weights_and_another_seed_others():
    predictors, surveys, _ = landscape(120)
    states = [train(predictors, surveys, options=replace(QUICK, seed=seed)).ensemble.state_dict() for seed in (4, 4, 5)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["members.0.species_embedding"], states[2]["members.0.species_embedding"])


@pytest.mark.parametrize(("count", "steps"), [(40, 64), (128, 64), (300, 150), (700, 350), (1000, 400), (5120, 600)])
def test_few_surveys_are_passed_through_64_times_and_many_as_often_as_asked(count: int, steps: int) -> None:
    places = Predictors({"table_50m": np.zeros((count, 1), np.float32)}, table_50m_names=("a",))
    surveys = Surveys.at(np.arange(count) * 1.0, np.zeros(count), ("s",), 100)
    surveys = replace(surveys, presence=np.ones((count, 1), bool))
    options = TrainOptions()
    objective = SurveyObjective(SurveyRows(places, surveys), spec_for(places, surveys), options)
    assert steps_of(objective, options) == steps


def test_few_surveys_are_not_learned_by_heart() -> None:
    rng = np.random.default_rng(0)
    names = tuple("abcdefghijklmnopqrst")
    places = Predictors({"table_50m": rng.normal(size=(1060, 20)).astype(np.float32)}, table_50m_names=names)
    presence = rng.random((1060, 8)) < 0.3  # of no preference
    surveys = replace(Surveys.at(*rng.uniform(0, 1e5, (2, 1060)), tuple("stuvwxyz"), 100.0), presence=presence)
    learned, rest = np.arange(60), np.arange(60, 1060)
    trained = train(places.subset(learned), surveys.subset(learned), options=TrainOptions(members=1, threads=1))
    eta = scores(trained, places.subset(rest), surveys.subset(rest))
    p = np.clip(-np.expm1(-np.exp(np.clip(eta, -20, 3))), 1e-6, 1 - 1e-6)
    loss = -np.where(presence[rest], np.log(p), np.log1p(-p)).mean()
    assert loss < 1.2, loss  # 0.61 is that of the share of presences; 400 steps gave 2.8


def test_training_leaves_the_callers_random_state_alone():
    predictors, surveys, _ = landscape(60)
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    train(predictors, surveys, options=QUICK)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.slow
def test_learns_the_truth_of_a_simple_landscape():
    predictors, surveys, eta = landscape(1200)
    options = TrainOptions(members=2, epochs=1, least_steps=200, batch=64, threads=1)
    trained = train(predictors, surveys, options=options, folds=make_folds(surveys, 5, 2))
    assert trained.out_of_fold is not None
    assert np.mean(species_correlation(trained.out_of_fold, eta)) > 0.8
    assert 0.6 < trained.metrics["calibration_slope"] < 1.7


def test_the_area_enters_once_by_an_exponent_that_is_recovered():
    rng = np.random.default_rng(3)
    n, species = 4000, 20
    static = rng.normal(size=(n, 2)).astype(np.float32)
    area = np.exp(rng.uniform(np.log(4), np.log(900), n)).astype(np.float32)
    eta = static @ rng.normal(0, 0.7, (2, species)) - rng.uniform(1.5, 3, species) + 0.35 * np.log(area / 100)[:, None]
    presence = rng.random(eta.shape) < -np.expm1(-np.exp(eta))
    names, year = tuple(f"species {i}" for i in range(species)), np.full(n, 2010, np.float32)
    surveys = Surveys(presence, area, year, np.arange(n), *rng.uniform(0, 40_000, (2, n)), names)
    predictors = Predictors({"table_50m": static}, table_50m_names=("a", "b"))
    spec = spec_for(predictors, surveys, d=8, hidden=16, dropout=0.0)
    options = TrainOptions(members=1, epochs=1, least_steps=500, batch=128, threads=1)
    ensemble = train(predictors, surveys, spec, options).ensemble
    assert abs(ensemble.beta.item() - 0.35) < 0.05
    at = [predict_surveys(ensemble, predictors, year, np.full(n, side**2)) for side in (10.0, 30.0)]
    np.testing.assert_allclose(at[1] - at[0], ensemble.beta.item() * np.log(9), atol=1e-4)  # and enters nowhere else


@pytest.fixture(scope="module")
def crossed():
    predictors, surveys, _ = landscape(240)
    predictors = predictors.without("satellite")
    folds = make_folds(surveys, 5, 3, reach_m=200.0)
    options = replace(QUICK, members=3)
    return predictors, surveys, folds, options, train(predictors, surveys, options=options, folds=folds)


def test_no_out_of_fold_score_saw_its_own_block(crossed):
    """Poison in one fold's labels changes the members that learn from it, and no score of the fold itself."""
    predictors, surveys, folds, options, trained = crossed
    for poisoned in range(3):
        presence = surveys.presence.copy()
        presence[folds.fold == poisoned] ^= True
        other = train(predictors, replace(surveys, presence=presence), options=options, folds=folds)
        assert trained.out_of_fold is not None
        assert other.out_of_fold is not None
        same = (trained.out_of_fold == other.out_of_fold).all(1)
        np.testing.assert_array_equal(same, folds.fold == poisoned)


def test_every_survey_is_learned_from_by_all_members_but_those_of_its_fold_and_its_neighbours(crossed):
    _, surveys, folds, options, trained = crossed
    learned = np.stack([folds.surveys_without(k, surveys) for k in range(3)])
    assert not learned[folds.fold, np.arange(len(surveys))].any()
    assert learned.any(0).all()
    assert len(trained.ensemble.networks) == options.members
    for k in range(3):
        away = np.stack([surveys.x, surveys.y], 1)[folds.fold == k]
        near = np.abs(np.stack([surveys.x, surveys.y], 1)[learned[k]][:, None] - away[None]).max(2).min(1)
        assert near.min() > 200


def test_out_of_fold_scores_are_those_of_the_members_that_ship(crossed):
    predictors, surveys, folds, _, trained = crossed
    for k in range(3):
        rows = np.flatnonzero(folds.fold == k)
        at = predictors.subset(rows), surveys.year[rows], surveys.area_m2[rows]
        eta = predict_surveys(trained.without(k), *at, calibrated=False)
        np.testing.assert_array_equal(eta, trained.out_of_fold[rows])


def test_unknown_areas_are_counted_and_take_the_training_median():
    predictors, surveys, _ = landscape(100)
    area = np.where(np.arange(100) % 2, 25, 100).astype(np.float32)
    area[:10] = [np.nan, -np.inf, np.inf, 0, -1, np.nan, np.nan, np.nan, np.nan, np.nan]
    trained = train(predictors, replace(surveys, area_m2=area), options=QUICK)
    assert trained.metrics["areas_filled"] == 10
    filled = replace(surveys, area_m2=np.where(np.isfinite(area) & (area > 0), area, trained.ensemble.median_area_m2.item()))
    unknown = replace(surveys, area_m2=area)
    np.testing.assert_array_equal(scores(trained, predictors, unknown), scores(trained, predictors, filled))


def test_missing_values_and_missing_modalities_train_and_predict():
    predictors, surveys, _ = landscape(150)
    static = predictors.values["table_50m"].copy()
    static[::3, 0] = np.nan
    static[1] = np.nan
    satellite = predictors.values["satellite"].copy()
    satellite[::2] = np.nan
    holes = predictors.with_values({"table_50m": static, "satellite": satellite})
    trained = train(holes, surveys, options=QUICK)
    for left in (holes, holes.without("satellite"), holes.without("table_50m", "table_1km")):
        assert np.isfinite(scores(trained, left, surveys)).all()


def test_several_surveys_of_a_place_weigh_as_one():
    _, surveys, _ = landscape(10)
    place = np.array([0, 0, 0, 0, 1, 2, 3, 4, 5, 5])
    weight = replace(surveys, place=place).place_weight
    np.testing.assert_allclose(np.bincount(place, weight), 1, rtol=1e-6)


def test_ceilings_bound_the_probabilities_seen_in_training():
    predictors, surveys, _ = landscape(200)
    trained = train(predictors, surveys, options=QUICK)
    p = -np.expm1(-np.exp(scores(trained, predictors, surveys)))
    assert (p.max(0) <= trained.ensemble.ceiling.numpy() + 1e-6).all()
    np.testing.assert_allclose(trained.ensemble.scale * 250, trained.ensemble.ceiling.numpy(), rtol=1e-6)


@pytest.mark.parametrize("patch", [5, 15, 25, 35, 45, 55])
def test_receptive_field_follows_the_patch(patch):
    predictors, surveys, _ = landscape(4)
    image = np.zeros((4, 4, patch, patch), np.float32)
    assert spec_for(predictors.with_values({"satellite": image}), surveys).patch == patch


def test_rows_that_do_not_match_are_refused():
    predictors, surveys, _ = landscape(40)
    with pytest.raises(ModelError, match="do not match"):
        train(predictors.subset(np.arange(30)), surveys, options=QUICK)
    fewer = spec_for(predictors, replace(surveys, presence=surveys.presence[:, :3], species=surveys.species[:3]))
    with pytest.raises(ModelError, match="species"):
        train(predictors, surveys, spec=fewer, options=QUICK)
    with pytest.raises(ModelError, match="2 folds and 1 members do not match"):
        train(predictors, surveys, options=QUICK, folds=make_folds(surveys, 5, 2))
    spec = spec_for(predictors, surveys, modalities=("table_50m", "landsat"))
    with pytest.raises(ModelError, match="'landsat'"):
        train(predictors, surveys, spec=spec, options=QUICK)


@pytest.fixture(scope="module")
def with_forest():
    """A training with a forest of few trees beside its members."""
    predictors, surveys, _ = landscape(300)
    folds = make_folds(surveys, 8.0, 3)
    return predictors, surveys, folds, train(predictors, surveys, None, replace(QUICK, members=3, forest_trees=4), folds)


def test_intensities_of_networks_and_forest_are_averaged_out_of_fold_and_in_what_ships(with_forest) -> None:
    predictors, surveys, folds, trained = with_forest
    ensemble, alone = trained.ensemble, trained.alone
    plain = train(predictors, surveys, None, replace(QUICK, members=3), folds)
    np.testing.assert_array_equal(plain.out_of_fold, alone["networks"])
    count = surveys.presence.sum(0)
    weight = FOREST_SHARE * count / (count + HALF_AT)  # of a forest less where a species is rare
    mean = weight * np.exp(alone["forest"]) + (1 - weight) * np.exp(alone["networks"])
    np.testing.assert_allclose(trained.out_of_fold, np.log(mean), atol=1e-5)
    calibration = fit_calibration(trained.out_of_fold, surveys.presence, surveys.place_weight, folds.block)
    assert ensemble.slope.item() == pytest.approx(calibration.slope)
    # what the members of a fold predict of it are these scores, calibrated, but for the prevalence that fills empty leaves
    rows = np.flatnonzero(folds.fold == 1)
    part = trained.without(1)
    assert part.forest.sizes.trees == 4
    seen = predict_surveys(part, predictors.subset(rows), surveys.year[rows], surveys.area_m2[rows])
    expected = ensemble.slope.numpy() * trained.out_of_fold[rows] + ensemble.intercept.numpy()
    p, q = (-np.expm1(-np.exp(eta)) for eta in (seen, expected))
    np.testing.assert_allclose(p, q, atol=PREVALENCE_SHARE)


def test_a_forest_beside_networks_is_no_worse_than_either_in_log_loss() -> None:
    predictors, surveys, _ = landscape(600)
    folds = make_folds(surveys, 8.0, 3)
    trained = train(predictors, surveys, None, replace(QUICK, members=3, forest_trees=10), folds)
    eta = {"both": trained.out_of_fold, **trained.alone}
    loss = {name: log_loss(cross_calibrated(scores, surveys, folds), surveys.presence) for name, scores in eta.items()}
    assert loss["both"] < min(loss["networks"], loss["forest"]), loss


def test_what_explains_a_model_with_a_forest_is_what_it_predicts(with_forest) -> None:
    predictors, surveys, _, trained = with_forest
    places = Encoded.encode_all(trained.ensemble, predictors, surveys.year, surveys.area_m2)
    eta = scores(trained, predictors, surveys)
    np.testing.assert_allclose(places.probability(), cloglog_probability(torch.from_numpy(eta)), atol=1e-5)
    values = places.values("table_50m")
    reverse = torch.arange(len(values) - 1, -1, -1)
    moved = places.probability(places.encode(("table_50m",), {"table_50m": values[reverse]}))
    turned = predictors.with_values({"table_50m": predictors.values["table_50m"][::-1].copy()})
    eta = scores(trained, turned, surveys)
    np.testing.assert_allclose(moved, cloglog_probability(torch.from_numpy(eta)), atol=1e-5)


def test_a_model_with_a_forest_comes_back_from_its_folder_and_a_damaged_one_is_refused(with_forest, tmp_path) -> None:
    predictors, surveys, _, trained = with_forest
    checkpoint.save(tmp_path, trained.ensemble)
    again, card = checkpoint.load(tmp_path, surveys.species)
    assert card.forest == trained.ensemble.forest.sizes
    expected = scores(trained, predictors, surveys)
    np.testing.assert_array_equal(predict_surveys(again, predictors, surveys.year, surveys.area_m2), expected)
    document = json.loads((tmp_path / "card.json").read_text())
    document["forest"]["leaves"] += 1
    (tmp_path / "card.json").write_text(json.dumps(document))
    with pytest.raises(ModelError, match=r"model.safetensors does not fit its card .*; train again\.$"):
        checkpoint.load(tmp_path)
    document["forest"]["leaves"] = "many"
    (tmp_path / "card.json").write_text(json.dumps(document))
    with pytest.raises(ModelError, match=r"card.json is damaged \(forest.leaves is 'many', expected a whole number\)"):
        checkpoint.load(tmp_path)
    del document["forest"]["leaves"]
    (tmp_path / "card.json").write_text(json.dumps(document))
    with pytest.raises(ModelError, match=r"card.json is damaged .*; copy the model anew\.$"):
        checkpoint.load(tmp_path)
