"""A small language with known meaning: three habitats, each with seven species of its own and some strangers."""

import numpy as np

from inference.plantbert.plots import Plots

SPECIES = tuple(
    f"{genus} {epithet}"
    for genus in ("abies", "carex", "poa")
    for epithet in ("alba", "flava", "filix-mas", "prima", "prima-vera", "quarta", "quinta")
)


def landscape(n: int = 240, seed: int = 0) -> Plots:
    """Plots of one to eight species; every twentieth has no habitat."""
    draw = np.random.default_rng(seed)
    label = draw.integers(0, 3, n)
    size = draw.integers(1, 9, n)
    order = np.full((n, 8), -1, dtype=np.int32)
    for i in range(n):
        weight = np.where(np.arange(21) // 7 == label[i], 10.0, 1.0)
        order[i, : size[i]] = draw.choice(21, size[i], replace=False, p=weight / weight.sum())
    label[::20] = -1
    names = np.array([str(i) for i in range(n)])
    return Plots(names, order, size.astype(np.int32), label.astype(np.int32), SPECIES, ("A", "B", "C"))
