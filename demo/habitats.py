"""Habitats of the landscape: EUNIS 2021 level 3 classes by what grows there, where, and on what soil."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from demo import landuse as lu
from demo.climate import Climate
from demo.noise import fractal, stream
from demo.soil import Soil
from demo.vegetation import Site

NONE: Final = 255
# code, name, colour; names and codes of EUNIS 2021 (terrestrial) and EUNIS 2020 (man-made)
LEVEL3: Final = (
    ("T11", "Temperate Salix and Populus riparian forest", "#5b8f7b"),
    ("T17", "Fagus forest on non-acid soils", "#3f8f3a"),
    ("T18", "Fagus forest on acid soils", "#7a9a3c"),
    ("T1E", "Carpinus and Quercus mesic deciduous forest", "#62b34f"),
    ("T31", "Temperate mountain Picea forest", "#1f5a3a"),
    ("S22", "Alpine and subalpine ericoid heath", "#9a6a8f"),
    ("R1A", "Semi-dry perennial calcareous grassland (meadow steppe)", "#e3c85a"),
    ("R22", "Low and medium altitude hay meadow", "#b7dc7a"),
    ("R23", "Mountain hay meadow", "#8fcf9a"),
    ("R35", "Moist or wet mesotrophic to eutrophic hay meadow", "#7fc9b8"),
    ("R43", "Temperate acidophilous alpine grassland", "#c7b27a"),
    ("R44", "Arctic-alpine calcareous grassland", "#e0d3a0"),
    ("Q11", "Raised bog", "#8a4f3d"),
    ("Q22", "Poor fen", "#b57a5e"),
    ("U27", "Temperate, lowland to montane base-rich scree", "#b5b5b5"),
    ("V11", "Intensive unmixed crops", "#f2e3b3"),
)
PARENTS: Final = (
    ("T", "Forest and other wooded land", "", "#2f7d3b"),
    ("T1", "Deciduous broadleaved forest", "T", "#5aa547"),
    ("T3", "Coniferous forest", "T", "#1f5a3a"),
    ("S", "Heathland, scrub and tundra", "", "#9a6a8f"),
    ("S2", "Arctic, alpine and subalpine scrub", "S", "#9a6a8f"),
    ("R", "Grasslands and lands dominated by forbs, mosses or lichens", "", "#c6d977"),
    ("R1", "Dry grasslands", "R", "#e3c85a"),
    ("R2", "Mesic grasslands", "R", "#a5d686"),
    ("R3", "Seasonally wet and wet grasslands", "R", "#7fc9b8"),
    ("R4", "Alpine and subalpine grasslands", "R", "#d3c28c"),
    ("Q", "Wetlands", "", "#9c6048"),
    ("Q1", "Raised and blanket bogs", "Q", "#8a4f3d"),
    ("Q2", "Valley mires, poor fens and transition mires", "Q", "#b57a5e"),
    (
        "U",
        "Inland habitats with no or little soil and mostly with sparse vegetation",
        "",
        "#b5b5b5",
    ),
    ("U2", "Screes", "U", "#b5b5b5"),
    ("V", "Vegetated man-made habitats", "", "#f2e3b3"),
    ("V1", "Arable land and market gardens", "V", "#f2e3b3"),
)
CODES: Final = tuple(code for code, _, _ in LEVEL3)


def make_habitats(site: Site, climate: Climate, soil: Soil, land: lu.LandUse, seed: int) -> NDArray[np.uint8]:
    """Index into LEVEL3 for each 50 m cell (y, x), NONE on water and sealed ground.

    Of the formations in a cell the largest names it; the limits between classes of one formation wander
    with a field that no driver shows, as those of real vegetation do.
    """
    shape = site.land.shape
    rng = stream(seed, "habitats")
    wander = [fractal(shape, 30, rng, 2.2) for _ in range(3)]
    moisture, reaction, nutrients = site.values[2:]
    warmth = climate.growing_temperature + 0.35 * wander[0]
    acid = reaction + 0.45 * wander[1]
    wet = moisture + 0.3 * wander[2]
    share = land.share
    conifer, broadleaf = share[lu.CONIFER], share[lu.BROADLEAF]
    meadow = share[lu.MEADOW] + 0.9 * share[lu.GARDEN]
    formations = np.stack(
        [
            broadleaf + conifer,
            share[lu.HEATH] * 1.1,
            meadow,
            share[lu.MIRE] * 1.2,
            share[lu.ALPINE],
            share[lu.ROCK],
            share[lu.ARABLE],
        ]
    )
    formation = formations.argmax(0)
    leaf = gaussian_filter(conifer, 1.5) / np.maximum(gaussian_filter(conifer + broadleaf, 1.5), 1e-3)
    code = {c: i for i, c in enumerate(CODES)}

    def pick(*cases: tuple[NDArray[np.bool_] | bool, str]) -> NDArray[np.uint8]:
        conditions = [np.broadcast_to(np.asarray(c), shape) for c, _ in cases]
        return np.select(conditions, [code[name] for _, name in cases]).astype(np.uint8)

    forest = pick(
        ((wet > 6.9) & (warmth > 12.5), "T11"),
        (leaf > 0.55, "T31"),
        ((warmth > 15.1) & (acid > 4.2), "T1E"),
        (acid > 5.0, "T17"),
        (True, "T18"),
    )
    hay = pick(
        (wet > 6.5, "R35"),
        ((nutrients < 5.1) & (acid > 5.6) & (wet < 5.2) & (warmth > 11.5), "R1A"),
        (warmth < 12.6, "R23"),
        (True, "R22"),
    )
    mire = pick((acid < 3.6, "Q11"), (True, "Q22"))
    alpine = pick((acid > 5.4, "R44"), (True, "R43"))
    single = [np.full(shape, code[c], np.uint8) for c in ("S22", "U27", "V11")]
    layers = [forest, single[0], hay, mire, alpine, single[1], single[2]]
    habitat = np.choose(formation, layers).astype(np.uint8)
    habitat[~site.land] = NONE
    return np.asarray(habitat)
