"""From surveys and records to a trained, calibrated ensemble: members that leave one fold each out, and what their scores give.

Every member is trained without one fold of the blocks and scores that fold: these out-of-fold scores alone give the
calibration and, in the files that call this one, intervals and skill.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cube.config.learning import TrainOptions
from cube.errors import ModelError
from inference.calibration.calibrate import fit_calibration
from inference.data.blocks import Folds
from inference.data.records import Records
from inference.data.samples import TABLES, Predictors, Surveys, in_order
from inference.data.shards import is_on_disk
from inference.evaluation.record_folds import JudgedPlaces
from inference.network.batches import predict_surveys
from inference.network.deep_sdm import DeepSDM, ModelSpec
from inference.network.ensemble import Ensemble
from inference.network.forest import Forest, beside_forest
from inference.training.assembly import RELATIVE, Assembly, output_kind_of
from inference.training.curves import PICTURE, draw_curves, watching
from inference.training.forest import forest_columns, grow_forest
from inference.training.joint import JointObjective
from inference.training.left_out import LeftOut, score_places
from inference.training.likelihood import REFERENCE_AREA_M2
from inference.training.loop import device_of, fit_member, steps_of
from inference.training.objective import SurveyRows
from inference.training.resume import Run, identity_of
from inference.training.site_softmax import set_level

Report = Callable[[int, int, str], None]  # steps done, steps in all, a line for the person who waits
ROOM = 1.5  # a species' ceiling over its highest probability at a place seen: better places than any seen fit under it


def options_document(options: TrainOptions) -> dict[str, Any]:
    """The options as plain JSON values."""
    return vars(options) | {"search": [network.model_dump(exclude_none=True) for network in options.search]}


@dataclass(frozen=True)
class TrainedModel:
    """An ensemble and what is worth telling about how it came to be."""

    ensemble: Ensemble
    metrics: dict[str, float]
    options: TrainOptions
    history: list[dict[str, float]] = field(default_factory=list)
    output_kind: str = "probability"  # or "relative intensity", where no survey says how common plants are
    reporting: NDArray[np.float32] | None = None  # (S,) log reporting rates, mean 0
    learned_records: NDArray[np.int64] | None = None  # (S,) presence-only records of each species
    folds: Folds | None = None  # that the members left out, in order
    out_of_fold: NDArray[np.float32] | None = None  # (n, S) uncalibrated scores of surveys by the members without their fold
    record_places: JudgedPlaces | None = (
        None  # without surveys: records and background, of which `out_of_fold` (m, S) are the scores
    )
    alone: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)  # beside a forest: those of networks and forest alone

    def without(self, fold: int) -> Ensemble:
        """The member that did not learn from `fold`, calibrated as the ensemble is."""
        return without_fold(self.ensemble, fold)


def without_fold(ensemble: Ensemble, fold: int) -> Ensemble:
    """The member of a cross-fitted ensemble that did not learn from `fold`."""
    forest = None if ensemble.forest is None else ensemble.forest.of_part(fold, len(ensemble.members))
    part = Ensemble(ensemble.spec, [ensemble.networks[fold]], ensemble.species, forest)
    for name in ("slope", "intercept", "ceiling", "median_area_m2"):
        getattr(part, name).copy_(getattr(ensemble, name))
    return part


def embedding_without_fold(z: torch.Tensor, ensemble: Ensemble, fold: int) -> torch.Tensor:
    """(n, D') embeddings of the member of `without_fold`, out of those of the whole `ensemble`, z (n, D)."""
    parts, networks = len(ensemble.members), ensemble.network_dimension
    return torch.cat(
        [half.split(half.shape[1] // parts, 1)[fold] for half in (z[:, :networks], z[:, networks:]) if half.shape[1]], 1
    )


def spec_for(predictors: Predictors, surveys: Surveys, **shape: Any) -> ModelSpec:
    """The spec that uses every modality of `predictors`, plus that of surveys where there are some; `shape` overrides its fields.

    The layers of images are fitted to the patch: dilations such that 5 x receptive field = P.
    """
    survey_modality = ("survey",) if len(surveys) else ()  # records alone do not say what a year or an area changes
    arrays = {name: values for name, values in predictors.values.items() if name not in TABLES}
    sides = [values.shape[-1] for values in arrays.values() if values.ndim == 4]
    if sides and "dilations" not in shape:
        reach = (sides[0] // 5 - 1) // 2
        layers = max(1, min(3, reach))
        shape["dilations"] = tuple(reach // layers + (i >= layers - reach % layers) for i in range(layers))
    fitted_inputs = {name: predictors.inputs[name].fitted(values.shape[1:]) for name, values in arrays.items()}
    shape.setdefault("inputs", {**predictors.inputs, **fitted_inputs})
    shape.setdefault("modalities", in_order((*predictors.modalities, *survey_modality)))
    return ModelSpec(
        species=len(surveys.species),
        table_50m_names=predictors.table_50m_names,
        table_1km_names=predictors.table_1km_names,
        **shape,
    )


def _tell(progress: Report, steps_before: int, total: int) -> Callable[[int, str], None]:
    return lambda step, text: progress(steps_before + step, total, text)


def _train_member(
    data: Assembly,
    spec: ModelSpec,
    options: TrainOptions,
    number: int,
    progress: Report,
    run: Path | None,
    course: Run | None,
    on_disk: bool,
) -> tuple[DeepSDM, list[dict[str, float]], NDArray[np.float32] | None, int]:
    """(network on the CPU, its loss curve, log reporting rates of records, steps of all members)."""
    seed, device = 1000 * options.seed + number, device_of(options)
    torch.manual_seed(seed)
    net = DeepSDM(spec)
    gamma = data.begin(net)
    net.to(device)
    objective = data.objective(gamma, str(device))
    steps = steps_of(objective, options)
    total_steps = options.members * steps
    tell = _tell(progress, number * steps, total_steps)
    checkpoint = None if course is None else course.checkpoint(number)
    with watching(run, number) as watch:
        curve = fit_member(net, objective, options, seed, tell, checkpoint=checkpoint, watch=watch, on_disk=on_disk)
    rates = objective.reporting.gamma.detach().cpu().numpy() if isinstance(objective, JointObjective) else None
    return net.to("cpu"), curve, rates, total_steps


def train(
    predictors: Predictors,
    surveys: Surveys,
    spec: ModelSpec | None = None,
    options: TrainOptions | None = None,
    folds: Folds | None = None,
    progress: Report = lambda steps_done, total, text: None,
    *,
    records: Records | None = None,
    record_predictors: Predictors | None = None,
    family: Sequence[str] | NDArray[np.str_] | None = None,
    run: Path | None = None,
) -> TrainedModel:
    """Train an ensemble on surveys (row for row with `predictors`), on records, or on both as `options.likelihood` says.

    `spec`: `spec_for(predictors, surveys)` by default. `folds`: as many as `options.members`, each left out by a member;
    without it all members learn from everything and nothing is calibrated. `records` read rows of
    `record_predictors`; `family` (S,) is what reporting rates are shrunk towards. Without surveys (no rows, or `records_only`)
    the model's numbers are relative intensities and nothing is calibrated. The same seed gives the same weights on a CPU.
    `run`: a folder that keeps the state, loss curves and TensorBoard events; killed and called again with the same
    arguments, training resumes there and gives the weights of an undisturbed run.
    Raises: ModelError where rows, species or modalities do not match, or `run` holds a training of another kind.
    """
    options = options or TrainOptions()
    output_kind = output_kind_of(surveys, options)
    if output_kind == RELATIVE:
        surveys = surveys.subset(np.zeros(0, np.int64))
        folds = None if folds is None else folds.subset(np.zeros(0, np.int64))
    spec = spec or spec_for(predictors if output_kind != RELATIVE or record_predictors is None else record_predictors, surveys)
    _require_match(spec, surveys, folds, options)
    if options.threads:
        torch.set_num_threads(options.threads)
    nets, history, gammas = list[DeepSDM](), list[dict[str, float]](), []
    device = device_of(options)
    on_disk = is_on_disk(predictors) or (record_predictors is not None and is_on_disk(record_predictors))
    left_out = None if folds is None else LeftOut(folds, records if output_kind == RELATIVE else None, spec.species)
    course = None
    if run is not None:
        identity = identity_of(options, device, spec, predictors, surveys, folds, records, record_predictors)
        course = Run(run, identity, options.checkpoint_seconds)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        total_steps = 1
        for fold in range(options.members):
            survey_rows, train_records = None, records
            if folds is not None:
                survey_rows = folds.surveys_without(fold, surveys)
                train_records = None if records is None else folds.records_of(fold, surveys, records, options.po_allowed)
            data = Assembly(predictors, surveys, spec, options, survey_rows, train_records, record_predictors, family)
            net, curve, gamma, total_steps = _train_member(data, spec, options, fold, progress, run, course, on_disk)
            nets.append(net)
            history += curve
            gammas += [] if gamma is None else [gamma]
            if run is not None:
                draw_curves(history, run / PICTURE)
            if left_out is not None:
                member = Ensemble(spec, [net], surveys.species)
                left_out.score(fold, member, predictors, surveys, train_records, record_predictors)
    scores, record_places = (None, None) if left_out is None else (left_out.scores, left_out.places)
    forest, alone = None, dict[str, NDArray[np.float32]]()
    if options.forest_trees and folds is not None and scores is not None and output_kind != RELATIVE:
        progress(total_steps, total_steps, "forest")
        forest, alone = _forest_scores(predictors, surveys, spec, folds, scores, options)
        scores = beside_forest(torch.from_numpy(scores), torch.from_numpy(alone["forest"]).exp(), forest.weight).numpy()
    ensemble = Ensemble(spec, nets, surveys.species, forest)
    metrics, rates, records_by_species = {}, None, None
    if output_kind == RELATIVE:
        _finish_relative(ensemble, records, record_predictors)
    else:
        metrics = _finish(ensemble, SurveyRows(predictors, surveys), folds, scores)
        rates = np.mean(gammas, 0).astype(np.float32) if gammas else None
    if records is not None and options.likelihood != "surveys_only":
        records_by_species = _count_records(records, spec.species)
        metrics["records"] = float(len(records))
    return TrainedModel(
        ensemble, metrics, options, history, output_kind, rates, records_by_species, folds, scores, record_places, alone
    )


def _require_match(spec: ModelSpec, surveys: Surveys, folds: Folds | None, options: TrainOptions) -> None:
    if spec.species != len(surveys.species):
        raise ModelError(f"The model's spec has {spec.species} species, the surveys {len(surveys.species)}.")
    if folds is not None and folds.count != options.members:
        raise ModelError(f"{folds.count} folds and {options.members} members do not match: each member leaves one fold out.")


def _forest_scores(
    predictors: Predictors,
    surveys: Surveys,
    spec: ModelSpec,
    folds: Folds,
    scores: NDArray[np.float32],
    options: TrainOptions,
) -> tuple[Forest, dict[str, NDArray[np.float32]]]:
    """(a forest of all species, out-of-fold scores (n, S) of the networks alone and of the forest alone)."""
    columns = forest_columns(predictors, surveys, spec)
    forest, forest_scores = grow_forest(columns, surveys, folds, options.forest_trees, options.seed, options.threads or 1)
    return forest, {"networks": scores, "forest": forest_scores}


def _count_records(records: Records, species: int) -> NDArray[np.int64]:
    """(S,) records of each species, by their weights."""
    return np.rint(np.bincount(records.species, records.weight, minlength=species)[:species]).astype(np.int64)


def _set_ceiling(ensemble: Ensemble, highest: NDArray[np.floating]) -> None:
    """Ceilings from the highest calibrated score (S,) of each species."""
    top = 1 - np.exp(-np.exp(np.clip(highest, -25, 4)))
    ensemble.ceiling.copy_(torch.from_numpy(np.clip(ROOM * top, 1e-3, 1.0).astype(np.float32)))


def _finish_relative(ensemble: Ensemble, records: Records | None, record_predictors: Predictors | None) -> None:
    """Fix the level and the ceilings of species that records alone tell of."""
    assert records is not None
    assert record_predictors is not None
    set_level(ensemble, record_predictors, records.background)
    cells = np.random.default_rng(0).permutation(np.unique(records.row))[:10_000]
    _set_ceiling(ensemble, score_places(ensemble, record_predictors.subset(np.sort(cells))).max(0))


def _finish(ensemble: Ensemble, data: SurveyRows, folds: Folds | None, scores: NDArray[np.float32] | None) -> dict[str, float]:
    """Calibrate by the out-of-fold scores (n, S) and fix the species' ceilings; returns metrics."""
    surveys = data.surveys
    ensemble.median_area_m2.fill_(data.median_m2)
    metrics = {
        "surveys": float(len(surveys)),
        "areas_filled": float(data.n_filled),
        "area_exponent": ensemble.beta.item(),
        "area_exponent_learned": float(data.teaches_area),
    }
    if folds is not None and scores is not None:
        calibration = fit_calibration(scores, surveys.presence, surveys.place_weight, folds.block)
        ensemble.calibrate(calibration)
        metrics |= {"calibration_slope": calibration.slope, "calibration_pooling": calibration.pooling}
    # at the reference area, from surveys' own places
    highest = np.full(len(surveys.species), -np.inf)
    for start in range(0, len(surveys), 4096):  # of many species, all surveys at once would be the peak of memory
        rows = np.arange(start, min(start + 4096, len(surveys)))
        area = np.maximum(REFERENCE_AREA_M2, REFERENCE_AREA_M2 * np.exp(data.log_ratio[rows]))
        eta = predict_surveys(ensemble, data.predictors.subset(rows), surveys.year[rows], area)
        highest = np.maximum(highest, eta.max(0))
    _set_ceiling(ensemble, highest)
    return metrics
