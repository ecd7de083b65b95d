"""Fill-mask at work: which species a list lacks, as published, and how likely each species is beside the others.

The second serves to weigh a deep-SDM's ranking by co-occurrence. Whether that helps is a question of data: it is measured
by `benchmarks/habitats.py cascade` on cells apart, and off: nothing in the cascade calls it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForMaskedLM, PreTrainedTokenizerBase
from transformers.utils import logging as hub_logging

from cube.errors import ModelError
from inference.plantbert.classify import TOKENS_PER_BATCH
from inference.plantbert.text import binomial
from inference.plantbert.vocabulary import MASK, load_tokenizer, most_species, reads_terms, species_tokens, write_tokens


class MaskReader:
    """Fills gaps in lists with a BERT fill-mask model saved in the hub's format, a token a binomial."""

    def __init__(self, model: Any, tokenizer: PreTrainedTokenizerBase, species: Sequence[str]) -> None:
        """Wrap a transformers.BertForMaskedLM and its tokenizer for the species (S) that gaps may be filled with.

        Raises ModelError for a vocabulary of words: a gap of one word holds no species.
        """
        if reads_terms(tokenizer):
            raise ModelError("the fill-mask model reads single words; one with a token a binomial is needed to fill in species.")
        self.model, self.tokenizer, self.species = model.eval(), tokenizer, tuple(species)
        words = tokenizer.get_vocab()
        self.unknown, self.mask = int(species_tokens(tokenizer, [""])[0]), int(words[MASK])
        self.token = species_tokens(tokenizer, self.species)
        self.max_length = int(model.config.max_position_embeddings)

    @classmethod
    def load(cls, folder: Path, species: Sequence[str]) -> MaskReader:
        """Load what `train_reader` puts into `fill_mask`, or Pl@ntBERT's own; ModelError if there is none."""
        tokenizer = load_tokenizer(Path(folder))
        hub_logging.disable_progress_bar()
        try:
            model = AutoModelForMaskedLM.from_pretrained(str(folder), local_files_only=True)  # nosec B615
        except (OSError, ValueError) as error:
            raise ModelError(f"{folder}: no fill-mask model of the transformers format was found here.") from error
        return cls(model, tokenizer, species)

    def conditional(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Probability of each species (m, S) in the one gap of each token row (m, L); 0 for species without a token.

        Over the whole vocabulary it sums to less than 1 here, since words that are no species have their share.
        """
        result = np.zeros((len(rows), len(self.species)), np.float32)
        step = max(1, TOKENS_PER_BATCH // rows.shape[1])
        with torch.inference_mode():
            for start in range(0, len(rows), step):
                tokens = torch.from_numpy(rows[start : start + step])
                there = (tokens != int(self.tokenizer.pad_token_id)).long()
                hidden = self.model.bert(input_ids=tokens, attention_mask=there).last_hidden_state
                # The head is asked at the gap alone: over all places it would cost more than the rest.
                logits = self.model.cls(hidden[tokens == self.mask])
                result[start : start + step] = logits.softmax(dim=-1)[:, torch.from_numpy(self.token)].numpy()
        result[:, self.token == self.unknown] = 0.0
        return result

    def complete(self, names: Sequence[str], count: int = 1) -> list[tuple[str, float, int]]:
        """The `count` species that a list most probably lacks: (binomial, probability, place in the list by then).

        As published: [MASK] is put at every place in turn, the likeliest species of all places that is not yet in the list
        is put there, and so on. names: species by descending cover; a list too long for the model loses its last ones.
        """
        here = [binomial(name) for name in names]
        here = [name for name in here if name][: most_species(self.max_length) - count]
        added: list[tuple[str, float, int]] = []
        for _ in range(min(count, len(self.species))):
            tokens = species_tokens(self.tokenizer, here) if here else np.zeros(0, np.int64)
            gaps = np.stack([np.insert(tokens, i, self.mask) for i in range(len(tokens) + 1)])
            p = self.conditional(self._rows(gaps))
            p[:, [binomial(name) in here for name in self.species]] = 0.0
            place, best = np.unravel_index(int(p.argmax()), p.shape)
            if p[place, best] <= 0:
                break
            added.append((binomial(self.species[best]), float(p[place, best]), int(place)))
            here.insert(int(place), binomial(self.species[best]))
        return added

    def beside(self, order: NDArray[np.integer[Any]], size: int) -> NDArray[np.float32]:
        """Probability of each species (S) given the others of one list, order (K) and its first `size` species.

        A species of the list is asked for where it stands, with [MASK] in its place; the others with [MASK] at the end.
        """
        listed = self.token[order[:size]]
        gaps = np.tile(listed, (size, 1))
        np.fill_diagonal(gaps, self.mask)
        result = self.conditional(self._rows(np.append(listed, self.mask)[None]))[0]
        if size:
            own = self.conditional(self._rows(gaps))
            result[order[:size]] = own[np.arange(size), order[:size]]
        return result

    def _rows(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """Token rows of lists (m, k) whose entries are tokens already."""
        order = np.arange(tokens.size).reshape(tokens.shape)
        return write_tokens(order, np.full(len(tokens), tokens.shape[1]), tokens.reshape(-1), self.tokenizer, self.max_length)


def reweigh(
    probability: NDArray[np.floating[Any]], conditional: NDArray[np.floating[Any]], strength: float
) -> NDArray[np.float64]:
    """Probabilities (n, S) of a deep-SDM, weighed by what a language model expects beside the others (n, S).

    log score = log p + strength * (log q - mean over the lists of log q): a species that the model expects here more than
    elsewhere rises, one that is common everywhere does not. strength 0 gives p back. What the language model does not know
    (q = 0 in every list) keeps its p.
    """
    q = np.log(np.maximum(conditional.astype(np.float64), 1e-12))
    shift = np.where(conditional.max(axis=0) > 0, q - q.mean(axis=0), 0.0)
    return np.asarray(probability.astype(np.float64) * np.exp(strength * shift))
