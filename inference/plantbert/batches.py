"""Training batches: token rows made from plots on the fly, augmented, masked for fill-mask or labelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from inference.plantbert.plots import Plots
from inference.plantbert.vocabulary import (
    COMMA,
    END,
    MASK,
    PAD,
    START,
    species_tokens,
    write_tokens,
)

IGNORED = -100


class PlotIndex(Dataset[int]):
    """Plots by number; the batch is made as a whole by `PlotBatches`."""

    def __init__(self, count: int) -> None:
        """Count `count` plots."""
        self.count = count

    def __len__(self) -> int:
        """Return the number of plots."""
        return self.count

    def __getitem__(self, row: int) -> int:
        """Return the plot's own number."""
        if row >= self.count:
            raise IndexError(row)
        return row


@dataclass(frozen=True)
class Augmentation:
    """How training sentences are varied, so that predicted assemblages are no surprise to the reader.

    dropout: share of species left out; truncate: share of plots cut to a random top K >= `shortest`;
    shuffle: share of plots whose order is lost (a probability order is not a cover order).
    """

    dropout: float = 0.25
    truncate: float = 0.2
    shuffle: float = 0.25
    shortest: int = 5


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
    cut = np.where(draw.random(n) < how.truncate, top, size)
    keep = (rank < cut[:, None]) & (draw.random((n, width)) >= how.dropout)
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
    share: float = 0.15,
) -> tuple[Tensor, Tensor]:
    """Mask token rows (n, L) for fill-mask; returns inputs and labels, -100 where nothing is asked.

    15 % of the species are asked for: 80 % of them become [MASK], 10 % another species drawn from
    `species`, 10 % stay. Commas, [CLS], [SEP] and [PAD] are never asked for (Leblanc et al.).
    """
    fixed = torch.tensor([words[w] for w in (PAD, START, END, COMMA)])
    asked = torch.rand(rows.shape, generator=draw) < share
    asked &= ~torch.isin(rows, fixed)
    labels = torch.where(asked, rows, IGNORED)
    fate = torch.rand(rows.shape, generator=draw)
    other = species[torch.randint(len(species), rows.shape, generator=draw)]
    inputs = torch.where(asked & (fate < 0.8), words[MASK], rows)
    inputs = torch.where(asked & (fate >= 0.8) & (fate < 0.9), other, inputs)
    return inputs, labels


class PlotBatches:
    """Collates plot numbers into a batch, drawing its augmentation and masks from its own seed."""

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
        self.max_length = max_length
        self.words = tokenizer.get_vocab()
        self.token = species_tokens(tokenizer, plots.species)
        self.draw = np.random.default_rng(seed)
        self.torch_draw = torch.Generator().manual_seed(seed)

    def __call__(self, numbers: Sequence[int]) -> dict[str, Tensor]:
        """Return input_ids, attention_mask and labels of the plots `numbers`."""
        chosen = self.plots.take(np.asarray(numbers))
        order, size = augment(chosen.order, chosen.size, self.how, self.draw)
        rows = torch.from_numpy(write_tokens(order, size, self.token, self.tokenizer, self.max_length))
        attention = (rows != self.words[PAD]).long()
        if self.mask:
            species = torch.from_numpy(self.token)
            rows, labels = mask_tokens(rows, self.words, species, self.torch_draw)
        else:
            labels = torch.from_numpy(chosen.label.astype(np.int64))
        return {"input_ids": rows, "attention_mask": attention, "labels": labels}
