"""A light reader of habitats: logistic regression on the species of a list and their covers, naive Bayes and a hidden layer.

The first two are linear in the species, so the sum of their log odds is one table of weights; a small network with one hidden
layer adds its own. It reads alone (`habitats.reader: linear`) or beside Pl@ntBERT, and answers as `classify.HabitatReader`
does. It needs numpy and scipy alone to read.

Cells have no covers: a species there has the mean log cover of its place in the lists of the training plots.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack
from scipy.special import softmax

from cube.errors import ModelError
from inference.network.tensors import read_tensors, write_tensors
from inference.plantbert.plots import Plots
from inference.plantbert.text import binomial

CARD: Final = "linear.json"
TENSORS: Final = "linear.safetensors"
FORMAT: Final = 3
ROWS: Final = 8192  # cells read at once
STRENGTH: Final = 0.1  # C of the logistic regression
SHARES: Final = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # of the hidden layer, and of Pl@ntBERT, in the log odds: the best on folds
USUAL_SHARE: Final = 0.4  # without folds
BAYES_SHARE: Final = 0.15  # of naive Bayes in the rest; this and the next two were chosen on open folds, see docs
ADJUSTMENT: Final = 0.3  # power of a habitat's frequency by which its odds are divided, so that rare ones count
TRANSFORMER_SHARE: Final = 0.35  # of Pl@ntBERT, where no plot was held out


@dataclass(frozen=True)
class Weights:
    """Log odds of a vector of species x (2 S: presence, then log cover): x linear + relu(x hidden + hidden_bias) out + bias."""

    linear: NDArray[np.float32]  # (2 S, C)
    hidden: NDArray[np.float32]  # (2 S, H)
    hidden_bias: NDArray[np.float32]  # (H)
    out: NDArray[np.float32]  # (H, C)
    bias: NDArray[np.float32]  # (C), minus infinity for a class without training plots

    def __post_init__(self) -> None:
        """Refuse what gives no probability. Raises: ValueError."""
        (values, classes), width = self.linear.shape, len(self.hidden_bias)
        expected = {"hidden": (values, width), "hidden_bias": (width,), "out": (width, classes), "bias": (classes,)}
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} of the shape {getattr(self, name).shape}, expected {shape}")
            if name != "bias" and not np.isfinite(getattr(self, name)).all():
                raise ValueError(f"a weight of {name} is not a number")
        if not np.isfinite(self.linear).all():
            raise ValueError("a weight of linear is not a number")
        if not (np.isfinite(self.bias).any() and (np.isfinite(self.bias) | (self.bias == -np.inf)).all()):
            raise ValueError("a bias is not a number")

    def log_odds(self, x: csr_matrix) -> NDArray[np.float32]:
        """(n, C) of vectors x (n, 2 S)."""
        hidden = np.maximum(x @ self.hidden + self.hidden_bias, 0)
        return np.asarray(x @ self.linear + hidden @ self.out + self.bias, np.float32)


class LinearReader:
    """Weights of species by class, of places in a list, and the names of both; `fit` makes one, `load` reads one."""

    def __init__(
        self,
        species: Sequence[str],
        habitats: Sequence[str],
        weights: Weights,
        place: NDArray[np.float32],
        transformer_share: float = TRANSFORMER_SHARE,
    ) -> None:
        """place (K): log cover by place in a list, later ones as the last."""
        self.species, self.habitats = tuple(species), tuple(habitats)
        self.weights, self.place, self.transformer_share = weights, place, transformer_share

    @classmethod
    def fit(cls, plots: Plots, predicted: Plots | None = None, fold: NDArray[np.integer[Any]] | None = None) -> LinearReader:
        """Learn from the labelled plots, and from the lists `predicted` for them; places are weighed by the covers of plots.

        fold (n): of each plot, blocks best; each is left out in turn to choose how much the hidden layer counts, those below 0
        never. Raises: ValueError where no plot is labelled.
        """
        share = USUAL_SHARE if fold is None else cls._best_share(plots, predicted, fold)
        return cls._parts(plots, predicted)(share)

    @classmethod
    def fit_path(cls, plots: Plots, predicted: Plots | None = None) -> LinearReader:
        """As `fit`, without the hidden layer: quick, for choices on folds. Raises: ValueError where no plot is labelled."""
        return cls._parts(plots, predicted, with_hidden=False)(0.0)

    @classmethod
    def _parts(cls, plots: Plots, predicted: Plots | None, with_hidden: bool = True) -> Callable[[float], LinearReader]:
        """Both parts trained: a reader for each share of the hidden layer."""
        from inference.plantbert.baselines import bayes_weights, logistic_weights
        from inference.plantbert.hidden_layer import fit_layers

        place = place_weights(plots)
        labelled = plots.take(plots.label >= 0)
        labelled = labelled if predicted is None else labelled.append(predicted)
        species, classes = len(plots.species), len(plots.habitats)
        x = vectors(labelled.order, labelled.size, place, species, labelled.cover)
        linear, linear_bias = logistic_weights(x, labelled.label, classes, STRENGTH)
        bayes, prior = bayes_weights(x[:, :species], labelled.label, classes)
        linear *= 1 - BAYES_SHARE
        linear[:species] += BAYES_SHARE * bayes
        if with_hidden:
            hidden, hidden_bias, out, out_bias = fit_layers(x, labelled.label, classes)
        else:
            hidden, hidden_bias, out, out_bias = (np.zeros(n, np.float32) for n in ((x.shape[1], 0), 0, (0, classes), classes))
        present = np.isfinite(prior)

        def with_share(share: float) -> LinearReader:
            bias = np.full(classes, -np.inf, np.float32)
            of_linear = (1 - BAYES_SHARE) * linear_bias[present] + BAYES_SHARE * prior[present]
            bias[present] = (1 - share) * of_linear + share * out_bias[present] - ADJUSTMENT * prior[present]
            weights = Weights((1 - share) * linear, hidden, hidden_bias, share * out, bias)
            return cls(plots.species, plots.habitats, weights, place)

        return with_share

    @classmethod
    def _best_share(cls, plots: Plots, predicted: Plots | None, fold: NDArray[np.integer[Any]]) -> float:
        """The share of the hidden layer with the least log loss on plots whose fold was left out."""
        labelled, usable_for_score = plots.label >= 0, (plots.label >= 0) & (plots.size > 0)  # without species there is no answer
        loss, scored_plots = np.zeros(len(SHARES)), 0
        for k in np.unique(fold[labelled & (fold >= 0)]):
            train = plots.take(fold != k)
            test = plots.take((fold == k) & usable_for_score & np.isin(plots.label, train.label))
            if not len(test):
                continue
            lists = None if predicted is None else predicted.take(np.isin(predicted.plot_id, train.plot_id))
            with_share, scored_plots = cls._parts(train, lists), scored_plots + len(test)
            for i, share in enumerate(SHARES):
                reader = with_share(share)
                p = reader.classify(test.order, test.size, np.arange(len(plots.species)), cover=test.cover)
                loss[i] -= np.log(np.maximum(p[np.arange(len(test)), test.label], 1e-15)).sum()
        return SHARES[int(loss.argmin())] if scored_plots else USUAL_SHARE

    def to(self, device: Any) -> None:
        """Stay on the processor: one product of sparse matrices is as fast as reading the cells."""

    def tokens_of(self, species: Sequence[str]) -> tuple[NDArray[np.int64], int]:
        """(S,) index of each name among the species that were learned, -1 = unknown, and how many are unknown."""
        index = {name: i for i, name in enumerate(self.species)}
        tokens = np.array([index.get(binomial(name), -1) for name in species], np.int64)
        return tokens, int((tokens < 0).sum())

    def classify(
        self,
        order: NDArray[np.integer[Any]],
        size: NDArray[np.integer[Any]],
        species_token: NDArray[np.integer[Any]],
        *,
        cover: NDArray[np.floating[Any]] | None = None,
        threads: Executor | None = None,
    ) -> NDArray[np.float32]:
        """Class probabilities (n, C), rows of NaN for empty cells; see `HabitatReader.classify`."""
        result = np.full((len(size), len(self.habitats)), np.nan, np.float32)

        def read(part: slice) -> None:
            part_cover = None if cover is None else cover[part]
            result[part] = softmax(self.logits(order[part], size[part], species_token, part_cover), axis=1)

        parts = [slice(start, start + ROWS) for start in range(0, len(size), ROWS)]
        list((threads.map if threads is not None else map)(read, parts))
        result[np.asarray(size) == 0] = np.nan
        return result

    def logits(
        self,
        order: NDArray[np.integer[Any]],
        size: NDArray[np.integer[Any]],
        species_token: NDArray[np.integer[Any]],
        cover: NDArray[np.floating[Any]] | None = None,
    ) -> NDArray[np.float32]:
        """Log odds (n, C) up to a constant of each list, minus infinity for a class without training plots; see `classify`."""
        tokens = np.append(species_token, -1)[np.maximum(order, -1)]
        return self.weights.log_odds(vectors(tokens, size, self.place, len(self.species), cover))

    def save(self, folder: Path) -> None:
        """Write `linear.safetensors` and `linear.json` into a model folder."""
        folder.mkdir(parents=True, exist_ok=True)
        write_tensors(folder / TENSORS, vars(self.weights) | {"place": self.place})
        document = {
            "format": FORMAT,
            "reader": "linear",
            "transformer_share": self.transformer_share,
            "species": self.species,
            "habitats": self.habitats,
        }
        (folder / CARD).write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> LinearReader:
        """Read what `save` wrote. Raises: ModelError where it is absent, damaged or of another version."""
        from safetensors import SafetensorError

        try:
            document = json.loads((folder / CARD).read_text(encoding="utf-8"))
            if document["format"] != FORMAT:
                raise ModelError(f"{folder / CARD}: is of another version of floracube; run `floracube habitats train` again.")
            species, habitats, share = document["species"], document["habitats"], float(document["transformer_share"])
            values = read_tensors(folder / TENSORS)
            place = values.pop("place")
            weights = Weights(**values)
            if weights.linear.shape != (2 * len(species), len(habitats)) or place.ndim != 1 or not len(place):
                raise ValueError(f"weights of {weights.linear.shape} for {len(species)} species, {len(habitats)} habitats")
            if not (np.isfinite(place).all() and 0 <= share <= 1):
                raise ValueError("a place is not a number, or transformer_share is not between 0 and 1")
            if not all(isinstance(names, list) and len(set(names)) == len(names) for names in (species, habitats)):
                raise ValueError("species or habitats are no list of different names")
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise ModelError(
                f"{folder}: the linear reader is damaged ({error}); run `floracube habitats train` again."
            ) from error
        return cls(species, habitats, weights, place, share)


def place_weights(plots: Plots) -> NDArray[np.float32]:
    """(K,) mean log(1 + cover in percent) of the species at each place of a list, 1 at each place without covers."""
    width = plots.order.shape[1]
    if plots.cover is None:
        return np.ones(max(1, width), np.float32)
    within = np.arange(width) < plots.size[:, None]
    total = np.where(within, np.log1p(np.nan_to_num(plots.cover)), 0.0).sum(axis=0)
    count = within.sum(axis=0)
    enough = count >= min(30, len(plots))  # the longest lists are few: their last places are like those before them
    last = max(1, int(enough.sum()))
    return np.asarray(total[:last] / np.maximum(count[:last], 1), np.float32)


def vectors(
    order: NDArray[np.integer[Any]],
    size: NDArray[np.integer[Any]],
    place: NDArray[np.float32],
    species: int,
    cover: NDArray[np.floating[Any]] | None = None,
) -> csr_matrix:
    """(n, 2 S) presence of each species in a list and, beside it, its log(1 + cover).

    order (n, K), negative = unknown, of which `size` (n) count; cover (n, K) percent, NaN or None where unknown: `place` then
    says the log cover of each place in a list.
    """
    in_list = (np.arange(order.shape[1]) < np.asarray(size)[:, None]) & (order >= 0)
    by_place = np.broadcast_to(place[np.minimum(np.arange(order.shape[1]), len(place) - 1)], order.shape)
    logs = by_place if cover is None else np.where(np.isnan(cover), by_place, np.log1p(np.nan_to_num(cover)))
    start = np.concatenate([[0], np.cumsum(in_list.sum(axis=1))])
    index, shape = order[in_list].astype(np.int64), (len(order), species)
    percent = csr_matrix((np.expm1(logs[in_list]), index, start), shape=shape)
    percent.sum_duplicates()  # two names of one binomial are one species, their covers summed, as `curation` does with plots
    presence = csr_matrix((np.ones_like(percent.data), percent.indices, percent.indptr), shape=shape)
    percent.data = np.log1p(percent.data)
    return csr_matrix(hstack([presence, percent], "csr", np.float32))
