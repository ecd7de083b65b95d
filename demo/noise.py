"""Random fields with a spatial structure: the raw material of every part of the landscape."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import zoom

Field = NDArray[np.float32]


def stream(seed: int, name: str) -> np.random.Generator:
    """A random stream of its own for `name`, so that one part can change without moving the others."""
    return np.random.default_rng([seed, *name.encode()])


def standardise(field: NDArray[np.floating], mask: NDArray[np.bool_] | None = None) -> Field:
    """The field with mean 0 and standard deviation 1 (over `mask`, if given); a flat field becomes 0."""
    part = field if mask is None else field[mask]
    mean, spread = float(part.mean()), float(part.std())
    return ((field - mean) / max(spread, 1e-9)).astype(np.float32)


def smoothstep(field: NDArray[np.floating], low: float, high: float) -> Field:
    """0 below `low`, 1 above `high` and a smooth cubic between (also for `low` > `high`: falling)."""
    t = np.clip((field - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), dtype=np.float32)


def fractal(shape: tuple[int, int], longest: float, rng: np.random.Generator, slope: float = 2.0) -> Field:
    """A Gaussian field (y, x) of power spectrum k^-slope, flat beyond wavelengths of `longest` cells.

    Mean 0, standard deviation 1. The field is cut out of a periodic one twice as large where that is
    needed, so opposite edges do not resemble each other.
    """
    rows, cols = (int(2 ** np.ceil(np.log2(n + longest))) for n in shape)
    ky = np.fft.fftfreq(rows)[:, None]
    kx = np.fft.rfftfreq(cols)[None, :]
    k = np.sqrt(ky**2 + kx**2)
    amplitude = np.maximum(k, 1.0 / longest) ** (-slope / 2.0)
    amplitude[0, 0] = 0.0
    noise = np.fft.rfft2(rng.standard_normal((rows, cols), dtype=np.float32))
    field = np.fft.irfft2(noise * amplitude, s=(rows, cols))[: shape[0], : shape[1]]
    return standardise(field)


def patches(shape: tuple[int, int], size: float, rng: np.random.Generator) -> Field:
    """A smooth Gaussian field (y, x) with patches of about `size` cells; mean 0, standard deviation 1."""
    step = max(int(size / 5), 1)
    small = (shape[0] // step + 4, shape[1] // step + 4)
    field = fractal(small, size / step * 1.6, rng, slope=4.0)
    if step > 1:
        field = zoom(field, step, order=1)
    return standardise(field[step : step + shape[0], step : step + shape[1]])


def hashed(cells: NDArray[np.integer], seed: int, salt: int = 0) -> Field:
    """A uniform number in [0, 1) for every integer, the same wherever that integer appears."""
    hashes = cells.astype(np.uint32) * np.uint32(2654435761)
    hashes += np.uint32((seed * 97 + salt * 7919 + 12345) & 0xFFFFFFFF)
    for shift, factor in ((16, 2246822519), (13, 3266489917)):
        hashes ^= hashes >> np.uint32(shift)
        hashes *= np.uint32(factor)
    hashes ^= hashes >> np.uint32(16)
    return ((hashes >> np.uint32(8)).astype(np.float32) / np.float32(2**24)).astype(np.float32)
