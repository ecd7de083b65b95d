"""The species of a landscape: who they are, where they can live, how readily people report them."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from demo.noise import stream

HOMES: Final = "FEGDAWPHRS"
AXES: Final = ("light", "temperature", "moisture", "reaction", "nutrients")
ENDINGS: Final = ("alpina", "montana", "pratensis", "sylvatica", "minor", "major", "vulgaris", "palustris", "aurea", "repens")
# Plants of the Alpine foreland. Homes, the first the main one: F forest, E forest edge, G intensive meadow,
# D unimproved grassland, A arable, W mire and marsh, P alpine grassland, H dwarf shrub heath, R rock and scree, S settlement.
# Marks: i invasive, p protected, e endemic of the Alps, 1 or 10 the square (km) that maps are blurred to.
with Path(__file__).with_name("species.csv").open(encoding="utf-8", newline="") as _file:
    PLANTS: Final = tuple(csv.DictReader(_file, delimiter=";"))


@dataclass(frozen=True)
class Species:
    """One species: its names, its traits, and the niche of which the rounded traits tell."""

    species_id: int
    name: str
    vernacular: str
    family: str
    growth_form: str
    ellenberg: tuple[int, ...]  # light temperature moisture reaction nutrients, 1-9
    homes: str
    invasive: bool
    protected: bool
    endemic: bool
    sensitive_km: int
    optimum: NDArray[np.float64]  # (5 axes), the unrounded values
    breadth: NDArray[np.float64]  # (2 sides: below, above; 5 axes)
    plateau: NDArray[np.float64]  # (5 axes), exponent: 2 bell, 4 plateau


def _invented(count: int, rng: np.random.Generator) -> list[dict[str, str]]:
    """Further rows of the table for landscapes of more species than it names: unused binomials of known genera."""
    names = {plant["name"] for plant in PLANTS}
    out: list[dict[str, str]] = []
    number = 0
    while len(out) < count:
        plant = PLANTS[int(rng.integers(len(PLANTS)))]
        ending = ENDINGS[number % len(ENDINGS)] + ("" if number < 600 else "oides"[: number // 600])
        number += 1
        name = f"{plant['name'].split()[0]} {ending}"
        if name in names:
            continue
        names.add(name)
        values = {axis: str(int(np.clip(int(plant[axis]) + rng.integers(-1, 2), 1, 9))) for axis in AXES}
        out.append(plant | values | {"name": name, "vernacular": f"{plant['vernacular']} ({ending})", "marks": ""})
    return out


def make_flora(n_species: int, seed: int) -> list[Species]:
    """`n_species` species in alphabetical order, with ids that tell nothing of their rank."""
    rng = stream(seed, "flora")
    if n_species <= len(PLANTS):
        plants = [PLANTS[i] for i in rng.permutation(len(PLANTS))[:n_species]]
    else:
        plants = [*PLANTS, *_invented(n_species - len(PLANTS), rng)]
    flora: list[Species] = []
    ids = rng.choice(np.arange(100, 100 + 90 * n_species), n_species, replace=False)
    for species_id, plant in zip(np.sort(ids), sorted(plants, key=itemgetter("name")), strict=True):
        ellenberg, marks = tuple(int(plant[axis]) for axis in AXES), plant["marks"]
        middle = np.array([2.8, 1.5, 1.6, 1.85, 2.1]) * np.exp(rng.normal(0, 0.22, 5))
        skew = np.exp(rng.choice([-1, 1], 5) * rng.uniform(0.15, 0.6, 5))
        flora.append(
            Species(
                species_id=int(species_id),
                **{name: plant[name] for name in ("name", "vernacular", "family", "growth_form", "homes")},
                ellenberg=ellenberg,
                invasive="i" in marks,
                protected="p" in marks,
                endemic="e" in marks,
                sensitive_km=10 if "10" in marks else int("1" in marks),
                optimum=np.array(ellenberg) + rng.uniform(-0.45, 0.45, 5),
                breadth=np.stack([middle * skew, middle / skew]),
                plateau=rng.choice([2.0, 4.0], 5),
            )
        )
    return flora


def reporting_rates(flora: list[Species], seed: int, sd: float = 1.0, family_share: float = 0.5) -> NDArray[np.float64]:
    """How readily each species is reported (n,): log-normal of log-sd `sd`, trees and shrubs a little more readily.

    `family_share` of the variance of the logarithm is drawn between families.
    """
    rng = stream(seed, "reporting")
    families = sorted({s.family for s in flora})
    common = dict(zip(families, rng.normal(0, np.sqrt(family_share), len(families)), strict=True))
    showy = np.array([s.growth_form in ("tree", "shrub") for s in flora]) * 0.2
    log = np.array([common[s.family] for s in flora]) + rng.normal(0, np.sqrt(1 - family_share), len(flora))
    log += showy
    log = (log - log.mean()) / max(float(log.std()), 1e-9)
    return np.asarray(np.exp(sd * log))
