"""How plants come to be written down: ways of observing that a model's likelihood assumes, and ways that it does not.

Each breaks one assumption of the joint likelihood (`inference.training.likelihood`): that effort multiplies all species of a
place alike, that records are independent and rightly named, that sightings follow a power of the area, that reporting rates vary
by as much, and as much by families, as their prior says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

ASSUMED: Final = "assumed"


@dataclass(frozen=True)
class Observation:
    """What observers do; the defaults are what the likelihood assumes."""

    experts: float = 0.0  # share of records by people who go where rare species grow and prefer them to common ones
    observers: int = 0  # people who each know half of the flora and go near their homes; 0: everybody knows and goes everywhere
    checklist: float = 1.0  # mean number of records, all of different species, that a visit leaves; 1: one
    misidentified: float = 0.0  # share of records that name another species of the same family
    logarithmic_area: bool = False  # sightings grow with the logarithm of the area (Gleason 1922), not with a power of it
    rate_sd: float = 1.0  # standard deviation of log reporting rates
    family_share: float = 0.5  # of their variance, between families


OBSERVATIONS: Final[Mapping[str, Observation]] = {
    ASSUMED: Observation(),
    "experts": Observation(experts=0.4),
    "observers": Observation(observers=20),
    "checklists": Observation(checklist=10.0),
    "misidentified": Observation(misidentified=0.1),
    "area": Observation(logarithmic_area=True),
    "families": Observation(rate_sd=2.0, family_share=0.1),
    "all": Observation(0.4, 20, 10.0, 0.1, logarithmic_area=True, rate_sd=2.0, family_share=0.1),
}
