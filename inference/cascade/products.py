"""The groups that predictions are written into: arrays, coordinates, provenance and pyramids of every product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cube.grid import CELL
from cube.layers import (
    BOUNDS,
    COMPOSITION,
    INDICATOR_STEPS,
    PROBABILITY_STEPS,
    RANKS,
    Layer,
    habitat_entropy,
    habitat_level,
    habitat_probability,
    indicator,
    occurrence,
)
from cube.pyramids.levels import make_levels
from cube.pyramids.pyramid import Pyramid
from cube.storage.leaves import ensure_column, set_attributes
from cube.storage.releases import group_of
from cube.storage.store import CubeStore
from inference.cascade.indicators import Indicator

TOP_HABITATS = 3


Classes = Mapping[str, tuple[tuple[int, str, str], ...]]  # level of a habitat scheme: (value, meaning, colour) of its classes


STATEMENT: Final = "floracube_statement"  # attribute of a product: what its numbers state
PROBABILITY: Final = "probability"
EXTRAPOLATED: Final = "floracube_extrapolated_area"  # attribute of a product whose plots are far from the surveys' areas


def indicator_layers(chosen: Sequence[Indicator], about: Mapping[str, Any] | None = None) -> list[Layer]:
    """One layer an indicator, in the order of the registry; `about` the product, whose titles say what it is made of."""
    return [
        indicator(
            i.name,
            "",
            _said(i.long_name, about or {}),
            i.units,
            i.scale,
            INDICATOR_STEPS * i.scale,
            i.palette,
            i.references,
            order,
        )
        for order, i in enumerate(chosen)
    ]


def _said(title: str, about: Mapping[str, Any]) -> str:
    """A title that names relative intensities, and plots far from the surveys' areas, as what they are: legends show it."""
    if about.get(STATEMENT, PROBABILITY) != PROBABILITY:
        title = f"{title} (from relative intensities: compare places only, not numbers of species)"
    return f"{title} ({about[EXTRAPOLATED]})" if EXTRAPOLATED in about else title


def stated(note: str, statement: str, extrapolated: str) -> dict[str, str]:
    """Attributes that say what numbers state and how far their plots are from the surveys'; the note stands under every map."""
    notes = [note] if note else []
    if statement != PROBABILITY:
        notes.append("Relative intensity, not probability: compare places of one species only; do not add them up.")
    if extrapolated:
        notes.append(f"{extrapolated.capitalize()}.")
    return ({"note": " ".join(notes)} if notes else {}) | ({EXTRAPOLATED: extrapolated} if extrapolated else {})


def _stated(layer: Layer, about: Mapping[str, Any]) -> Layer:
    """A layer of probabilities, or of what stands for them in this product."""
    statement, title = str(about.get(STATEMENT, PROBABILITY)), layer.long_name
    if statement != PROBABILITY:
        title = title.replace("Probability of occurrence", statement.capitalize())
    return replace(layer, long_name=f"{title} ({about[EXTRAPOLATED]})" if EXTRAPOLATED in about else title)


def habitat_layers(classes: Classes, title: str) -> list[Layer]:
    """One class map a level of the scheme, with the probability and entropy of the finest."""
    levels = [habitat_level(name, "", flags, f"{title} ({name})") for name, flags in classes.items()]
    return [*levels, habitat_probability(""), habitat_entropy("")]


def _make(
    cube: CubeStore,
    pyramid: Pyramid,
    labels: dict[str, NDArray[Any]],
    about: dict[str, Any],
    top: Sequence[Layer] = (),
    columns: Mapping[str, NDArray[Any]] | None = None,
) -> None:
    """Make every level of a product; `top` are layers that level 0 alone has, `columns` lie along the species."""
    set_attributes(cube.root.require_group(pyramid.base), about)
    group = cube.ensure_group(pyramid.source, [x.at(pyramid.source) for x in (*pyramid.layers, *top)], CELL, 0, labels, about)
    for name, values in (columns or {}).items():
        step_attributes = {"long_name": "Probability of one step of occurrence", "units": "1"}
        if ensure_column(group, name, values, "species", step_attributes):
            cube.ensure_group(pyramid.source, [], CELL)
    make_levels(cube, pyramid)


def make_species(
    cube: CubeStore, version: str, names: Sequence[str], scale: NDArray[np.float32], area_m2: float, about: dict[str, Any]
) -> None:
    """`occurrence` at every level and the probability of one step, `scale`, beside it."""
    layer = _stated(occurrence("", area_m2), about)
    _make(
        cube,
        Pyramid.of_product("species", version, [layer]),
        {"species": np.asarray(names, object)},
        {**about, "reference_area_m2": area_m2},
        columns={"scale": scale.astype(np.float32)},
    )


def make_composition(cube: CubeStore, version: str, about: dict[str, Any]) -> None:
    """The ranked species of every cell."""
    group = group_of("composition", version)
    labels = {"rank": np.arange(1, RANKS + 1, dtype=np.int16)}
    cube.ensure_group(group, [_stated(x, about).at(group) for x in COMPOSITION], labels=labels, attributes=about)


def make_indicators(cube: CubeStore, version: str, chosen: Sequence[Indicator], about: dict[str, Any]) -> None:
    """One array an indicator, each with its bounds."""
    layers = indicator_layers(chosen, about)
    _make(cube, Pyramid.of_product("indicators", version, layers), {"bound": np.asarray(BOUNDS, object)}, about)


def make_habitats(cube: CubeStore, version: str, classes: Classes, title: str, about: dict[str, Any]) -> None:
    """The maps of a habitat scheme; level 0 also holds the most probable classes of each cell."""
    rank = ("habitat_rank",)
    top = [
        Layer("top3_class", "", "uint16", 65535, "Most probable habitats, best first", "1", rank, kind="class", palette="none"),
        Layer(
            "top3_probability",
            "",
            "uint8",
            255,
            "Probability of the most probable habitats",
            "1",
            rank,
            {},
            1 / PROBABILITY_STEPS,
            valid_range=(0.0, 1.0),
        ),
    ]
    labels = {"habitat_rank": np.arange(1, TOP_HABITATS + 1, dtype=np.int16)}
    layers = [_stated(layer, about) for layer in habitat_layers(classes, title)]
    _make(cube, Pyramid.of_product("habitats", version, layers), labels, about, [_stated(layer, about) for layer in top])


def pyramids(versions: Mapping[str, str], area_m2: float, chosen: Sequence[Indicator], classes: Classes) -> tuple[Pyramid, ...]:
    """The pyramid of each product of `versions` that has one (composition has none)."""
    layers = {
        "species": [occurrence("", area_m2)],
        "indicators": indicator_layers(chosen),
        "habitats": habitat_layers(classes, ""),
    }
    return tuple(Pyramid.of_product(p, version, layers[p]) for p, version in versions.items() if p in layers)
