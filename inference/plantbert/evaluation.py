"""Skill of the reader on held-out spatial blocks, beside the baselines of `baselines` in the same run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from inference.plantbert.baselines import BASELINES
from inference.plantbert.classify import HabitatReader
from inference.plantbert.plots import Plots
from inference.plantbert.scheme import Scheme, roll_up
from inference.plantbert.training import ReaderSpec, train_reader


@dataclass(frozen=True)
class Skill:
    """One method's skill over the scored plots; accuracy, top3 and macro_f1 0..1, log_loss in nats.

    levels: accuracy at each coarser level of the scheme, finest first, of the class with the largest sum.
    """

    method: str
    plots: int
    accuracy: float
    top3: float
    macro_f1: float
    log_loss: float
    levels: tuple[tuple[str, float], ...] = ()

    def line(self) -> str:
        """One line for a person."""
        coarser = "".join(f", {level} {value:.3f}" for level, value in self.levels)
        return (
            f"{self.method}: accuracy {self.accuracy:.3f}, top 3 {self.top3:.3f}, macro F1 {self.macro_f1:.3f},"
            f" log loss {self.log_loss:.3f}{coarser} ({self.plots} plots)"
        )


def spatial_folds(
    x: NDArray[np.floating[Any]],
    y: NDArray[np.floating[Any]],
    block: float = 50_000.0,
    folds: int = 5,
    seed: int = 0,
) -> NDArray[np.int64]:
    """Assign places (n; metres, or degrees with a block in degrees) to folds by square blocks drawn at random."""
    cell = np.stack([np.floor(x / block), np.floor(y / block)], axis=1).astype(np.int64)
    blocks, member = np.unique(cell, axis=0, return_inverse=True)
    drawn = np.random.default_rng(seed).permutation(len(blocks)) % folds
    return np.asarray(drawn[member.reshape(-1)], dtype=np.int64)


def evaluate_reader(
    plots: Plots,
    fold: NDArray[np.integer[Any]],
    spec: ReaderSpec | None = None,
    *,
    score: NDArray[np.bool_] | None = None,
    withheld: NDArray[np.bool_] | None = None,
    baselines: Sequence[str] = ("naive_bayes",),
    scheme: Scheme | None = None,
    progress: Callable[[str], None] | None = None,
) -> tuple[list[Skill], dict[str, NDArray[np.float32]]]:
    """Train on all folds but one, score the one left out, in turn.

    fold (n); score (n): plots that count (all by default); withheld (n): plots that never train.
    Unlabelled plots of the training folds serve fill-mask. baselines: names of `BASELINES`; scheme: one whose
    finest classes are the plots' habitats, for skill at its coarser levels. Returns a Skill per method and the
    held-out probabilities {method: (n, C)}, NaN where a plot was not scored.
    """
    labelled = plots.label >= 0
    score = labelled if score is None else score & labelled
    usable = np.ones(len(plots), bool) if withheld is None else ~withheld
    shape = (len(plots), len(plots.habitats))
    held = {m: np.full(shape, np.nan, np.float32) for m in ("plantbert", *baselines)}
    presence = plots.presence()
    for k in np.unique(fold):
        train = np.flatnonzero((fold != k) & usable)
        test = np.flatnonzero((fold == k) & score)
        if not len(test):
            continue
        known = train[labelled[train]]
        for name in baselines:
            held[name][test] = BASELINES[name](presence[known], plots.label[known], presence[test], shape[1])
        model, tokenizer, _ = train_reader(plots.take(train), None, spec)
        reader = HabitatReader(model, tokenizer)
        token, _ = reader.tokens_of(plots.species)
        held["plantbert"][test] = reader.classify(plots.order[test], plots.size[test], token)
        if progress:
            for method, p in held.items():
                progress(f"fold {k}: {skill_of(method, p[test], plots.label[test], scheme).line()}")
    return [skill_of(m, p[score], plots.label[score], scheme) for m, p in held.items()], held


def skill_of(
    method: str, probability: NDArray[np.float32], label: NDArray[np.integer[Any]], scheme: Scheme | None = None
) -> Skill:
    """Score probabilities (n, C) against labels (n); with a scheme of these C finest classes at every level of it."""
    best = np.argsort(-probability, axis=1, kind="stable")[:, :3]
    right = np.maximum(probability[np.arange(len(label)), label], 1e-15)
    levels = []
    if scheme is not None:
        rolled = roll_up(probability, scheme)
        for level in scheme.levels[1:]:
            levels.append((level, float((rolled[level].argmax(axis=1) == scheme.parents(level)[label]).mean())))
    return Skill(
        method=method,
        plots=len(label),
        accuracy=float((best[:, 0] == label).mean()),
        top3=float((best == label[:, None]).any(axis=1).mean()),
        macro_f1=float(f1_score(label, best[:, 0], average="macro")),
        log_loss=float(-np.log(right).mean()),
        levels=tuple(levels),
    )


def gain(
    right: NDArray[np.bool_],
    beside: NDArray[np.bool_],
    block: NDArray[np.integer[Any]],
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Gain in accuracy of one method over another and its 95 % interval, drawing whole blocks with replacement.

    right, beside (n): whether either method was right on each plot; block (n): the block of each plot. Both methods
    are judged on the same drawn blocks (paired).
    """
    member = np.unique(block, return_inverse=True)[1].reshape(-1)
    difference = np.bincount(member, right.astype(float) - beside.astype(float))
    plots = np.bincount(member)
    drawn = np.random.default_rng(seed).integers(0, len(plots), (draws, len(plots)))
    share = difference[drawn].sum(axis=1) / plots[drawn].sum(axis=1)
    low, high = np.quantile(share, (0.025, 0.975))
    return float(difference.sum() / plots.sum()), float(low), float(high)
