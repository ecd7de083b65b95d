"""A linear reader of habitats: logistic regression on the species of a list and their covers, with some naive Bayes.

Both are linear in the species, so the sum of their log odds is one table of weights. It reads alone (`habitats.reader: linear`)
or beside Pl@ntBERT, and answers as `classify.HabitatReader` does. It needs numpy and scipy alone to read.

Cells have no covers: a species there has the mean log cover of its place in the lists of the training plots.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack

from cube.errors import ModelError
from inference.network.tensors import write_tensors
from inference.plantbert.plots import Plots
from inference.plantbert.text import binomial

CARD: Final = "linear.json"
TENSORS: Final = "linear.safetensors"
FORMAT: Final = 2
ROWS: Final = 8192  # cells read at once
STRENGTH: Final = 0.1  # C of the logistic regression
BAYES_SHARE: Final = 0.15  # of naive Bayes in the log odds; this and the next two were chosen on open folds, see docs
ADJUSTMENT: Final = 0.3  # power of a habitat's frequency by which its odds are divided, so that rare ones count
TRANSFORMER_SHARE: Final = 0.35  # of Pl@ntBERT in the log odds where it reads beside


class LinearReader:
    """Weights of species by class, of places in a list, and the names of both; `fit` makes one, `load` reads one."""

    def __init__(
        self,
        species: Sequence[str],
        habitats: Sequence[str],
        weight: NDArray[np.float32],
        bias: NDArray[np.float32],
        place: NDArray[np.float32],
        transformer_share: float = TRANSFORMER_SHARE,
    ) -> None:
        """weight (2 S, C): of presence, then of log cover; bias (C); place (K): log cover by place, later ones as the last."""
        self.species, self.habitats = tuple(species), tuple(habitats)
        self.weight, self.bias, self.place, self.transformer_share = weight, bias, place, transformer_share

    @classmethod
    def fit(cls, plots: Plots, predicted: Plots | None = None) -> LinearReader:
        """Learn from the labelled plots, and from the lists `predicted` for them; places are weighed by the covers of plots.

        Raises: ValueError where no plot is labelled.
        """
        from inference.plantbert.baselines import bayes_weights, logistic_weights

        place = place_weights(plots)
        labelled = plots.take(plots.label >= 0)
        labelled = labelled if predicted is None else labelled.append(predicted)
        species, classes = len(plots.species), len(plots.habitats)
        x = vectors(labelled.order, labelled.size, place, species, labelled.cover)
        weight, bias = logistic_weights(x, labelled.label, classes, STRENGTH)
        bayes, prior = bayes_weights(x[:, :species], labelled.label, classes)
        weight *= 1 - BAYES_SHARE
        weight[:species] += BAYES_SHARE * bayes
        has_prior = np.isfinite(prior)
        bias[has_prior] = (1 - BAYES_SHARE) * bias[has_prior] + (BAYES_SHARE - ADJUSTMENT) * prior[has_prior]
        return cls(plots.species, plots.habitats, weight, bias, place)

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
            logits = self.logits(order[part], size[part], species_token, None if cover is None else cover[part])
            logits -= logits.max(axis=1, keepdims=True)
            p = np.exp(logits)
            result[part] = p / p.sum(axis=1, keepdims=True)

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
        return np.asarray(vectors(tokens, size, self.place, len(self.species), cover) @ self.weight + self.bias, np.float32)

    def save(self, folder: Path) -> None:
        """Write `linear.safetensors` and `linear.json` into a model folder."""
        folder.mkdir(parents=True, exist_ok=True)
        write_tensors(folder / TENSORS, {"weight": self.weight, "bias": self.bias, "place": self.place})
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
        from safetensors.numpy import load_file

        try:
            document = json.loads((folder / CARD).read_text(encoding="utf-8"))
            if document["format"] != FORMAT:
                raise ModelError(f"{folder / CARD}: is of another version of floracube; run `floracube habitats train` again.")
            species, habitats, share = document["species"], document["habitats"], float(document["transformer_share"])
            values = load_file(folder / TENSORS)
            weight, bias, place = values["weight"], values["bias"], values["place"]
            if (
                weight.shape != (2 * len(species), len(habitats))
                or bias.shape != (len(habitats),)
                or place.ndim != 1
                or not len(place)
            ):
                raise ValueError(f"weights of the shape {weight.shape} for {len(species)} species, {len(habitats)} habitats")
            if not (np.isfinite(weight).all() and np.isfinite(place).all() and 0 <= share <= 1):
                raise ValueError("a weight is not a number, or transformer_share is not between 0 and 1")
            if not (np.isfinite(bias).any() and (np.isfinite(bias) | (bias == -np.inf)).all()):  # minus infinity: never seen
                raise ValueError("a bias is not a number")
            if not all(isinstance(names, list) and len(set(names)) == len(names) for names in (species, habitats)):
                raise ValueError("species or habitats are no list of different names")
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise ModelError(
                f"{folder}: the linear reader is damaged ({error}); run `floracube habitats train` again."
            ) from error
        return cls(species, habitats, weight, bias, place, share)


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
