"""The words of the language: a tokenizer in which every binomial is one token, and how species map to tokens.

Two ways lead to one: from scratch (a closed vocabulary of binomials), or from a base BERT whose
vocabulary is widened by binomials (`species` mode of Leblanc et al.).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from cube.errors import ModelError
from inference.plantbert.text import binomial

PAD, UNKNOWN, START, END, MASK, COMMA = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ","
FIXED_WORDS: Final = (PAD, UNKNOWN, START, END, MASK, COMMA)
MAX_LENGTH: Final = 512


def make_tokenizer(species: Sequence[str], max_length: int = MAX_LENGTH) -> PreTrainedTokenizerBase:
    """Make a tokenizer from scratch: the six fixed tokens, then one token for each binomial in sorted order.

    Names are normalised by `binomial`; names that hold none are left out. Anything between two commas
    that is not in the vocabulary is one [UNK].
    """
    names = sorted({binomial(name) for name in species} - {""})
    words = {word: i for i, word in enumerate((*FIXED_WORDS, *names))}
    engine = Tokenizer(models.WordLevel(words, unk_token=UNKNOWN))
    engine.normalizer = normalizers.Sequence(
        [
            normalizers.NFKD(),
            normalizers.StripAccents(),
            normalizers.Lowercase(),
            normalizers.Replace(Regex(r"\s*,\s*"), COMMA),
            normalizers.Strip(),
        ]
    )
    engine.pre_tokenizer = pre_tokenizers.Split(COMMA, "isolated")
    engine.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}",
        pair=f"{START} $A {END} $B:1 {END}:1",
        special_tokens=[(START, words[START]), (END, words[END])],
    )
    # transformers leaves this class untyped.
    wrap = cast(Any, PreTrainedTokenizerFast)
    wrapper: PreTrainedTokenizerBase = wrap(
        tokenizer_object=engine,
        model_max_length=max_length,
        pad_token=PAD,
        unk_token=UNKNOWN,
        cls_token=START,
        sep_token=END,
        mask_token=MASK,
        model_input_names=["input_ids", "attention_mask"],
    )
    return wrapper


def widen_tokenizer(folder: Path, species: Sequence[str], mode: str = "species") -> PreTrainedTokenizerBase:
    """Load the tokenizer of a base model and add what it does not know: a token a binomial, or, in mode "term", a word."""
    tokenizer = load_tokenizer(folder)
    names = {binomial(name) for name in species} - {""}
    words = names if mode == "species" else {word for name in names for word in name.split(" ")}
    tokenizer.add_tokens(sorted(words - set(tokenizer.get_vocab())))
    return tokenizer


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Load a saved tokenizer; ModelError where the folder holds none or one without our fixed tokens."""
    try:
        tokenizer = cast(Any, AutoTokenizer).from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # a damaged tokenizer.json is a bare Exception of its Rust library
        raise ModelError(
            f"{folder}: no tokenizer of the transformers format was found here; name a folder that "
            "`floracube habitats train` or save_pretrained wrote."
        ) from error
    missing = [word for word in FIXED_WORDS if word not in tokenizer.get_vocab()]
    if missing:
        raise ModelError(f"{folder}: the tokenizer lacks {', '.join(missing)}; a BERT tokenizer is expected.")
    return cast(PreTrainedTokenizerBase, tokenizer)


def reads_terms(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the words added to a base vocabulary are single ones (mode "term"), not binomials (mode "species")."""
    special = set(tokenizer.all_special_tokens)
    added_words = [word for word in tokenizer.get_added_vocab() if word not in special]
    return bool(added_words) and not any(" " in word for word in added_words)


def species_tokens(tokenizer: PreTrainedTokenizerBase, species: Sequence[str]) -> NDArray[np.int64]:
    """Return the tokens of each species: (S,) where a binomial is one token, (S, 2) where its two words are.

    What is outside the vocabulary gets the id of [UNK] and is never cut into pieces: BERT's own pieces of a Latin name
    tell it nothing that it has learned about plants.
    """
    words = tokenizer.get_vocab()
    unknown = words[UNKNOWN]
    names = [binomial(name) for name in species]
    if reads_terms(tokenizer):
        pairs = [(name.split(" ") if name else [UNKNOWN, UNKNOWN]) for name in names]
        return np.array([[words.get(word, unknown) for word in pair] for pair in pairs], dtype=np.int64).reshape(-1, 2)
    return np.array([words.get(name, unknown) for name in names], dtype=np.int64)


def most_species(max_length: int, tokens_a_species: int = 1) -> int:
    """How many species a text of `max_length` tokens holds: each with its comma, [CLS] and [SEP] (in place of the last)."""
    return (max_length - 1) // (tokens_a_species + 1)


def write_tokens(
    order: NDArray[np.integer[Any]],
    size: NDArray[np.integer[Any]],
    species_token: NDArray[np.integer[Any]],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int = MAX_LENGTH,
) -> NDArray[np.int64]:
    """Write assemblages as token rows `[CLS] a , b , c [SEP] [PAD]...`, without any string.

    order (n, K): species indices by descending cover or probability, negative = unknown species;
    size (n): how many of them belong to the assemblage, the rest is ignored; species_token (S) or (S, T).
    Returns (n, L) with L = (T + 1) max(size) + 1. What does not fit into max_length loses its last species.
    """
    words = tokenizer.get_vocab()
    table = np.asarray(species_token, dtype=np.int64).reshape(len(species_token), -1)
    each = table.shape[1]
    list_lengths = np.minimum(np.asarray(size, dtype=np.int64), most_species(max_length, each))
    width = int(list_lengths.max(initial=0))
    lookup = np.concatenate([table, np.full((1, each), words[UNKNOWN])])
    index = np.asarray(order)[:, :width].astype(np.int64)
    rows = np.full((len(list_lengths), (each + 1) * width + 1), words[COMMA], dtype=np.int64)
    rows[:, 0] = words[START]
    for part in range(each):
        rows[:, 1 + part :: each + 1] = lookup[np.where(index < 0, len(table), index), part][:, :width]
    end = np.maximum((each + 1) * list_lengths, 1)
    position = np.arange(rows.shape[1])
    rows[position >= end[:, None]] = words[PAD]
    present = np.flatnonzero(list_lengths > 0)
    rows[present, end[present]] = words[END]
    return rows
