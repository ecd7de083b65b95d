"""The groups that predictions are written into: arrays, coordinates, provenance and pyramids of every product."""

from __future__ import annotations

import re
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


OUTPUT_KIND: Final = "floracube_statement"  # attribute of a product: what its numbers state
PROBABILITY: Final = "probability"
_LEVEL: Final = re.compile(r"level(\d)")  # of EUNIS, as its codes' table names it
EXTRAPOLATED_AREA: Final = "floracube_extrapolated_area"  # attribute of a product whose plots are far from the surveys' areas


def indicator_layers(available: Sequence[Indicator], attributes: Mapping[str, Any] | None = None) -> list[Layer]:
    """One layer an indicator, in the order of the registry; `attributes` the product, whose titles say what it is made of."""
    return [
        indicator(
            i.name,
            "",
            _title(i.long_name, attributes or {}),
            i.units,
            i.scale,
            INDICATOR_STEPS * i.scale,
            i.palette,
            i.references,
            order,
        )
        for order, i in enumerate(available)
    ]


def _title(title: str, attributes: Mapping[str, Any]) -> str:
    """A title that names relative intensities, and plots far from the surveys' areas, as what they are: legends show it."""
    if attributes.get(OUTPUT_KIND, PROBABILITY) != PROBABILITY:
        title = f"{title} (from relative intensities: compare places only, not numbers of species)"
    return f"{title} ({attributes[EXTRAPOLATED_AREA]})" if EXTRAPOLATED_AREA in attributes else title


def attributes_of(note: str, output_kind: str, extrapolation_note: str) -> dict[str, str]:
    """Attributes that say what numbers state and how far their plots are from the surveys'; the note stands under every map."""
    notes = [note] if note else []
    if output_kind != PROBABILITY:
        notes.append("Relative intensity, not probability: compare places of one species only; do not add them up.")
    if extrapolation_note:
        notes.append(f"{extrapolation_note.capitalize()}.")
    return ({"note": " ".join(notes)} if notes else {}) | ({EXTRAPOLATED_AREA: extrapolation_note} if extrapolation_note else {})


def _titled(layer: Layer, attributes: Mapping[str, Any]) -> Layer:
    """A layer of probabilities, or of what stands for them in this product."""
    output_kind, title = str(attributes.get(OUTPUT_KIND, PROBABILITY)), layer.long_name
    if output_kind != PROBABILITY:
        title = title.replace("Probability of occurrence", output_kind.capitalize())
    return replace(layer, long_name=f"{title} ({attributes[EXTRAPOLATED_AREA]})" if EXTRAPOLATED_AREA in attributes else title)


def habitat_layers(classes: Classes, title: str) -> list[Layer]:
    """One class map a level of the scheme, with the probability and entropy of the finest."""
    titles = {name: _LEVEL.sub(r"level \1", f"{title} ({name})") for name in classes}
    levels = [habitat_level(name, "", flags, titles[name]) for name, flags in classes.items()]
    return [*levels, habitat_probability(""), habitat_entropy("")]


def _make(
    cube: CubeStore,
    pyramid: Pyramid,
    labels: dict[str, NDArray[Any]],
    attributes: dict[str, Any],
    top: Sequence[Layer] = (),
    columns: Mapping[str, NDArray[Any]] | None = None,
) -> None:
    """Make every level of a product; `top` are layers that level 0 alone has, `columns` lie along the species."""
    set_attributes(cube.root.require_group(pyramid.base), attributes)
    group = cube.ensure_group(
        pyramid.source, [x.at(pyramid.source) for x in (*pyramid.layers, *top)], CELL, 0, labels, attributes
    )
    for name, values in (columns or {}).items():
        step_attributes = {"long_name": "Probability of one step of occurrence", "units": "1"}
        if ensure_column(group, name, values, "species", step_attributes):
            cube.ensure_group(pyramid.source, [], CELL)
    make_levels(cube, pyramid)


def make_species(
    cube: CubeStore, version: str, names: Sequence[str], scale: NDArray[np.float32], area_m2: float, attributes: dict[str, Any]
) -> None:
    """`occurrence` at every level and the probability of one step, `scale`, beside it."""
    layer = _titled(occurrence("", area_m2), attributes)
    _make(
        cube,
        Pyramid.of_product("species", version, [layer]),
        {"species": np.asarray(names, object)},
        {**attributes, "reference_area_m2": area_m2},
        columns={"scale": scale.astype(np.float32)},
    )


def make_composition(cube: CubeStore, version: str, attributes: dict[str, Any]) -> None:
    """The ranked species of every cell."""
    group = group_of("composition", version)
    labels = {"rank": np.arange(1, RANKS + 1, dtype=np.int16)}
    cube.ensure_group(group, [_titled(x, attributes).at(group) for x in COMPOSITION], labels=labels, attributes=attributes)


def make_indicators(cube: CubeStore, version: str, available: Sequence[Indicator], attributes: dict[str, Any]) -> None:
    """One array an indicator, each with its bounds."""
    layers = indicator_layers(available, attributes)
    _make(cube, Pyramid.of_product("indicators", version, layers), {"bound": np.asarray(BOUNDS, object)}, attributes)


def make_habitats(cube: CubeStore, version: str, classes: Classes, title: str, attributes: dict[str, Any]) -> None:
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
    layers = [_titled(layer, attributes) for layer in habitat_layers(classes, title)]
    _make(
        cube,
        Pyramid.of_product("habitats", version, layers),
        labels,
        attributes,
        [_titled(layer, attributes) for layer in top],
    )


def pyramids(
    versions: Mapping[str, str], area_m2: float, available: Sequence[Indicator], classes: Classes
) -> tuple[Pyramid, ...]:
    """The pyramid of each product of `versions` that has one (composition has none)."""
    layers = {
        "species": [occurrence("", area_m2)],
        "indicators": indicator_layers(available),
        "habitats": habitat_layers(classes, ""),
    }
    return tuple(Pyramid.of_product(p, version, layers[p]) for p, version in versions.items() if p in layers)
