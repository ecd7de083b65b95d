"""Habitats of cells: assemblages as arrays of species indices in, class probabilities out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerBase
from transformers.utils import logging as hub_logging

from cube.errors import ModelError
from inference.plantbert.encoder import PackedBert
from inference.plantbert.vocabulary import (
    UNKNOWN,
    load_tokenizer,
    species_tokens,
    write_tokens,
)

TOKENS_PER_BATCH = 8192
"""Keeps the activations of a tiny model within a core's cache; larger was slower on the CPUs measured."""


class HabitatReader:
    """Reads assemblages with a BERT classifier saved in the hub's format."""

    def __init__(self, model: Any, tokenizer: PreTrainedTokenizerBase, device: str = "cpu") -> None:
        """Wrap a transformers.BertForSequenceClassification and its tokenizer."""
        self.tokenizer = tokenizer
        labels = cast(dict[int, str], model.config.id2label)
        self.habitats = tuple(labels[i] for i in range(len(labels)))
        self.max_length = int(model.config.max_position_embeddings)
        self.unknown_token = int(tokenizer.get_vocab()[UNKNOWN])
        self.device = torch.device(device)
        self.network = PackedBert(model.to(self.device).float().eval())

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> HabitatReader:
        """Load a folder written by `train_reader` or `save_pretrained`; ModelError if it is none."""
        tokenizer = load_tokenizer(Path(folder))
        hub_logging.disable_progress_bar()  # a bar for a file of half a megabyte is of no use to anyone
        try:
            model = AutoModelForSequenceClassification.from_pretrained(str(folder), local_files_only=True)  # nosec B615
        except (OSError, ValueError) as error:
            raise ModelError(
                f"{folder}: no BERT classifier of the transformers format was found here; train "
                "one with `floracube habitats train`."
            ) from error
        if model.config.model_type != "bert":
            raise ModelError(f"{folder}: the model is of type {model.config.model_type!r}, but 'bert' is expected.")
        return cls(model, tokenizer, device)

    def tokens_of(self, species: Sequence[str]) -> tuple[NDArray[np.int64], int]:
        """Return the token of each species name, (S,), and how many of them the model does not know."""
        tokens = species_tokens(self.tokenizer, species)
        return tokens, int((tokens == self.unknown_token).sum())

    def classify(
        self,
        order: NDArray[np.integer[Any]],
        size: NDArray[np.integer[Any]],
        species_token: NDArray[np.integer[Any]],
        *,
        deduplicate: bool = False,
    ) -> NDArray[np.float32]:
        """Return class probabilities (n, C), rows of NaN for empty cells.

        order (n, K): species indices by descending probability, negative = unknown; size (n): how many
        of them belong to the cell; species_token (S): from `tokens_of`. Cells are grouped by length, so
        that no batch holds padding and a result depends on its own cell alone. `deduplicate` reads
        equal assemblages once.
        """
        if order.ndim != 2 or size.shape != order.shape[:1]:
            raise ValueError(f"order {order.shape} and size {size.shape} must be (n, K) and (n,)")
        longest = min(order.shape[1], (self.max_length - 1) // 2)
        kept = np.minimum(size, longest).astype(np.int64)
        result = np.full((len(size), len(self.habitats)), np.nan, dtype=np.float32)
        by_size = np.argsort(kept, kind="stable")
        starts = np.searchsorted(kept[by_size], np.arange(1, longest + 2))
        for length in range(1, longest + 1):
            cells = by_size[starts[length - 1] : starts[length]]
            if not len(cells):
                continue
            rows = write_tokens(order[cells, :length], kept[cells], species_token, self.tokenizer, self.max_length)
            if deduplicate:
                rows, back = np.unique(rows, axis=0, return_inverse=True)
                result[cells] = self._read(rows)[back.reshape(-1)]
            else:
                result[cells] = self._read(rows)
        return result

    def _read(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        step = max(1, TOKENS_PER_BATCH // rows.shape[1])
        parts = []
        with torch.inference_mode():
            for start in range(0, len(rows), step):
                tokens = torch.from_numpy(rows[start : start + step]).to(self.device)
                parts.append(self.network(tokens).softmax(dim=-1).cpu().numpy())
        return cast(NDArray[np.float32], np.concatenate(parts))
