"""Surveys, records and plots to a model folder: the deep-SDM, its calibration and intervals, and the habitats reader."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from cube.config import Config
from cube.errors import ConfigError, ModelError
from cube.grid import CELL
from cube.storage.ledger import digest
from cube.storage.store import open_cube
from inference.calibration.intervals import as_json, conformal_quantiles
from inference.calibration.richness import Richness, fit_richness
from inference.cascade.model import save_settings, save_traits
from inference.cascade.ranges import read_ranges, save_ranges
from inference.cascade.reference import Reference, reference_of, save_reference
from inference.cascade.sums import plan_sums
from inference.data.blocks import assign_roles, block_index, clear_of, record_roles
from inference.data.dataset import Dataset, load_dataset, split_network_options
from inference.data.records import Records
from inference.data.samples import Surveys
from inference.data.shards import Shelf
from inference.explanation.describe import describe_model
from inference.network import checkpoint
from inference.network.batches import predict_surveys
from inference.network.deep_sdm import ModelSpec
from inference.training.curves import EVENTS, PICTURE
from inference.training.fit import Trained, spec_for, train
from inference.training.habitats import train_habitats
from inference.training.likelihood import clean_areas, cloglog_probability
from inference.training.options import TrainOptions

Progress = Callable[[int, int, str], None]
COVERAGE = 0.9
REFERENCE_PLACES = 5000  # surveys whose mean composition distinctness is measured against: more would change nothing


def _nothing(done: int, total: int, text: str) -> None:
    pass


def options_of(config: Config) -> TrainOptions:
    """`train` of the configuration as options; raises `ConfigError` for a wrong key or value."""
    known = set(TrainOptions.__dataclass_fields__)
    for key in config.train:
        if key not in known:
            raise ConfigError(
                f"{config.path}: train.{key}: is not a key that is known here; known are {', '.join(sorted(known))}."
            )
    try:
        return TypeAdapter(TrainOptions).validate_python(config.train)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"{config.path}: train.{first['loc'][0]}: {first['msg']}.") from None
    except ModelError as error:
        raise ConfigError(f"{config.path}: {error}") from None


def learn(config: Config, progress: Progress = _nothing) -> dict[str, Any]:
    """Train everything that the configuration asks for and write the model folder; returns the metrics and reports.

    The folder is replaced as a whole when all parts are ready; until then the old one stays. Beside it a folder `NAME.run`
    holds the state of the training: killed and started again, it goes on from there.
    """
    options = options_of(config)
    cube = open_cube(config.cube_url)
    target = config.model_path
    run = target.with_name(f"{target.name}.run")
    data = load_dataset(config, cube, lambda done, total: progress(done, total, "sampling the cube"),
                        Shelf(run / "samples", options.memory_gb * 1e9))  # fmt: skip
    ranges = read_ranges(config, data.surveys.species)
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        trained, quantiles, reference = _train_sdm(config, data, options, run, progress)
        _keep_curves(run, partial / "training")
        metrics: dict[str, Any] = dict(trained.metrics)
        reports = [r.document() for r in data.reports]
        checkpoint.save(
            partial / "sdm", trained.ensemble, metrics=trained.metrics,
            data_hashes={"surveys": digest(data.surveys.presence.tobytes())},
            training={"options": vars(options), "history": trained.history, "reports": reports,
                      "statement": trained.statement, "reporting_rates": _rates(trained)},
        )  # fmt: skip
        save_traits(partial, trained.ensemble.species, data.traits)
        save_ranges(partial, ranges)
        if reference is not None:
            save_reference(partial, reference)
        richness = Richness(metrics.get("richness_level", 1.0), metrics.get("richness_exponent", 1.0))
        save_settings(partial, data.recipe, as_json(quantiles, COVERAGE), richness)
        roles = roles_of(config, data.surveys, trained.ensemble.spec, options.seed)
        metrics |= describe_model(partial, config, data, trained, roles, blocks_of(config, data.surveys), progress)
        if config.habitats is not None:
            metrics["habitats"], habitat_report = train_habitats(config, partial / "habitats", progress)
            reports.append(habitat_report)
        (partial / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
        _replace(partial, target)
        shutil.rmtree(run, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    _write_reports(config.report_path, reports)
    return {"metrics": metrics, "reports": reports}


def learn_habitats(config: Config, progress: Progress = _nothing) -> dict[str, Any]:
    """Train the habitats reader alone and put it into an existing model folder (or a new one)."""
    if config.habitats is None:
        raise ConfigError(f"{config.path}: habitats is missing; it names the vegetation plots to learn from.")
    target = config.model_path / "habitats"
    partial = config.model_path / ".habitats.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        metrics, report = train_habitats(config, partial, progress)
        _replace(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return {"metrics": {"habitats": metrics}, "reports": [report]}


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


def _write_reports(folder: Path, reports: list[dict[str, Any]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tables.json").write_text(json.dumps(reports, indent=1) + "\n", encoding="utf-8")


def block_km_of(config: Config) -> float:
    """Side of the blocks that are held out, km.

    Blocks must be many for a few of them to be held out, so a small landscape takes smaller ones than
    `evaluate.block_km`: at least 8 on its shorter side.
    """
    r = config.region
    return min(config.evaluate.block_km, min(r.east_km - r.west_km, r.north_km - r.south_km) / 8)


def blocks_of(config: Config, surveys: Surveys) -> NDArray[np.int64]:
    """(n,) running number of the block of each survey."""
    return np.unique(block_index(surveys, block_km_of(config)), axis=0, return_inverse=True)[1].ravel()


def roles_of(config: Config, surveys: Surveys, spec: ModelSpec, seed: int) -> NDArray[np.str_]:
    """(n,) role of each survey: train, stop, calibrate, test, or none for one whose patch shows a place of another role."""
    roles = assign_roles(surveys, block_km_of(config), seed=seed)
    near = ~clear_of(surveys, roles == "train", CELL * spec.receptive_field / 2)
    roles[(roles == "train") & near] = "none"
    return roles


def _train_sdm(
    config: Config, data: Dataset, options: TrainOptions, run: Path, progress: Progress
) -> tuple[Trained, dict[str, float], Reference | None]:
    """The deep-SDM, the conformal quantiles of its indicators and the reference composition of its training surveys.

    A model of relative intensities has neither: no survey says how common plants are.
    """
    _, shape = split_network_options(config)
    spec = spec_for(data.predictors, data.surveys, **shape)
    roles = roles_of(config, data.surveys, spec, options.seed)
    records, record_role = _records(config, data, spec, options)
    held = np.flatnonzero(roles == "calibrate")
    if len(data.surveys) and options.likelihood != "records_only" and not len(held):
        raise ConfigError(
            f"{config.path}: evaluate.block_km is {config.evaluate.block_km}:"
            " no block is left to calibrate on; choose smaller blocks."
        )
    trained = train(data.predictors, data.surveys, spec, options, roles,
                    lambda done, total, text: progress(done, total, f"deep-SDM {text}"),
                    blocks_of(config, data.surveys), records=records, record_predictors=data.record_predictors,
                    record_roles=record_role, family=data.traits["family"], run=run)  # fmt: skip
    if trained.statement != "probability":
        return trained, {}, None
    eta = predict_surveys(trained.ensemble, data.predictors, data.surveys.year, data.surveys.area_m2)
    p = cloglog_probability(torch.from_numpy(eta[held])).numpy().T
    expected, listed = _references(config, data, trained, np.flatnonzero(roles == "train"), options.seed)
    weight, found = data.surveys.place_weight[held], data.surveys.presence[held]
    richness = fit_richness(p.sum(0), found.sum(1), weight, blocks_of(config, data.surveys)[held]).constants
    trained.metrics.update(richness)
    quantiles = conformal_quantiles(
        p, found.T, weight, plan_sums(data.traits, expected, richness), COVERAGE,
        plan_sums(data.traits, listed),
    )  # fmt: skip
    trained.metrics["median_area_m2"] = float(clean_areas(data.surveys.area_m2).median_m2)
    return trained, quantiles, expected


def _records(
    config: Config, data: Dataset, spec: ModelSpec, options: TrainOptions
) -> tuple[Records | None, NDArray[np.str_] | None]:
    """Records and their roles: withheld where surveys are held out, and where a patch would show such a place."""
    if data.records is None:
        return None, None
    block_km = block_km_of(config)
    roles, records = record_roles(
        data.records, data.surveys, assign_roles(data.surveys, block_km, seed=options.seed), block_km,
        CELL * spec.receptive_field / 2, seed=options.seed, po_allowed=options.po_allowed,
    )  # fmt: skip
    return records, roles


def _rates(trained: Trained) -> dict[str, float]:
    """How readily species are reported, by name: the factor to the typical one."""
    if trained.reporting is None:
        return {}
    return {name: round(float(np.exp(g)), 4) for name, g in zip(trained.ensemble.species, trained.reporting, strict=True)}


def _references(
    config: Config, data: Dataset, trained: Trained, rows: NDArray[np.int64], seed: int
) -> tuple[Reference, Reference]:
    """The mean composition of the training surveys: as predicted for the area and year of the maps, and as listed."""
    rows = np.sort(np.random.default_rng(seed).permutation(rows)[:REFERENCE_PLACES])
    year = np.full(len(rows), config.predict.year, np.float32)
    area = np.full(len(rows), config.predict.area_m2, np.float32)
    eta = predict_surveys(trained.ensemble, data.predictors.subset(rows), year, area)
    weight = data.surveys.place_weight[rows]
    expected = reference_of(cloglog_probability(torch.from_numpy(eta)).numpy().T, weight)
    return expected, reference_of(data.surveys.presence[rows].T, weight)
