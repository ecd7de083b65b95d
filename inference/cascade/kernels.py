"""Scores of a block of species to what is kept of them, in one pass compiled for the CPU: no torch, no files.

A tile is a few thousand cells, a row of it one species: rows are contiguous, so every loop over cells is vectorised by the
compiler. Sums and ranks of a cell meet the species in the order of their table whatever the block, the tile or the number of
threads. The kernels release the interpreter's lock.

`exp`, `expm1` and `log` are polynomials (Moshier, Cephes 2.8: expf, logf; within 2 units in the last place), since the ones
of the C library are called value by value.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from inference.training.likelihood import HIGHEST, LOWEST

ROW: Final = 2048  # cells of a row that are worked on at a time: temporaries stay in the first cache
CHUNK: Final = 16  # cells that are passed over together where none of them enters the ranking
NONE: Final = np.uint64(0)  # key of an empty rank


_f = np.float32
_LOG2E, _LN2_HIGH, _LN2_LOW = _f(1.44269504088896341), _f(0.693359375), _f(-2.12194440e-4)
_E = tuple(_f(v) for v in (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1))
_L = tuple(
    _f(v)
    for v in (
        7.0376836292e-2,
        -1.1514610310e-1,
        1.1676998740e-1,
        -1.2420140846e-1,
        1.4249322787e-1,
        -1.6668057665e-1,
        2.0000714765e-1,
        -2.4999993993e-1,
        3.3333331174e-1,
    )
)
_E0, _E1, _E2, _E3, _E4, _E5 = _E
_L0, _L1, _L2, _L3, _L4, _L5, _L6, _L7, _L8 = _L
_ROUND = _f(12582912.0)  # 1.5 x 2^23: adding and taking it away rounds to even
_ONE, _HALF, _ZERO = _f(1), _f(0.5), _f(0)
_LOW, _HIGH = _f(LOWEST), _f(HIGHEST)
_WIDE = _f(60.0)
_TINY = _f(np.finfo(np.float32).tiny)
_SQRT_HALF = _f(0.70710678118654752)


@njit(inline="always")  # type: ignore[untyped-decorator]
def _expm1(x: Any) -> Any:
    """(2^k, expm1 of the rest) of x = k ln 2 + rest, |rest| <= ln 2 / 2."""
    k = (x * _LOG2E + _ROUND) - _ROUND
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    q = ((((_E0 * r + _E1) * r + _E2) * r + _E3) * r + _E4) * r + _E5
    power = np.int32((np.int32(k) + np.int32(127)) << np.int32(23)).view(np.float32)
    return power, q * (r * r) + r


@njit(inline="always")  # type: ignore[untyped-decorator]
def _rate(eta: Any) -> Any:
    """exp(eta), with `eta` kept where neither it nor a sum of a few is beyond float32."""
    power, expm1_part = _expm1(min(max(eta, -_WIDE), _WIDE))
    return power * expm1_part + power


@njit(inline="always")  # type: ignore[untyped-decorator]
def _probability(eta: Any) -> Any:
    """1 - exp(-exp(eta)) with `eta` kept in LOWEST..HIGHEST, exact for small ones: see `cloglog_probability`."""
    x = min(max(eta, _LOW), _HIGH)
    power, expm1_part = _expm1(x)
    rate = power * expm1_part + power
    power, expm1_part = _expm1(-rate)
    return -(power * expm1_part + (power - _ONE))


@njit(inline="always")  # type: ignore[untyped-decorator]
def _log(p: Any) -> Any:
    """ln p of a normal p > 0."""
    bits = np.float32(p).view(np.int32)
    e = _f((bits >> np.int32(23)) - np.int32(126))
    m = np.int32((bits & np.int32(0x007FFFFF)) | np.int32(0x3F000000)).view(np.float32)
    small = m < _SQRT_HALF
    e = e - _ONE if small else e
    m = m + m - _ONE if small else m - _ONE
    z = m * m
    y = _L0
    y = ((((((((y * m + _L1) * m + _L2) * m + _L3) * m + _L4) * m + _L5) * m + _L6) * m + _L7) * m + _L8) * m * z
    y = y + e * _LN2_LOW - _HALF * z
    return m + y + e * _LN2_HIGH


@njit(nogil=True, cache=True, fastmath={"contract", "nnan", "nsz"}, error_model="numpy")  # type: ignore[untyped-decorator]
def take_block(
    scores: NDArray[np.float32],
    bias: NDArray[np.float32],
    slope: NDArray[np.float32],
    intercept: NDArray[np.float32],
    replacements: NDArray[np.float32],
    which: NDArray[np.int64],
    forest: NDArray[np.float32],
    elementwise: NDArray[np.float64],
) -> None:
    """Scores of members to probabilities in place, and their sums of p ln p and p^2.

    `scores` (members, s, n): without their `bias` (members, s); afterwards `scores[0]` holds probabilities: those of the members'
    mean intensity, calibrated by `slope` and `intercept` (s,). Row `which[i]` of `replacements` (k, n), where that is not
    negative, is the probability of species i instead. `forest` (s, n) is a forest's
    share of the mean intensity, or has no row. `elementwise` (2, n) is added to, 128 species in float32 at a time.
    """
    members, species, cells = scores.shape
    share = _f(1.0 / members)
    part = np.empty((2, ROW), np.float32)
    for c0 in range(0, cells, ROW):
        n = min(ROW, cells - c0)
        for s0 in range(0, species, 128):
            part[:] = _ZERO
            for s in range(s0, min(s0 + 128, species)):
                row = scores[0, s, c0 : c0 + n]
                if which[s] >= 0:
                    row[:] = replacements[which[s], c0 : c0 + n]
                else:
                    a, b, first = slope[s], intercept[s], bias[0, s]
                    if members > 1 or len(forest) > 0:
                        for c in range(n):
                            row[c] = _rate(row[c] + first)
                        for k in range(1, members):
                            more, species_bias = scores[k, s, c0 : c0 + n], bias[k, s]
                            for c in range(n):
                                row[c] += _rate(more[c] + species_bias)
                        for c in range(n):
                            row[c] *= share
                        if len(forest) > 0:
                            of_forest = forest[s, c0 : c0 + n]
                            for c in range(n):
                                row[c] += of_forest[c]
                        for c in range(n):
                            row[c] = _probability(a * _log(row[c]) + b)
                    else:
                        for c in range(n):
                            row[c] = _probability(a * (row[c] + first) + b)
                for c in range(n):
                    p = row[c]
                    part[0, c] += p * _log(max(p, _TINY))
                    part[1, c] += p * p
            for c in range(n):
                elementwise[0, c0 + c] += part[0, c]
                elementwise[1, c0 + c] += part[1, c]


@njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def rank_block(p: NDArray[np.float32], first: int, keys: NDArray[np.uint64], last_rank: NDArray[np.float32]) -> None:
    """Enter the species `first`, `first` + 1, ... with probabilities `p` (s, n or more) into the ranking `keys` (n, ranks).

    A key holds the bits of a probability above those of a species' place from the end of the table: the larger, the more
    probable, and of equals the earlier one. `keys` are kept descending; `last_rank` (n,) is the probability of the last.
    """
    species = p.shape[0]
    cells, ranks = keys.shape
    for s in range(species):
        low = np.uint64(np.uint32(0xFFFFFFFF) - np.uint32(first + s))
        for c0 in range(0, cells, CHUNK):
            c1 = min(c0 + CHUNK, cells)
            hits = np.int32(0)
            for c in range(c0, c1):
                hits += np.int32(p[s, c] > last_rank[c])
            if hits == 0:
                continue
            for c in range(c0, c1):
                if p[s, c] > last_rank[c]:
                    key = (np.uint64(np.float32(p[s, c]).view(np.int32)) << np.uint64(32)) | low
                    cell_keys = keys[c]
                    k = ranks - 1
                    while k > 0 and cell_keys[k - 1] < key:
                        cell_keys[k] = cell_keys[k - 1]
                        k -= 1
                    cell_keys[k] = key
                    if cell_keys[ranks - 1] != NONE:  # as long as a rank is empty even a probability of 0 enters it
                        last_rank[c] = np.int32(cell_keys[ranks - 1] >> np.uint64(32)).view(np.float32)


@njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def store_block(
    p: NDArray[np.float32], scale: NDArray[np.float32], index: NDArray[np.int64], steps: int, out: NDArray[np.uint8]
) -> NDArray[np.int64]:
    """Probabilities `p` (s, n or more) in steps of `scale` (s,), rounded to even, into columns `index` (n,) of `out` (s, cells).

    What is above `steps` becomes `steps`; returns how many values of each species (s,) that were, by more than rounding.
    """
    species, cells = p.shape[0], index.shape[0]
    top = _f(steps)
    buffer = np.empty(ROW, np.uint8)
    clipped_cells = np.zeros(species, np.int64)
    for c0 in range(0, cells, ROW):
        n = min(ROW, cells - c0)
        together = index[c0 + n - 1] - index[c0] == n - 1
        at = index[c0]
        for s in range(species):
            unit = scale[s]
            above = np.int32(0)
            row = out[s, at : at + n] if together else buffer[:n]
            for c in range(n):
                v = p[s, c0 + c] / unit
                above += np.int32(v > top + _HALF)
                row[c] = np.uint8(np.int32(min((v + _ROUND) - _ROUND, top)))
            clipped_cells[s] += above
            if not together:
                for c in range(n):
                    out[s, index[c0 + c]] = buffer[c]
    return clipped_cells


def pack(p: NDArray[np.float32], species: NDArray[np.int32]) -> NDArray[np.uint64]:
    """The keys of ranks, the inverse of `unpack`; of species -1 that of an empty rank."""
    low = (np.uint32(0xFFFFFFFF) - species.view(np.uint32)).astype(np.uint64)
    keys = (p.view(np.uint32).astype(np.uint64) << np.uint64(32)) | low
    return np.where(species < 0, NONE, keys)


def unpack(keys: NDArray[np.uint64]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """(probabilities, species) of ranks, each of the shape of `keys`; an empty rank is probability 0 of species -1."""
    p = (keys >> np.uint64(32)).astype(np.uint32).view(np.float32)
    species = (np.uint32(0xFFFFFFFF) - keys.astype(np.uint32)).view(np.int32)
    return p, np.where(keys == NONE, np.int32(-1), species)
