"""Whether co-occurrence improves the deep-SDM's ranking: its probabilities weighed by the fill-mask model, on cells apart.

The western half of the cells chooses the strength, the eastern one is scored against the species that truly grow there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from benchmarks.habitats_speed import Assemblages
from cube.storage.store import open_cube
from inference.plantbert.completion import MaskReader, reweigh

STRENGTHS: Final = (0.0, 0.1, 0.2, 0.4)
CELLS: Final = 300
Array = NDArray[Any]


def ranking(demo: Path, masked: MaskReader, lists: Assemblages, truth: Assemblages, row: Array, col: Array,
            say: Callable[[str], None]) -> list[dict[str, Any]]:  # fmt: skip
    """Mean average precision of each cell's ranking of all species, as it is and reweighed; returns flat records."""
    some = np.sort(np.random.default_rng(3).permutation(len(row))[:CELLS])
    row, col, lists, truth = row[some], col[some], lists.take(some), truth.take(some)
    leaf = open_cube(str(demo / "cube.zarr")).root["products/species/v1/0"]
    stored, scale = np.asarray(leaf["occurrence"][:])[:, row, col].T, np.asarray(leaf["scale"][:])
    p = np.where(stored == 255, 0, stored) * scale
    there = np.zeros(p.shape, bool)
    for i, (order, size) in enumerate(zip(truth.order, truth.size, strict=True)):
        there[i, order[:size][order[:size] >= 0]] = True
    q = np.stack([masked.beside(order, int(size)) for order, size in zip(lists.order, lists.size, strict=True)])
    west = col < np.median(col)

    def precision(strength: float, part: Array) -> float:
        score = reweigh(p, q, strength)
        return float(np.mean([average_precision_score(t, s) for t, s in zip(there[part], score[part], strict=True) if t.any()]))

    chosen = max(STRENGTHS, key=lambda s: precision(s, west))
    plain, weighed = precision(0.0, ~west), precision(chosen, ~west)
    say("  ranking, mean average precision on the half that chooses: "
        + ", ".join(f"{s:g} {precision(s, west):.4f}" for s in STRENGTHS))  # fmt: skip
    say(f"  strength {chosen:g} on the other half: {weighed:.4f}, the deep-SDM alone {plain:.4f}"
        + ("" if weighed > plain else ": it does not help, and stays off"))  # fmt: skip
    return [{"case": "ranking", "method": "deep-SDM", "accuracy": plain},
            {"case": "ranking", "method": f"reweighed {chosen:g}", "accuracy": weighed}]  # fmt: skip
