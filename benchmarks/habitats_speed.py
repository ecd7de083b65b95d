"""Cells a second of the reader and of the naive pipeline of `transformers`.

The cells are those of a unit of a demo cube (`floracube demo --out DIR --no-serve`) as its composition layer holds them, so
their lists are predicted ones. Everything runs on one thread: rates are cells a second of one core, by processor time.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import BertForSequenceClassification, PreTrainedTokenizerBase, pipeline

from benchmarks.cascade_projection import CELLS
from cube.layers import NO_SPECIES
from cube.storage.store import open_cube
from inference.cascade.maps import read_ranked
from inference.cascade.model import load_traits
from inference.plantbert.classify import HabitatReader
from inference.plantbert.text import binomial

CLOSE: Final = 1e-4  # two best probabilities nearer than this may change places
CELLS_TIMED: Final = (150, 4000)  # of the naive pipeline and of the reader: enough for a steady rate of each
Say = Callable[[str], None]
Array = NDArray[Any]


@dataclass(frozen=True)
class Assemblages:
    """Ranked species (n, 64), -1 = none, the size of each set (n), and the names of all species."""

    order: NDArray[np.int32]
    size: NDArray[np.int64]
    names: list[str]

    def take(self, rows: Array) -> Assemblages:
        """Some of them."""
        return Assemblages(self.order[rows], self.size[rows], self.names)

    def sentence(self, row: int) -> str:
        """What the naive pipeline is given."""
        return ", ".join(binomial(self.names[i]) for i in self.order[row, : self.size[row]])


def first_unit(demo: Path) -> Assemblages:
    """The predicted cells of the first unit of a demo cube."""
    cube = open_cube(str(demo / "cube.zarr"))
    names, _ = load_traits(demo / "model")
    _, ranked = read_ranked(cube, "v1", next(iter(cube.region.units())))
    ids = np.where(ranked.species == NO_SPECIES, -1, ranked.species.astype(np.int32)).astype(np.int32)
    return Assemblages(ids[ranked.size > 0], ranked.size[ranked.size > 0].astype(np.int64), names)


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """(result, seconds of the processor)."""
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


def naive(model: Any, tokenizer: PreTrainedTokenizerBase, cells: Assemblages) -> tuple[Array, float]:
    """One sentence at a time through the pipeline: probabilities (n, C) and processor seconds a cell."""
    run = pipeline("text-classification", model=model, tokenizer=tokenizer, top_k=None, device="cpu")
    classes = {name: i for i, name in model.config.id2label.items()}
    scores = np.zeros((len(cells.size), len(classes)))
    run(cells.sentence(0), truncation=True)
    start = time.process_time()
    for i in range(len(cells.size)):
        for result in run(cells.sentence(i), truncation=True)[0]:
            scores[i, classes[result["label"]]] = result["score"]
    return scores, (time.process_time() - start) / len(cells.size)


def compare(model: Any, tokenizer: Any, cells: Assemblages, sizes: tuple[int, int], bar: float, say: Say) -> list[dict[str, Any]]:
    """The naive pipeline on `sizes[0]` cells and the reader on `sizes[1]`, the labels of the former by both."""
    draw = np.random.default_rng(0)
    small_sample = cells.take(draw.permutation(len(cells.size))[: sizes[0]])
    large_sample = cells.take(draw.permutation(len(cells.size))[: sizes[1]])
    expected, each = naive(model, tokenizer, small_sample)
    reader = HabitatReader(model, tokenizer)
    tokens, _ = reader.tokens_of(cells.names)
    reader.classify(large_sample.order[:16], large_sample.size[:16], tokens)
    _, seconds = timed(lambda: reader.classify(large_sample.order, large_sample.size, tokens))
    probability = reader.classify(small_sample.order, small_sample.size, tokens)
    two = np.sort(expected, axis=1)[:, -2:]
    clear = two[:, 1] - two[:, 0] >= CLOSE
    n_different = int((probability.argmax(axis=1) != expected.argmax(axis=1))[clear].sum())
    slow, fast = 1 / each, len(large_sample.size) / seconds
    say(
        f"  {sum(p.numel() for p in model.parameters()) / 1e6:.1f} M weights; naive pipeline {slow:,.1f} cells/s,"
        f" reader {fast:,.1f}: {fast / slow:.1f} times (bar {bar:g}); labels that differ, of {int(clear.sum())} clear ones:"
        f" {n_different}; largest difference of a probability {np.abs(probability - expected).max():.1e}"
    )
    say(f"    {CELLS / 1e9:.1f} billion cells: {CELLS / fast / 3600:,.0f} core hours at this measured rate")
    records = [{"method": "naive_loop", "cells_per_second": slow}, {"method": "plantbert", "cells_per_second": fast}]
    return [{"case": "cells", "times": fast / slow, "labels_that_differ": n_different, **r} for r in records]


def speed(demo: Path, say: Say) -> list[dict[str, Any]]:
    """The demo's own reader and the naive pipeline."""
    warnings.filterwarnings("ignore", message=".*sequentially on GPU.*")
    torch.set_num_threads(1)
    lists = first_unit(demo)
    reader = HabitatReader.load(demo / "model" / "habitats")
    model = BertForSequenceClassification.from_pretrained(str(demo / "model" / "habitats"), local_files_only=True).eval()
    say(f"\ncells: a unit of {len(lists.size):,} cells, lists of {lists.size.mean():.1f} species, one thread, by processor time")
    return compare(model, reader.tokenizer, lists, CELLS_TIMED, 2, say)
