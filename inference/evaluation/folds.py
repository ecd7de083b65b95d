"""Skill on held-out spatial blocks: the network beside a random forest, same inputs, folds and surveys, in one run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cube.errors import ModelError
from inference.data.blocks import assign_folds, assign_roles, clear_of
from inference.data.samples import Predictors, Surveys
from inference.evaluation.baselines import LEAVES, forest_probability, table_of
from inference.evaluation.kept import remembered
from inference.evaluation.metrics import species_auc, weighted_auc
from inference.evaluation.peers import compared_sets, mean_rows, peer_scores
from inference.network.batches import predict_surveys
from inference.network.deep_sdm import CELLS_PER_KM
from inference.training.fit import spec_for, train
from inference.training.options import TrainOptions

Report = Callable[[str], None]
Scores = NDArray[np.float32]


@dataclass(frozen=True)
class EvaluateOptions:
    """What to hold out and what to compare with; every draw deals the blocks to the folds anew."""

    draws: tuple[int, ...] = (0,)
    folds: int = 5
    block_km: float = 50.0
    fewest_records: int = 100  # species reported; all of them are trained on
    trees: int = 100  # of a forest
    threads: int = 1  # forests fitted side by side
    forest: bool = True  # a random forest per species beside us
    coordinates: bool = True  # also a row of the network with x and y, for the first draw
    bootstraps: int = 200  # of blocks, for the interval of the gain
    stop_share: float = 0.0  # of the training blocks, for early stopping
    shape: Mapping[str, Any] = field(default_factory=dict)  # fields of ModelSpec
    train: TrainOptions = field(default_factory=TrainOptions)
    # of `baselines.named.NAMES`, whose sets of species are compared with ours; no score depends on it
    baselines: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Row:
    """One line of the table: mean AUC over species within test folds, and of all test surveys pooled."""

    method: str
    auc: float
    pooled_auc: float
    draws: int
    species: int
    gain_lower: float | None = None  # 95 % block bootstrap, `gain` rows only
    gain_upper: float | None = None

    def record(self) -> dict[str, Any]:
        """The row as plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Evaluation:
    """Rows of the table and the scores behind them."""

    rows: list[Row]
    auc_by_draw: dict[str, list[float]]
    sets: list[dict[str, Any]] = field(default_factory=list)  # of `peers.set_rows`, means over the draws

    def text(self) -> str:
        """The table as lines of text."""
        lines = [f"{'method':28} {'AUC in folds':>12} {'pooled AUC':>11} {'draws':>6} {'species':>8}"]
        for row in self.rows:
            interval = "" if row.gain_lower is None else f"  [{row.gain_lower:+.3f}, {row.gain_upper:+.3f}]"
            lines.append(f"{row.method:28} {row.auc:12.3f} {row.pooled_auc:11.3f} {row.draws:6d} {row.species:8d}{interval}")
        return "\n".join(lines)


def within_fold_auc(score: Scores, presence: NDArray[np.bool_], fold: NDArray[np.int64]) -> NDArray[np.float64]:
    """(folds, S) AUC of each species within each test fold, NaN with under 5 presences or absences there."""
    return np.stack([species_auc(score[fold == k], presence[fold == k]) for k in np.unique(fold)])


def mean_over_species(auc: NDArray[np.float64]) -> float:
    """Mean over the folds of a species, then over species; NaN are left out. `auc`: (folds, S)."""
    seen = np.isfinite(auc)
    per_species = np.where(seen, auc, 0).sum(0) / np.maximum(seen.sum(0), 1)
    kept = per_species[seen.any(0)]
    return float(kept.mean()) if len(kept) else float("nan")


def network_scores(
    predictors: Predictors,
    surveys: Surveys,
    fold: NDArray[np.int64],
    options: EvaluateOptions,
    report: Report = lambda text: None,
) -> Scores:
    """(n, S) scores eta of every survey by the network that was trained without its fold."""
    score = np.full(surveys.presence.shape, np.nan, np.float32)
    for k in np.unique(fold):
        kept = fold != k
        roles = np.where(kept, "train", "test")
        if options.stop_share > 0:
            shares = {"train": 1 - options.stop_share, "stop": options.stop_share}
            inner = assign_roles(surveys, options.block_km, shares, seed=int(k))
            roles = np.where(kept & (inner == "stop"), "stop", roles)
        spec = spec_for(predictors, surveys, **options.shape)
        reach = (spec.halo + 0.5) * 1000 / CELLS_PER_KM if spec.halo else 0.0
        roles[(roles == "train") & ~clear_of(surveys, roles == "train", reach)] = "none"
        trained = train(predictors, surveys, spec, options.train, roles)
        held = np.flatnonzero(fold == k)
        score[held] = predict_surveys(trained.ensemble, predictors.subset(held), surveys.year[held], surveys.area_m2[held])
        report(f"fold {k + 1} of {options.folds}")
    return score


def forest_scores(
    predictors: Predictors,
    surveys: Surveys,
    fold: NDArray[np.int64],
    leaf: int,
    options: EvaluateOptions,
    report: Report = lambda text: None,
) -> Scores:
    """(n, S) probabilities of every survey by forests fitted without its fold."""
    table = table_of(predictors, surveys)
    score = np.full(surveys.presence.shape, np.nan, np.float32)
    for k in np.unique(fold):
        held = fold == k
        seen = surveys.presence[held].sum(0)
        asked = np.flatnonzero((seen >= 5) & (held.sum() - seen >= 5))  # the others have no AUC in this fold
        score[np.ix_(held, asked)] = forest_probability(
            table, surveys.presence[:, asked], ~held, held, leaf, options.trees, options.threads
        )
        report(f"forest, leaf {leaf}, fold {k + 1} of {options.folds}")
    return score


def bootstrap_gain(
    ours: Sequence[Scores],
    theirs: Sequence[Scores],
    presence: NDArray[np.bool_],
    folds: Sequence[NDArray[np.int64]],
    block: NDArray[np.int64],
    bootstraps: int = 200,
    seed: int = 0,
) -> tuple[float, float]:
    """95 % interval of the gain in mean within-fold AUC when blocks are drawn anew with replacement.

    One entry of `ours`, `theirs` (n, S) and `folds` (n,) per draw; the same resampled blocks serve all draws.
    """
    rng = np.random.default_rng(seed)
    blocks = int(block.max()) + 1
    times = rng.multinomial(blocks, np.full(blocks, 1 / blocks), bootstraps)
    weight = times[:, block].astype(np.float32)  # (B, n)
    gains = np.zeros((len(folds), bootstraps))
    for d, fold in enumerate(folds):
        gain = np.full((int(fold.max()) + 1, presence.shape[1], bootstraps), np.nan)
        for k in range(len(gain)):
            held = fold == k
            counted = np.isfinite(species_auc(ours[d][held], presence[held]))
            for s in np.flatnonzero(counted):
                a = weighted_auc(ours[d][held, s], presence[held, s], weight[:, held])
                gain[k, s] = a - weighted_auc(theirs[d][held, s], presence[held, s], weight[:, held])
        seen = np.isfinite(gain)
        per_species = np.where(seen, gain, 0).sum(0) / np.maximum(seen.sum(0), 1)
        there = seen.any(0)
        gains[d] = np.where(there, per_species, 0).sum(0) / np.maximum(there.sum(0), 1)
    lower, upper = np.quantile(gains.mean(0), [0.025, 0.975])
    return float(lower), float(upper)


def _with_coordinates(predictors: Predictors, surveys: Surveys) -> Predictors:
    """Predictors plus x and y as static columns: what memorising places would add."""
    own = np.stack([surveys.x, surveys.y], 1).astype(np.float32)
    static = own if predictors.static is None else np.concatenate([predictors.static, own], 1)
    return replace(predictors, static=static, static_names=(*predictors.static_names, "x", "y"))


def _pooled(score: Scores, presence: NDArray[np.bool_]) -> float:
    """Mean over species of the AUC over all test surveys together, those without a score left out."""
    values = []
    for s in range(presence.shape[1]):
        kept = np.isfinite(score[:, s])
        values.append(species_auc(score[kept, s, None], presence[kept, s, None])[0] if kept.any() else np.nan)
    return float(np.nanmean(values))


def evaluate(
    predictors: Predictors,
    surveys: Surveys,
    options: EvaluateOptions | None = None,
    report: Report = lambda text: None,
    cache: Path | None = None,
) -> Evaluation:
    """Cross-validate by spatial blocks and compare.

    `cache` is a folder that keeps the scores of each draw and method, so that a stopped evaluation goes on where it
    was and more draws can be added.

    Rows: `floracube`; `random_forest` (the better of its leaves); `gain` with its interval; `floracube_coordinates`.
    Raises: ModelError if no species has enough records.
    """
    options = options or EvaluateOptions()
    common = np.flatnonzero(surveys.presence.sum(0) >= options.fewest_records)
    if not len(common):
        raise ModelError(f"No species has {options.fewest_records} records or more; lower evaluate.fewest_records.")
    presence = surveys.presence[:, common]
    few = surveys.select_species(common)
    folds, scores = [], dict[str, list[Scores]]()
    key = _fingerprint(predictors, surveys, repr(replace(options, draws=(), threads=1, bootstraps=0)))
    # Peers depend on less: a network trained otherwise is compared with the forests that are there.
    peers = _fingerprint(predictors, surveys, f"{options.folds} {options.block_km} {options.fewest_records} {options.trees}")
    block = np.zeros(len(surveys), np.int64)
    for draw in options.draws:
        fold, block = assign_folds(surveys, options.block_km, options.folds, draw)
        folds.append(fold)
        told = _prefix(report, f"draw {draw}: ")
        ours = remembered(cache, f"{key}-{draw}-floracube", partial(network_scores, predictors, surveys, fold, options, told))
        scores.setdefault("floracube", []).append(ours[:, common])
        for leaf in LEAVES if options.forest else ():
            theirs = remembered(
                cache, f"{peers}-{draw}-forest{leaf}", partial(forest_scores, predictors, few, fold, leaf, options, told)
            )
            scores.setdefault(f"random_forest (leaf {leaf})", []).append(theirs)
        report("\n" + _tabulate(scores, presence, folds, block, options).text())
    if options.coordinates:
        more = _with_coordinates(predictors, surveys)
        told = _prefix(report, "with coordinates: ")
        known = remembered(cache, f"{key}-coordinates", partial(network_scores, more, surveys, folds[0], options, told))
        scores["floracube_coordinates"] = [known[:, common]]

    def sets(at: int) -> list[dict[str, Any]]:
        """Rows of the draw that is number `at` of those asked for; baselines are fitted where they are not there yet."""

        def peer(name: str) -> Scores:
            told = _prefix(report, f"draw {options.draws[at]}: ")
            compute = partial(peer_scores, name, predictors, few, folds[at], LEAVES[0], options.trees, options.threads, told)
            return remembered(cache, f"{peers}-{options.draws[at]}-{name}", compute)

        drawn = {method: scored[at] for method, scored in scores.items() if method != "floracube_coordinates"}
        return compared_sets(drawn, few, folds[at], block, options.baselines, peer)

    compared = mean_rows([sets(at) for at in range(len(folds))]) if options.baselines else []
    return replace(_tabulate(scores, presence, folds, block, options), sets=compared)


def _fingerprint(predictors: Predictors, surveys: Surveys, said: str) -> str:
    """Hash of all that scores depend on: what was `said` of the fit, and every value that it reads."""
    parts = hashlib.sha256(said.encode())
    read = (*vars(surveys).values(), *vars(predictors).values())
    for values in read:
        parts.update(np.ascontiguousarray(values).tobytes() if isinstance(values, np.ndarray) else repr(values).encode())
    return parts.hexdigest()[:12]


def _prefix(report: Report, prefix: str) -> Report:
    return lambda text: report(prefix + text)


def _tabulate(
    scores: Mapping[str, list[Scores]],
    presence: NDArray[np.bool_],
    folds: Sequence[NDArray[np.int64]],
    block: NDArray[np.int64],
    options: EvaluateOptions,
) -> Evaluation:
    by_draw = {
        method: [mean_over_species(within_fold_auc(s, presence, f)) for s, f in zip(drawn, folds, strict=False)]
        for method, drawn in scores.items()
    }
    pooled = {m: float(np.mean([_pooled(s, presence) for s in drawn])) for m, drawn in scores.items()}
    rows = [Row("floracube", *_means("floracube", by_draw, pooled), len(folds), presence.shape[1])]
    forests = [method for method in scores if method.startswith("random_forest")]
    if forests:
        best = max(forests, key=lambda method: float(np.mean(by_draw[method])))
        rows.append(Row(best, *_means(best, by_draw, pooled), len(folds), presence.shape[1]))
        interval = bootstrap_gain(scores["floracube"], scores[best], presence, folds, block, options.bootstraps)
        gain = (rows[0].auc - rows[1].auc, rows[0].pooled_auc - rows[1].pooled_auc)
        rows.append(Row("gain", *gain, len(folds), presence.shape[1], *interval))
    if "floracube_coordinates" in scores:
        means = _means("floracube_coordinates", by_draw, pooled)
        rows.append(Row("floracube_coordinates", *means, 1, presence.shape[1]))
    return Evaluation(rows, by_draw)


def _means(method: str, by_draw: Mapping[str, list[float]], pooled: Mapping[str, float]) -> tuple[float, float]:
    return float(np.mean(by_draw[method])), pooled[method]
