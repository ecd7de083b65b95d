"""Habitats of the landscape: EUNIS 2021 level 3 classes by what grows there, where, and on what soil."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from demo import landuse as lu
from demo.climate import Climate
from demo.noise import fractal, stream
from demo.soil import Soil
from demo.vegetation import Site

NONE: Final = 255
FILE: Final = Path(__file__).with_name("habitats.csv")  # of EUNIS 2021 (terrestrial) and EUNIS 2020 (man-made)
SCHEME: Final = pd.read_csv(FILE, keep_default_na=False)  # code, name, level, parent, colour
CODES: Final = tuple(SCHEME.loc[SCHEME["level"] == 3, "code"])


def make_habitats(site: Site, climate: Climate, soil: Soil, land: lu.LandUse, seed: int) -> NDArray[np.uint8]:
    """Index into CODES for each 50 m cell (y, x), NONE on water and sealed ground.

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
