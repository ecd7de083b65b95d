"""Plants from site: skewed niches, homes, competition, an unseen field, and from these the true probabilities."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import bisect
from scipy.special import expit

from demo import landuse as lu
from demo.climate import Climate
from demo.domain import Domain
from demo.flora import HOMES, Species
from demo.noise import Field, patches, smoothstep, standardise, stream
from demo.soil import Soil
from demo.terrain import Terrain

UNEXPLAINED: Final = 0.30  # share of the logit's variance that no driver explains
FLOOR: Final = 0.0015  # of a niche: stray plants grow outside of it
COMPETITORS: Final = 8
# Prevalence by rank, the rarest first: a few plants are nearly everywhere, most are rare.
RANK: Final = (0.0, 0.11, 0.3, 0.48, 0.58, 0.7, 0.85, 1.0)
PREVALENCE: Final = (0.0009, 0.0042, 0.015, 0.038, 0.10, 0.34, 0.55, 0.75)


@dataclass(frozen=True)
class Site:
    """What a plant meets at a place: Ellenberg-like site values and the shares of the homes it may have."""

    values: NDArray[np.float32]  # (5: light temperature moisture reaction nutrients, y, x), about 1-9
    homes: NDArray[np.float32]  # (10 homes, y, x), 0..1
    land: NDArray[np.bool_]  # neither water nor sealed


def make_site(terrain: Terrain, climate: Climate, soil: Soil, land: lu.LandUse) -> Site:
    """Site values at 50 m from terrain, climate, soil and land use."""
    share = land.share
    wood = share[lu.BROADLEAF] + share[lu.CONIFER]
    open_ = np.maximum(1 - wood, 1e-6)
    mire, arable = share[lu.MIRE], share[lu.ARABLE]
    shade = wood * land.closure
    light = 8.3 - 6.2 * shade - 0.5 * share[lu.BROADLEAF] * land.closure
    temperature = 0.44 * climate.growing_temperature - 0.95 + 0.1 * climate.january_minimum / 5
    wet = standardise(terrain.wetness)
    holding = 0.02 * (soil.depth - 70) - 0.03 * (soil.sand - 35)
    moisture = 4.7 + 0.55 * np.clip(wet, -2, 3) + 1.1 * (climate.rain_factor - 1.1) + 0.5 * holding
    moisture = moisture + 0.9 * terrain.northness - 0.12 * (climate.growing_temperature - 12)
    moisture = moisture + mire * np.maximum(8.6 - moisture, 0)
    moisture = moisture + 1.2 * smoothstep(terrain.river_distance, 150, 0)
    reaction = 1.3 + 1.55 * (soil.ph - 3.5)
    rich = 2.4 + 0.022 * soil.depth + 0.02 * soil.clay - 3.2 * soil.peat
    rich = rich - 0.25 * np.abs(soil.ph - 6.6) + 2.6 * arable + 3.2 * land.management * open_
    rich = rich - 1.6 * smoothstep(climate.growing_temperature, 11, 5)
    values = np.clip(np.stack([light, temperature, moisture, reaction, rich]), 0.5, 9.8)
    meadow = share[lu.MEADOW]
    edge = np.clip(4 * wood * (1 - wood), 0, 1) * 0.8 + wood * (1 - land.closure) * 0.5
    village = share[lu.GARDEN] + 0.6 * share[lu.SEALED]
    homes = np.stack(
        [
            wood,
            np.clip(edge, 0, 1),
            meadow * smoothstep(land.management, 0.1, 0.75),
            meadow * smoothstep(land.management, 0.65, 0.1),
            arable,
            np.clip(mire + 0.5 * smoothstep(terrain.river_distance, 120, 20), 0, 1),
            share[lu.ALPINE],
            share[lu.HEATH],
            share[lu.ROCK],
            village,
        ]
    )
    return Site(values.astype(np.float32), homes.astype(np.float32), land.surface == 0)


def suitability(species: Species, site: Site) -> Field:
    """The niche of a species, 0..1 (y, x): its homes times skewed bells and plateaus along five site values."""
    weight = np.full(len(HOMES), 0.02, np.float32)
    for rank, home in enumerate(species.homes):
        weight[HOMES.index(home)] = (1.0, 0.75, 0.45, 0.3, 0.2)[min(rank, 4)]
    if species.growth_form == "tree":  # a wood holds its trees, however little of the cell it fills
        weight[0] *= 1.3
    habitat = np.minimum(np.einsum("hyx,h->yx", site.homes, weight), 1)
    exponent = np.zeros(site.land.shape, np.float32)
    for axis in range(5):
        if axis == 0 and species.growth_form in ("tree", "climber"):
            continue  # a tree makes its own shade
        distance = site.values[axis] - np.float32(species.optimum[axis])
        below, above = species.breadth[:, axis].astype(np.float32)
        scaled = (distance / np.where(distance < 0, below, above)) ** 2
        exponent += 0.5 * (scaled if species.plateau[axis] == 2 else scaled * scaled)
    return np.asarray(habitat * np.exp(-np.minimum(exponent, 30)), dtype=np.float32)


def pressure(flora: list[Species], site: Site) -> Field:
    """Standing competition 0..1 (y, x): the summed niches of the most demanding herbs and grasses."""
    strong = sorted(
        (s for s in flora if s.growth_form in ("herb", "graminoid")),
        key=lambda s: -s.ellenberg[4],
    )[:COMPETITORS]
    total = sum((suitability(s, site) for s in strong), np.zeros(site.land.shape, np.float32))
    return np.asarray(1 - np.exp(-1.5 * total / max(len(strong), 1) * 4), dtype=np.float32)


def unexplained(species: Species, domain: Domain, site: Site, seed: int) -> Field:
    """What no driver knows (y, x): history shared by many plants, own patches, valleys never reached."""
    shape = domain.shape
    rng = stream(seed, f"unseen {species.name}")
    history = [patches(shape, size, stream(seed, f"history {size}")) for size in (18, 36)]
    field = sum((rng.normal(0, 0.45) * f for f in history), np.zeros(shape, np.float32))
    field = field + 0.8 * patches(shape, float(rng.uniform(14, 34)), rng)
    field_effect = np.tanh(1.4 * field)
    if rng.random() < 0.4:  # a dispersal gap with a soft edge
        gap = patches(shape, float(rng.uniform(60, 110)), rng)
        field_effect = field_effect - 2.2 * smoothstep(gap, 0.75, 1.05)
    return standardise(field_effect, site.land)


def logits(flora: list[Species], domain: Domain, site: Site, seed: int) -> Iterator[tuple[Species, Field, Field]]:
    """Per species the seen and the unseen part of the logit (y, x), without the offset that sets prevalence."""
    crowd = pressure(flora, site)
    for species in flora:
        niche = np.log(suitability(species, site) + FLOOR)
        weak = 1.3 * (1 - species.ellenberg[4] / 9.0)
        if species.growth_form != "tree":
            niche = niche - weak * crowd
        spread = float(stream(seed, f"spread {species.name}").uniform(1.9, 2.6))
        visible_part = np.sqrt(1 - UNEXPLAINED) * standardise(niche, site.land)
        hidden = np.sqrt(UNEXPLAINED) * unexplained(species, domain, site, seed)
        yield species, (spread * visible_part).astype(np.float32), (spread * hidden).astype(np.float32)


def offset_for(logit: NDArray[np.floating], prevalence: float) -> float:
    """The offset at which the mean of expit(logit + offset) equals `prevalence`."""
    return float(bisect(lambda offset: float(expit(logit + offset).mean()) - prevalence, -25.0, 25.0))


def probabilities(flora: list[Species], domain: Domain, site: Site, seed: int) -> NDArray[np.float16]:
    """True probability (species, y, x) that a species grows on 100 m2 of land; 0 on water and sealed ground.

    Plants whose niche fills much of the landscape become its common ones: ranks of mean suitability,
    with some luck, are mapped to a log-normal-like series of prevalences.
    """
    rng = stream(seed, "rank")
    cells = np.flatnonzero(site.land.ravel())
    sample = rng.permutation(cells)[:12_000]
    niches = [suitability(s, site).ravel()[sample] for s in flora]
    room = np.array([np.log(niche.mean() + 1e-6) for niche in niches])
    # No plant is common beyond its niche: the share of land at a hundredth of the best or better bounds it.
    reach = np.array([(niche > 0.01 * np.quantile(niche, 0.999)).mean() for niche in niches])
    rare = np.array([1.0 if s.sensitive_km or s.protected else 0.0 for s in flora])
    order = np.argsort(np.argsort(room + rng.normal(0, 0.35, len(flora)) - 2 * rare))
    quantile = (order + 0.5) / len(flora)
    target = np.exp(np.interp(quantile, RANK, np.log(PREVALENCE)))
    target = np.minimum(target, np.maximum(1.1 * reach, 0.002))
    out = np.zeros((len(flora), *domain.shape), np.float16)
    for i, (_, visible_part, hidden) in enumerate(logits(flora, domain, site, seed)):
        logit = visible_part + hidden
        offset = offset_for(logit.ravel()[sample], float(target[i]))
        out[i] = np.where(site.land, expit(logit + np.float32(offset)), 0)
    return out
