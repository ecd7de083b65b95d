"""From plots to a saved habitat reader: fill-mask first, then classification, by the transformers Trainer."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_callback import PrinterCallback
from transformers.utils import logging as hub_logging

from cube.errors import ModelError, TableError
from inference.plantbert.batches import Augmentation, ByLength, PlotBatches
from inference.plantbert.card import card
from inference.plantbert.plots import Plots
from inference.plantbert.vocabulary import FIXED_WORDS, MAX_LENGTH, PAD, make_tokenizer, widen_tokenizer

Progress = Callable[[str, int, int], None]
"""Called with the stage ("fill-mask", "classification"), the step done and the number of steps."""

SMALLEST_BATCH: Final = 16
ENOUGH: Final = 4_000
"""Labelled plots that mixtures of plots still help; see `fitted_to`."""
FILL_MASK: Final = "fill_mask"
"""Folder beside the classifier that holds the fill-mask model, in the hub's format too."""


@dataclass(frozen=True)
class ReaderSpec:
    """Size and schedule of the reader.

    base: folder of a BERT to start from instead of scratch; tokens: "species" for a token a binomial, "term" for a token
    a word (both as published; from scratch there are species alone); complete_only: train on the plots alone that lost
    little to curation, as published (`Plots.complete`).
    """

    hidden: int = 64  # width of the model, a multiple of heads
    layers: int = 2  # of the transformer
    heads: int = 2  # of attention, a layer
    intermediate: int = 128  # width within a layer
    mask_epochs: int = 8  # passes over all plots, filling gaps
    epochs: int = 20  # passes over the labelled plots, naming habitats
    least_steps: int = 700  # of naming habitats: few labelled plots get smaller batches and more passes, see `fitted_to`
    batch: int = 64  # plots a step
    learning_rate: float = 4e-3  # the highest of the schedule
    weight_decay: float = 0.05  # of AdamW
    dropout: float = 0.1  # of hidden values and attention
    label_smoothing: float = 0.1  # share of the label spread over all habitats
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0  # of weights, order and masks
    base: Path | None = None  # folder of a BERT to start from instead of scratch
    tokens: str = "species"  # species: a token a binomial; term: a token a word
    complete_only: bool = True  # leave out plots that lost much to curation, as published


def fitted_to(labelled: int, spec: ReaderSpec) -> ReaderSpec:
    """The schedule of naming habitats from `labelled` plots.

    Where they give fewer than its least steps, batches are smaller, down to `SMALLEST_BATCH`, at a rate lowered in proportion,
    then passes more. Of 300 plots of a generated landscape this read 73 % of predicted lists rightly; whole batches 65 %, small
    ones at the whole rate 57 % (they diverged).
    Beyond `ENOUGH` plots mixtures of plots become rare, by the square of their number: they teach that species stand for
    themselves, which helps 3,000 plots (of nine habitats) and harms 9,000 (of sixteen: 71.8 % right with them, 72.8 % without).
    """
    crossover = spec.augmentation.crossover * min(1.0, (ENOUGH / labelled) ** 2)
    spec = replace(spec, augmentation=replace(spec.augmentation, crossover=crossover))
    if labelled * spec.epochs >= spec.least_steps * spec.batch:
        return spec
    batch = max(min(SMALLEST_BATCH, spec.batch), labelled * spec.epochs // spec.least_steps)
    epochs = max(spec.epochs, -(-spec.least_steps * batch // labelled))
    return replace(spec, batch=batch, epochs=min(epochs, 3 * spec.epochs), learning_rate=spec.learning_rate * batch / spec.batch)


def train_reader(
    plots: Plots,
    folder: Path | None,
    spec: ReaderSpec | None = None,
    progress: Progress | None = None,
    *,
    run: Path | None = None,
    skill: Iterable[str] = (),
    predicted: Plots | None = None,
) -> tuple[BertForSequenceClassification, PreTrainedTokenizerBase, dict[str, Any]]:
    """Train on `plots` and save model, tokenizer and card into `folder` (None: do not save).

    All plots serve fill-mask, the labelled ones classification. Returns the model (evaluation mode),
    its tokenizer and a report of losses and seconds. Equal seeds give equal weights on one machine
    with the same number of threads, also where a training was interrupted and resumes from what it left in the
    folder `run` (None: it begins anew). skill: lines about held-out skill for the card. predicted: labelled
    lists that a model of species tells for places of plots, beside the plots' own; they teach habitats, not fill-mask.
    Raises TableError where fewer than two habitats are labelled, ModelError for an impossible spec or base.
    """
    spec = spec or ReaderSpec()
    if spec.complete_only:
        plots = plots.take(plots.complete())
    labelled_plots = plots.take(plots.label >= 0)
    if len(plots.habitats) < 2 or not len(labelled_plots):
        raise TableError(
            "the vegetation plots hold fewer than two habitats with enough plots; lower min_plots or give more labelled plots."
        )
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    hub_logging.disable_progress_bar()
    set_seed(spec.seed)
    start = time.monotonic()
    lessons = labelled_plots if predicted is None else labelled_plots.append(predicted)
    run_folder = _run_folder(run, (plots, lessons), spec) if run is not None else None
    masked_model, tokenizer, report = _masked(plots, spec, run_folder, progress)
    report |= {"plots": len(plots), "plots_labelled": len(labelled_plots), "lists_predicted": len(lessons) - len(labelled_plots)}
    config = BertConfig(
        **{
            **masked_model.config.to_dict(),
            "id2label": dict(enumerate(plots.habitats)),
            "label2id": {name: i for i, name in enumerate(plots.habitats)},
            "architectures": ["BertForSequenceClassification"],
        }
    )
    set_seed(spec.seed)  # whether fill-mask was trained or read again, what follows is the same
    model = BertForSequenceClassification(config)
    model.bert.load_state_dict(masked_model.bert.state_dict(), strict=False)
    report["classification_loss"] = _fit(
        model, lessons, tokenizer, fitted_to(len(labelled_plots), spec), False, progress, run_folder
    )
    model.train(False)
    report["parameters"] = int(sum(p.numel() for p in model.parameters()))
    report["seconds"] = round(time.monotonic() - start, 1)
    if folder is not None:
        _save(model, tokenizer, folder)
        _save(masked_model.train(False), tokenizer, folder / FILL_MASK)
        (folder / "README.md").write_text(card(plots, spec, report, skill), encoding="utf-8")
    if run is not None:
        shutil.rmtree(run, ignore_errors=True)
    return model, tokenizer, report


def _save(model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))


def _run_folder(run: Path, plot_sets: Sequence[Plots], spec: ReaderSpec) -> Path:
    """The folder of a training that may be resumed, emptied where it was one of other plots or another spec."""
    parts = [repr(spec).encode(), repr(plot_sets[0].species).encode(), repr(plot_sets[0].habitats).encode()]
    parts += [np.ascontiguousarray(a).tobytes() for plots in plot_sets for a in (plots.order, plots.size, plots.label)]
    fingerprint, note = hashlib.sha256(b"".join(parts)).hexdigest(), run / "training.sha256"
    if not note.is_file() or note.read_text() != fingerprint:
        shutil.rmtree(run, ignore_errors=True)
        run.mkdir(parents=True)
        note.write_text(fingerprint)
    return run


def _masked(
    plots: Plots, spec: ReaderSpec, run_folder: Path | None, progress: Progress | None
) -> tuple[BertForMaskedLM, PreTrainedTokenizerBase, dict[str, Any]]:
    """The fill-mask model, trained, or read again from a training that had got so far."""
    tokenizer, model = _start(plots, spec)
    report: dict[str, Any] = {}
    if run_folder is not None and (run_folder / FILL_MASK).is_dir():
        return BertForMaskedLM.from_pretrained(str(run_folder / FILL_MASK), local_files_only=True), tokenizer, report  # nosec B615
    if spec.mask_epochs:
        report["fill_mask_loss"] = _fit(model, plots, tokenizer, spec, True, progress, run_folder)
    if run_folder is not None:
        partial = run_folder / ".fill_mask"
        model.save_pretrained(str(partial))
        partial.rename(run_folder / FILL_MASK)
    return model, tokenizer, report


def _start(plots: Plots, spec: ReaderSpec) -> tuple[PreTrainedTokenizerBase, BertForMaskedLM]:
    if spec.tokens not in ("species", "term") or (spec.tokens == "term" and spec.base is None):
        raise ModelError(f"tokens is {spec.tokens!r}; it may be 'species', or 'term' where a base model is named.")
    if spec.base is not None:
        tokenizer = widen_tokenizer(spec.base, plots.species, spec.tokens)
        try:
            model = BertForMaskedLM.from_pretrained(str(spec.base), local_files_only=True)  # nosec B615
        except SafetensorError as error:
            raise ModelError(f"{spec.base}: the weights of the model are damaged ({error}); copy the folder again.") from error
        except (OSError, ValueError) as error:
            raise ModelError(f"{spec.base}: no BERT of the transformers format was found here; correct 'base'.") from error
        model.resize_token_embeddings(len(tokenizer))
        return tokenizer, model
    tokenizer = make_tokenizer(plots.species)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=spec.hidden,
        num_hidden_layers=spec.layers,
        num_attention_heads=spec.heads,
        intermediate_size=spec.intermediate,
        hidden_dropout_prob=spec.dropout,
        attention_probs_dropout_prob=spec.dropout,
        max_position_embeddings=MAX_LENGTH,
        pad_token_id=FIXED_WORDS.index(PAD),
        # BERT's 0.02 belongs to a width of 768; kept at a small width it stalls learning at the start.
        initializer_range=0.02 * (768 / spec.hidden) ** 0.5,
    )
    return tokenizer, BertForMaskedLM(config)


class _Steps(TrainerCallback):
    def __init__(self, stage: str, progress: Progress) -> None:
        self.stage, self.progress = stage, progress

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.progress(self.stage, int(state.global_step), int(state.max_steps))


class _Trainer(Trainer):
    """A Trainer whose batches hold plots of like length."""

    def _get_train_sampler(self, train_dataset: Any = None) -> ByLength:
        size = cast(PlotBatches, self.data_collator).plots.size
        return ByLength(size, self.args.per_device_train_batch_size, self.args.seed)


def _fit(
    model: Any,
    plots: Plots,
    tokenizer: PreTrainedTokenizerBase,
    spec: ReaderSpec,
    mask: bool,
    progress: Progress | None,
    run: Path | None,
) -> float:
    """Train `model` in place, from the last whole checkpoint that `run` holds if there is one; returns the mean loss."""
    stage = "fill-mask" if mask else "classification"
    checkpoint_folder = None if run is None else run / f"steps {stage}"
    with tempfile.TemporaryDirectory() as scratch:
        trainer = _Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=str(checkpoint_folder or scratch),
                num_train_epochs=spec.mask_epochs if mask else spec.epochs,
                per_device_train_batch_size=spec.batch,
                learning_rate=spec.learning_rate,
                weight_decay=spec.weight_decay,
                lr_scheduler_type="cosine",
                warmup_steps=20,
                label_smoothing_factor=0.0 if mask else spec.label_smoothing,
                seed=spec.seed,
                data_seed=spec.seed,
                save_strategy="no" if checkpoint_folder is None else "epoch",
                save_total_limit=2,
                logging_strategy="no",
                eval_strategy="no",
                report_to="none",
                disable_tqdm=True,
                remove_unused_columns=False,
                dataloader_num_workers=0,
                dataloader_pin_memory=False,
                use_cpu=not torch.cuda.is_available(),
            ),
            train_dataset=cast(Any, range(len(plots))),  # `PlotBatches` makes a batch of their numbers
            data_collator=PlotBatches(
                plots,
                tokenizer,
                spec.augmentation,
                spec.seed,
                mask=mask,
                max_length=int(model.config.max_position_embeddings),
            ),
            callbacks=[_Steps(stage, progress)] if progress else None,
        )
        # The Trainer otherwise prints its summary dictionary to the terminal.
        trainer.pop_callback(PrinterCallback)
        return float(trainer.train(resume_from_checkpoint=_last(checkpoint_folder)).training_loss)


def _last(checkpoint_folder: Path | None) -> str | None:
    """The last whole checkpoint: the Trainer writes its state last, so one without it was cut off."""
    if checkpoint_folder is None:
        return None
    complete_checkpoints = [p.parent for p in checkpoint_folder.glob("checkpoint-*/trainer_state.json") if p.stat().st_size]
    return str(max(complete_checkpoints, key=lambda p: int(p.name.split("-")[1]))) if complete_checkpoints else None
