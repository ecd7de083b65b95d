"""The uncertainty of a position is a number of metres above zero, or it counts as not stated and is counted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cube.records.numbers import COMMA, NO_NUMBER, NOT_POSITIVE, THOUSANDS, uncertainties
from cube.records.report import Report


@pytest.mark.parametrize(
    ("value", "metres", "reason"),
    [
        (250, 250, None),
        (0.5, 0.5, None),
        ("250", 250, None),
        ("250,0", 250, COMMA),
        ("0,5", 0.5, COMMA),
        ("1,500", 1500, THOUSANDS),
        ("1,500.5", 1500.5, THOUSANDS),
        ("1,500 m", 1500, THOUSANDS),
        ("250 m", 250, None),
        ("250m", 250, None),
        ("1 km", 1000, None),
        ("1,5 km", 1500, COMMA),
        ("1 000", 1000, None),
        ("2\u00a0500 m", 2500, None),
        ("1e9", 1e9, None),
        (".5", 0.5, None),
        ("0", np.nan, NOT_POSITIVE),
        (0, np.nan, NOT_POSITIVE),
        ("-1", np.nan, NOT_POSITIVE),
        ("unknown", np.nan, NO_NUMBER),
        ("250 ft", np.nan, NO_NUMBER),
        ("10-50", np.nan, NO_NUMBER),
        ("", np.nan, None),
        (None, np.nan, None),
    ],
)
def test_an_uncertainty_is_read_by_one_rule(value: object, metres: float, reason: str | None) -> None:
    report = Report("t")
    got = uncertainties(pd.Series([value], dtype=object), pd.Series(["row"]), report)
    np.testing.assert_allclose(got, [metres])
    assert list(report.remarks) == ([] if reason is None else [reason])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of(st.floats(-10, 1e7).map(str), st.text(max_size=8), st.none()), min_size=1, max_size=30))
def test_every_value_is_metres_or_counted(values: list[str | None]) -> None:
    report = Report("t")
    got = uncertainties(pd.Series(values, dtype=object), pd.Series(range(len(values))), report)
    lost = sum(report.remarks.get(reason, (0, []))[0] for reason in (NOT_POSITIVE, NO_NUMBER))
    missing = sum(1 for v in values if v is None or not v.strip())
    assert (got.dropna() > 0).all()
    assert got.notna().sum() + lost + missing == len(values)
