"""Biodiversity indicators: pure functions of a cell's running sums over species (`sums`), gathered in one registry.

Adding one is one function and one line of `INDICATORS`, and a row of `sums.plan_sums` if it needs a sum that is not kept
yet. An indicator may need any named cell value, such as a dissimilarity that is computed beside the sums; it is made where
all that it needs is there. Intervals are those of K-fold cross-validation
(`inference.calibration.intervals`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inference.cascade.sums import Sums

Floats = NDArray[np.float64]
LONGEST: Final = 12.0  # the highest value of any indicator scale (Ellenberg's moisture)
MINIMUM_COVERAGE: Final = 0.5  # share of the expected species whose value must be known for their mean to stand for all


def richness(sums: Sums) -> Floats:
    """Expected number of species in a plot: the sum of the probabilities.

    Where the sum has a calibration of its own (`inference.calibration.richness`), level x sum ^ exponent.
    """
    if "richness_level" not in sums:
        return sums["p"]
    return np.asarray(sums["richness_level"] * sums["p"] ** sums["richness_exponent"])


def shannon(sums: Sums) -> Floats:
    """Shannon entropy (nats) of the occurrence probabilities p / sum p; 0 where nothing is expected.

    H = -sum q ln q with q = p / P and P = sum p, which is ln P - (sum p ln p) / P (Shannon 1948). It is no diversity of a
    plot's list, and its exponential may exceed the richness: many unlikely species share a small expectation.
    """
    total = sums["p"]
    with np.errstate(divide="ignore", invalid="ignore"):
        h = np.log(total) - sums["p_log_p"] / total
    return np.where(total > 0, np.maximum(h, 0.0), 0.0)


def lcbd(sums: Sums) -> Floats:
    """Local contribution to beta diversity against the reference composition, in means of the reference's own places.

    |y - m|^2 / BD_total with y = p / |p|, m and BD_total as `reference` keeps them: n times the LCBD_i = SS_i / SS_total of
    Legendre and De Caceres 2013 (equation 10) for a place of the reference, so 1 is as distinct as its places are on
    average. NaN where nothing is expected.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        likeness = sums["reference"] / np.sqrt(sums["p_squared"])
        distance = np.maximum(1.0 - 2.0 * likeness + sums["reference_length"], 0.0)
        return np.where(sums["p_squared"] > 0, distance / sums["reference_total"], np.nan)


def values_covered(sums: Sums) -> Floats:
    """Share of the expected species whose indicator values are all known; NaN where nothing is expected."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(sums["p"] > 0, sums["values_known"] / sums["p"], np.nan)


def _mean_of(name: str) -> Callable[[Sums], Floats]:
    """Community mean of an Ellenberg-type value, sum p v / sum p over the species whose v is known.

    Garnier et al. 2004, with probabilities for abundances; NaN where these are fewer than half of the expected species.
    """

    def weighted_mean(sums: Sums) -> Floats:
        count = sums[f"{name}_known"]
        with np.errstate(divide="ignore", invalid="ignore"):
            enough = (count > 0) & (count >= MINIMUM_COVERAGE * sums["p"])
            return np.where(enough, sums[f"{name}_sum"] / count, np.nan)

    return weighted_mean


def _value(name: str) -> Callable[[Sums], Floats]:
    """A value of the cell as it is: of a status the expected number of its species, the sum of their probabilities."""
    return lambda sums: sums[name]


def spread_of_count(sums: Sums) -> Floats:
    """Scale of the residuals of richness: 1 + the standard deviation of a sum of independent draws (species)."""
    return 1.0 + np.sqrt(np.maximum(sums["p"] - sums["p_squared"], 0.0))


def spread_of_mean(sums: Sums) -> Floats:
    """Scale of the residuals of a mean over species: one over the root of their expected number, at most 1."""
    return 1.0 / np.sqrt(np.maximum(sums["p"], 1.0))


def _spread_of(name: str) -> Callable[[Sums], Floats]:
    """Scale of the residuals of the number of species of a status: 0.5 + that of a Poisson count."""
    return lambda sums: 0.5 + np.sqrt(np.maximum(sums[name], 0.0))


@dataclass(frozen=True)
class Indicator:
    """An indicator: its function of the named cell values, and how its layer is stored.

    `spread` shapes its interval and sets none of its length; without one the layer has no interval, and its lower
    and upper bounds are no data. Values and bounds are kept within `lowest` and `highest`.
    """

    name: str
    function: Callable[[Sums], Floats]
    needs: tuple[str, ...]  # named values without which there is no such layer
    long_name: str
    units: str
    scale: float  # step of the stored uint16
    palette: str
    references: str = ""
    spread: Callable[[Sums], Floats] | None = spread_of_count
    lowest: float = 0.0
    highest: float = np.inf


def _status(name: str, long_name: str, palette: str, references: str = "") -> Indicator:
    return Indicator(name, _value(name), (name,), long_name, "species", 0.001, palette, references, _spread_of(name))


def _mean(name: str, meaning: str) -> Indicator:
    return Indicator(
        f"cwm_{name}",
        _mean_of(name),
        (f"{name}_known", f"{name}_sum"),
        f"Community mean of the indicator value of {meaning}",
        "1",
        0.001,
        "viridis",
        "Ellenberg et al. 1991; Garnier et al. 2004",
        spread_of_mean,
        highest=LONGEST,
    )


INDICATORS: Final = (
    Indicator("richness", richness, ("p",), "Expected species richness", "species", 0.01, "viridis"),
    Indicator(
        "shannon",
        shannon,
        ("p", "p_log_p"),
        "Shannon entropy of occurrence probabilities",
        "nat",
        1e-4,
        "viridis",
        "Shannon 1948",
        None,
    ),
    _status("threatened", "Expected threatened species (CR, EN, VU)", "magma", "IUCN Red List Categories and Criteria 3.1"),
    _status("protected", "Expected species of the Habitats Directive", "cividis", "Directive 92/43/EEC"),
    _status("invasive", "Expected invasive alien species of Union concern", "magma", "Regulation (EU) No 1143/2014"),
    _status("endemic", "Expected endemic species", "cividis"),
    _mean("light", "light"),
    _mean("temperature", "temperature"),
    _mean("moisture", "moisture"),
    _mean("reaction", "soil reaction"),
    _mean("nutrients", "nutrients"),
    Indicator(
        "values_covered",
        values_covered,
        ("p", "values_known"),
        "Share of the expected species whose indicator values are known",
        "1",
        2e-5,
        "cividis",
        "",
        spread_of_mean,
        highest=1.0,
    ),
    Indicator(
        "lcbd",
        lcbd,
        ("p_squared", "reference", "reference_length", "reference_total"),
        "Local contribution to beta diversity (1: as distinct as the places of the training region)",
        "1",
        0.001,
        "magma",
        "Legendre and De Caceres 2013",
        spread_of_mean,
    ),
    Indicator(
        "applicability",
        _value("dissimilarity"),
        ("dissimilarity",),
        "Dissimilarity from the training data (1: edge of the area of applicability)",
        "1",
        0.001,
        "inferno",
        "Meyer and Pebesma 2021",
        None,
    ),
    Indicator(
        "spread",
        _value("member_spread"),
        ("member_spread",),
        "Relative spread of probabilities between ensemble members",
        "1",
        1e-4,
        "inferno",
        "",
        None,
    ),
)


def applicable(available: Collection[str]) -> list[Indicator]:
    """The indicators that can be made of the named cell values there are (`SumPlan.available` and what is added to them)."""
    return [i for i in INDICATORS if set(i.needs) <= set(available)]
