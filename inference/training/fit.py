"""From surveys to a trained, calibrated ensemble: normalisation, the optimiser's loop, early stopping, seeds."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cube.errors import ModelError
from inference.calibration.calibrate import fit_calibration
from inference.data.samples import MODALITIES, Predictors, Surveys
from inference.evaluation.metrics import species_auc
from inference.network.batches import covariates_of, gather, predict_surveys
from inference.network.deep_sdm import DeepSDM, ModelSpec
from inference.network.ensemble import Ensemble
from inference.network.normalisation import set_normalisation
from inference.training.likelihood import clean_areas, cloglog, survey_loss

Report = Callable[[int, int, str], None]  # steps done, steps in all, a line for the person who waits
Roles = NDArray[np.str_]


@dataclass(frozen=True)
class TrainOptions:
    """How to train. Defaults were chosen on Czech surveys (other fold draws than reported) and on a landscape."""

    members: int = 4
    epochs: int = 15
    least_steps: int = 400  # small data get more epochs
    batch: int = 128
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    coarse_noise: float = 1.0  # standard deviations, see `_augment`
    modality_dropout: float = 0.1
    patience: int = 6  # evaluations on the stop blocks without gain
    seed: int = 0
    threads: int | None = None  # None: torch's own choice
    device: str = "cpu"


@dataclass(frozen=True)
class Trained:
    """An ensemble and what is worth telling about how it came to be."""

    ensemble: Ensemble
    metrics: dict[str, float]
    options: TrainOptions
    history: list[dict[str, float]] = field(default_factory=list)


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


def _augment(batch: dict[str, Tensor], net: DeepSDM, noise: float, generator: torch.Generator) -> None:
    """Make a training batch harder in ways that keep the truth.

    Satellite patches are flipped and turned (plants do not know north from a picture). Coarse columns get noise, the
    same at a place's four cells: neighbouring surveys share their 1 km values, which without it become an address.
    Many columns say nearly the same, so 50 of them bear `noise` standard deviations and fewer bear less.
    """
    if "satellite" in batch:
        turn = int(torch.randint(8, (1,), generator=generator))
        image = torch.rot90(batch["satellite"], turn % 4, (2, 3))
        batch["satellite"] = image.flip(3) if turn >= 4 else image
    if "coarse" in batch and noise > 0:
        columns = batch["coarse"].shape[1]
        draw = torch.randn(len(batch["coarse"]) // 4, 1, columns, generator=generator)
        sigma = noise * min(1.0, (columns / 50) ** 0.5)
        std = cast(Any, net.encoders["coarse"]).normalisation.std.cpu()
        batch["coarse"] = batch["coarse"] + (sigma * std * draw).expand(-1, 4, -1).reshape(-1, columns)


class _Data:
    """Predictors, surveys and what is derived from them once for all members."""

    def __init__(self, predictors: Predictors, surveys: Surveys, roles: Roles) -> None:
        if len(predictors) != len(surveys) or len(roles) != len(surveys):
            raise ModelError(f"{len(predictors)} places, {len(surveys)} surveys and {len(roles)} roles do not match row for row.")
        self.predictors, self.surveys = predictors, surveys
        self.train, self.stop, self.calibrate, self.test = (
            np.flatnonzero(roles == role) for role in ("train", "stop", "calibrate", "test")
        )
        if not len(self.train):
            raise ModelError("No survey has the role 'train'; use smaller blocks or another seed of roles.")
        known = clean_areas(surveys.area_m2[self.train])
        areas = clean_areas(surveys.area_m2, known.median_m2)
        self.median_m2, self.filled, self.log_ratio = known.median_m2, areas.filled, areas.log_ratio
        self.covariates = covariates_of(surveys.year, areas.log_ratio)
        self.presence = torch.from_numpy(surveys.presence.astype(np.float32))
        weight = surveys.place_weight
        self.weight = torch.from_numpy(weight / weight[self.train].mean())

    def prevalence(self) -> NDArray[np.float64]:
        """(S,) weighted share of training surveys with the species, kept away from 0 and 1."""
        seen, weight = self.surveys.presence[self.train], self.weight.numpy()[self.train]
        total = weight.sum()
        return np.asarray(np.clip((weight @ seen + 0.25) / (total + 1), 1e-6, 0.98), np.float64)


def _loss(
    net: DeepSDM,
    batch: dict[str, Tensor],
    rows: NDArray[np.int64],
    data: _Data,
    keep: Tensor | None,
) -> Tensor:
    """Weighted mean over surveys of the mean over species of the negative log likelihood."""
    device = net.species_bias.device
    f = net({name: values.to(device) for name, values in batch.items()}, keep)
    eta = f + net.beta * torch.from_numpy(data.log_ratio[rows])[:, None].to(device)
    per_survey = survey_loss(eta, data.presence[rows].to(device)).mean(1)
    weight = data.weight[rows].to(device)
    return (per_survey * weight).sum() / weight.sum()


@torch.no_grad()
def _stop_loss(net: DeepSDM, data: _Data) -> float:
    net.eval()
    total, weights = 0.0, 0.0
    for start in range(0, len(data.stop), 1024):
        rows = data.stop[start : start + 1024]
        weight = float(data.weight[rows].sum())
        batch = gather(data.predictors, rows, net.spec.modalities, data.covariates)
        total += float(_loss(net, batch, rows, data, None)) * weight
        weights += weight
    return total / weights


def _fit(
    net: DeepSDM,
    data: _Data,
    options: TrainOptions,
    seed: int,
    report: Report,
    done: int,
    total: int,
) -> list[dict[str, float]]:
    """One member's loop: AdamW, one cycle of the learning rate, best state on the stop blocks."""
    generator = torch.Generator().manual_seed(seed)
    size = min(options.batch, len(data.train))
    steps = _steps(len(data.train), options)
    optimiser = torch.optim.AdamW(net.parameters(), options.learning_rate, weight_decay=options.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, options.learning_rate, total_steps=steps, pct_start=0.1)
    every = max(steps // 25, 1)
    best, best_state, waited, running = np.inf, None, 0, 0.0
    history: list[dict[str, float]] = []
    order: list[int] = []
    for step in range(1, steps + 1):
        if len(order) < size:
            order = torch.randperm(len(data.train), generator=generator).tolist()
        rows, order = data.train[np.sort(order[:size])], order[size:]
        batch = gather(data.predictors, rows, net.spec.modalities, data.covariates)
        _augment(batch, net, options.coarse_noise, generator)
        keep = torch.rand(size, len(net.encoders), generator=generator) >= options.modality_dropout
        keep |= ~keep.any(1, keepdim=True)
        net.train()
        loss = _loss(net, batch, rows, data, keep.to(net.species_bias.device))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        running = 0.9 * running + 0.1 * float(loss.detach()) if step > 1 else float(loss.detach())
        if step % every and step < steps:
            continue
        row = {"seed": float(seed), "step": float(step), "loss": running}
        if len(data.stop):
            row["stop_loss"] = _stop_loss(net, data)
            if row["stop_loss"] < best:
                best, best_state, waited = row["stop_loss"], copy.deepcopy(net.state_dict()), 0
            else:
                waited += 1
        history.append(row)
        report(done + step, total, f"loss {row.get('stop_loss', running):.4f}")
        if waited >= options.patience:
            break
    if best_state is not None:
        net.load_state_dict(best_state)
    net.eval()
    return history


def _steps(surveys: int, options: TrainOptions) -> int:
    return max(options.least_steps, options.epochs * (surveys // min(options.batch, surveys)))


def _quiet(done: int, total: int, text: str) -> None:
    """Report to nobody."""


def train(
    predictors: Predictors,
    surveys: Surveys,
    spec: ModelSpec | None = None,
    options: TrainOptions | None = None,
    roles: Roles | None = None,
    progress: Report = _quiet,
) -> Trained:
    """Train an ensemble on surveys (row for row with `predictors`).

    `spec`: `spec_for(predictors, surveys)` by default. `roles` (n,): of `blocks.assign_roles`; without it all rows
    train, nothing stops early and nothing is calibrated. The same seed gives the same weights on a CPU.
    Raises: ModelError where rows, species or modalities do not match.
    """
    options = options or TrainOptions()
    spec = spec or spec_for(predictors, surveys)
    if spec.species != len(surveys.species):
        raise ModelError(f"The model's spec has {spec.species} species, the surveys {len(surveys.species)}.")
    if options.threads:
        torch.set_num_threads(options.threads)
    data = _Data(predictors, surveys, np.full(len(surveys), "train") if roles is None else roles)
    total = options.members * _steps(len(data.train), options)
    nets, history = [], []
    with torch.random.fork_rng(devices=[]):
        for member in range(options.members):
            seed = 1000 * options.seed + member
            torch.manual_seed(seed)
            net = DeepSDM(spec)
            set_normalisation(net, predictors, data.train, data.covariates)
            start = cloglog(data.prevalence()) - 0.2 * data.log_ratio[data.train].mean()
            with torch.no_grad():
                net.species_bias.copy_(torch.from_numpy(start.astype(np.float32)))
            net.to(options.device)
            done = member * (total // options.members)
            history += _fit(net, data, options, seed, progress, done, total)
            nets.append(net.to("cpu"))
    ensemble = Ensemble(spec, nets, surveys.species)
    ensemble.median_area_m2.fill_(data.median_m2)
    return Trained(ensemble, _finish(ensemble, data), options, history)


def _finish(ensemble: Ensemble, data: _Data) -> dict[str, float]:
    """Calibrate, fix the species' ceilings, and measure; returns the metrics."""
    surveys = data.surveys
    eta = predict_surveys(ensemble, data.predictors, surveys.year, surveys.area_m2, calibrated=False)
    weight = surveys.place_weight
    part = data.calibrate
    calibration = fit_calibration(eta[part], surveys.presence[part], weight[part])
    ensemble.calibrate(calibration)
    # at the reference area, from surveys' own places: half as much again leaves room for better places than any seen
    shift = ensemble.beta.item() * np.maximum(0, -data.log_ratio[:, None])
    top = 1 - np.exp(-np.exp(np.clip(calibration.slope * (eta + shift) + calibration.intercept, -25, 4)))
    ensemble.ceiling.copy_(torch.from_numpy(np.clip(1.5 * top.max(0), 1e-3, 1.0).astype(np.float32)))
    metrics = {
        "surveys": float(len(surveys)),
        "areas_filled": float(data.filled),
        "area_exponent": ensemble.beta.item(),
        "calibration_slope": calibration.slope,
        "calibration_surveys": float(calibration.surveys),
    }
    for role, rows in (("train", data.train), ("calibrate", part), ("test", data.test)):
        if len(rows):
            auc = species_auc(eta[rows], surveys.presence[rows])
            if np.isfinite(auc).any():
                metrics[f"auc_{role}"] = float(np.nanmean(auc))
    return metrics
