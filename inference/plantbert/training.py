"""From plots to a saved habitat reader: fill-mask first, then classification, by the transformers Trainer."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
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

from cube.errors import TableError
from inference.plantbert.batches import Augmentation, PlotBatches, PlotIndex
from inference.plantbert.plots import Plots
from inference.plantbert.vocabulary import FIXED, MAX_LENGTH, PAD, make_tokenizer, widen_tokenizer

Progress = Callable[[str, int, int], None]
"""Called with the stage ("fill-mask", "classification"), the step done and the number of steps."""


@dataclass(frozen=True)
class ReaderSpec:
    """Size and schedule of the reader; `base` names the folder of a BERT to start from instead of scratch."""

    hidden: int = 64
    layers: int = 2
    heads: int = 2
    intermediate: int = 128
    mask_epochs: int = 10
    epochs: int = 30
    batch: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    dropout: float = 0.1
    label_smoothing: float = 0.1
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0
    base: Path | None = None


def train_reader(
    plots: Plots,
    folder: Path | None,
    spec: ReaderSpec | None = None,
    progress: Progress | None = None,
) -> tuple[BertForSequenceClassification, PreTrainedTokenizerBase, dict[str, Any]]:
    """Train on `plots` and save model, tokenizer and card into `folder` (None: do not save).

    All plots serve fill-mask, the labelled ones classification. Returns the model (evaluation mode),
    its tokenizer and a report of losses and seconds. Equal seeds give equal weights on one machine
    with the same number of threads. Raises TableError where fewer than two habitats are labelled.
    """
    spec = spec or ReaderSpec()
    labelled = np.flatnonzero(plots.label >= 0)
    if len(plots.habitats) < 2 or not len(labelled):
        raise TableError(
            "the vegetation plots hold fewer than two habitats with enough plots; lower min_plots or give more labelled plots."
        )
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    set_seed(spec.seed)
    start = time.monotonic()
    tokenizer, masked = _start(plots, spec)
    report: dict[str, Any] = {"plots": len(plots), "plots_labelled": len(labelled)}
    if spec.mask_epochs:
        report["fill_mask_loss"] = _fit(masked, plots, tokenizer, spec, spec.mask_epochs, True, progress)
    config = BertConfig(
        **{
            **masked.config.to_dict(),
            "id2label": dict(enumerate(plots.habitats)),
            "label2id": {name: i for i, name in enumerate(plots.habitats)},
            "architectures": ["BertForSequenceClassification"],
        }
    )
    model = BertForSequenceClassification(config)
    model.bert.load_state_dict(masked.bert.state_dict(), strict=False)
    report["classification_loss"] = _fit(model, plots.take(labelled), tokenizer, spec, spec.epochs, False, progress)
    model.train(False)
    report["parameters"] = int(sum(p.numel() for p in model.parameters()))
    report["seconds"] = round(time.monotonic() - start, 1)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        model.save_pretrained(str(folder))
        tokenizer.save_pretrained(str(folder))
        (folder / "README.md").write_text(_card(plots, spec, report), encoding="utf-8")
    return model, tokenizer, report


def _start(plots: Plots, spec: ReaderSpec) -> tuple[PreTrainedTokenizerBase, BertForMaskedLM]:
    if spec.base is not None:
        tokenizer = widen_tokenizer(spec.base, plots.species)
        model = BertForMaskedLM.from_pretrained(str(spec.base), local_files_only=True)  # nosec B615
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
        pad_token_id=FIXED.index(PAD),
        # BERT's 0.02 belongs to a width of 768; kept at a small width it stalls learning at the start.
        initializer_range=0.02 * (768 / spec.hidden) ** 0.5,
    )
    return tokenizer, BertForMaskedLM(config)


class _Steps(TrainerCallback):
    def __init__(self, stage: str, progress: Progress) -> None:
        self.stage, self.progress = stage, progress

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.progress(self.stage, int(state.global_step), int(state.max_steps))


def _fit(
    model: Any,
    plots: Plots,
    tokenizer: PreTrainedTokenizerBase,
    spec: ReaderSpec,
    epochs: int,
    mask: bool,
    progress: Progress | None,
) -> float:
    stage = "fill-mask" if mask else "classification"
    with tempfile.TemporaryDirectory() as scratch:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=scratch,
                num_train_epochs=epochs,
                per_device_train_batch_size=spec.batch,
                learning_rate=spec.learning_rate,
                weight_decay=spec.weight_decay,
                lr_scheduler_type="cosine",
                warmup_steps=20,
                label_smoothing_factor=0.0 if mask else spec.label_smoothing,
                seed=spec.seed,
                data_seed=spec.seed,
                save_strategy="no",
                logging_strategy="no",
                eval_strategy="no",
                report_to="none",
                disable_tqdm=True,
                remove_unused_columns=False,
                dataloader_num_workers=0,
                dataloader_pin_memory=False,
                use_cpu=not torch.cuda.is_available(),
            ),
            train_dataset=PlotIndex(len(plots)),
            data_collator=PlotBatches(
                plots, tokenizer, spec.augmentation, spec.seed, mask=mask,
                max_length=int(model.config.max_position_embeddings),
            ),
            callbacks=[_Steps(stage, progress)] if progress else None,
        )  # fmt: skip
        # The Trainer otherwise prints its summary dictionary to the terminal.
        trainer.pop_callback(_printer())
        return float(trainer.train().training_loss)


def _printer() -> type[TrainerCallback]:
    from transformers.trainer_callback import PrinterCallback

    return PrinterCallback


def _card(plots: Plots, spec: ReaderSpec, report: dict[str, Any]) -> str:
    lines = [
        "---",
        "library_name: transformers",
        "pipeline_tag: text-classification",
        "---",
        "# Habitats from species read as a sentence",
        "",
        "A BERT in the text format of Pl@ntBERT (Leblanc et al.): lower-case two-word binomials by",
        'descending cover, joined by ", ", each one token. Fill-mask first, then classification.',
        "",
        f"* plots: {report['plots']}, labelled: {report['plots_labelled']}; species: {len(plots.species)}",
        f"* habitats: {', '.join(plots.habitats)}",
        f"* parameters: {report['parameters']}",
        *(f"* {k}: {v}" for k, v in asdict(spec).items()),
    ]
    return "\n".join(lines) + "\n"
