"""Skill of the reader on held-out spatial blocks, beside naive Bayes on the species vector in the same run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score
from sklearn.naive_bayes import MultinomialNB

from inference.plantbert.classify import HabitatReader
from inference.plantbert.plots import Plots
from inference.plantbert.training import ReaderSpec, train_reader


@dataclass(frozen=True)
class Skill:
    """One method's skill over the scored plots; accuracy, top3 and macro_f1 0..1, log_loss in nats."""

    method: str
    plots: int
    accuracy: float
    top3: float
    macro_f1: float
    log_loss: float


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
    progress: Callable[[str], None] | None = None,
) -> tuple[list[Skill], dict[str, NDArray[np.float32]]]:
    """Train on all folds but one, score the one left out, in turn.

    fold (n); score (n): plots that count (all by default); withheld (n): plots that never train.
    Unlabelled plots of the training folds serve fill-mask. Returns a Skill per method and the
    held-out probabilities {method: (n, C)}, NaN where a plot was not scored.
    """
    labelled = plots.label >= 0
    score = labelled if score is None else score & labelled
    usable = np.ones(len(plots), bool) if withheld is None else ~withheld
    shape = (len(plots), len(plots.habitats))
    held = {m: np.full(shape, np.nan, np.float32) for m in ("plantbert", "naive_bayes")}
    presence = plots.presence()
    for k in np.unique(fold):
        train = np.flatnonzero((fold != k) & usable)
        test = np.flatnonzero((fold == k) & score)
        if not len(test):
            continue
        known = train[labelled[train]]
        held["naive_bayes"][test] = naive_bayes(presence[known], plots.label[known], presence[test], shape[1])
        model, tokenizer, _ = train_reader(plots.take(train), None, spec)
        reader = HabitatReader(model, tokenizer)
        token, _ = reader.tokens_of(plots.species)
        held["plantbert"][test] = reader.classify(plots.order[test], plots.size[test], token)
        if progress:
            for method, p in held.items():
                progress(f"fold {k}: {skill_of(method, p[test], plots.label[test])}")
    return [skill_of(m, p[score], plots.label[score]) for m, p in held.items()], held


def naive_bayes(
    presence: NDArray[np.float32],
    label: NDArray[np.integer[Any]],
    test: NDArray[np.float32],
    classes: int,
) -> NDArray[np.float32]:
    """Return multinomial naive Bayes probabilities (m, C) of species vectors (m, S).

    The strongest of four variants on the Czech surveys: Bernoulli and multinomial, smoothing 1 and 0.1.
    """
    model = MultinomialNB(alpha=0.1).fit(presence, label)
    result = np.zeros((len(test), classes), dtype=np.float32)
    result[:, model.classes_] = model.predict_proba(test)
    return result


def skill_of(method: str, probability: NDArray[np.float32], label: NDArray[np.integer[Any]]) -> Skill:
    """Score probabilities (n, C) against labels (n)."""
    best = np.argsort(-probability, axis=1, kind="stable")[:, :3]
    right = np.maximum(probability[np.arange(len(label)), label], 1e-15)
    return Skill(
        method=method,
        plots=len(label),
        accuracy=float((best[:, 0] == label).mean()),
        top3=float((best == label[:, None]).any(axis=1).mean()),
        macro_f1=float(f1_score(label, best[:, 0], average="macro")),
        log_loss=float(-np.log(right).mean()),
    )
