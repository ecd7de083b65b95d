"""Which device trains, in which precision, and how many threads feed it."""

from __future__ import annotations

import torch

from cube.errors import ModelError
from inference.training.options import TrainOptions

FEEDING: int = 4  # threads that keep a GPU, or a disk, busy


def device_of(options: TrainOptions) -> torch.device:
    """The device of `options.device`. Raises: ModelError for a name that torch does not know or a GPU that is not there."""
    if options.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(options.device)
    except RuntimeError:
        raise ModelError(f"train.device is '{options.device}', expected auto, cpu, cuda or cuda:1.") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ModelError(
            f"train.device is '{options.device}' but torch sees {torch.cuda.device_count()} GPUs; choose auto or cpu."
        )
    return device


def low_precision(options: TrainOptions, device: torch.device) -> bool:
    """Whether the forward pass runs in bfloat16; weights, likelihood and optimiser stay in float32."""
    if options.precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported()
    return options.precision == "bfloat16"


def loaders_of(options: TrainOptions, device: torch.device, on_disk: bool) -> int:
    """Threads that read batches ahead."""
    if options.loaders is not None:
        return options.loaders
    return FEEDING if on_disk or device.type == "cuda" else 0
