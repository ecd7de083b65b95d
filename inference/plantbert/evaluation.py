"""Skill of the reader on held-out spatial blocks, with the baselines of `baselines` in the same run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from inference.plantbert.baselines import BASELINES
from inference.plantbert.linear import SHARES, LinearReader
from inference.plantbert.places import LEAST, Mixture
from inference.plantbert.plots import Plots
from inference.plantbert.scheme import Scheme, roll_up

if TYPE_CHECKING:  # transformers takes seconds to import: a linear reader does without it
    from inference.plantbert.classify import HabitatReader
    from inference.plantbert.training import ReaderSpec


BLOCK_DEGREES: Final = 0.1  # side of the blocks that are held out, as published


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
        """One line for a person: the method and its figures."""
        return f"{self.method}: {self.figures()}"

    def figures(self) -> str:
        """The figures in words."""
        coarser = "".join(f", {level} {value:.3f}" for level, value in self.levels)
        return (
            f"accuracy {self.accuracy:.3f}, top 3 {self.top3:.3f}, macro F1 {self.macro_f1:.3f},"
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
    fold_of_block = np.random.default_rng(seed).permutation(len(blocks)) % folds
    return np.asarray(fold_of_block[member.reshape(-1)], dtype=np.int64)


def reader_folds(
    plots: Plots, lon: NDArray[np.float64] | None, lat: NDArray[np.float64] | None, folds: int, seed: int = 0
) -> tuple[NDArray[np.int64], str]:
    """(fold (n) of each plot, what the folds are): blocks of 0.1 degree where plots have places, else random plots.

    A plot without a place beside others that have one is in fold -1: it trains and is never scored. Folds are random where
    blocks are too few for a labelled plot in each; habitats are then dealt evenly.
    """
    labelled = plots.label >= 0
    if lon is not None and lat is not None:
        has_place = np.isfinite(lon) & np.isfinite(lat)
        fold = np.full(len(plots), -1, np.int64)
        if has_place.any():
            fold[has_place] = spatial_folds(lon[has_place], lat[has_place], BLOCK_DEGREES, folds, seed)
        counts = np.bincount(fold[labelled & has_place], minlength=folds)
        if counts.min() > 0:
            return fold, f"blocks of {BLOCK_DEGREES} degree"
    # Dealt by habitat: a class of two plots is then in two folds.
    draw = np.random.default_rng(seed).permutation(len(plots))
    by_label = draw[np.argsort(plots.label[draw], kind="stable")]
    fold = np.empty(len(plots), np.int64)
    fold[by_label] = np.arange(len(plots)) % folds
    return fold, "random plots, since there are too few places for blocks: neighbours help, so that skill is overestimated"


def evaluate_reader(
    plots: Plots,
    fold: NDArray[np.integer[Any]],
    spec: ReaderSpec | None = None,
    *,
    score: NDArray[np.bool_] | None = None,
    never_trained: NDArray[np.bool_] | None = None,
    baselines: Sequence[str] = ("naive_bayes",),
    scheme: Scheme | None = None,
    progress: Callable[[str], None] | None = None,
    readers: Sequence[str] = ("plantbert",),
    predicted: Plots | None = None,
) -> tuple[list[Skill], dict[str, NDArray[np.float32]]]:
    """Train on all folds but one, score the one left out, in turn.

    readers: names of `trained_readers`, none or several; fold (n); score (n): plots that count (all by default); withheld (n):
    plots that never train.
    Unlabelled plots of the training folds serve fill-mask, and the `predicted` lists of their labelled plots teach the
    readers, as they teach the one that is shipped. baselines: names of `BASELINES`; scheme: one whose finest classes
    are the plots' habitats, for skill at its coarser levels. Returns a Skill per method and the
    held-out probabilities {method: (n, C)}, NaN where a plot was not scored.
    """
    labelled = plots.label >= 0
    score = labelled if score is None else score & labelled
    usable = np.ones(len(plots), bool) if never_trained is None else ~never_trained
    shape = (len(plots), len(plots.habitats))
    probabilities = {m: np.full(shape, np.nan, np.float32) for m in (*readers, *baselines)}
    values = {True: plots.log_cover(), False: plots.presence()}
    for k in np.unique(fold):
        train = np.flatnonzero((fold != k) & usable)
        test = np.flatnonzero((fold == k) & score)
        if not len(test):
            continue
        labelled_train = train[labelled[train]]
        for name in baselines:
            x = values[name.endswith("_cover")]
            p = BASELINES[name](x[labelled_train], plots.label[labelled_train], x[test], shape[1])
            probabilities[name][test] = _with_unseen(p, plots.label[labelled_train])
        part, test_plots = plots.take(train), plots.take(test)
        lists = None if predicted is None else predicted.take(np.isin(predicted.plot_id, part.plot_id[part.label >= 0]))
        for name, reader in (trained_readers(readers, part, spec, lists, fold[train]) if readers else {}).items():
            token, _ = reader.tokens_of(plots.species)
            p = reader.classify(test_plots.order, test_plots.size, token, cover=test_plots.cover)
            probabilities[name][test] = _with_unseen(p, plots.label[labelled_train])
        if progress:
            for method, p in probabilities.items():
                progress(f"fold {k}: {skill_of(method, p[test], plots.label[test], scheme).line()}")
    return [skill_of(m, p[score], plots.label[score], scheme) for m, p in probabilities.items()], probabilities


def trained_readers(
    names: Sequence[str],
    plots: Plots,
    spec: ReaderSpec | None,
    predicted: Plots | None,
    fold: NDArray[np.integer[Any]] | None = None,
) -> dict[str, LinearReader | HabitatReader]:
    """Readers by name: `plantbert` is a transformer and a linear path, as it ships, `transformer` and `linear` its parts.

    fold (n): of the plots, see `LinearReader.fit`.
    """
    linear = LinearReader.fit(plots, predicted, fold)
    readers: dict[str, LinearReader | HabitatReader] = {"linear": linear}
    if {"plantbert", "transformer"} & set(names):
        from inference.plantbert.classify import HabitatReader
        from inference.plantbert.training import train_reader

        model, tokenizer, _ = train_reader(plots, None, spec, predicted=predicted)
        readers["plantbert"] = HabitatReader(model, tokenizer, linear=linear)
        readers["transformer"] = HabitatReader(model, tokenizer)
    return {name: readers[name] for name in names}


def best_transformer_share(
    transformer: NDArray[np.float32], path: NDArray[np.float32], label: NDArray[np.integer[Any]]
) -> tuple[float, NDArray[np.float32]]:
    """(the share of the transformer's log odds with the least log loss, probabilities (n, C) of both with it)."""
    of_share = {share: Mixture(1 - share, share, 1.0)(path, np.log(np.maximum(transformer, LEAST))) for share in SHARES}
    row = np.flatnonzero(np.isfinite(transformer).all(axis=1) & np.isfinite(path).all(axis=1))  # of plots with species
    best = min(SHARES, key=lambda share: float(-np.log(np.maximum(of_share[share][row, label[row]], LEAST)).mean()))
    return best, of_share[best]


def _with_unseen(probability: NDArray[np.float32], label: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
    """Probabilities (n, C) in which each class that `label` lacks has that of one plot more: a network gives it some, too."""
    has_label = np.isin(np.arange(probability.shape[1]), label)
    share = 1.0 / (len(label) + probability.shape[1])
    return np.where(has_label, probability * (1 - share * (~has_label).sum()), share).astype(np.float32)


def better_baselines(skills: Sequence[Skill], reader: str) -> str:
    """A sentence on what the best baseline does better than the reader on the same plots; empty where it does nothing."""
    reader_skill = next((skill for skill in skills if skill.method == reader), None)
    peer_skills = [skill for skill in skills if skill.method != reader]
    if reader_skill is None or not peer_skills:
        return ""
    worse = []
    for name, figure, sign in (
        ("accuracy", "accuracy", 1),
        ("macro F1", "macro_f1", 1),
        ("top 3", "top3", 1),
        ("log loss", "log_loss", -1),
    ):
        best = max(peer_skills, key=lambda skill: sign * getattr(skill, figure))
        if sign * getattr(best, figure) > sign * getattr(reader_skill, figure):
            worse.append(
                f"{name} {getattr(reader_skill, figure):.3f}, {getattr(best, figure):.3f} of {best.method.replace('_', ' ')}"
            )
    return (
        f"The reader {reader} is worse than a baseline on the same {reader_skill.plots} plots ({'; '.join(worse)})"
        if worse
        else ""
    )


def skill_of(
    method: str, probability: NDArray[np.float32], label: NDArray[np.integer[Any]], scheme: Scheme | None = None
) -> Skill:
    """Score probabilities (n, C) against labels (n); with a scheme of these C finest classes at every level of it."""
    best = np.argsort(-probability, axis=1, kind="stable")[:, :3]
    right = np.maximum(probability[np.arange(len(label)), label], 1e-15)
    levels = []
    if scheme is not None:
        of_level = roll_up(probability, scheme)
        for level in scheme.levels[1:]:
            levels.append((level, float((of_level[level].argmax(axis=1) == scheme.parents(level)[label]).mean())))
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
    label: NDArray[np.integer[Any]],
    our_labels: NDArray[np.integer[Any]],
    peer: NDArray[np.integer[Any]],
    block: NDArray[np.integer[Any]],
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, tuple[float, float, float]]:
    """Gain of one method over another and its 95 % interval, for `accuracy` and `macro_f1`, drawing whole blocks anew.

    label (n), ours, peer (n): the habitat of each plot and the one that either method names; block (n): the block of each
    plot. Both methods are judged on the same drawn blocks (paired). Raises: ValueError without any plot.
    """
    member = np.unique(block, return_inverse=True)[1].reshape(-1)
    blocks, classes = int(member.max()) + 1, int(max(label.max(), our_labels.max(), peer.max())) + 1
    times = np.random.default_rng(seed).multinomial(blocks, np.full(blocks, 1 / blocks), draws)
    times = np.concatenate([np.ones((1, blocks), np.int64), times])  # the first: every block as it is
    a, b = (_skill_of_draws(times, member, label, answers, classes) for answers in (our_labels, peer))
    gains = {}
    for name, our_draws in a.items():
        difference = our_draws - b[name]
        low, high = np.quantile(difference[1:], (0.025, 0.975))
        gains[name] = (float(difference[0]), float(low), float(high))
    return gains


def _skill_of_draws(
    times: NDArray[np.int64],
    member: NDArray[np.int64],
    label: NDArray[np.integer[Any]],
    answers: NDArray[np.integer[Any]],
    classes: int,
) -> dict[str, NDArray[np.float64]]:
    """Accuracy and macro F1 (d) where block b counts `times` (d, b) times; habitats neither found nor named are left out."""

    def counts(which: NDArray[np.bool_] | slice, classes_of: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        flat = np.bincount(member[which] * classes + classes_of[which], minlength=times.shape[1] * classes)
        return (times @ flat.reshape(-1, classes)).astype(float)

    hits, true_counts, answer_counts = counts(label == answers, label), counts(slice(None), label), counts(slice(None), answers)
    either = true_counts + answer_counts
    f1 = 2 * hits / np.maximum(either, 1)
    return {"accuracy": hits.sum(1) / true_counts.sum(1), "macro_f1": f1.sum(1) / (either > 0).sum(1)}
