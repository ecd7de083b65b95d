"""A linear reader of habitats: multinomial logistic regression on the species of a list, weighed by their places in it.

Cells have no covers, so the weight of a place is the mean log cover of that place in the training plots: a plot and a predicted
list are read alike. It answers as `classify.HabitatReader` does and needs numpy and scipy alone to read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from cube.errors import ModelError
from inference.network.tensors import write_tensors
from inference.plantbert.plots import Plots
from inference.plantbert.text import binomial

CARD: Final = "linear.json"
TENSORS: Final = "linear.safetensors"
FORMAT: Final = 1
ROWS: Final = 8192  # cells read at once


class LinearReader:
    """Weights of species by class, of places in a list, and the names of both; `fit` makes one, `load` reads one."""

    def __init__(
        self,
        species: Sequence[str],
        habitats: Sequence[str],
        weight: NDArray[np.float32],
        bias: NDArray[np.float32],
        place: NDArray[np.float32],
    ) -> None:
        """weight (S, C) and bias (C): logits; place (K): weight of a species by its place, later ones share the last."""
        self.species, self.habitats = tuple(species), tuple(habitats)
        self.weight, self.bias, self.place = weight, bias, place

    @classmethod
    def fit(cls, plots: Plots, predicted: Plots | None = None) -> LinearReader:
        """Learn from the labelled plots, and from the lists `predicted` for them; places are weighed by the covers of plots.

        Raises: ValueError where fewer than two habitats are labelled.
        """
        from inference.plantbert.baselines import logistic_weights

        place = place_weights(plots)
        labelled = plots.take(plots.label >= 0)
        labelled = labelled if predicted is None else labelled.joined(predicted)
        weight, bias = logistic_weights(vectors(labelled.order, labelled.size, place, len(plots.species)), labelled.label,
                                        len(plots.habitats))  # fmt: skip
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
        threads: Executor | None = None,
    ) -> NDArray[np.float32]:
        """Class probabilities (n, C), rows of NaN for empty cells; see `HabitatReader.classify`."""
        result = np.full((len(size), len(self.habitats)), np.nan, np.float32)
        table = np.append(species_token, -1)

        def read(part: slice) -> None:
            x = vectors(table[np.maximum(order[part], -1)], size[part], self.place, len(self.species))
            logits = np.asarray(x @ self.weight) + self.bias
            logits -= logits.max(axis=1, keepdims=True)
            p = np.exp(logits)
            result[part] = p / p.sum(axis=1, keepdims=True)

        parts = [slice(start, start + ROWS) for start in range(0, len(size), ROWS)]
        list((threads.map if threads is not None else map)(read, parts))
        result[np.asarray(size) == 0] = np.nan
        return result

    def save(self, folder: Path) -> None:
        """Write `linear.safetensors` and `linear.json` into a model folder."""
        folder.mkdir(parents=True, exist_ok=True)
        write_tensors(folder / TENSORS, {"weight": self.weight, "bias": self.bias, "place": self.place})
        document = {"format": FORMAT, "reader": "linear", "species": self.species, "habitats": self.habitats}
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
            species, habitats = document["species"], document["habitats"]
            values = load_file(folder / TENSORS)
            weight, bias, place = values["weight"], values["bias"], values["place"]
            if weight.shape != (len(species), len(habitats)) or bias.shape != (len(habitats),) or not len(place):
                raise ValueError(f"weights of the shape {weight.shape} for {len(species)} species, {len(habitats)} habitats")
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise ModelError(
                f"{folder}: the linear reader is damaged ({error}); run `floracube habitats train` again."
            ) from error
        return cls(species, habitats, weight, bias, place)


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
    order: NDArray[np.integer[Any]], size: NDArray[np.integer[Any]], place: NDArray[np.float32], species: int
) -> csr_matrix:
    """(n, S) weight of each species of a list by its place; order (n, K), negative = unknown, of which `size` (n) count."""
    in_list = (np.arange(order.shape[1]) < np.asarray(size)[:, None]) & (order >= 0)
    rank = np.minimum(np.arange(order.shape[1]), len(place) - 1)
    start = np.concatenate([[0], np.cumsum(in_list.sum(axis=1))])
    values = np.broadcast_to(place[rank], order.shape)[in_list]
    return csr_matrix((values, order[in_list].astype(np.int64), start), shape=(len(order), species))
