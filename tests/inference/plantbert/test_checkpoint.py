"""Checkpoints of the layout of Pl@ntBERT on the hub, made here with tiny dimensions, load as they are and read the same."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification, BertTokenizerFast, pipeline

from cube.errors import ModelError
from inference.plantbert.classify import HabitatReader
from inference.plantbert.scheme import roll_up
from tests.support.eunis import eunis_scheme

BINOMIALS = ["abies alba", "fagus sylvatica", "galium odoratum", "oxalis acetosella", "poa annua", "carex flava"]
EUNIS = ["MA221", "R22", "R35", "T17", "T18"]
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ",", "alba", "rosa", "homo", "sap", "##iens", "a", "b", "##a", "##b"]


def small(**more: Any) -> BertConfig:
    torch.manual_seed(0)
    return BertConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        initializer_range=0.3,
        max_position_embeddings=512,
        **more,
    )


def hub(folder: Path, words: list[str]) -> tuple[Path, Path]:
    """(fill-mask, text-classification) folders: bert-base-uncased's kind of vocabulary and added words, EUNIS codes as labels."""
    tokenizer = BertTokenizerFast(vocab={w: i for i, w in enumerate(PIECES)}, do_lower_case=True)
    tokenizer.add_tokens(words)
    labels = {"id2label": dict(enumerate(EUNIS)), "label2id": {c: i for i, c in enumerate(EUNIS)}}
    size = {"vocab_size": len(tokenizer)}
    masked, classifier = BertForMaskedLM(small(**size)), BertForSequenceClassification(small(**size, **labels))
    paths = folder / "plantbert_fill_mask_model", folder / "plantbert_text_classification_model"
    for path, model in zip(paths, (masked, classifier), strict=True):
        model.save_pretrained(path)
        tokenizer.save_pretrained(path)
        # What the versions of transformers of that time wrote beside tokenizer.json.
        (path / "vocab.txt").write_text("\n".join(PIECES) + "\n")
        (path / "added_tokens.json").write_text(json.dumps({w: len(PIECES) + i for i, w in enumerate(words)}))
        special = {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]"}
        (path / "special_tokens_map.json").write_text(json.dumps(special))
    return paths


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return hub(tmp_path_factory.mktemp("hub"), BINOMIALS)


def test_labels_and_probabilities_are_those_of_the_published_pipeline(published: tuple[Path, Path]) -> None:
    reader = HabitatReader.load(published[1])
    assert reader.habitats == tuple(EUNIS)
    token, unknown = reader.tokens_of(["Abies alba Mill.", "Fagus sylvatica", "Poa annua_6", "Carex flava agg."])
    assert unknown == 0
    order = np.array([[0, 1, 2, 3], [3, 1, 0, 2], [2, 0, 1, 3]])
    size = np.array([4, 2, 1])
    made = reader.classify(order, size, token)
    naive = pipeline("text-classification", str(published[1]), top_k=None, device="cpu")
    texts = ["abies alba, fagus sylvatica, poa annua, carex flava", "carex flava, fagus sylvatica", "poa annua"]
    for row, said in zip(made, naive(texts), strict=True):
        expected = {one["label"]: one["score"] for one in said}
        np.testing.assert_allclose(row, [expected[c] for c in EUNIS], atol=1e-5)
    coarse = roll_up(made, eunis_scheme(reader.habitats))
    np.testing.assert_allclose(coarse["level1"][:, 2], made[:, 3] + made[:, 4], atol=1e-6)


def test_unknown_species_are_unknown_and_not_cut_into_pieces_of_words(published: tuple[Path, Path]) -> None:
    reader = HabitatReader.load(published[1])
    token, unknown = reader.tokens_of(["Homo sapiens", "Rosa alba", "Abies alba", "Cymbella species"])
    assert unknown == 3
    assert token.tolist() == [1, 1, len(PIECES), 1]
    same = reader.classify(np.array([[0, 2], [1, 2], [-1, 2]]), np.array([2, 2, 2]), token)
    np.testing.assert_array_equal(same[0], same[1])
    np.testing.assert_array_equal(same[0], same[2])


def test_a_checkpoint_of_single_words_reads_two_tokens_a_species(tmp_path: Path) -> None:
    _, folder = hub(tmp_path, sorted({word for name in BINOMIALS for word in name.split()} - set(PIECES)))
    reader = HabitatReader.load(folder)
    token, unknown = reader.tokens_of(["Abies alba", "Poa annua", "Homo annua"])
    assert token.shape == (3, 2)
    assert unknown == 0  # a word of English that the vocabulary has is read as published: as that word
    naive = pipeline("text-classification", str(folder), top_k=None, device="cpu")
    made = reader.classify(np.array([[1, 0], [0, 1]]), np.array([2, 1]), token)
    for row, text in zip(made, ("poa annua, abies alba", "abies alba"), strict=True):
        expected = {one["label"]: one["score"] for one in naive(text)[0]}
        np.testing.assert_allclose(row, [expected[c] for c in EUNIS], atol=1e-5)
    order = np.tile([0, 1], (2, 86))
    order[1, 170:] = 2
    long = reader.classify(order, np.array([172, 170]), token)
    np.testing.assert_allclose(long[0], long[1], atol=1e-6)  # 170 species of two words and a comma fill 512 tokens


def test_lists_above_the_length_lose_their_last_species(published: tuple[Path, Path]) -> None:
    reader = HabitatReader.load(published[1])
    token, _ = reader.tokens_of(BINOMIALS)
    order = np.tile(np.arange(6), (2, 50))
    order[1, 255:] = 0
    made = reader.classify(order, np.array([300, 255]), token)
    np.testing.assert_allclose(made[0], made[1], atol=1e-6)


def test_what_is_no_classifier_is_told(published: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no names"):
        HabitatReader.load(published[0])
    tokenizer = BertTokenizerFast(vocab={w: i for i, w in enumerate(PIECES)})
    tokenizer.add_tokens(BINOMIALS)
    BertForSequenceClassification(small(vocab_size=8, id2label={0: "R22", 1: "T17"})).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="21 words, the model 8"):
        HabitatReader.load(tmp_path)
