"""Surveys, records and plots to a model folder: the deep-SDM, its calibration and intervals, and the habitats reader."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cube.config import Config
from cube.config.learning import TrainOptions
from cube.errors import ConfigError, ModelError
from cube.storage.identity import digest
from cube.storage.local_files import file_lock, write_file
from cube.storage.store import open_cube
from inference.calibration.intervals import as_json, coverage_by_fold, quantiles_of, residual_scores
from inference.calibration.richness import Richness, fit_richness
from inference.cascade.areas import SurveyAreas, extrapolated_area
from inference.cascade.model import save_settings, save_traits
from inference.cascade.ranges import read_ranges, save_ranges
from inference.cascade.reference import Reference, reference_of, save_reference
from inference.cascade.sums import plan_sums
from inference.data.dataset import Dataset, load_dataset, split_network_options
from inference.data.holdout import Holdout, plan_folds, shown_km
from inference.data.shards import SampleStore
from inference.evaluation.folds import FLORACUBE, skill_report
from inference.evaluation.out_of_fold import OutOfFold, cross_calibrated, describe_surveys, fingerprint, save_out_of_fold
from inference.evaluation.record_folds import record_table, save_places
from inference.evaluation.tables import Table
from inference.evaluation.tables import records as records_of
from inference.explanation.describe import describe_model
from inference.network import checkpoint
from inference.network.batches import predict_surveys
from inference.network.checksums import write_checksums
from inference.training.curves import EVENTS, PICTURE
from inference.training.fit import TrainedModel, options_document, spec_for, train
from inference.training.habitats import train_habitats
from inference.training.likelihood import cloglog_probability
from inference.training.search import search

Progress = Callable[[int, int, str], None]
REFERENCE_PLACES = 5000  # surveys whose mean composition distinctness is measured against: more would change nothing


def learn(config: Config, progress: Progress = lambda steps_done, total, text: None) -> dict[str, Any]:
    """Train everything that the configuration asks for and write the model folder; returns the metrics and reports.

    The folder is replaced as a whole when all parts are ready; until then the old one stays. Beside it a folder `NAME.run`
    holds the state of the training: interrupted and started again, it resumes there. Raises `ModelError` while another
    process trains into the folder.
    """
    with _sole_training(config.model_path):
        return _learn(config, progress)


@contextmanager
def _sole_training(model: Path) -> Iterator[None]:
    """Keep every other training out of the folder `model`: the files of two would mix."""
    try:
        with file_lock(model.with_name(f".{model.name}.lock"), wait=False):
            yield
    except BlockingIOError:
        raise ModelError(
            f"{model}: another training writes this model just now; wait for its end, or name another folder with `model`."
        ) from None


def _learn(config: Config, progress: Progress) -> dict[str, Any]:
    options = config.train
    target = config.model_path
    run = target.with_name(f"{target.name}.run")
    samples = SampleStore(run / "samples", options.memory_gb * 1e9)
    cube = open_cube(config.cube_url)
    data = load_dataset(config, cube, lambda steps_done, total: progress(steps_done, total, "sampling the cube"), samples)
    if len(data.surveys) and options.likelihood != "records_only":
        extrapolated_area(config, SurveyAreas.from_surveys(data.surveys.area_m2))  # refused before hours of training
    ranges = read_ranges(config, data.surveys.species)
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        trained_model, plan, tables = _train_sdm(config, data, options, run, progress)
        quantiles: dict[str, float] = {}
        reference = None
        if trained_model.record_places is not None:
            tables.append(_judge_records(trained_model, plan, partial))
        elif trained_model.out_of_fold is not None:
            quantiles, reference, skill = _judge(config, data, trained_model, plan, partial, progress)
            tables += skill
        _keep_curves(run, partial / "training")
        metrics: dict[str, Any] = dict(trained_model.metrics)
        reports = [r.document() for r in data.reports]
        checkpoint.save(
            partial / "sdm",
            trained_model.ensemble,
            metrics=trained_model.metrics,
            data_hashes={"surveys": digest(data.surveys.presence.tobytes())},
            training={
                "options": options_document(options),
                "history": trained_model.history,
                "reports": reports,
                "statement": trained_model.output_kind,
                "reporting_rates": _rates(trained_model),
            },
        )
        save_traits(partial, trained_model.ensemble.species, data.traits)
        save_ranges(partial, ranges)
        if reference is not None:
            save_reference(partial, reference)
        richness = Richness(metrics.get("richness_level", 1.0), metrics.get("richness_exponent", 1.0))
        areas = SurveyAreas.from_surveys(data.surveys.area_m2) if trained_model.output_kind == "probability" else None
        save_settings(partial, data.recipe, as_json(quantiles), richness, areas)
        metrics |= trained_model.metrics | describe_model(partial, config, data, trained_model, progress)
        if config.habitats is not None:
            metrics["habitats"], habitat_report = train_habitats(config, partial / "habitats", progress)
            reports.append(habitat_report)
        (partial / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
        write_checksums(partial)
        _replace(partial, target)
        shutil.rmtree(run, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    write_file(config.report_path / "tables.json", (json.dumps(reports, indent=1) + "\n").encode())
    return {"metrics": metrics, "reports": reports, "tables": [table.text() for table in tables]}


def learn_habitats(config: Config, progress: Progress = lambda steps_done, total, text: None) -> dict[str, Any]:
    """Train the habitats reader alone and put it into an existing model folder (or a new one)."""
    if config.habitats is None:
        raise ConfigError(f"{config.path}: habitats is missing; it names the vegetation plots to learn from.")
    partial = config.model_path / ".habitats.partial"
    with _sole_training(config.model_path):
        shutil.rmtree(partial, ignore_errors=True)
        try:
            metrics, report = train_habitats(config, partial, progress)
            _replace(partial, config.model_path / "habitats")
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return {"metrics": {"habitats": metrics}, "reports": [report], "tables": []}


def _keep_curves(run: Path, target: Path) -> None:
    """Loss curves and events of a training into the model folder."""
    target.mkdir(parents=True, exist_ok=True)
    if (run / PICTURE).exists():
        shutil.copy2(run / PICTURE, target / PICTURE)
    if (run / EVENTS).exists():
        shutil.copytree(run / EVENTS, target / EVENTS, dirs_exist_ok=True)


def _replace(partial: Path, target: Path) -> None:
    """Put `partial` in the place of `target`; a kill in between leaves one of both whole."""
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        target.rename(old)
    partial.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _train_sdm(
    config: Config, data: Dataset, options: TrainOptions, run: Path, progress: Progress
) -> tuple[TrainedModel, Holdout, list[Table]]:
    """The deep-SDM, each member without one fold of the blocks, and the plan of the folds."""
    _, shape = split_network_options(config)
    records = options.likelihood == "records_only" or not len(data.surveys)
    surveys = data.surveys.subset(np.zeros(0, np.int64)) if records else data.surveys
    spec = spec_for(data.predictors if data.record_predictors is None else data.record_predictors, surveys, **shape)
    plan = plan_folds(config, surveys, spec.reach_m, data.groups, data.records)
    tables = []
    if options.search and records:
        raise ConfigError(
            f"{config.path}: train.search compares candidates by their skill on surveys, and the model learns from records alone;"
            " leave it out."
        )
    if options.search:
        shape, table = search(config, data, plan, progress)
        spec = spec_for(data.predictors, surveys, **shape)
        tables.append(table)
    trained_model = train(
        data.predictors,
        data.surveys,
        spec,
        options,
        plan.folds,
        lambda steps_done, total, text: progress(steps_done, total, f"deep-SDM {text}"),
        records=data.records,
        record_predictors=data.record_predictors,
        family=data.traits["family"],
        run=run,
    )
    trained_model.metrics["block_km"] = plan.folds.block_km
    if "area_exponent_learned" in trained_model.metrics and not trained_model.metrics["area_exponent_learned"]:
        median = trained_model.ensemble.median_area_m2.item()
        data.table.report.note(
            f"surveys are all of one area ({median:g} m2): what a larger plot would add is not learned, its exponent is fixed at"
            f" {trained_model.ensemble.beta.item():g}",
            list(data.table.surveys["survey"]),
        )
    return trained_model, plan, tables


def _judge(
    config: Config, data: Dataset, trained_model: TrainedModel, plan: Holdout, folder: Path, progress: Progress
) -> tuple[dict[str, float], Reference, list[Table]]:
    """Quantiles of the intervals, the reference composition and the tables of skill, all by the out-of-fold scores.

    The scores are written into the model folder, and the tables beside them.
    """
    assert trained_model.out_of_fold is not None
    progress(0, 2, "skill on the blocks left out")
    surveys, folds, weight = data.surveys, plan.folds, data.surveys.place_weight
    scores = OutOfFold(trained_model.out_of_fold, folds, plan.min_records, plan.why, fingerprint(surveys), trained_model.alone)
    p = cross_calibrated(trained_model.out_of_fold, surveys, folds)
    total, observed_richness = p.sum(1), surveys.presence.sum(1)
    expected, reference_of_lists = _references(config, data, trained_model, trained_model.options.seed)
    parts, lists = dict[str, NDArray[np.float64]](), plan_sums(data.traits, reference_of_lists)
    for k in range(folds.count):
        rows, other_folds = folds.fold == k, folds.fold != k
        richness = fit_richness(
            total[other_folds], observed_richness[other_folds], weight[other_folds], folds.block[other_folds]
        ).constants
        fold_scores = residual_scores(p[rows].T, surveys.presence[rows].T, plan_sums(data.traits, expected, richness), lists)
        for name, values in fold_scores.items():
            parts.setdefault(name, np.full(len(surveys), np.nan))[rows] = values
    trained_model.metrics.update(fit_richness(total, observed_richness, weight, folds.block).constants)
    for name, (share, worst) in coverage_by_fold(parts, weight, folds.fold).items():
        trained_model.metrics.update({f"coverage_{name}": share, f"coverage_{name}_worst_fold": worst})
    trained_model.metrics["median_area_m2"] = trained_model.ensemble.median_area_m2.item()
    progress(1, 2, "skill on the blocks left out")
    tables = skill_report(
        {FLORACUBE: trained_model.out_of_fold}, surveys, folds, plan.min_records, ~folds.locked, describe_surveys(scores)
    ).tables
    save_out_of_fold(folder, scores, records_of(tables))
    _note(trained_model, "auc", tables[0].rows[0]["AUC in folds"])
    return quantiles_of(parts, weight), expected, tables


def _judge_records(trained_model: TrainedModel, plan: Holdout, folder: Path) -> Table:
    """The skill of a model without surveys, by the scores of records and background that its members left out."""
    places, scores, km = trained_model.record_places, trained_model.out_of_fold, shown_km(plan.folds.block_km)
    assert places is not None
    assert scores is not None
    table = record_table({FLORACUBE: scores}, places, False, f"open blocks of {km} km ({plan.why}), {plan.folds.count} members")
    save_places(folder, places, scores, plan.folds, records_of([table]))
    _note(trained_model, "auc_against_background", table.rows[0]["AUC against background"])
    return table


def _note(trained_model: TrainedModel, name: str, value: float | None) -> None:
    """A metric, where it could be measured."""
    if value is not None and np.isfinite(value):
        trained_model.metrics[name] = value


def _rates(trained_model: TrainedModel) -> dict[str, float]:
    """How readily species are reported, by name: the factor to the typical one."""
    if trained_model.reporting is None:
        return {}
    return {
        name: round(float(np.exp(g)), 4) for name, g in zip(trained_model.ensemble.species, trained_model.reporting, strict=True)
    }


def _references(config: Config, data: Dataset, trained_model: TrainedModel, seed: int) -> tuple[Reference, Reference]:
    """The mean composition of the surveys: as predicted for the area and year of the maps, and as listed."""
    rows = np.sort(np.random.default_rng(seed).permutation(len(data.surveys))[:REFERENCE_PLACES])
    year = np.full(len(rows), config.predict.year, np.float32)
    area = np.full(len(rows), config.predict.area_m2, np.float32)
    eta = predict_surveys(trained_model.ensemble, data.predictors.subset(rows), year, area)
    weight = data.surveys.place_weight[rows]
    expected = reference_of(cloglog_probability(torch.from_numpy(eta)).numpy().T, weight)
    return expected, reference_of(data.surveys.presence[rows].T, weight)
