"""Medians over scenes of the pixels that are clear: arrays in, arrays out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MASKED: Final = 65535  # sorts behind every value
BRIGHTEST: Final = MASKED - 1
PIXEL_BLOCK: Final = 8192  # pixels: the scenes of so many stay in a core's cache while they are sorted


@lru_cache(maxsize=64)
def sorting_network(n: int) -> tuple[tuple[int, int], ...]:
    """Pairs (low, high) that, compared and exchanged in this order, sort any n values: Batcher's odd-even merge sort.

    Knuth, The Art of Computer Programming 3, 5.2.2, algorithm M. Whole rows of pixels are exchanged at once, which is
    five to ten times as fast as sorting pixel by pixel.
    """
    pairs = []
    p = 1
    while p < n:
        k = p
        while k >= 1:
            for j in range(k % p, n - k, 2 * k):
                for i in range(min(k, n - j - k)):
                    if (i + j) // (2 * p) == (i + j + k) // (2 * p):
                        pairs.append((i + j, i + j + k))
            k //= 2
        p *= 2
    return tuple(pairs)


def clear_median(values: NDArray[np.uint16], clear: NDArray[np.bool_], threads: int = 1) -> tuple[NDArray[Any], NDArray[Any]]:
    """Median over the scenes in which a pixel is clear.

    `values` (scene, band, y, x), below 65535, are spoiled on the way: there is no second copy of them. `clear`
    (scene, y, x) speaks for all bands. Returns the median (band, y, x) float32, the mean of the middle two where their
    number is even, NaN where no scene is clear; and that number (y, x), uint16.
    """
    scenes, bands, height, width = values.shape
    flat, is_clear = values.reshape(scenes, bands, -1), clear.reshape(scenes, -1)
    out = np.empty((bands, height * width), np.float32)
    count = np.empty(height * width, np.uint16)

    def block(start: int) -> None:
        part = slice(start, start + PIXEL_BLOCK)
        is_masked = ~is_clear[:, part]
        n = scenes - is_masked.sum(axis=0)
        count[part] = n
        low, high = np.maximum(n - 1, 0) // 2, np.minimum(n // 2, scenes - 1)
        pixel = np.arange(n.size)
        for band in range(bands):
            pixels = flat[:, band, part]
            pixels[is_masked] = MASKED
            _sort(pixels)
            middle = (pixels[low, pixel].astype(np.float32) + pixels[high, pixel]) / 2
            middle[n == 0] = np.nan
            out[band, part] = middle

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(block, range(0, height * width, PIXEL_BLOCK)))
    return out.reshape(bands, height, width), count.reshape(height, width)


def _sort(rows: NDArray[np.uint16]) -> None:
    smaller = np.empty_like(rows[0])
    for low, high in sorting_network(len(rows)):
        np.minimum(rows[low], rows[high], out=smaller)
        np.maximum(rows[low], rows[high], out=rows[high])
        rows[low] = smaller
