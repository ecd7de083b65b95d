"""The compiled loops behind `server.drawing.resample`: one pass over a tile, without the interpreter's lock.

NumPy needs some fifty passes for what is one here. numba is half a second to import, so nothing imports this module at
the start. Compiled code is kept beside the sources, or in the user's cache where this folder cannot be written.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numba
import numpy as np

# Everything that does not assume away missing values: NaN is how a missing pixel is told.
_FAST: Final = {"contract", "reassoc", "nsz", "arcp"}
_F: Final = np.float32


def _compiled(signature: str | None = None) -> Callable[[Callable[..., Any]], Any]:
    """numba's `njit` with our options, kept on disk where some folder can be written; without `signature` when first called."""

    def wrap(function: Callable[..., Any]) -> Any:
        def compiled(cache: bool) -> Any:
            return numba.njit(signature, cache=cache, nogil=True, error_model="numpy", fastmath=_FAST)(function)

        try:
            return compiled(cache=True)
        except RuntimeError:  # neither this folder nor the user's cache can be written
            return compiled(cache=False)

    return wrap


@_compiled()
def _with_holes(values, row, col, radius_y, radius_x):  # type: ignore[no-untyped-def]
    """Tent-weighted mean of the valid pixels around one position, whatever lies beyond the array or is missing."""
    height, width = values.shape
    reach_y, reach_x = math.ceil(radius_y), math.ceil(radius_x)
    y0, x0 = math.floor(row - _F(0.5)), math.floor(col - _F(0.5))
    part_y, part_x = row - _F(0.5) - _F(y0), col - _F(0.5) - _F(x0)
    total, weight = _F(0), _F(0)
    for i in range(1 - reach_y, reach_y + 1):
        down = _F(1) - abs(_F(i) - part_y) / radius_y
        if y0 + i < 0 or y0 + i >= height or down <= 0:
            continue
        for k in range(1 - reach_x, reach_x + 1):
            along = _F(1) - abs(_F(k) - part_x) / radius_x
            if x0 + k < 0 or x0 + k >= width or along <= 0:
                continue
            value = values[y0 + i, x0 + k]
            if value == value:
                total += down * along * value
                weight += down * along
    return total / weight if weight >= _F(1e-5) else _F(np.nan)


def _line_of(reach: int) -> Any:
    """One line of a tile with a kernel of 2 `reach` pixels a side: a constant, so that the compiler unrolls its loops."""
    taps = 2 * reach

    @_compiled()
    def line(values, rows, cols, radius_y, radius_x, out):  # type: ignore[no-untyped-def]
        height, width = values.shape
        flat = values.ravel()
        scale_y, scale_x = _F(1) / radius_y, _F(1) / radius_x
        edge_low, most_y, most_x = _F(reach - 0.5), _F(height - reach - 0.5), _F(width - reach - 0.5)
        for j in range(rows.shape[0]):
            row, col = rows[j], cols[j]
            value = _F(np.nan)
            if row >= edge_low and row < most_y and col >= edge_low and col < most_x:
                y, x = np.int32(row - _F(0.5)), np.int32(col - _F(0.5))
                part_y, part_x = row - _F(0.5) - _F(y), col - _F(0.5) - _F(x)
                # An unsigned index, or each of them would be asked whether it counts from the end.
                at = np.uint32((y - (reach - 1)) * width + x - (reach - 1))
                if reach == 1:  # four pixels, whose weights sum to 1
                    below = at + np.uint32(width)
                    upper = flat[at] + part_x * (flat[at + np.uint32(1)] - flat[at])
                    value = upper + part_y * (flat[below] + part_x * (flat[below + np.uint32(1)] - flat[below]) - upper)
                else:
                    total, weight, share = _F(0), _F(0), _F(0)
                    for k in range(taps):
                        share += max(_F(0), _F(1) - abs(_F(k - (reach - 1)) - part_x) * scale_x)
                    for i in range(taps):
                        down = max(_F(0), _F(1) - abs(_F(i - (reach - 1)) - part_y) * scale_y)
                        across = _F(0)
                        for k in range(taps):
                            along = max(_F(0), _F(1) - abs(_F(k - (reach - 1)) - part_x) * scale_x)
                            across += along * flat[at + np.uint32(k)]
                        total += down * across
                        weight += down
                        at += np.uint32(width)
                    value = total / (weight * share)
            # A missing neighbour makes the sum NaN; then the careful way says what the others amount to.
            if value != value and row >= 0 and row < height and col >= 0 and col < width:
                centre = values[int(row), int(col)]
                if centre == centre:
                    value = _with_holes(values, row, col, radius_y, radius_x)
            out[j] = value

    return line


_line_1, _line_2, _line_3, _line_4 = _line_of(1), _line_of(2), _line_of(3), _line_of(4)


@_compiled()
def _positions(control, i, size, out):  # type: ignore[no-untyped-def]
    """Line `i` of the positions of `size` x `size` pixels, linearly between the control points (n, n)."""
    n = control.shape[0]
    if n == size:
        for j in range(size):
            out[j] = control[i, j]
        return
    step = (n - 1) / (size - 1)
    k = min(int(i * step), n - 2)
    down = i * step - k
    first = 0
    for q in range(n - 1):  # between two control points a line is straight: a loop that the compiler can vectorise
        left = control[k, q] * (1 - down) + control[k + 1, q] * down
        right = control[k, q + 1] * (1 - down) + control[k + 1, q + 1] * down
        end = size if q == n - 2 else math.ceil((q + 1) / step)
        for j in range(first, end):
            out[j] = left + (j * step - q) * (right - left)
        first = end


@_compiled("float32[:,::1](float32[:,::1], float64[:,::1], float64[:,::1], int64, float32, float32)")
def bilinear(values, rows, cols, size, radius_y, radius_x):  # type: ignore[no-untyped-def]
    """See `server.drawing.resample.bilinear`."""
    out = np.empty((size, size), np.float32)
    row, col = np.empty(size, np.float32), np.empty(size, np.float32)
    reach = max(math.ceil(radius_y), math.ceil(radius_x))
    for i in range(size):
        _positions(rows, i, size, row)
        _positions(cols, i, size, col)
        if reach == 1:
            _line_1(values, row, col, radius_y, radius_x, out[i])
        elif reach == 2:
            _line_2(values, row, col, radius_y, radius_x, out[i])
        elif reach == 3:
            _line_3(values, row, col, radius_y, radius_x, out[i])
        else:
            _line_4(values, row, col, radius_y, radius_x, out[i])
    return out


@_compiled("int32[:,::1](int32[:,::1], float64[:,::1], float64[:,::1], int64, int32)")
def nearest(values, rows, cols, size, missing):  # type: ignore[no-untyped-def]
    """See `server.drawing.resample.nearest`."""
    height, width = values.shape
    out = np.empty((size, size), np.int32)
    row, col = np.empty(size, np.float64), np.empty(size, np.float64)
    for i in range(size):
        _positions(rows, i, size, row)
        _positions(cols, i, size, col)
        for j in range(size):
            inside = row[j] >= 0 and row[j] < height and col[j] >= 0 and col[j] < width
            out[i, j] = values[int(row[j]), int(col[j])] if inside else missing
    return out


@_compiled("uint8[:,::1](float32[:,::1], float32, float32, uint8)")
def steps(values, gain, bias, last):  # type: ignore[no-untyped-def]
    """`values * gain + bias` as whole steps 1 to `last`, clipped; NaN is 0."""
    out = np.empty(values.shape, np.uint8)
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            step = values[i, j] * gain + bias
            out[i, j] = np.uint8(0) if step != step else np.uint8(min(max(step, _F(1)), _F(last)))
    return out
