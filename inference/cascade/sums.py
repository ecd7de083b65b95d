"""The running sums over species that indicators are finished from, as data: one matrix of weights, two elementwise sums.

A cell's sums are `weights @ p` (all rows in one matrix product), sum p ln p and sum p^2 (one elementwise pass), so species
can be computed block by block and a kernel needs to know nothing of indicators. What the sums mean is `indicators`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cube.records.traits import INDICATOR_VALUES, THREATENED
from inference.cascade.reference import Reference

Floats = NDArray[np.floating[Any]]
Sums = Mapping[str, NDArray[np.float64]]
Traits = Mapping[str, NDArray[Any]]

ELEMENTWISE: Final = ("p_log_p", "p_squared")  # the last two rows of running sums: sums of p ln p (0 ln 0 is 0) and of p^2


def _flag(name: str) -> Callable[[Traits], NDArray[np.float64]]:
    return lambda traits: np.asarray(traits[name], np.float64)


def _threatened(traits: Traits) -> NDArray[np.float64]:
    return np.isin(traits["iucn"].astype(str), THREATENED).astype(np.float64)


STATUS: Final[Mapping[str, Callable[[Traits], NDArray[np.float64]]]] = {
    "threatened": _threatened,
    "invasive": _flag("invasive"),
    "protected": _flag("protected"),
    "endemic": _flag("endemic"),
}


@dataclass(frozen=True)
class SumPlan:
    """Which sums are kept: the rows of `weights`, and behind them those of `ELEMENTWISE`.

    Running sums are one array (rows, cells) float64; `add` is how a block of species enters it, in NumPy. Whoever has a
    faster way to `weights[:, block] @ p` and the two elementwise sums adds those to the same rows.
    """

    linear: tuple[str, ...]  # names of the rows of `weights`
    weights: NDArray[np.float32]  # (len(linear), species)
    constants: Mapping[str, float] = field(default_factory=dict)  # of the species table, that indicators need beside the sums

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all rows, in order."""
        return (*self.linear, *ELEMENTWISE)

    @property
    def available(self) -> frozenset[str]:
        """Names of all rows and constants: what `named` gives."""
        return frozenset((*self.names, *self.constants))

    def zero(self, cells: int) -> NDArray[np.float64]:
        """Running sums over no species yet, (rows, cells) float64."""
        return np.zeros((len(self.names), cells))

    def add(self, running: NDArray[np.float64], probability: Floats, block: slice) -> None:
        """Add the species of `block` to `running`, in place; `probability` is (species of the block, cells) in 0..1."""
        p = probability
        running[: len(self.linear)] += self.weights[:, block].astype(p.dtype) @ p
        # 0 ln 0 is 0: the smallest number stands in for it within the logarithm.
        running[-2] += (p * np.log(np.maximum(p, np.finfo(p.dtype).tiny))).sum(axis=0, dtype=np.float64)
        running[-1] += np.einsum("sc,sc->c", p, p)

    def by_name(self, running: NDArray[np.float64]) -> Sums:
        """The rows of `running` by name, with the constants as (1,) arrays beside them."""
        rows = dict(zip(self.names, running, strict=True))
        return rows | {name: np.array([value]) for name, value in self.constants.items()}

    def sums(self, probability: Floats) -> Sums:
        """The named sums of all species at once, from (species, cells)."""
        running = self.zero(probability.shape[1])
        self.add(running, probability, slice(None))
        return self.by_name(running)


def plan_sums(traits: Traits, reference: Reference | None = None, more: Mapping[str, float] | None = None) -> SumPlan:
    """The sums that a species table gives a meaning to, from its columns (species,) and the reference composition.

    Rows: `p` (ones); each status that a species has; for each indicator value v that a species has, `<v>_known` (1 where
    it is known) and `<v>_sum` (the value, 0 where unknown), and `values_known` (1 where all of them are); `reference`, the
    mean composition, where one is given whose places differ. `more` are constants beside those of the reference.
    """
    species = len(next(iter(traits.values())))
    rows: dict[str, NDArray[np.float64]] = {"p": np.ones(species)}
    for name, weights in STATUS.items():
        w = weights(traits)
        if w.any():
            rows[name] = w
    has_all_values = np.ones(species, bool)
    for name in INDICATOR_VALUES:
        values = np.asarray(traits.get(f"ellenberg_{name}", np.full(species, np.nan)), np.float64)
        finite = np.isfinite(values)
        if finite.any():
            rows[f"{name}_known"] = finite.astype(np.float64)
            rows[f"{name}_sum"] = np.where(finite, values, 0.0)
            has_all_values &= finite
    if any(row.endswith("_known") for row in rows):
        rows["values_known"] = has_all_values.astype(np.float64)
    constants: dict[str, float] = dict(more or {})
    if reference is not None and reference.total > 0:
        rows["reference"] = reference.mean.astype(np.float64)
        constants |= {"reference_length": float(rows["reference"] @ rows["reference"]), "reference_total": reference.total}
    return SumPlan(tuple(rows), np.stack(list(rows.values())).astype(np.float32), constants)
