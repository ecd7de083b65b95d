"""Batches read ahead by threads and moved to the device while it computes. What a batch holds is not known here.

Threads, not processes: arrays in memory are shared instead of copied, and reading files and taking rows of arrays run
outside the interpreter's lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

import torch
from torch import Tensor

Batch = dict[str, Tensor]
Draw = TypeVar("Draw")
Note = TypeVar("Note")
AHEAD: Final = 2  # batches held ready per thread


def batches(
    draws: Iterator[tuple[Draw, Note]], load: Callable[[Draw], Batch], device: torch.device, threads: int
) -> Iterator[tuple[Batch, Note]]:
    """The batch of each draw on `device`, in order, beside the draw's note; close it to end the threads.

    `draws` is asked in the caller's thread, up to `threads` x AHEAD draws before their batches are used, so the sequence
    is the same for every number of threads. `load` runs in the threads (0: in the caller's). For a GPU, batches pass through
    pinned memory and are copied without blocking.
    """

    def ready(draw: Draw) -> Batch:
        batch = load(draw)
        return {name: values.pin_memory() for name, values in batch.items()} if device.type == "cuda" else batch

    if threads < 1:
        for draw, note in draws:
            yield to_device(ready(draw), device), note
        return
    pool = ThreadPoolExecutor(threads, "loader")
    waiting: deque[tuple[Future[Batch], Note]] = deque()
    try:
        for draw, note in draws:
            waiting.append((pool.submit(ready, draw), note))
            if len(waiting) > threads * AHEAD:
                yield _next_batch(waiting, device)
        while waiting:
            yield _next_batch(waiting, device)
    finally:
        pool.shutdown(cancel_futures=True)


def _next_batch(waiting: deque[tuple[Future[Batch], Note]], device: torch.device) -> tuple[Batch, Note]:
    future, note = waiting.popleft()
    return to_device(future.result(), device), note


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch on `device`; the copy from pinned memory goes on while the caller does."""
    return {name: values.to(device, non_blocking=True) for name, values in batch.items()}
