"""Habitats of a place from its image and environment, beside those that a reader takes from its list of species.

The networks of the deep-SDM have learned from every survey and record what tells places apart; on their embedding a logistic
regression of a few hundred plots with a habitat does well. A list has what botanists know: how much each of the two counts,
and the penalty of the regression, are chosen on plots in blocks that neither has learned from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from cube.errors import ModelError
from inference.network.tensors import read_tensors, write_tensors
from inference.plantbert.baselines import logistic_weights

if TYPE_CHECKING:
    from torch import Tensor

CARD: Final = "places.json"
TENSORS: Final = "places.safetensors"
FORMAT: Final = 1
STRENGTHS: Final = (0.001, 0.01, 0.1, 1.0)  # C of the logistic regression
WEIGHTS: Final = (0.25, 0.5, 0.75, 1.0)  # of the log probabilities of a place, and of a list, which may have 0, too
LEAST: Final = 1e-9  # probability that a list gives to any habitat, before both are joined

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Mixture:
    """How much a list and a place count: p is as list^a place^b, which also says how sure of themselves they should be."""

    list_weight: float
    place_weight: float
    strength: float  # C of the regression on the embeddings of places

    def __call__(self, from_list: Floats, log_probability: Floats) -> Floats:
        """(n, C) probabilities of both, from those of lists (n, C) and log probabilities of places; NaN stays."""
        logits = self.list_weight * np.log(np.maximum(from_list, LEAST)) + self.place_weight * log_probability
        return np.asarray(softmax(logits, axis=1), np.float32)


LISTS_ALONE: Final = Mixture(1.0, 0.0, 1.0)


@dataclass(frozen=True)
class PlaceReader:
    """A linear map of the joint embedding of the networks to log odds of habitats: the mean of one regression a member."""

    weight: Floats  # (D, C)
    bias: Floats  # (C), minus infinity for a habitat without a plot
    floor: float  # probability that any habitat has at least: that of one plot more
    mixture: Mixture
    networks: str  # fingerprint of the networks whose embedding it reads

    @classmethod
    def fit(
        cls,
        embedding: Floats,
        members: int,
        label: NDArray[np.integer[Any]],
        classes: int,
        mixture: Mixture,
        networks: str = "",
    ) -> PlaceReader:
        """Learn from the embeddings (n, D) of plots, `members` of equal length end to end, and their habitats, label (n).

        Values are standardised for the penalty. Raises: ValueError without any plot.
        """
        if not len(label):
            raise ValueError("no plot to learn from")
        weights, biases = [], []
        for part in np.split(embedding, members, axis=1):
            mean, deviation = part.mean(axis=0, dtype=np.float64), np.maximum(part.std(axis=0, dtype=np.float64), 1e-6)
            standard = np.where(part.min(axis=0) == part.max(axis=0), 0, (part - mean) / deviation).astype(np.float32)
            weight, bias = logistic_weights(standard, label, classes, mixture.strength)
            weights.append(weight / deviation[:, None] / members)
            biases.append(bias - (mean / deviation) @ weight)
        bias = np.asarray(np.mean(biases, axis=0), np.float32)
        return cls(np.concatenate(weights).astype(np.float32), bias, 1.0 / (len(label) + classes), mixture, networks)

    def log_probability(self, embedding: Tensor) -> Floats:
        """(n, C) of joint embeddings (n, D or longer, of which the first D are read), on the device of the embeddings."""
        import torch

        weight, bias = (torch.from_numpy(values).to(embedding.device) for values in (self.weight, self.bias))
        logits = torch.addmm(bias, embedding[:, : len(weight)].float(), weight)
        p = torch.clamp(torch.softmax(logits, 1), min=self.floor)
        return np.asarray(torch.log(p / p.sum(1, keepdim=True)).cpu().numpy(), np.float32)

    def mixed(self, from_list: Floats, log_probability: Floats) -> Floats:
        """(n, C) probabilities of both, from those of lists and what `log_probability` says; NaN stays."""
        return mixed(self.mixture, from_list, log_probability, np.isfinite(self.bias))

    def save(self, folder: Path, habitats: Sequence[str]) -> None:
        """Write `places.safetensors` and `places.json` into the folder of a reader of `habitats`."""
        write_tensors(folder / TENSORS, {"weight": self.weight, "bias": self.bias})
        document = {
            "format": FORMAT,
            **asdict(self.mixture),
            "floor": self.floor,
            "networks": self.networks,
            "habitats": list(habitats),
        }
        (folder / CARD).write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, habitats: Sequence[str], length: int, networks: str) -> PlaceReader:
        """Read what `save` wrote, for embeddings of `length` D of the deep-SDM with the fingerprint `networks`.

        Raises: ModelError where it is absent, damaged, of another version, or of another deep-SDM.
        """
        from safetensors import SafetensorError

        try:
            document = json.loads((folder / CARD).read_text(encoding="utf-8"))
            if document["format"] != FORMAT:
                raise ModelError(f"{folder / CARD}: is of another version of floracube; run `floracube habitats train` again.")
            tensors = read_tensors(folder / TENSORS)
            mixture = Mixture(*(float(document[name]) for name in ("list_weight", "place_weight", "strength")))
            reader = cls(tensors["weight"], tensors["bias"], float(document["floor"]), mixture, str(document["networks"]))
            if reader.networks != networks:
                raise ModelError(
                    f"{folder / CARD}: was learned beside another deep-SDM than the one in {folder.parent};"
                    " run `floracube habitats train` again."
                )
            if tuple(document["habitats"]) != tuple(habitats):
                raise ValueError("its habitats are not those of the reader of lists")
            if reader.weight.shape != (length, len(habitats)) or reader.bias.shape != (len(habitats),):
                raise ValueError(f"weights of {reader.weight.shape} for {length} values, {len(habitats)} habitats")
            if not (np.isfinite(reader.weight).all() and (np.isfinite(reader.bias) | (reader.bias == -np.inf)).all()):
                raise ValueError("a weight is not a number")
            if not (np.isfinite(reader.bias).any() and 0 < reader.floor < 1):
                raise ValueError("its floor is not between 0 and 1, or no habitat has a bias")
            if not (0 <= mixture.list_weight <= 1 and 0 < mixture.place_weight <= 1):
                raise ValueError("a weight of lists or places is not between 0 and 1")
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise ModelError(
                f"{folder}: the reader of places is damaged ({error}); run `floracube habitats train` again."
            ) from error
        return reader


def mixed(mixture: Mixture, from_list: Floats, log_probability: Floats, has_place: NDArray[np.bool_]) -> Floats:
    """(n, C) the mixture of the habitats of which a plot `has_place` (C); the others keep what the list gives them.

    Raises: ValueError where no habitat has a place.
    """
    if has_place.all():
        return mixture(from_list, log_probability)
    both = from_list.copy()
    both[:, has_place] = mixture(from_list[:, has_place], log_probability[:, has_place])
    both[:, has_place] *= from_list[:, has_place].sum(axis=1, keepdims=True)
    return both


def best_mixture(from_list: Floats, from_place: Mapping[float, Floats], label: NDArray[np.integer[Any]]) -> Mixture:
    """The mixture with the least log loss on plots (n), `LISTS_ALONE` among them.

    from_list (n, C) probabilities; from_place: log probabilities (n, C) by C of the regression; label (n).
    """
    mixtures = [
        LISTS_ALONE,
        *(Mixture(a, b, strength) for strength in from_place for b in WEIGHTS for a in (0.0, *WEIGHTS)),
    ]
    row = np.arange(len(label))

    def loss(mixture: Mixture) -> float:
        of_place = from_place[mixture.strength] if mixture.place_weight else np.zeros_like(from_list)
        return float(-np.log(np.maximum(mixture(from_list, of_place)[row, label], 1e-15)).mean())

    return min(mixtures, key=loss)
