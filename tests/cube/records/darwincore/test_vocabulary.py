"""Words of Darwin Core mean what publishers mean by them."""

from __future__ import annotations

import pandas as pd
import pytest

from cube.records.darwincore.vocabulary import (
    COUNT_OF_ZERO,
    FOSSIL_OR_LIVING,
    STATED_ABSENT,
    UNKNOWN_STATUS,
    is_percent,
    not_a_presence,
    square_metres,
    truth,
)


@pytest.mark.parametrize(
    ("status", "basis", "count", "reason"),
    [
        ("PRESENT", "HUMAN_OBSERVATION", None, ""),
        (None, None, None, ""),
        ("", "PRESERVED_SPECIMEN", "2", ""),
        ("detected", "MaterialSample", "", ""),
        ("Absent", "HumanObservation", "3", STATED_ABSENT),
        ("not detected", "HUMAN_OBSERVATION", None, STATED_ABSENT),
        ("present", "HUMAN_OBSERVATION", "0", COUNT_OF_ZERO),
        (None, "HUMAN_OBSERVATION", "0.0", COUNT_OF_ZERO),
        ("doubtful", "HUMAN_OBSERVATION", None, UNKNOWN_STATUS),
        ("present", "FOSSIL_SPECIMEN", None, FOSSIL_OR_LIVING),
        ("present", "FossilSpecimen", None, FOSSIL_OR_LIVING),
        ("present", "Living Specimen", None, FOSSIL_OR_LIVING),
    ],
)
def test_what_is_no_presence(status: str | None, basis: str | None, count: str | None, reason: str) -> None:
    rows = pd.DataFrame({"occurrenceStatus": [status], "basisOfRecord": [basis], "individualCount": [count]}, dtype=object)
    assert list(not_a_presence(rows)) == [reason]


@pytest.mark.parametrize(
    ("unit", "area"),
    [
        ("m2", 1),
        ("m²", 1),
        ("m^2", 1),
        ("square metre", 1),
        ("Square Meters", 1),
        ("square_metre", 1),
        ("sq. m", 1),
        ("sqm", 1),
        ("metres squared", 1),
        ("ha", 1e4),
        ("Hectare", 1e4),
        ("a", 100),
        ("km2", 1e6),
        ("km²", 1e6),
        ("square kilometer", 1e6),
        ("sq km", 1e6),
        ("cm2", 1e-4),
        ("square centimetre", 1e-4),
        ("dm²", 0.01),
        ("m3", None),
        ("m", None),
        ("litre", None),
        ("trap nights", None),
        ("individuals", None),
    ],
)
def test_units_of_area(unit: str, area: float | None) -> None:
    assert square_metres(unit) == area


@pytest.mark.parametrize(
    ("kind", "percent"),
    [
        ("% cover", True),
        ("percent", True),
        ("percentage cover", True),
        ("% coverage of herb layer", True),
        ("cover", True),
        ("Braun-Blanquet cover scale", False),
        ("Braun Blanquet", False),
        ("cover class", False),
        ("Londo scale (percent)", False),
        ("individuals", False),
        ("biomass", False),
        ("Barkman, Doing & Segal", False),
    ],
)
def test_a_scale_is_no_percent(kind: str, percent: bool) -> None:
    assert is_percent(kind) is percent


@pytest.mark.parametrize(("text", "value"), [("true", True), ("T", True), ("1", True), ("No", False), ("f", False), ("", None)])
def test_truth(text: str, value: bool | None) -> None:
    assert truth(text) is value
