"""The floor under the engine here: how fast one core copies, multiplies and compresses, and what a unit needs of each."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from numcodecs import Zstd

from inference.network.deep_sdm import ModelSpec


def best(work: Callable[[], object], times: int = 5) -> float:
    """Fewest processor seconds of `work` on this thread, after one turn that does not count."""
    work()
    seconds = []
    for _ in range(times):
        start = time.thread_time()
        work()
        seconds.append(time.thread_time() - start)
    return min(seconds)


def rates(maps: np.ndarray) -> dict[str, float]:
    """Bytes a second of a copy, floating-point operations a second of a float32 product, and bytes a second of zstd level 1.

    `maps` (k, y, x) uint8 are maps as they are stored. One core.
    """
    torch.set_num_threads(1)
    source = np.ones(2**26, np.uint8)
    target = np.empty_like(source)
    a, b = torch.randn(576, 576), torch.randn(576, 2048)
    c = torch.empty(576, 2048)
    zstd = Zstd(1)
    return {
        "memcpy": source.size / best(lambda: np.copyto(target, source)),
        "gemm": 2 * 576 * 576 * 2048 / best(lambda: torch.mm(a, b, out=c)),
        "zstd": maps.size / best(lambda: [zstd.encode(m) for m in maps], 2),
    }


def operations(spec: ModelSpec, species: int) -> dict[str, float]:
    """Floating-point operations a cell of each matrix product of the model, multiply and add counted as two."""
    w, d = spec.width, spec.d
    out = {"head": 2.0 * d * species}
    for name in spec.images:
        bands = len(spec.channels(name))
        out[f"encode {name}"] = 2.0 * (25 * (bands + 1) * w + len(spec.dilations) * 9 * w * w + w * d)
    for name in set(spec.series) - set(spec.kilometres):
        channels, period = len(spec.channels(name)), spec.inputs[name].period
        years = spec.inputs[name].steps // period
        out[f"encode {name}"] = 2.0 * (years * period * (channels + 1) * w + (3 * years - 2) * w * w + 2 * w * d)
    if "table_50m" in spec.modalities:
        out["encode table_50m"] = 2.0 * (2 * len(spec.table_50m_names) * spec.hidden + spec.hidden * d)
    return out


def floors(spec: ModelSpec, species: int, rate: dict[str, float]) -> dict[str, float]:
    """Fewest processor seconds a cell that each step could take here.

    Matrix products at the measured rate. What passes over memory, at that of a copy: inputs are read as bytes and written
    as floats; of every species a float score is read and a byte written; ranks are 64 keys of 8 bytes, read and written.
    """
    out = {step: flop / rate["gemm"] for step, flop in operations(spec, species).items()}
    bytes_a_cell = 200 + 504 + 2 * len(spec.table_50m_names)
    out["read"] = (bytes_a_cell + 4 * (100 + 504 + len(spec.table_50m_names))) / rate["memcpy"]
    out["probabilities and indicator sums"] = 8 * species / rate["memcpy"] + 2 * 18 * species / rate["gemm"]
    out["rank"] = 4 * species / rate["memcpy"] + 2 * 64 * 8 * species / 128 / rate["memcpy"]
    out["quantise"] = 5 * species / rate["memcpy"]
    out["write"] = species / rate["zstd"]
    return out
