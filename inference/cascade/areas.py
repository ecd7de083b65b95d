"""The plots of a map beside the plots that its model learned from: how far a map may go beyond their areas.

A probability refers to a plot of an area. Between the areas of the surveys the model has learned how it grows; far outside of
them it has not: a map of 100 m2 from squares of 100 km2 would be a guess that is called a probability.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cube.config import Config
from cube.errors import ConfigError
from inference.training.likelihood import REFERENCE_AREA_M2

FAR_FACTOR: Final = 10.0  # times the smallest or largest area of the surveys; common plots of 16 m2 and maps of 100 m2 are within
TAIL: Final = 0.01  # share of surveys at each end whose areas are not counted: a typing error teaches nothing


@dataclass(frozen=True)
class SurveyAreas:
    """Areas that a model learned from, m2: the 1 % and 99 % quantiles."""

    smallest_m2: float
    largest_m2: float

    @classmethod
    def from_surveys(cls, area_m2: NDArray[np.floating]) -> SurveyAreas:
        """Of the areas (n,) of surveys, unknown ones NaN or not positive; none known: 100 m2, as training takes them."""
        area = np.asarray(area_m2, np.float64)
        positive_areas = area[np.isfinite(area) & (area > 0)]
        if not len(positive_areas):
            return cls(REFERENCE_AREA_M2, REFERENCE_AREA_M2)
        low, high = np.quantile(positive_areas, [TAIL, 1 - TAIL], method="nearest")
        return cls(float(low), float(high))

    @classmethod
    def from_json(cls, document: Mapping[str, Any] | None) -> SurveyAreas | None:
        """What `to_json` gave; None of a model of before areas were kept, or without surveys."""
        return None if document is None else cls(document["smallest_m2"], document["largest_m2"])

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    def text(self) -> str:
        """The areas for a person."""
        low, high = _area_text(self.smallest_m2), _area_text(self.largest_m2)
        return f"{low} m2" if low == high else f"{low} to {high} m2"

    def far_from(self, area_m2: float) -> bool:
        """Whether a plot of `area_m2` lies beyond `FAR` times the areas of the surveys."""
        return not self.smallest_m2 / FAR_FACTOR <= area_m2 <= self.largest_m2 * FAR_FACTOR


def extrapolated_area(config: Config, areas: SurveyAreas | None) -> str:
    """What every layer of a map states where its plots are far from the surveys' areas; empty where they are not.

    Raises `ConfigError` for an area far outside, unless `predict.extrapolate_area` is true.
    """
    area = config.predict.area_m2
    if areas is None or not areas.far_from(area):
        return ""
    if not config.predict.extrapolate_area:
        low, high = _area_text(areas.smallest_m2 / FAR_FACTOR), _area_text(areas.largest_m2 * FAR_FACTOR)
        raise ConfigError(
            f"{config.path}: predict.area_m2 is {area:g}, but the surveys that the model learns from are of {areas.text()};"
            f" choose {low} to {high} m2, or set predict.extrapolate_area: true to map it all the same, stated on every layer."
        )
    return f"extrapolated to plots of {_area_text(area)} m2 from surveys of {areas.text()}"


def _area_text(area_m2: float) -> str:
    return f"{area_m2:,.0f}" if area_m2 >= 100 else f"{area_m2:g}"
