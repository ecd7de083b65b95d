"""Quicker readings than the whole model in float32, off by default: int8 weights, and a small student of the reader.

Both are approximations. `agreement` says how faithful one is; `assured` takes one for the clear cells and lets the whole
model read those where the two best classes come close.
"""

from __future__ import annotations

import warnings
from concurrent.futures import Executor
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from cube.errors import ModelError
from inference.plantbert.classify import HabitatReader, distinct

STUDENT: Final = "student.safetensors"
READINGS: Final = ("float32", "int8", "student")
"""How a model folder may ask to be read; the first is the default and the only exact one."""


def as_int8(reader: HabitatReader) -> HabitatReader:
    """The same reader with the weights of its linear layers in 8 bits and activations scaled as they come, on the CPU."""
    made = deepcopy(reader)
    with warnings.catch_warnings():
        # Its successor is a package of its own; this one needs none.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.filterwarnings("ignore", "torch.quantize_per_tensor", UserWarning)
        quantised = torch.ao.quantization.quantize_dynamic(made.network.float().cpu(), {nn.Linear}, dtype=torch.qint8)
    made.network = quantised
    return made


class Student(nn.Module):
    """Logits from a bag of species: a vector a species, weighted by its place in the list, then two layers."""

    def __init__(self, species: int, classes: int, ranks: int, width: int = 64, hidden: int = 128) -> None:
        """species S, classes C; ranks: places in a list that have a weight of their own, later ones share the last."""
        super().__init__()
        self.vector = nn.Embedding(species + 1, width, padding_idx=species)
        self.place = nn.Parameter(torch.zeros(ranks))
        self.first = nn.Linear(width + 1, hidden)
        self.second = nn.Linear(hidden, classes)
        nn.init.normal_(self.vector.weight, std=0.3)
        with torch.no_grad():
            self.vector.weight[species] = 0.0

    def forward(self, order: Tensor) -> Tensor:
        """Logits (n, C) of species indices (n, K), S where there is none."""
        there = order.ne(self.vector.num_embeddings - 1)
        place = self.place[torch.arange(order.shape[1]).clamp(max=len(self.place) - 1)].exp() * there
        # einsum would make the same product; this one sums in the order of the list, whatever the batch.
        bag = torch.bmm(place[:, None], self.vector(order))[:, 0] / there.sum(1, keepdim=True).clamp(min=1).sqrt()
        length = there.sum(1, keepdim=True).clamp(min=1).log()
        logits: Tensor = self.second(torch.relu(self.first(torch.cat([bag, length], dim=1))))
        return logits


class StudentReader:
    """Reads assemblages with a `Student`; answers as a `HabitatReader` does."""

    BATCH: Final = 4096

    def __init__(self, network: Student, habitats: tuple[str, ...]) -> None:
        """Take a trained network and the names of its classes."""
        self.network, self.habitats = network.eval(), habitats

    def classify(
        self, order: NDArray[np.integer[Any]], size: NDArray[np.integer[Any]], *, threads: Executor | None = None
    ) -> NDArray[np.float32]:
        """Class probabilities (n, C) of species indices (n, K) as the student was taught them, NaN for empty cells."""
        result = np.full((len(size), len(self.habitats)), np.nan, np.float32)
        filled = _filled(order, size, self.network.vector.num_embeddings - 1)

        def read(part: slice) -> None:
            with torch.inference_mode():
                result[part] = self.network(torch.from_numpy(filled[part])).softmax(dim=-1).numpy()

        parts = [slice(start, start + self.BATCH) for start in range(0, len(size), self.BATCH)]
        list((threads.map if threads is not None else map)(read, parts))
        result[np.asarray(size) == 0] = np.nan
        return result

    def save(self, folder: Path) -> None:
        """Write the weights beside the reader's."""
        save_file(self.network.state_dict(), folder / STUDENT)

    @classmethod
    def load(cls, folder: Path, habitats: tuple[str, ...], species: int) -> StudentReader:
        """Read what `save` wrote; ModelError if it is absent, damaged or of other species or classes."""
        try:
            weights = load_file(folder / STUDENT)
            width, hidden = weights["vector.weight"].shape[1], weights["first.weight"].shape[0]
            network = Student(species, len(habitats), len(weights["place"]), width, hidden)
            network.load_state_dict(weights)
        except (OSError, KeyError, RuntimeError, SafetensorError) as error:
            raise ModelError(
                f"{folder / STUDENT}: the student is absent, damaged or of another table of species or classes;"
                " run `floracube habitats train` again."
            ) from error
        return cls(network, habitats)


def _filled(order: NDArray[np.integer[Any]], size: NDArray[np.integer[Any]], nothing: int) -> NDArray[np.int64]:
    """Species indices (n, longest) with `nothing` for unknown species and beyond each list's end."""
    longest = int(np.asarray(size).max(initial=1))
    there = (np.arange(longest) < np.asarray(size)[:, None]) & (order[:, :longest] >= 0)
    return np.where(there, order[:, :longest], nothing).astype(np.int64)


def teach(
    order: NDArray[np.integer[Any]],
    size: NDArray[np.integer[Any]],
    probability: NDArray[np.float32],
    species: int,
    habitats: tuple[str, ...],
    *,
    epochs: int = 20,
    batch: int = 256,
    learning_rate: float = 4e-3,
    seed: int = 0,
) -> StudentReader:
    """Train a student on what its teacher said: order (n, K) in 0..species-1, size (n), probabilities (n, C)."""
    torch.manual_seed(seed)
    told = np.isfinite(probability).all(axis=1)
    filled = torch.from_numpy(_filled(order[told], size[told], species))
    aim = torch.from_numpy(np.ascontiguousarray(probability[told]))
    network = Student(species, len(habitats), max(8, min(64, filled.shape[1])))
    steps = epochs * -(-len(filled) // batch)
    optimiser = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(filled)).split(batch):
            loss = nn.functional.cross_entropy(network(filled[rows]), aim[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return StudentReader(network, habitats)


def agreement(one: NDArray[np.floating[Any]], other: NDArray[np.floating[Any]]) -> float:
    """Share of assemblages (n, C) whose best class is the same, empty ones apart."""
    there = np.isfinite(one).all(axis=1) & np.isfinite(other).all(axis=1)
    return float((one[there].argmax(axis=1) == other[there].argmax(axis=1)).mean()) if there.any() else 1.0


def assured(
    quick: NDArray[np.float32],
    reader: HabitatReader,
    order: NDArray[np.integer[Any]],
    size: NDArray[np.integer[Any]],
    species_token: NDArray[np.integer[Any]],
    margin: float = 0.05,
    threads: Executor | None = None,
) -> tuple[NDArray[np.float32], int]:
    """A quick reading (n, C) in which the whole model has read the cells whose two best classes lie within `margin`.

    Returns the probabilities and how many cells were read again.
    """
    best = np.sort(quick, axis=1)[:, -2:]
    again = np.flatnonzero(best[:, -1] - best[:, 0] < margin)  # never true of a cell without species
    made = quick.copy()
    made[again] = reader.classify(order[again], size[again], species_token, deduplicate=True, threads=threads)
    return made, len(again)


def repeated(order: NDArray[np.integer[Any]], size: NDArray[np.integer[Any]]) -> float:
    """Share of assemblages that an earlier one of the same call equals: the hit rate of a cache of what was read."""
    if not len(size):
        return 0.0
    kept = np.where(np.arange(order.shape[1]) < np.asarray(size)[:, None], order, -2)
    return 1.0 - len(distinct(kept)[0]) / len(size)
