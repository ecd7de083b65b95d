"""Habitats of cells: assemblages as arrays of species indices in, class probabilities out."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerBase
from transformers.utils import logging as hub_logging

from cube.errors import ModelError
from inference.plantbert.encoder import PackedBert
from inference.plantbert.linear import CARD, LinearReader
from inference.plantbert.vocabulary import (
    UNKNOWN,
    load_tokenizer,
    most_species,
    species_tokens,
    write_tokens,
)

TOKENS_PER_BATCH = 8192
"""Keeps the activations of a tiny model within a core's cache; larger was slower on the CPUs measured."""
TOKENS_PER_BATCH_GPU = 131_072
"""Fills a GPU; the widest activations of a base-sized model then take less than 1 GB in bfloat16."""


class HabitatReader:
    """Reads assemblages with a BERT classifier saved in the hub's format, and a linear path beside it where there is one.

    The log probabilities of both are added, each times its share. A published checkpoint has no linear path.
    """

    def __init__(
        self, model: Any, tokenizer: PreTrainedTokenizerBase, device: str = "cpu", linear: LinearReader | None = None
    ) -> None:
        """Wrap a transformers.BertForSequenceClassification, its tokenizer, and a linear reader of the same habitats.

        Raises: ModelError where the linear reader has other habitats, or these in another order.
        """
        self.tokenizer, self.linear = tokenizer, linear
        labels = cast(dict[int, str], model.config.id2label)
        self.habitats = tuple(labels[i] for i in range(len(labels)))
        if linear is not None and linear.habitats != self.habitats:
            raise ModelError(
                f"{CARD}: its habitats are not those of config.json ({len(linear.habitats)} and {len(self.habitats)}), or in"
                " another order; take both from one training, or run `floracube habitats train` again."
            )
        self.max_length = int(model.config.max_position_embeddings)
        self.unknown_token = int(tokenizer.get_vocab()[UNKNOWN])
        self.device = torch.device(device)
        self.network: torch.nn.Module = PackedBert(model.float().eval())
        self.to(self.device)

    def to(self, device: torch.device) -> None:
        """Read on a device: on a GPU in bfloat16, as the deep-SDM does there, on the processor in float32."""
        self.device = device
        self.network.to(device)
        self.precision = torch.bfloat16 if device.type == "cuda" else torch.float32

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> HabitatReader:
        """Load a folder written by `train_reader` or `save_pretrained`, such as Pl@ntBERT's own; ModelError if it is none."""
        tokenizer = load_tokenizer(Path(folder))
        hub_logging.disable_progress_bar()  # a bar for a file of half a megabyte is of no use to anyone
        try:
            model = AutoModelForSequenceClassification.from_pretrained(str(folder), local_files_only=True)  # nosec B615
        except SafetensorError as error:
            raise ModelError(f"{folder}: the weights of the model are damaged ({error}); copy the folder again.") from error
        except (OSError, ValueError) as error:
            raise ModelError(
                f"{folder}: no BERT classifier of the transformers format was found here; train "
                "one with `floracube habitats train`."
            ) from error
        if model.config.model_type != "bert":
            raise ModelError(f"{folder}: the model is of type {model.config.model_type!r}, but 'bert' is expected.")
        if model.config.vocab_size < len(tokenizer):
            raise ModelError(
                f"{folder}: the tokenizer has {len(tokenizer)} words, the model {model.config.vocab_size};"
                " take both from one checkpoint."
            )
        labels = model.config.id2label
        if all(str(name) == f"LABEL_{i}" for i, name in labels.items()):
            raise ModelError(
                f"{folder}: the {len(labels)} classes of the model have no names (id2label in config.json);"
                " a fill-mask model is no classifier, take the text-classification one."
            )
        return cls(model, tokenizer, device, LinearReader.load(folder) if (Path(folder) / CARD).is_file() else None)

    def tokens_of(self, species: Sequence[str]) -> tuple[NDArray[np.int64], int]:
        """Return the tokens of each species name, and how many of them the model does not know.

        (S,) or (S, 2); with a linear path one more column, the number of the species there.
        """
        tokens = species_tokens(self.tokenizer, species)
        unknown = int((tokens == self.unknown_token).reshape(len(tokens), -1).any(axis=1).sum())
        return tokens if self.linear is None else np.column_stack([tokens, self.linear.tokens_of(species)[0]]), unknown

    def classify(
        self,
        order: NDArray[np.integer[Any]],
        size: NDArray[np.integer[Any]],
        species_token: NDArray[np.integer[Any]],
        *,
        cover: NDArray[np.floating[Any]] | None = None,
        threads: Executor | None = None,
    ) -> NDArray[np.float32]:
        """Return class probabilities (n, C), rows of NaN for empty cells.

        order (n, K): species indices by descending probability, negative = unknown; size (n): how many
        of them belong to the cell; species_token: from `tokens_of`; cover (n, K): percent, of plots, which the
        linear path reads. Cells are grouped by length, so that no batch holds padding and a result depends on
        its own cell alone; `threads` share the batches, which do not depend on them.
        """
        if order.ndim != 2 or size.shape != order.shape[:1]:
            raise ValueError(f"order {order.shape} and size {size.shape} must be (n, K) and (n,)")
        words = species_token if self.linear is None else species_token[:, :-1]
        share = 1.0 if self.linear is None else self.linear.transformer_share
        longest = min(order.shape[1], most_species(self.max_length, _each(words)))
        list_lengths = np.minimum(size, longest).astype(np.int64)
        result = np.full((len(size), len(self.habitats)), np.nan, dtype=np.float32)
        by_size = np.argsort(list_lengths, kind="stable")
        starts = np.searchsorted(list_lengths[by_size], np.arange(1, longest + 2))
        work: list[tuple[NDArray[np.int64], int]] = []
        for length in range(1, longest + 1):
            cells = by_size[starts[length - 1] : starts[length]]
            if not len(cells):
                continue
            max_tokens = TOKENS_PER_BATCH_GPU if self.device.type == "cuda" else TOKENS_PER_BATCH
            step = max(1, max_tokens // ((_each(words) + 1) * length + 1))
            work += [(cells[start : start + step], length) for start in range(0, len(cells), step)]

        def read(task: tuple[NDArray[np.int64], int]) -> None:
            cells, length = task
            logits = torch.zeros(len(cells), len(self.habitats))
            if share > 0:
                rows = write_tokens(order[cells, :length], list_lengths[cells], words, self.tokenizer, self.max_length)
                low = self.precision != torch.float32
                with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=low):
                    logits = share * self.network(torch.from_numpy(rows).to(self.device)).float().log_softmax(dim=-1).cpu()
            if self.linear is not None and share < 1:
                covers = None if cover is None else cover[cells, :length]
                linear_logits = self.linear.logits(order[cells, :length], list_lengths[cells], species_token[:, -1], covers)
                logits = logits + (1 - share) * torch.from_numpy(linear_logits)
            result[cells] = logits.softmax(dim=-1).numpy()

        pool = threads if self.device.type == "cpu" else None
        list((pool.map if pool is not None else map)(read, work))
        return result


def _each(species_token: NDArray[np.integer[Any]]) -> int:
    return 1 if species_token.ndim == 1 else int(species_token.shape[1])
