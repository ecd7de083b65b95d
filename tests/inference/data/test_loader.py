"""Batches come in the order of their draws, however many threads read them."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from inference.data.loader import AHEAD, batches

CPU = torch.device("cpu")


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_order_and_notes_are_those_of_the_draws(threads):
    def load(draw: int):
        time.sleep(0.002 * (draw % 3))  # later ones may be ready sooner
        return {"x": torch.tensor([draw])}

    found = [(int(batch["x"]), note) for batch, note in batches(iter((i, str(i)) for i in range(20)), load, CPU, threads)]
    assert found == [(i, str(i)) for i in range(20)]


def test_threads_read_ahead_by_so_many_batches_and_no_more():
    drawn = []

    def draws():
        for i in range(100):
            drawn.append(i)
            yield i, i

    feed = batches(draws(), lambda draw: {"x": torch.tensor(draw)}, CPU, 2)
    next(feed)
    assert len(drawn) == 2 * AHEAD + 1
    feed.close()


def test_closing_ends_the_threads():
    before = threading.active_count()
    feed = batches(((i, i) for i in range(10**9)), lambda draw: {"x": torch.tensor(draw)}, CPU, 3)
    next(feed)
    feed.close()
    assert threading.active_count() == before


def test_an_error_while_reading_reaches_the_caller():
    def load(draw: int):
        raise ValueError(f"draw {draw}")

    for threads in (0, 2):
        with pytest.raises(ValueError, match="draw 0"):
            next(batches(((i, i) for i in range(5)), load, CPU, threads))
