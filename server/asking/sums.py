"""The compiled loop behind `server.asking.tally`: one pass over the cells of one species, where NumPy needs six."""

from __future__ import annotations

from server.drawing.kernels import _compiled


@_compiled()
def add_up(stored, mask, fill, sums):  # type: ignore[no-untyped-def]
    """Add to `sums` (cells with a value, their sum, their maximum) the cells of `stored` in `mask` that are not `fill`."""
    cells, total, most = 0, 0, sums[2]
    for row in range(stored.shape[0]):
        for col in range(stored.shape[1]):
            value = stored[row, col]
            if mask[row, col] and value != fill:
                cells += 1
                total += value
                most = max(most, value)
    sums[0] += cells
    sums[1] += total
    sums[2] = most
