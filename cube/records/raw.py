"""Surveys under our own names, as their source gives them: before anything is checked, joined or left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import pandas as pd

PREDICTOR: Final = "table."  # before the name of a column of the surveys' table that is a predictor


@dataclass(frozen=True)
class RawSurveys:
    """What a source says of its surveys and of what grew in them.

    `surveys`, a row or several a survey: survey, longitude, latitude, year, area_m2, place, habitat, and whatever else
    a source knows (GeoPlant: patch_id, series_id; tables: predictors, named
    `PREDICTOR` and the column); columns may be absent. `occurrences`: survey (of the same type), name
    or species_id, cover in percent. `labels` are the source's own words for our columns, for messages.
    """

    path: str
    surveys: pd.DataFrame
    occurrences: pd.DataFrame
    labels: Mapping[str, str] = field(default_factory=dict)
    places: bool = False  # whether the source knows which surveys were made at one place
    crs: str | None = None  # of longitude and latitude; None: degrees, WGS 84
    max_unmatched: float = 1.0  # share of occurrences that may match no survey
    key: str = "max_unmatched"  # the configuration's key of it
    nodata: tuple[float, ...] = ()  # numbers of predictors that mean no data
