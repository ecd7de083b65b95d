"""From surveys to a trained, calibrated ensemble: the members one by one, then calibration, ceilings and metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cube.errors import ModelError
from inference.calibration.calibrate import fit_calibration
from inference.data.records import Records
from inference.data.samples import MODALITIES, Predictors, Surveys
from inference.data.shards import is_on_disk
from inference.evaluation.metrics import species_auc
from inference.network.batches import predict_surveys
from inference.network.deep_sdm import DeepSDM, ModelSpec
from inference.network.ensemble import Ensemble
from inference.training.assembly import Assembly
from inference.training.curves import PICTURE, draw_curves, watching
from inference.training.hardware import device_of
from inference.training.joint import JointObjective, RecordRows
from inference.training.likelihood import REFERENCE_AREA_M2
from inference.training.loop import fit_member
from inference.training.objective import Roles, SurveyRows
from inference.training.options import TrainOptions
from inference.training.resume import Run, identity_of
from inference.training.snapshots import stretches_of

Report = Callable[[int, int, str], None]  # steps done, steps in all, a line for the person who waits


@dataclass(frozen=True)
class Trained:
    """An ensemble and what is worth telling about how it came to be."""

    ensemble: Ensemble
    metrics: dict[str, float]
    options: TrainOptions
    history: list[dict[str, float]] = field(default_factory=list)
    statement: str = "probability"  # or "relative intensity", where no survey says how common plants are
    reporting: NDArray[np.float32] | None = None  # (S,) log reporting rates, mean 0
    learned_records: NDArray[np.int64] | None = None  # (S,) presence-only records of each species in training


def spec_for(predictors: Predictors, surveys: Surveys, **shape: Any) -> ModelSpec:
    """The spec that uses every modality of `predictors`, plus the survey's own; `shape` overrides fields of ModelSpec.

    The satellite layers are fitted to the patch: dilations such that 5 x receptive field = P.
    """
    if predictors.satellite is not None and "dilations" not in shape:
        reach = (predictors.satellite.shape[-1] // 5 - 1) // 2
        layers = max(1, min(3, reach))
        shape["dilations"] = tuple(reach // layers + (i >= layers - reach % layers) for i in range(layers))
    if predictors.satellite is not None:
        shape.setdefault("satellite_bands", predictors.satellite.shape[1])
    if predictors.landsat is not None:
        shape.setdefault("landsat_shape", predictors.landsat.shape[1:])
    if predictors.climate is not None:
        shape.setdefault("climate_shape", predictors.climate.shape[1:])
    shape.setdefault("modalities", tuple(m for m in MODALITIES if m in (*predictors.modalities, "survey")))
    return ModelSpec(
        species=len(surveys.species),
        static_names=predictors.static_names,
        coarse_names=predictors.coarse_names,
        **shape,
    )


def _quiet(done: int, total: int, text: str) -> None:
    """Report to nobody."""


def _member_of(progress: Report, before: int, total: int) -> Callable[[int, str], None]:
    return lambda step, text: progress(before + step, total, text)


def train(
    predictors: Predictors,
    surveys: Surveys,
    spec: ModelSpec | None = None,
    options: TrainOptions | None = None,
    roles: Roles | None = None,
    progress: Report = _quiet,
    blocks: NDArray[np.int64] | None = None,
    *,
    records: Records | None = None,
    record_predictors: Predictors | None = None,
    record_roles: Roles | None = None,
    family: Sequence[str] | NDArray[np.str_] | None = None,
    run: Path | None = None,
) -> Trained:
    """Train an ensemble on surveys (row for row with `predictors`), on records, or on both as `options.likelihood` says.

    `spec`: `spec_for(predictors, surveys)` by default. `roles` (n,): of `blocks.assign_roles`; without it all rows
    train, nothing stops early and nothing is calibrated. `blocks` (n,): spatial block of each survey, which calibration
    leaves out in turn. `records` read rows of `record_predictors`; `record_roles` are of `blocks.record_roles`, and
    `family` (S,) is what reporting rates are shrunk towards. Without surveys (no rows, or `records_only`) the model's numbers
    are relative intensities and nothing is calibrated. The same seed gives the same weights on a CPU.
    `run`: a folder that keeps the state, loss curves and TensorBoard events; killed and called again with the same
    arguments, training goes on from there and gives the weights of an undisturbed run.
    Raises: ModelError where rows, species or modalities do not match, or `run` holds a training of another kind.
    """
    options = options or TrainOptions()
    spec = spec or spec_for(predictors if len(surveys) or record_predictors is None else record_predictors, surveys)
    if spec.species != len(surveys.species):
        raise ModelError(f"The model's spec has {spec.species} species, the surveys {len(surveys.species)}.")
    if options.threads:
        torch.set_num_threads(options.threads)
    data = Assembly(predictors, surveys, roles, spec, options, records, record_predictors, record_roles, family)
    nets, history, gammas = [], [], []
    device = device_of(options)
    on_disk = is_on_disk(predictors) or (record_predictors is not None and is_on_disk(record_predictors))
    course = None
    if run is not None:
        identity = identity_of(options, device, spec, predictors, surveys, roles, records, record_predictors, record_roles)
        course = Run(run, identity, options.checkpoint_seconds)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for member in range(options.members):
            seed = 1000 * options.seed + member
            torch.manual_seed(seed)
            net = DeepSDM(spec)
            gamma = data.begin(net)
            net.to(device)
            stretches = stretches_of(data.phases(gamma, str(device)), options.snapshots, seed)
            whole = sum(part.steps for part in stretches)
            done = member * whole
            for phase, part in enumerate(stretches):
                tell = _member_of(progress, done, options.members * whole)
                kept = None if course is None else course.checkpoint(member, phase)
                part.begin()
                with watching(run, member, phase) as watch:
                    history += fit_member(
                        net, part.objective, part.options, part.seed, tell, checkpoint=kept, watch=watch, on_disk=on_disk
                    )
                done += part.steps
                if isinstance(part.objective, JointObjective):
                    gammas.append(part.objective.reporting.gamma.detach().cpu().numpy())
                if part.kept:
                    nets.append(deepcopy(net).to("cpu"))
            if run is not None:
                draw_curves(history, run / PICTURE)
    ensemble = Ensemble(spec, nets, surveys.species)
    metrics = _finish(ensemble, data.surveys, blocks) if data.surveys is not None and data.learns_from_surveys else {}
    if data.surveys is None or not data.learns_from_surveys:
        assert data.records is not None
        _ceilings_of_records(ensemble, data.records)
    if data.records is not None:
        metrics |= {"records": float(len(data.records.records)), "records_train": float(len(data.records.train))}
    rates = np.mean(gammas, 0).astype(np.float32) if gammas and data.learns_from_surveys else None
    learned = None if data.records is None else data.records.counts
    return Trained(ensemble, metrics, options, history, data.statement, rates, learned)


def _ceilings_of_records(ensemble: Ensemble, data: RecordRows) -> None:
    """Ceilings of relative intensities from the places of the training records."""
    rows = np.unique(data.records.row[data.train])
    places = data.predictors.subset(np.sort(np.random.default_rng(0).permutation(rows)[:10_000]))
    year, area = np.full(len(places), data.middle_year), np.full(len(places), REFERENCE_AREA_M2)
    eta = predict_surveys(ensemble, places, year, area, calibrated=False)
    top = 1 - np.exp(-np.exp(np.clip(eta, -25, 4)))
    ensemble.ceiling.copy_(torch.from_numpy(np.clip(1.5 * top.max(0), 1e-3, 1.0).astype(np.float32)))


def _finish(ensemble: Ensemble, data: SurveyRows, blocks: NDArray[np.int64] | None) -> dict[str, float]:
    """Calibrate, fix the species' ceilings, and measure; returns the metrics."""
    surveys = data.surveys
    ensemble.median_area_m2.fill_(data.median_m2)
    eta = predict_surveys(ensemble, data.predictors, surveys.year, surveys.area_m2, calibrated=False)
    weight = surveys.place_weight
    part = data.calibrate
    calibration = fit_calibration(eta[part], surveys.presence[part], weight[part], None if blocks is None else blocks[part])
    ensemble.calibrate(calibration)
    # at the reference area, from surveys' own places: half as much again leaves room for better places than any seen
    shift = ensemble.beta.item() * np.maximum(0, -data.log_ratio[:, None])
    highest = np.full(eta.shape[1], -np.inf)
    for start in range(0, len(eta), 4096):  # of many species, all surveys at once would be the peak of memory
        some = slice(start, start + 4096)
        highest = np.maximum(highest, (calibration.slope * (eta[some] + shift[some]) + calibration.intercept).max(0))
    top = 1 - np.exp(-np.exp(np.clip(highest, -25, 4)))
    ensemble.ceiling.copy_(torch.from_numpy(np.clip(1.5 * top, 1e-3, 1.0).astype(np.float32)))
    metrics = {
        "surveys": float(len(surveys)),
        "areas_filled": float(data.filled),
        "area_exponent": ensemble.beta.item(),
        "calibration_slope": calibration.slope,
        "calibration_pooling": calibration.pooling,
        "calibration_surveys": float(calibration.surveys),
    }
    for role, rows in (("train", data.train), ("calibrate", part), ("test", data.test)):
        if len(rows):
            auc = species_auc(eta[rows], surveys.presence[rows])
            if np.isfinite(auc).any():
                metrics[f"auc_{role}"] = float(np.nanmean(auc))
    return metrics
