"""Layers: what each array of the cube means, how its values are stored, and what people and tools are told of them."""

from cube.layers.layer import (
    BOUNDS,
    COMPOSITION,
    INDICATOR_STEPS,
    NO_SPECIES,
    PROBABILITY_STEPS,
    RANKS,
    Band,
    Kind,
    Layer,
    habitat_entropy,
    habitat_level,
    habitat_probability,
    indicator,
    occurrence,
)

__all__ = [
    "BOUNDS",
    "COMPOSITION",
    "INDICATOR_STEPS",
    "NO_SPECIES",
    "PROBABILITY_STEPS",
    "RANKS",
    "Band",
    "Kind",
    "Layer",
    "habitat_entropy",
    "habitat_level",
    "habitat_probability",
    "indicator",
    "occurrence",
]
