"""Where a model computes and how much at a time: the processor in float32, or a GPU in bfloat16 with batches that fit.

A GPU's batch is halved when its memory is full, for the unit that met it and for all that follow in the process: the
receipt says so, since sums in another order may move a stored value by one step.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from typing import Any, Final, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.cuda import Stream

from cube.engine.workers import WORKER_NUMBER
from cube.errors import ModelError
from inference.network.deep_sdm import TILE
from inference.network.encoders import SatelliteEncoder
from inference.network.ensemble import Ensemble

T = TypeVar("T")
log = logging.getLogger("floracube.device")

CELLS: Final = 2048  # cells of a tile of scores on the processor: with 128 species they stay in the cache
CELLS_GPU: Final = 131_072
ROWS_GPU: Final = 200  # a unit of 40 km is four bands of 160,000 cells: one is read and copied while another is computed
SIDES: Final = (ROWS_GPU, TILE, 40, 20)  # divide every unit, and their corners lie on 1 km cells
FEWEST: Final = 128


@dataclass
class Batch:
    """How much is computed at a time; halved where it does not fit."""

    side: int = TILE  # cells a side of an embedded tile
    cells: int = CELLS  # cells of a tile of scores
    whole_rows: bool = False  # tiles are as wide as the unit
    times_halved: int = 0

    def halve(self) -> bool:
        """Half as many cells in both, or fewer; False where they are the fewest already."""
        smaller = [side for side in SIDES if side**2 <= self.side**2 // 2]
        if not smaller and self.cells <= FEWEST:
            return False
        self.side = smaller[0] if smaller else self.side
        self.cells = max(self.cells // 2, FEWEST)
        self.times_halved += 1
        return True


@dataclass
class Device:
    """A torch device with the batch that it holds."""

    torch: torch.device
    batch: Batch = field(default_factory=Batch)

    @classmethod
    def by_name(cls, name: str) -> Device:
        """`cpu`, `cuda`, `cuda:1`, or `auto`: a GPU where torch finds one, and workers of one machine take its GPUs in turn.

        Raises `ModelError` for one that is not there.
        """
        if name == "auto":
            number = int(os.environ.get(WORKER_NUMBER, 0))
            name = f"cuda:{number % torch.cuda.device_count()}" if torch.cuda.is_available() else "cpu"
        if name.startswith("cuda") and not torch.cuda.is_available():
            raise ModelError(f"the device '{name}' is asked for, but torch finds no GPU here; use 'cpu' or 'auto'.")
        device = torch.device(name)
        if device.type == "cpu":
            return cls(device)
        return cls(device, Batch(ROWS_GPU, CELLS_GPU, whole_rows=True))

    @cached_property
    def copies(self) -> Stream | None:
        """What a GPU copies while it computes."""
        return Stream(self.torch) if self.torch.type == "cuda" else None

    @property
    def compiled(self) -> bool:
        """Whether scores become stored values in compiled loops on the processor (`kernels`) or in torch on the device."""
        return self.torch.type == "cpu"

    def put(self, values: Tensor) -> Tensor:
        """The tensor on the device."""
        return values.to(self.torch, non_blocking=True)

    def upload(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
        """Arrays on the device, there when this returns: on a GPU by way of pinned memory, while it computes something else."""
        tensors = {name: torch.from_numpy(values) for name, values in arrays.items()}
        if self.copies is None:
            return tensors
        with torch.cuda.stream(self.copies):
            on_device = {name: values.pin_memory().to(self.torch, non_blocking=True) for name, values in tensors.items()}
        for values in on_device.values():  # their memory must not serve the next copy before what computes is done with it
            values.record_stream(torch.cuda.default_stream(self.torch))
        self.copies.synchronize()
        return on_device

    def download(self, values: Tensor, out: NDArray[Any]) -> None:
        """Copy a tensor into an array, which must be pinned if the device is a GPU; it is there after `finish_copies`."""
        if self.copies is not None:
            self.copies.wait_stream(torch.cuda.current_stream(self.torch))
            values.record_stream(self.copies)
        with torch.cuda.stream(self.copies):
            torch.from_numpy(out).copy_(values, non_blocking=True)

    def finish_copies(self) -> None:
        """Wait until all that was to be downloaded is there."""
        if self.copies is not None:
            self.copies.synchronize()

    def precision(self) -> AbstractContextManager[Any]:
        """bfloat16 for the encoders on a GPU; float32 on a processor, where it is exact and mostly as fast."""
        return torch.autocast(self.torch.type, torch.bfloat16) if self.torch.type == "cuda" else nullcontext()

    def prepare(self, ensemble: Ensemble) -> Ensemble:
        """The ensemble on the device; on a GPU images are channels-last and the image encoders compiled for their one shape."""
        ensemble = ensemble.to(self.torch)
        if self.torch.type == "cuda":
            for net in ensemble.networks:
                for encoder in net.encoders.values():
                    if isinstance(encoder, SatelliteEncoder):
                        encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
                        _compile(encoder)
        return ensemble

    def with_smaller_batches_on_oom(self, work: Callable[[], T]) -> T:
        """The result of `work`, tried again with half the batch as often as the device's memory is full."""
        while True:
            try:
                return work()
            except torch.OutOfMemoryError:
                if not self.batch.halve():
                    raise
            if self.torch.type == "cuda":
                torch.cuda.empty_cache()  # outside the handler, which holds the frames and their tensors


def _compile(encoder: nn.Module) -> None:
    """Compile in place, where a compiler is: without one the encoder computes the same, slower."""
    if find_spec("triton") is None:
        return
    from torch._dynamo.exc import TorchDynamoException  # torch's compiler, a second to import

    encoder.compile(dynamic=False)
    compiled: Any = encoder._compiled_call_impl

    def call(*args: Any) -> Any:
        try:
            return compiled(*args)
        except TorchDynamoException as error:
            encoder._compiled_call_impl = None
            reason = str(error).strip().partition("\n")[0]
            log.warning("the encoder of satellite images is not compiled and so slower; is there a C compiler? (%s)", reason)
            return encoder(*args)

    encoder._compiled_call_impl = call
