"""Biodiversity indicators: pure functions of probabilities and the species table, gathered in one registry.

An indicator is finished from a few running sums over species, so that species can be computed block by block:
adding one is one function and one line of `INDICATORS`. Interval bounds are split conformal (`intervals.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cube.records.traits import THREATENED

Floats = NDArray[np.floating[Any]]
Sums = dict[str, NDArray[np.float64]]
Traits = Mapping[str, NDArray[Any]]


def _flag(name: str) -> Callable[[Traits], NDArray[np.float64]]:
    return lambda traits: np.asarray(traits[name], np.float64)


def _threatened(traits: Traits) -> NDArray[np.float64]:
    return np.isin(traits["iucn"].astype(str), THREATENED).astype(np.float64)


# Species weights of the linear sums; all other sums are functions of p alone.
WEIGHTS: Final[Mapping[str, Callable[[Traits], NDArray[np.float64]]]] = {
    "threatened": _threatened,
    "invasive": _flag("invasive"),
    "protected": _flag("protected"),
    "endemic": _flag("endemic"),
}


def zero_sums(cells: int) -> Sums:
    """Running sums over no species yet, each (cells,) float64."""
    return {name: np.zeros(cells) for name in ("p", "p_log_p", "p_squared", *WEIGHTS)}


def add_species(sums: Sums, probability: Floats, traits: Traits) -> None:
    """Add a block of species to the running sums, in place.

    `probability` is (species, cells) in 0..1, `traits` the columns of the species table for those species.
    """
    p = probability
    sums["p"] += p.sum(axis=0, dtype=np.float64)
    # 0 ln 0 is 0: the smallest number stands in for it within the logarithm.
    sums["p_log_p"] += (p * np.log(np.maximum(p, np.finfo(p.dtype).tiny))).sum(axis=0, dtype=np.float64)
    sums["p_squared"] += np.einsum("sc,sc->c", p, p)
    for name, weights in WEIGHTS.items():
        w = weights(traits)
        if w.any():
            sums[name] += w.astype(p.dtype) @ p


def richness(sums: Sums) -> NDArray[np.float64]:
    """Expected number of species in a plot: the sum of the probabilities (Hill number q = 0 in expectation)."""
    return sums["p"]


def shannon(sums: Sums) -> NDArray[np.float64]:
    """Shannon entropy (nats) of the occurrence probabilities p / sum p; 0 where nothing is expected.

    H = -sum q ln q with q = p / P and P = sum p, which is ln P - (sum p ln p) / P (Shannon 1948).
    """
    total = sums["p"]
    with np.errstate(divide="ignore", invalid="ignore"):
        h = np.log(total) - sums["p_log_p"] / total
    return np.where(total > 0, np.maximum(h, 0.0), 0.0)


def simpson(sums: Sums) -> NDArray[np.float64]:
    """Hill number q = 2 of the occurrence probabilities, (sum p)^2 / sum p^2 (Hill 1973); 0 where nothing is expected."""
    squared = sums["p_squared"]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(squared > 0, sums["p"] ** 2 / squared, 0.0)


def _sum_of(name: str) -> Callable[[Sums], NDArray[np.float64]]:
    def expected(sums: Sums) -> NDArray[np.float64]:
        return sums[name]

    expected.__doc__ = f"Expected number of {name} species in a plot."
    return expected


@dataclass(frozen=True)
class Indicator:
    """An indicator: its function of the running sums, and how its layer is stored."""

    name: str
    function: Callable[[Sums], NDArray[np.float64]]
    long_name: str
    units: str
    scale: float  # step of the stored uint16
    palette: str
    references: str = ""


INDICATORS: Final = (
    Indicator("richness", richness, "Expected species richness", "species", 0.01, "viridis"),
    Indicator("shannon", shannon, "Shannon diversity of occurrence probabilities", "nat", 1e-4, "viridis",
              "Shannon 1948"),
    Indicator("hill2", simpson, "Hill number q = 2 of occurrence probabilities", "effective species", 0.01, "viridis",
              "Hill 1973"),
    Indicator("threatened", _sum_of("threatened"), "Expected threatened species (CR, EN, VU)", "species", 0.001,
              "magma", "IUCN Red List Categories and Criteria 3.1"),
    Indicator("protected", _sum_of("protected"), "Expected species of the Habitats Directive", "species", 0.001,
              "cividis", "Directive 92/43/EEC"),
    Indicator("invasive", _sum_of("invasive"), "Expected invasive alien species of Union concern", "species", 0.001,
              "magma", "Regulation (EU) No 1143/2014"),
    Indicator("endemic", _sum_of("endemic"), "Expected endemic species", "species", 0.001, "cividis"),
)  # fmt: skip


def applicable(traits: Traits) -> list[Indicator]:
    """Indicators that mean something for a species table: a count of a status needs one species that has it."""
    return [i for i in INDICATORS if i.name not in WEIGHTS or bool(WEIGHTS[i.name](traits).any())]


def indicators_of(probability: Floats, traits: Traits) -> dict[str, NDArray[np.float64]]:
    """Every applicable indicator of (species, cells) probabilities at once: (cells,) by name."""
    sums = zero_sums(probability.shape[1])
    add_species(sums, probability, traits)
    return {i.name: i.function(sums) for i in applicable(traits)}
