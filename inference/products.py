"""The groups that predictions are written into: arrays, coordinates, provenance and pyramids of every product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cube import conventions, pyramid
from cube.grid import CELL, Unit
from cube.layers import (
    BOUNDS,
    COMPOSITION,
    RANKS,
    Layer,
    habitat_entropy,
    habitat_level,
    habitat_probability,
    indicator,
    occurrence,
)
from cube.releases import group_of
from cube.store import CubeStore
from inference.indicators import Indicator

TOP_HABITATS = 3


def _pyramid_group(cube: CubeStore, product: str, version: str, layers: Sequence[Layer], top: Sequence[Layer],
                   labels: dict[str, NDArray[Any]], about: dict[str, Any]) -> None:  # fmt: skip
    """Make every level of a product; `top` are layers that level 0 alone has."""
    levels = cube.region.levels() + 1
    base = f"products/{product}/{version}"
    cube.root.require_group(base).attrs.update({**conventions.multiscale_attributes(cube.region, levels, "average"), **about})
    for level in range(levels):
        group = group_of(product, version, level)
        kept = [*layers, *(top if level == 0 else ())]
        cube.ensure_group(group, [x.at(group) for x in kept], CELL, level, labels, about)


def make_species(cube: CubeStore, version: str, names: Sequence[str], scale: NDArray[np.float32],
                 area_m2: float, about: dict[str, Any]) -> None:  # fmt: skip
    """`occurrence` at every level and the probability of one step, `scale`, beside it."""
    labels = {"species": np.asarray(names, object)}
    layer = occurrence("", area_m2)
    _pyramid_group(cube, "species", version, [layer], (), labels, {**about, "reference_area_m2": area_m2})
    for level in range(cube.region.levels() + 1):
        path = group_of("species", version, level)
        group = cube.group(path)
        if "scale" not in group:
            group.create_array(
                "scale", data=scale.astype(np.float32), chunks=scale.shape, dimension_names=("species",),
                attributes={"long_name": "Probability of one step of occurrence", "units": "1"},
            )  # fmt: skip
            cube.ensure_group(path, [], CELL, level)


def make_composition(cube: CubeStore, version: str, about: dict[str, Any]) -> None:
    """The ranked species of every cell."""
    group = group_of("composition", version)
    labels = {"rank": np.arange(1, RANKS + 1, dtype=np.int16)}
    cube.ensure_group(group, [x.at(group) for x in COMPOSITION], labels=labels, attributes=about)


def make_indicators(cube: CubeStore, version: str, chosen: Sequence[Indicator], about: dict[str, Any]) -> None:
    """One array an indicator, each with its bounds."""
    layers = [
        indicator(i.name, "", i.long_name, i.units, i.scale, 65000 * i.scale, i.palette, i.references, order)
        for order, i in enumerate(chosen)
    ]
    _pyramid_group(cube, "indicators", version, layers, (), {"bound": np.asarray(BOUNDS, object)}, about)


def make_habitats(cube: CubeStore, version: str, levels: dict[str, tuple[tuple[int, str, str], ...]],
                  title: str, about: dict[str, Any]) -> None:  # fmt: skip
    """One class map a level of the scheme, with the probability and entropy of the finest."""
    layers = [habitat_level(name, "", flags, f"{title} ({name})") for name, flags in levels.items()]
    layers += [habitat_probability(""), habitat_entropy("")]
    rank = ("habitat_rank",)
    top = [
        Layer("top3_class", "", "uint16", 65535, "Most probable habitats, best first", "1", rank, kind="class",
              palette="none"),
        Layer("top3_probability", "", "uint8", 255, "Probability of the most probable habitats", "1", rank, {}, 1 / 250,
              valid_range=(0.0, 1.0)),
    ]  # fmt: skip
    labels = {"habitat_rank": np.arange(1, TOP_HABITATS + 1, dtype=np.int16)}
    _pyramid_group(cube, "habitats", version, layers, top, labels, about)


def build_pyramids(cube: CubeStore, versions: dict[str, str], units: Sequence[Unit], indicators: Sequence[str],
                   habitat_levels: dict[str, int]) -> None:  # fmt: skip
    """Fill the coarser levels of every product that has them; `habitat_levels` gives the table's length by level."""
    for level in range(1, cube.region.levels() + 1):
        for product, version in versions.items():
            base = f"products/{product}/{version}"
            if product == "species":
                pyramid.build_level(cube, base, level, ["occurrence"], {}, units)
            elif product == "indicators":
                pyramid.build_level(cube, base, level, indicators, {}, units)
            elif product == "habitats":
                pyramid.build_level(cube, base, level, ["probability", "entropy"], habitat_levels, units)
