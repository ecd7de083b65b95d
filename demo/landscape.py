"""The whole landscape: every size in one specification, and the order in which one part makes the next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cube.errors import ConfigError
from cube.grid import Region
from demo.climate import Climate, make_climate
from demo.domain import Domain
from demo.flora import Species, make_flora
from demo.habitats import make_habitats
from demo.landuse import LandUse, make_landuse
from demo.observation import ASSUMED, OBSERVATIONS, Observation
from demo.soil import Soil, make_soil
from demo.terrain import Terrain, make_terrain
from demo.vegetation import Site, make_site, probabilities


@dataclass(frozen=True)
class LandscapeSpec:
    """All sizes of a landscape; the default lies in the Alpine foreland, on whole units of 10 km."""

    size_km: int = 20
    n_species: int = 100
    seed: int = 20
    west_km: int = 4090
    south_km: int = 2610
    margin_km: int = 3
    n_surveys: int = 3_000
    n_records: int = 20_000
    n_plots: int = 2_500
    n_scenes: int = 6
    observation: str = ASSUMED  # one of `observation.OBSERVATIONS`

    def __post_init__(self) -> None:
        """Refuse sizes of which no landscape can be made."""
        minimum = {"size_km": 2, "n_species": 2, "margin_km": 2, "n_surveys": 1, "n_plots": 1}
        for field, low in {**minimum, "n_records": 1, "n_scenes": 2}.items():
            if getattr(self, field) < low:
                raise ConfigError(f"demo: {field} is {getattr(self, field)}; a landscape needs at least {low}.")
        if self.observation not in OBSERVATIONS:
            raise ConfigError(f"demo: observation is '{self.observation}'; expected one of {', '.join(OBSERVATIONS)}.")
        east, north = self.west_km + self.size_km, self.south_km + self.size_km
        Region(self.west_km, self.south_km, east, north, 10)

    @property
    def observed(self) -> Observation:
        """How plants come to be written down."""
        return OBSERVATIONS[self.observation]

    @property
    def domain(self) -> Domain:
        """Where the arrays lie: the region and its margin."""
        return Domain(self.west_km, self.south_km, self.size_km, self.margin_km)


@dataclass(frozen=True)
class Landscape:
    """The truth. All arrays cover the domain (region plus margin), (y, x) at 50 m unless said otherwise."""

    spec: LandscapeSpec
    domain: Domain
    terrain: Terrain
    climate: Climate
    soil: Soil
    land: LandUse
    site: Site
    flora: list[Species]
    probability: NDArray[np.float16]  # (species, y, x), on 100 m2
    habitat: NDArray[np.uint8]  # index into habitats.CODES, 255 none


def make_landscape(spec: LandscapeSpec) -> Landscape:
    """The landscape of a specification: the same for the same numbers, on every machine with this NumPy."""
    domain, seed = spec.domain, spec.seed
    terrain = make_terrain(domain, seed)
    climate = make_climate(domain, terrain, seed)
    soil = make_soil(domain, terrain, climate, seed)
    land = make_landuse(domain, terrain, climate, soil, seed)
    site = make_site(terrain, climate, soil, land)
    flora = make_flora(spec.n_species, seed)
    probability = probabilities(flora, domain, site, seed)
    habitat = make_habitats(site, climate, soil, land, seed)
    return Landscape(spec, domain, terrain, climate, soil, land, site, flora, probability, habitat)
