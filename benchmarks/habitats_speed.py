"""Cells a second of the reader beside the naive pipeline of `transformers`, and what its approximations keep of it.

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
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerBase, pipeline

from benchmarks.cascade_projection import ASSUMED, CELLS
from cube.layers import NO_SPECIES
from cube.storage.store import open_cube
from inference.cascade.maps import read_ranked
from inference.cascade.model import load_traits
from inference.plantbert.classify import HabitatReader
from inference.plantbert.quick import agreement, as_int8, assured, repeated, teach
from inference.plantbert.text import binomial
from inference.plantbert.vocabulary import FIXED, PAD, make_tokenizer

CLOSE: Final = 1e-4  # two best probabilities nearer than this may change places
BASE: Final = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
# Cells of the naive pipeline and of the reader: enough for a steady rate of each, by the size of the model.
TINY_CELLS: Final = (150, 4000)
BASE_CELLS: Final = (6, 24)
APPROXIMATED: Final = 4000
LESSON: Final = 24_000  # cells of other units that a student is taught on
BOUND: Final = (4096, 2.0)  # rows and seconds of the matrix product that tells what the processor can do at most
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


def units_of(demo: Path, numbers: slice) -> Assemblages:
    """The predicted cells of some units of a demo cube, one unit after the other."""
    cube = open_cube(str(demo / "cube.zarr"))
    names, _ = load_traits(demo / "model")
    read = [read_ranked(cube, "v1", unit)[1] for unit in list(cube.region.units())[numbers]]
    species, size = np.concatenate([r.species for r in read]), np.concatenate([r.size for r in read])
    ids = np.where(species == NO_SPECIES, -1, species.astype(np.int32)).astype(np.int32)
    return Assemblages(ids[size > 0], size[size > 0].astype(np.int64), names)


def unit_of(demo: Path, number: int = 0) -> Assemblages:
    """The predicted cells of one unit of a demo cube."""
    return units_of(demo, slice(number, number + 1))


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """(result, seconds of the processor)."""
    started = time.process_time()
    result = work()
    return result, time.process_time() - started


def naive(model: Any, tokenizer: PreTrainedTokenizerBase, cells: Assemblages) -> tuple[Array, float]:
    """One sentence at a time through the pipeline: probabilities (n, C) and processor seconds a cell."""
    run = pipeline("text-classification", model=model, tokenizer=tokenizer, top_k=None, device="cpu")
    classes = {name: i for i, name in model.config.id2label.items()}
    made = np.zeros((len(cells.size), len(classes)))
    run(cells.sentence(0), truncation=True)
    started = time.process_time()
    for i in range(len(cells.size)):
        for one in run(cells.sentence(i), truncation=True)[0]:
            made[i, classes[one["label"]]] = one["score"]
    return made, (time.process_time() - started) / len(cells.size)


def random_reader(names: list[str], classes: int, size: dict[str, int]) -> tuple[BertForSequenceClassification, Any]:
    """A BERT of random weights: what it says means nothing, what it costs is real."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer(names)
    config = BertConfig(vocab_size=len(tokenizer), num_labels=classes, pad_token_id=FIXED.index(PAD),
                        id2label={i: f"class {i}" for i in range(classes)}, **size)  # fmt: skip
    return BertForSequenceClassification(config).eval(), tokenizer


def flops(size: int, config: Any) -> float:
    """Multiplications and additions of one list of `size` species, the last layer for [CLS] alone."""
    length, h, inner = 2 * size + 1, config.hidden_size, config.intermediate_size
    whole = 2 * length * (4 * h * h + 2 * h * inner) + 4 * length * length * h
    last = 2 * length * 2 * h * h + 2 * (2 * h * h + 2 * h * inner) + 4 * length * h
    return float((config.num_hidden_layers - 1) * whole + last)


def products_per_second(inner: int = 768, outer: int = 3072) -> float:
    """Multiplications and additions a second of the largest matrix product of a base-sized layer: the most that there is."""
    rows, weight = torch.randn(BOUND[0], inner), torch.randn(outer, inner)
    torch.nn.functional.linear(rows, weight)
    done, started = 0, time.process_time()
    while time.process_time() - started < BOUND[1]:
        torch.nn.functional.linear(rows, weight)
        done += 1
    return done * 2.0 * BOUND[0] * inner * outer / (time.process_time() - started)


def compare(what: str, model: Any, tokenizer: Any, cells: Assemblages, sizes: tuple[int, int], bar: float, say: Say
            ) -> list[dict[str, Any]]:  # fmt: skip
    """The naive pipeline on `sizes[0]` cells and the reader on `sizes[1]`, the labels of the former by both."""
    draw = np.random.default_rng(0)
    few = cells.take(draw.permutation(len(cells.size))[: sizes[0]])
    many = cells.take(draw.permutation(len(cells.size))[: sizes[1]])
    expected, each = naive(model, tokenizer, few)
    reader = HabitatReader(model, tokenizer)
    tokens, _ = reader.tokens_of(cells.names)
    reader.classify(many.order[:16], many.size[:16], tokens)
    _, seconds = timed(lambda: reader.classify(many.order, many.size, tokens))
    made = reader.classify(few.order, few.size, tokens)
    two = np.sort(expected, axis=1)[:, -2:]
    clear = two[:, 1] - two[:, 0] >= CLOSE
    other = int((made.argmax(axis=1) != expected.argmax(axis=1))[clear].sum())
    slow, fast = 1 / each, len(many.size) / seconds
    say(f"  {what}: {sum(p.numel() for p in model.parameters()) / 1e6:.1f} M weights; naive pipeline {slow:,.1f} cells/s,"
        f" reader {fast:,.1f}: {fast / slow:.1f} times (bar {bar:g}); labels that differ, of {int(clear.sum())} clear ones:"
        f" {other}; largest difference of a probability {np.abs(made - expected).max():.1e}")  # fmt: skip
    gpu = np.mean([flops(int(n), model.config) for n in many.size]) / ASSUMED["gemm"] * CELLS / 3600
    say(f"    {CELLS / 1e9:.1f} billion cells: {CELLS / fast / 3600:,.0f} core hours at this measured rate; assumed:"
        f" {gpu:.2g} h on one GPU, {gpu / 8:.2g} h on eight, at {ASSUMED['gemm'] / 1e12:.0f} TFLOP/s each")  # fmt: skip
    most = products_per_second() / np.mean([flops(int(n), model.config) for n in many.size])
    say(f"    this processor's own matrix products allow {most:,.1f} cells/s in float32: at most {most / slow:.1f} times")
    records = [{"method": "naive_loop", "cells_per_second": slow}, {"method": "plantbert", "cells_per_second": fast}]
    return [{"case": f"cells {what}", "times": fast / slow, "labels_that_differ": other, **r} for r in records]


def base_int8(model: Any, tokenizer: Any, cells: Assemblages, slow: float, say: Say) -> dict[str, Any]:
    """Cells a second of a base-sized reader with weights in 8 bits; random weights say nothing of how faithful it is."""
    reader = as_int8(HabitatReader(model, tokenizer))
    tokens, _ = reader.tokens_of(cells.names)
    many = cells.take(np.random.default_rng(0).permutation(len(cells.size))[: BASE_CELLS[1]])
    reader.classify(many.order[:4], many.size[:4], tokens)
    _, seconds = timed(lambda: reader.classify(many.order, many.size, tokens))
    rate = len(many.size) / seconds
    say(f"    base in int8, an approximation: {rate:,.1f} cells/s, {rate / slow:.1f} times naive")
    return {"case": "cells base", "method": "int8", "cells_per_second": rate}


def approximations(model: Any, tokenizer: Any, cells: Assemblages, lesson: Assemblages, slow: float, say: Say
                   ) -> list[dict[str, Any]]:  # fmt: skip
    """int8 and a student taught on cells of other units: how often they agree with the reader, how fast they are."""
    reader = HabitatReader(model, tokenizer)
    tokens, _ = reader.tokens_of(cells.names)
    whole, seconds = timed(lambda: reader.classify(cells.order, cells.size, tokens))
    hits = repeated(cells.order, cells.size)
    say(f"  of {len(cells.size):,} cells {hits:.1%} have the list of an earlier one: the hit rate of a cache")
    eight = as_int8(reader)
    read8, seconds8 = timed(lambda: eight.classify(cells.order, cells.size, tokens))
    (sure, again), more = timed(lambda: assured(read8, reader, cells.order, cells.size, tokens))
    said = reader.classify(lesson.order, lesson.size, tokens, deduplicate=True)
    student = teach(lesson.order, lesson.size, said, len(cells.names), reader.habitats, epochs=30)
    by_student, seconds_s = timed(lambda: student.classify(cells.order, cells.size))
    records = []
    for name, read, spent in (("plantbert", whole, seconds), ("int8", read8, seconds8),
                              (f"int8, {again / len(cells.size):.1%} read again", sure, seconds8 + more),
                              ("student", by_student, seconds_s)):  # fmt: skip
        rate = len(cells.size) / spent
        say(f"    {name}: agrees on {agreement(whole, read):.2%} of cells, {rate:,.0f} cells/s, {rate / slow:.1f} times naive")
        records.append({"case": "approximations", "method": name, "accuracy": agreement(whole, read), "cells_per_second": rate})
    return records


def speed(demo: Path, say: Say) -> list[dict[str, Any]]:
    """All of it, for the demo's own reader and for a base-sized one of random weights."""
    warnings.filterwarnings("ignore", message=".*sequentially on GPU.*")
    torch.set_num_threads(1)
    here, there = unit_of(demo, 0), units_of(demo, slice(1, None))
    reader = HabitatReader.load(demo / "model" / "habitats")
    model = BertForSequenceClassification.from_pretrained(str(demo / "model" / "habitats"), local_files_only=True).eval()
    say(f"\ncells: a unit of {len(here.size):,} cells, lists of {here.size.mean():.1f} species, one thread, by processor time")
    records = compare("tiny", model, reader.tokenizer, here, TINY_CELLS, 2, say)
    base, tokenizer = random_reader(here.names, len(reader.habitats), BASE)
    records += compare("base", base, tokenizer, here, BASE_CELLS, 8, say)
    records.append(base_int8(base, tokenizer, here, records[-2]["cells_per_second"], say))
    part = here.take(np.random.default_rng(1).permutation(len(here.size))[:APPROXIMATED])
    lesson = there.take(np.random.default_rng(2).permutation(len(there.size))[:LESSON])
    return records + approximations(model, reader.tokenizer, part, lesson, records[0]["cells_per_second"], say)
