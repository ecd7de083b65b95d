"""Masking, augmentation, training and the hub's format, on a small language with known meaning."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertTokenizerFast,
)

from cube.errors import ModelError, TableError
from inference.plantbert.batches import Augmentation, augment, mask_tokens
from inference.plantbert.classify import HabitatReader
from inference.plantbert.evaluation import evaluate_reader, spatial_folds
from inference.plantbert.linear import LinearReader
from inference.plantbert.training import ENOUGH, SMALLEST_BATCH, ReaderSpec, fitted_to, train_reader
from inference.plantbert.vocabulary import make_tokenizer, species_tokens, write_tokens
from tests.support.plots import SPECIES, landscape

SMALL = ReaderSpec(
    hidden=16,
    layers=2,
    heads=2,
    mask_epochs=1,
    epochs=10,
    least_steps=0,
    batch=32,
    learning_rate=1e-2,
    label_smoothing=0.0,
    augmentation=Augmentation(0.0, 0.0, 0.0, crossover=0.0),
)
BRIEF = replace(SMALL, epochs=1)
MIXED = ["Homo sapiens", *SPECIES]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reader")
    seen: list[tuple[str, int, int]] = []
    train_reader(landscape(), path, SMALL, progress=lambda *step: seen.append(step))
    assert {stage for stage, _, _ in seen} == {"fill-mask", "classification"}
    assert seen[-1][1] == seen[-1][2]
    return path


@given(labelled=st.integers(1, 20_000), epochs=st.integers(1, 40), batch=st.integers(1, 256), least=st.integers(0, 2_000))
def test_few_plots_get_smaller_batches_then_more_passes_and_many_plots_few_mixtures(
    labelled: int, epochs: int, batch: int, least: int
) -> None:
    spec = ReaderSpec(epochs=epochs, batch=batch, least_steps=least)
    made = fitted_to(labelled, spec)
    mixed = made.augmentation.crossover
    assert mixed == pytest.approx(spec.augmentation.crossover * min(1.0, (ENOUGH / labelled) ** 2))
    if labelled * epochs >= least * batch:
        assert made == replace(spec, augmentation=made.augmentation)
        return
    assert min(SMALLEST_BATCH, batch) <= made.batch <= batch
    assert made.learning_rate == pytest.approx(spec.learning_rate * made.batch / batch)
    assert epochs <= made.epochs <= 3 * epochs
    steps = labelled * made.epochs / made.batch
    assert steps >= least or made.epochs == 3 * epochs
    if made.epochs > epochs:
        assert made.batch == min(SMALLEST_BATCH, batch)


@pytest.mark.slow
def test_predicted_lists_teach_habitats_beside_the_plots_own_and_not_the_language(tmp_path: Path) -> None:
    plots = landscape(60)
    longer = landscape(60, seed=9)
    order = np.concatenate([longer.order, np.full((60, 3), -1, np.int32)], axis=1)
    order[:, 8] = 20
    told = replace(plots, order=order, size=np.full(60, 9, np.int32)).take(plots.label >= 0)
    _, _, first = train_reader(plots, None, BRIEF)
    _, _, again = train_reader(plots, tmp_path, BRIEF, predicted=told)
    assert first["lists_predicted"] == 0
    assert again["lists_predicted"] == len(told) == again["plots_labelled"] == 57
    assert again["fill_mask_loss"] == first["fill_mask_loss"]
    assert again["classification_loss"] != first["classification_loss"]
    assert "predicted lists of labelled places: 57" in (tmp_path / "README.md").read_text()
    with pytest.raises(ValueError, match="other species or habitats"):
        plots.append(replace(told, habitats=("A", "B", "D")))


def test_arrays_give_the_tokens_of_the_sentence() -> None:
    tokenizer = make_tokenizer(SPECIES)
    plots = landscape(30)
    token = species_tokens(tokenizer, SPECIES)
    rows = write_tokens(plots.order, plots.size, token, tokenizer)
    texts = [plots.sentence(i) for i in range(len(plots))]
    expected = tokenizer(texts, padding=True, return_tensors="np")["input_ids"]
    np.testing.assert_array_equal(rows, expected)
    assert len(tokenizer) == 6 + len(SPECIES)


def test_unknown_binomial_is_one_unknown_token() -> None:
    tokenizer = make_tokenizer(SPECIES)
    words = tokenizer.convert_ids_to_tokens(tokenizer("abies alba, homo sapiens, Poa prima")["input_ids"])
    assert words == ["[CLS]", "abies alba", ",", "[UNK]", ",", "poa prima", "[SEP]"]


def test_text_above_the_limit_loses_its_last_species() -> None:
    tokenizer = make_tokenizer(SPECIES)
    order = np.tile(np.arange(20), (1, 20))
    rows = write_tokens(order, np.array([400]), species_tokens(tokenizer, SPECIES), tokenizer, 512)
    assert rows.shape == (1, 511)
    assert rows[0, -1] == tokenizer.sep_token_id
    assert (rows[0, 2:-1:2] == tokenizer.get_vocab()[","]).all()


def test_masking_asks_fifteen_percent_of_species_and_never_commas_or_ends() -> None:
    tokenizer = make_tokenizer(SPECIES)
    words = tokenizer.get_vocab()
    token = torch.from_numpy(species_tokens(tokenizer, SPECIES))
    plots = landscape(2000)
    rows = torch.from_numpy(write_tokens(plots.order, plots.size, token.numpy(), tokenizer))
    inputs, labels = mask_tokens(rows, words, token, torch.Generator().manual_seed(1))
    asked = labels != -100
    is_species = torch.isin(rows, token)
    assert not (asked & ~is_species).any()
    assert torch.equal(inputs[~asked], rows[~asked])
    assert torch.equal(labels[asked], rows[asked])
    assert asked.sum() / is_species.sum() == pytest.approx(0.15, abs=0.015)
    masked = (inputs[asked] == words["[MASK]"]).float().mean()
    same = (inputs[asked] == rows[asked]).float().mean()
    assert masked == pytest.approx(0.8, abs=0.04)
    assert same == pytest.approx(0.1 + 0.1 / 21, abs=0.04)
    assert torch.isin(inputs[asked & (inputs != words["[MASK]"])], token).all()


def test_augmentation_keeps_at_least_one_species_and_invents_none() -> None:
    plots = landscape(2000)
    how = Augmentation(dropout=0.5, truncate=0.5, shuffle=0.5, shortest=2)
    order, size = augment(plots.order, plots.size, how, np.random.default_rng(0))
    assert size.min() == 1
    assert (size <= plots.size).all()
    for i in range(0, 2000, 37):
        before = set(plots.order[i, : plots.size[i]].tolist())
        after = order[i, : size[i]].tolist()
        assert set(after) <= before
        assert len(set(after)) == len(after)
    same, all_ = augment(plots.order, plots.size, Augmentation(0, 0, 0, crossover=0), np.random.default_rng(0))
    np.testing.assert_array_equal(all_, plots.size)
    np.testing.assert_array_equal(same, plots.order)


@pytest.mark.slow
def test_reader_learns_and_equals_transformers_on_strings_one_at_a_time(folder: Path) -> None:
    reader = HabitatReader.load(folder)
    plots = landscape(200, seed=5)
    plots.order[3, 0] = -1
    token, unknown = reader.tokens_of(plots.species)
    assert unknown == 0
    probability = reader.classify(plots.order, plots.size, token)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        for i in range(30):
            encoded = tokenizer(plots.sentence(i), truncation=True, return_tensors="pt")
            expected = model(**encoded).logits.softmax(-1)[0].numpy()
            np.testing.assert_allclose(probability[i], expected, atol=1e-5)
    labelled = plots.label >= 0
    assert (probability.argmax(1) == plots.label)[labelled].mean() > 0.75
    assert [model.config.id2label[i] for i in range(3)] == ["A", "B", "C"]
    assert "Pl@ntBERT" in (folder / "README.md").read_text()


def test_probabilities_do_not_depend_on_the_batch(folder: Path) -> None:
    reader = HabitatReader.load(folder)
    plots = landscape(60, seed=6)
    token, _ = reader.tokens_of(plots.species)
    together = reader.classify(plots.order, plots.size, token)
    alone = np.concatenate([reader.classify(plots.order[i : i + 1], plots.size[i : i + 1], token) for i in range(60)])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    with ThreadPoolExecutor(2) as threads:
        shared = reader.classify(plots.order, plots.size, token, threads=threads)
    np.testing.assert_allclose(shared, together, atol=1e-6)


def test_a_linear_path_adds_its_log_odds_and_a_folder_without_one_reads_as_published(folder: Path, tmp_path: Path) -> None:
    plots = landscape(120, seed=7)
    plots = replace(plots, cover=np.random.default_rng(0).uniform(1, 90, plots.order.shape).astype(np.float32))
    plots.order[3, 0] = -1
    alone = HabitatReader.load(folder)
    assert alone.linear is None
    linear = LinearReader.fit(landscape(200, seed=8))
    linear.transformer_share = 0.3
    both_folder = Path(shutil.copytree(folder, tmp_path / "both"))
    linear.save(both_folder)
    both = HabitatReader.load(both_folder)
    token = both.tokens_of(MIXED)[0]
    mixed = np.where(plots.order < 0, -1, plots.order + 1)  # as MIXED numbers the species
    p = both.classify(mixed, plots.size, token, cover=plots.cover)
    parts = [
        reader.classify(plots.order, plots.size, reader.tokens_of(SPECIES)[0], cover=plots.cover) for reader in (alone, linear)
    ]
    odds = 0.3 * np.log(parts[0]) + 0.7 * np.log(parts[1])
    np.testing.assert_allclose(p, np.exp(odds) / np.exp(odds).sum(1, keepdims=True), atol=1e-5)
    with ThreadPoolExecutor(2) as threads:
        shared = both.classify(mixed, plots.size, token, cover=plots.cover, threads=threads)
    np.testing.assert_allclose(shared, p, atol=1e-6)
    assert np.isnan(both.classify(mixed[:1], np.zeros(1, int), token)).all()
    assert both.linear is not None
    for share, part in zip((1.0, 0.0), parts, strict=True):
        both.linear.transformer_share = share
        np.testing.assert_allclose(both.classify(mixed, plots.size, token, cover=plots.cover), part, atol=1e-5)


def test_a_linear_path_of_other_habitats_is_refused(folder: Path, tmp_path: Path) -> None:
    mixed = Path(shutil.copytree(folder, tmp_path / "mixed"))
    plots = landscape(200, seed=8)
    LinearReader.fit(replace(plots, habitats=plots.habitats[::-1])).save(mixed)
    with pytest.raises(ModelError, match=r"linear\.json: its habitats are not those of config\.json \(3 and 3\)"):
        HabitatReader.load(mixed)


def test_empty_cells_are_no_data_and_unknown_species_are_counted(folder: Path) -> None:
    reader = HabitatReader.load(folder)
    token, unknown = reader.tokens_of(["Abies alba Mill.", "Homo sapiens", "Poa prima agg."])
    assert unknown == 1
    order = np.array([[0, 1, 2], [0, 2, 1], [1, 0, 2]])
    probability = reader.classify(order, np.array([0, 2, 3]), token)
    assert np.isnan(probability[0]).all()
    np.testing.assert_allclose(probability[1:].sum(1), 1.0, atol=1e-5)
    assert reader.classify(order[:0], np.zeros(0, int), token).shape == (0, 3)


@pytest.mark.slow
def test_equal_seeds_give_equal_weights() -> None:
    plots = landscape(40)
    one, _, _ = train_reader(plots, None, BRIEF)
    again, _, _ = train_reader(plots, None, BRIEF)
    other, _, _ = train_reader(plots, None, replace(BRIEF, seed=1))
    for name, weight in again.state_dict().items():
        torch.testing.assert_close(weight, one.state_dict()[name], rtol=0, atol=1e-6)
    assert not torch.equal(other.classifier.weight, one.classifier.weight)


class KilledError(Exception):
    """What a kill does to the process, here to the training."""


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["fill-mask", "classification"])
def test_a_killed_training_ends_with_the_weights_of_an_undisturbed_one(tmp_path: Path, stage: str) -> None:
    plots, spec = landscape(60), replace(SMALL, mask_epochs=2, epochs=3, batch=16)
    whole, _, _ = train_reader(plots, None, spec)

    def kill(at: str, step: int, _: int) -> None:
        if at == stage and step == 6:
            raise KilledError

    with pytest.raises(KilledError):
        train_reader(plots, None, spec, kill, run=tmp_path / "run")
    steps: list[str] = []
    on, _, _ = train_reader(plots, None, spec, lambda at, *_: steps.append(at), run=tmp_path / "run")
    assert steps.count(stage) < 12  # it went on, it did not begin anew
    for name, weight in whole.state_dict().items():
        torch.testing.assert_close(on.state_dict()[name], weight, rtol=0, atol=1e-6)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_what_a_killed_training_left_is_not_used_for_other_plots(tmp_path: Path) -> None:
    run = tmp_path / "run"

    def kill(at: str, step: int, _: int) -> None:
        if at == "classification":
            raise KilledError

    with pytest.raises(KilledError):
        train_reader(landscape(40), None, replace(BRIEF, batch=16), kill, run=run)
    stages: list[str] = []
    train_reader(landscape(40, seed=9), None, replace(BRIEF, batch=16), lambda at, *_: stages.append(at), run=run)
    assert "fill-mask" in stages


def test_base_model_is_widened_by_one_token_a_species(folder: Path, tmp_path: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ",", "abies", "alba", "##s", "a", "b"]
    base = BertTokenizerFast(vocab={w: i for i, w in enumerate(words)})
    base.save_pretrained(tmp_path)
    BertForMaskedLM(
        BertConfig(vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    ).save_pretrained(tmp_path)
    spec = ReaderSpec(mask_epochs=1, epochs=1, base=tmp_path)
    out = tmp_path / "out"
    model, _, _ = train_reader(landscape(40), out, spec)
    assert model.config.vocab_size == len(words) + len(SPECIES)
    reader = HabitatReader.load(out)
    plots = landscape(10, seed=2)
    token, unknown = reader.tokens_of(plots.species)
    assert unknown == 0
    text = [plots.sentence(i) for i in range(10)]
    rows = write_tokens(plots.order, plots.size, token, reader.tokenizer)
    np.testing.assert_array_equal(rows, reader.tokenizer(text, padding=True, return_tensors="np")["input_ids"])


@pytest.mark.slow
def test_held_out_skill_beats_chance_beside_naive_bayes() -> None:
    plots = landscape(200)
    draw = np.random.default_rng(0)
    fold = spatial_folds(draw.random(200) * 5e5, draw.random(200) * 5e5, folds=2)
    withheld = np.zeros(200, dtype=bool)
    withheld[:20] = True
    skills, held = evaluate_reader(plots, fold, SMALL, never_trained=withheld)
    assert {s.method for s in skills} == {"plantbert", "naive_bayes"}
    assert all(s.accuracy > 0.5 and s.top3 == 1.0 for s in skills)
    assert np.isfinite(held["plantbert"][plots.label >= 0]).all()


def test_absent_model_and_too_few_habitats_are_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no tokenizer"):
        HabitatReader.load(tmp_path / "absent")
    plots = landscape(40)
    plots.label[:] = -1
    with pytest.raises(TableError, match="fewer than two habitats"):
        train_reader(plots, None, SMALL)
