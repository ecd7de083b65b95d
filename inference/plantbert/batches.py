"""Training batches: token rows made from plots on the fly, augmented, masked for fill-mask or labelled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Sampler
from transformers import PreTrainedTokenizerBase

from inference.plantbert.plots import Plots
from inference.plantbert.vocabulary import COMMA, END, MASK, PAD, START, UNKNOWN, species_tokens, write_tokens

IGNORED = -100
ASKED_SHARE = 0.15  # of the species of a list, in fill-mask


class ByLength(Sampler[int]):
    """Every plot once an epoch, plots of like length together: a batch is then padded by little.

    The order follows from seed and epoch alone. Plots are drawn into pools of `POOL` batches, and sorted within a pool.
    """

    POOL = 25

    def __init__(self, size: NDArray[np.integer[Any]], batch: int, seed: int) -> None:
        """size (n): species of each plot; batch: plots in a batch."""
        self.size, self.batch, self.seed, self.epoch = size, batch, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of plots."""
        return len(self.size)

    def __iter__(self) -> Iterator[int]:
        """Yield plot numbers; the batches of a pool come in random order, the one that is not full at the very end."""
        draw = np.random.default_rng([self.seed, self.epoch])
        rows = draw.permutation(len(self.size))
        full = len(rows) // self.batch * self.batch
        batches: list[NDArray[np.int64]] = []
        for start in range(0, full, self.POOL * self.batch):
            pool = rows[start : min(start + self.POOL * self.batch, full)]
            batches += list(pool[np.argsort(self.size[pool], kind="stable")].reshape(-1, self.batch))
        for i in draw.permutation(len(batches)):
            yield from batches[i].tolist()
        yield from rows[full:].tolist()


@dataclass(frozen=True)
class Augmentation:
    """How training sentences are varied, so that predicted assemblages are no surprise to the reader.

    dropout: share of species left out; truncate: share of plots cut to a random top K >= `shortest`;
    shuffle: share of plots whose order is lost (a probability order is not a cover order); crossover:
    share of labelled plots that are mixed with up to `parents` - 1 others of their habitat, see `cross`.
    """

    dropout: float = 0.25
    truncate: float = 0.2
    shuffle: float = 0.25
    shortest: int = 5
    crossover: float = 0.6
    parents: int = 4


def cross(
    plots: Plots,
    rows: NDArray[np.integer[Any]],
    members: Sequence[NDArray[np.integer[Any]]],
    how: Augmentation,
    draw: np.random.Generator,
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return order (n, K) and size (n) of the plots `rows`, a share of them mixed with plots of their own habitat.

    A mixed plot has 2 to `how.parents` parents, each species of a parent is kept with a probability of one
    in the number of parents, and all stand by their relative rank; so the expected length stays. Which species of a
    habitat go together is lost, which ones are its own stays: the independence that makes naive Bayes strong where plots
    are few, taught by data instead of built in. members: plots (of `plots`) of each habitat.
    """
    width, n = plots.order.shape[1], len(rows)
    parent = np.empty((n, how.parents), np.int64)
    parent[:, 0] = rows
    for habitat in np.unique(plots.label[rows]):
        habitat_rows = np.flatnonzero(plots.label[rows] == habitat)
        parent[habitat_rows, 1:] = draw.choice(members[habitat], (len(habitat_rows), how.parents - 1))
    count = np.where(draw.random(n) < how.crossover, draw.integers(2, how.parents + 1, n), 1)
    species, size = plots.order[parent], plots.size[parent]
    place = np.arange(width)
    keep = (place < size[..., None]) & (np.arange(how.parents) < count[:, None])[..., None]
    keep &= draw.random(keep.shape) < 1.0 / count[:, None, None]
    key = (place + draw.random((n, how.parents, 1))) / np.maximum(size[..., None], 1)
    flat = np.argsort(np.where(keep, key, 2.0).reshape(n, -1), axis=1, kind="stable")
    species = np.take_along_axis(species.reshape(n, -1), flat, axis=1)
    keep = np.take_along_axis(keep.reshape(n, -1), flat, axis=1)
    # A species of several parents stands where it comes first; unknown ones are not known to be the same.
    by_name = np.argsort(np.where(keep & (species >= 0), species, np.iinfo(np.int32).max), axis=1, kind="stable")
    sorted_species = np.take_along_axis(species, by_name, axis=1)
    is_repeat = np.zeros_like(keep)
    np.put_along_axis(
        is_repeat, by_name[:, 1:], (sorted_species[:, 1:] == sorted_species[:, :-1]) & (sorted_species[:, 1:] >= 0), axis=1
    )
    keep &= ~is_repeat
    front = np.argsort(~keep, axis=1, kind="stable")[:, :width]
    order = np.where(np.take_along_axis(keep, front, axis=1), np.take_along_axis(species, front, axis=1), -1)
    new_size = np.minimum(keep.sum(axis=1), width)
    alone = (count == 1) | (new_size == 0)
    return (
        np.where(alone[:, None], plots.order[rows], order).astype(np.int32),
        np.where(alone, plots.size[rows], new_size).astype(np.int32),
    )


def augment(
    order: NDArray[np.int32],
    size: NDArray[np.int32],
    how: Augmentation,
    draw: np.random.Generator,
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return varied copies of order (n, K) and size (n); at least one species stays in each plot."""
    n, width = order.shape
    rank = np.arange(width)
    top = draw.integers(np.minimum(how.shortest, size), size + 1)
    new_length = np.where(draw.random(n) < how.truncate, top, size)
    keep = (rank < new_length[:, None]) & (draw.random((n, width)) >= how.dropout)
    # Plots that lost everything keep their first species.
    keep[:, 0] |= ~keep.any(axis=1)
    shuffled = np.less(draw.random((n, 1)), how.shuffle)
    key = np.where(shuffled, draw.random((n, width)), rank / width)
    position = np.argsort(np.where(keep, key, 2.0), axis=1, kind="stable")
    return np.take_along_axis(order, position, axis=1), keep.sum(axis=1).astype(np.int32)


def mask_tokens(
    rows: Tensor,
    words: dict[str, int],
    species: Tensor,
    draw: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Mask token rows (n, L) for fill-mask; returns inputs and labels, -100 where nothing is asked.

    A share `ASKED_SHARE` of the species is asked for: 80 % of them become [MASK], 10 % another species drawn from
    `species`, 10 % stay. Commas, [CLS], [SEP] and [PAD] are never asked for (Leblanc et al.), nor is what is unknown.
    """
    fixed_tokens = torch.tensor([words[w] for w in (PAD, UNKNOWN, START, END, COMMA)])
    masked_positions = torch.rand(rows.shape, generator=draw) < ASKED_SHARE
    masked_positions &= ~torch.isin(rows, fixed_tokens)
    labels = torch.where(masked_positions, rows, IGNORED)
    fate = torch.rand(rows.shape, generator=draw)
    random_species = species[torch.randint(len(species), rows.shape, generator=draw)]
    inputs = torch.where(masked_positions & (fate < 0.8), words[MASK], rows)
    inputs = torch.where(masked_positions & (fate >= 0.8) & (fate < 0.9), random_species, inputs)
    return inputs, labels


class PlotBatches:
    """Collates plot numbers into a batch.

    Augmentation and masks are drawn from the seed and the numbers of the batch alone, not from what came before, so a
    training that resumes after an interruption sees the same batches of an undisturbed one.
    """

    def __init__(
        self,
        plots: Plots,
        tokenizer: PreTrainedTokenizerBase,
        how: Augmentation,
        seed: int,
        *,
        mask: bool,
        max_length: int,
    ) -> None:
        """Prepare batches of `plots`, for fill-mask if `mask`, for classification otherwise."""
        self.plots, self.tokenizer, self.how, self.mask = plots, tokenizer, how, mask
        self.max_length, self.seed = max_length, seed
        self.words = tokenizer.get_vocab()
        self.token = species_tokens(tokenizer, plots.species)
        self.members = [np.flatnonzero(plots.label == i) for i in range(len(plots.habitats))]

    def __call__(self, numbers: Sequence[int]) -> dict[str, Tensor]:
        """Return input_ids, attention_mask and labels of the plots `numbers`."""
        rows = np.asarray(numbers, dtype=np.int64)
        draw = np.random.default_rng([self.seed, int(self.mask), *rows])
        if self.how.crossover > 0 and not self.mask:
            order, size = cross(self.plots, rows, self.members, self.how, draw)
        else:  # what grows together is what fill-mask learns
            order, size = self.plots.order[rows], self.plots.size[rows]
        order, size = augment(order, size, self.how, draw)
        tokens = torch.from_numpy(write_tokens(order, size, self.token, self.tokenizer, self.max_length))
        attention = (tokens != self.words[PAD]).long()
        if self.mask:
            generator = torch.Generator().manual_seed(int(draw.integers(2**62)))
            tokens, labels = mask_tokens(tokens, self.words, torch.from_numpy(self.token.reshape(-1)), generator)
        else:
            labels = torch.from_numpy(self.plots.label[rows].astype(np.int64))
        return {"input_ids": tokens, "attention_mask": attention, "labels": labels}
