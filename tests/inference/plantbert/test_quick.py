"""Approximations of the reader: faithful as far as they say, never taken unasked."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from cube.errors import ModelError
from inference.plantbert.baselines import naive_bayes
from inference.plantbert.classify import HabitatReader
from inference.plantbert.quick import StudentReader, agreement, as_int8, assured, repeated, teach
from inference.plantbert.vocabulary import FIXED, PAD, make_tokenizer
from tests.support.plots import SPECIES, landscape


@pytest.fixture(scope="module")
def reader() -> HabitatReader:
    """A reader of random weights, large enough for lists to differ in what it says."""
    torch.manual_seed(1)
    tokenizer = make_tokenizer(SPECIES)
    config = BertConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                        intermediate_size=64, initializer_range=0.4, id2label={0: "A", 1: "B", 2: "C"},
                        pad_token_id=FIXED.index(PAD))  # fmt: skip
    return HabitatReader(BertForSequenceClassification(config), tokenizer)


def test_threads_and_equal_lists_change_nothing(reader: HabitatReader) -> None:
    plots = landscape(400)
    token, _ = reader.tokens_of(plots.species)
    whole = reader.classify(plots.order, plots.size, token)
    assert len(set(whole.argmax(axis=1))) > 1
    with ThreadPoolExecutor(2) as threads:
        shared = reader.classify(plots.order, plots.size, token, deduplicate=True, threads=threads)
    np.testing.assert_allclose(shared, whole, atol=1e-6)


def test_int8_mostly_agrees_and_the_close_cells_are_read_again_by_the_whole_model(reader: HabitatReader) -> None:
    plots = landscape(1000, seed=2)
    plots.size[5] = 0
    token, _ = reader.tokens_of(plots.species)
    whole = reader.classify(plots.order, plots.size, token)
    eight = as_int8(reader).classify(plots.order, plots.size, token)
    assert not np.array_equal(whole, eight, equal_nan=True)
    assert np.isnan(eight[5]).all()
    assert 0.9 < agreement(whole, eight) < 1
    sure, again = assured(eight, reader, plots.order, plots.size, token, margin=0.1)
    two = np.sort(eight, axis=1)[:, -2:]
    close = two[:, 1] - two[:, 0] < 0.1
    assert again == close.sum() > 0
    np.testing.assert_allclose(sure[close], whole[close], atol=1e-6)
    np.testing.assert_array_equal(sure[~close], eight[~close])
    assert agreement(whole, sure) > agreement(whole, eight)


def test_a_student_learns_its_teacher_and_is_read_back(tmp_path: Path) -> None:
    plots, asked = landscape(4000, seed=3), landscape(500, seed=4)
    asked.order[1, 0], asked.size[2] = -1, 0
    known = plots.take(plots.label >= 0)
    said, lesson = (naive_bayes(known.presence(), known.label, p.presence(), 3) for p in (asked, plots))
    student = teach(plots.order, plots.size, lesson, len(SPECIES), plots.habitats)
    taught = student.classify(asked.order, asked.size)
    assert np.isnan(taught[2]).all()
    assert agreement(said, taught) > 0.9
    student.save(tmp_path)
    again = StudentReader.load(tmp_path, plots.habitats, len(SPECIES))
    np.testing.assert_array_equal(again.classify(asked.order, asked.size), taught)
    with pytest.raises(ModelError, match="another table"):
        StudentReader.load(tmp_path, plots.habitats, len(SPECIES) + 1)
    with pytest.raises(ModelError, match="absent"):
        StudentReader.load(tmp_path / "nowhere", plots.habitats, len(SPECIES))


def test_the_hit_rate_counts_lists_that_came_before() -> None:
    order = np.array([[0, 1, 2], [0, 1, 3], [1, 0, 2], [0, 1, 2]])
    assert repeated(order, np.array([2, 2, 2, 3])) == 0.25
    assert repeated(order, np.array([3, 3, 3, 3])) == 0.25
    assert repeated(order[:0], np.zeros(0, int)) == 0.0
