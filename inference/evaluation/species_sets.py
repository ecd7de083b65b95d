"""Predicted sets of species against the species found: precision, recall and F1 of every survey, averaged over surveys.

Which K maximises the expected F1 is told by `inference.calibration.sets`; here sets of any size are judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inference.calibration.sets import set_size
from inference.evaluation.metrics import mean_of

TOP: Final = 25  # species in the published sets (GeoPlant, Picek et al. 2024)
LARGEST: Final = 100  # species in the sets that `best_size` tries
PAIRS: Final = 1 << 24  # surveys x species in memory at a time


@dataclass(frozen=True)
class SampleScores:
    """Precision, recall, F1 and size of the set of each survey (n,); NaN for a survey that found nothing."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    size: NDArray[np.int64]

    def means(self) -> dict[str, float]:
        """Averages over surveys, as the benchmark prints them (0..1)."""
        return {name: mean_of(getattr(self, name)) for name in ("precision", "recall", "f1", "size")}


def top_set(p: NDArray[np.floating], size: int | NDArray[np.integer]) -> NDArray[np.bool_]:
    """(n, S) membership of the `size` (one number, or (n,)) most probable species of each survey; ties by column."""
    n, species = p.shape
    k = np.minimum(np.broadcast_to(np.asarray(size, np.int64), (n,)), species)
    order = np.argsort(-np.asarray(p), axis=1, kind="stable")
    member = np.zeros((n, species), bool)
    np.put_along_axis(member, order, np.arange(species) < k[:, None], axis=1)
    return member


def score_sets(
    member: NDArray[np.bool_], presence: NDArray[np.bool_], other_species: NDArray[np.integer] | None = None
) -> SampleScores:
    """Sets `member` (n, S) against `presence` (n, S), survey by survey.

    F1 = TP / (TP + (FP + FN) / 2) as in GeoPlant's rules; a set without species has precision 0. `other_species` (n,): species
    found that no column stands for (never in the training data): each is one that the set lacks.
    """
    hits = (member & presence).sum(1).astype(np.float64)
    size, observed_size = member.sum(1), presence.sum(1) + (0 if other_species is None else other_species)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(size > 0, hits / size, 0.0)
        recall, f1 = hits / observed_size, 2 * hits / (size + observed_size)
    is_empty = observed_size == 0
    for values in (precision, recall, f1):
        values[is_empty] = np.nan
    return SampleScores(precision, recall, f1, size.astype(np.int64))


def top_scores(
    p: NDArray[np.floating],
    presence: NDArray[np.bool_],
    size: int | NDArray[np.integer] | None = None,
    other_species: NDArray[np.integer] | None = None,
) -> SampleScores:
    """Scores of the sets of the most probable species; `size` None: the K that maximises the expected F1 of each survey.

    Goes by slices of surveys, so that 10,000 species and any number of surveys fit in memory.
    """
    rows = max(1, PAIRS // max(1, p.shape[1]))
    parts = []
    for start in range(0, len(p), rows):
        part = slice(start, start + rows)
        k = predicted_size(p[part]) if size is None else (size if isinstance(size, int) else size[part])
        parts.append(score_sets(top_set(p[part], k), presence[part], None if other_species is None else other_species[part]))
    return SampleScores(*(np.concatenate([getattr(s, name) for s in parts]) for name in ("precision", "recall", "f1", "size")))


def predicted_size(p: NDArray[np.floating]) -> NDArray[np.int64]:
    """(n,) K of each survey that maximises the expected F1 under probabilities p (n, S)."""
    return set_size(-np.sort(-np.asarray(p, np.float64), axis=1)).astype(np.int64)


def best_size(p: NDArray[np.floating], presence: NDArray[np.bool_]) -> int:
    """The one K, the same for all surveys, with the highest mean F1; to be chosen on other surveys."""
    largest = min(LARGEST, p.shape[1])
    total = np.zeros(largest)
    rows = max(1, PAIRS // p.shape[1])
    size = np.arange(1, largest + 1)
    for start in range(0, len(p), rows):
        part, presences = np.asarray(p[start : start + rows]), presence[start : start + rows]
        order = np.argsort(-part, axis=1, kind="stable")[:, :largest]
        hits = np.cumsum(np.take_along_axis(presences, order, axis=1), axis=1)
        observed_size = presences.sum(1, keepdims=True)
        total += np.where(observed_size > 0, 2 * hits / (size + observed_size), 0.0).sum(0)
    return int(total.argmax()) + 1


def best_threshold(p: NDArray[np.floating], presence: NDArray[np.bool_]) -> float:
    """The one probability, the same for all surveys and species, above which sets have the highest mean F1."""
    thresholds = np.unique(np.r_[np.linspace(0.005, 0.1, 20), np.linspace(0.11, 0.8, 70)])
    scores = [float(np.nanmean(score_sets(p >= t, presence).f1)) for t in thresholds]
    return float(thresholds[int(np.argmax(scores))])
