"""A year is what a table says where it can be read and is plausible; every other value is counted with its reason."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cube.records.report import Report
from cube.records.years import SEVERAL, TOO_LONG, UNREADABLE, outside, years

LATEST = 2026
OUTSIDE = outside(LATEST)


@pytest.mark.parametrize(
    ("value", "year", "reason"),
    [
        ("2015", 2015, None),
        (2015, 2015, None),
        (2015.0, 2015, None),
        ("2015.0", 2015, None),
        ("2015-06", 2015, None),
        ("2015-06-01T10:00:00Z", 2015, None),
        ("2015-06-01 10:00", 2015, None),
        ("2015-06-01/2015-07-15", 2015, None),
        ("2015-06-01T10:00Z/2015-06-01T12:00Z", 2015, None),
        ("2015-06-01/15", 2015, None),
        ("2015-06-01/07-15", 2015, None),
        ("2015-00-00", 2015, None),
        ("2015/06/01", 2015, None),
        ("2015/06", 2015, None),
        ("20150601", 2015, None),
        (20150601.0, 2015, None),
        ("1.6.2015", 2015, None),
        ("01/06/2015", 2015, None),
        ("12 Jun 2015", 2015, None),
        ("03/2019", 2019, None),
        ("3.2019", 2019, None),
        ("11-2019", 2019, None),
        ("June 2015", 2015, None),
        ("Jun. 2015", 2015, None),
        (10.2019, np.nan, UNREADABLE),
        ("13/2019", np.nan, OUTSIDE),
        ("1990/2000", 1995, SEVERAL),
        ("1990-2000", 1995, SEVERAL),
        ("2015-12-30/2016-01-02", 2015, SEVERAL),
        ("1900/2000", np.nan, TOO_LONG),
        ("2000/1990", np.nan, UNREADABLE),
        ("15", np.nan, OUTSIDE),
        (15.0, np.nan, OUTSIDE),
        ("0", np.nan, OUTSIDE),
        ("0000-00-00", np.nan, OUTSIDE),
        ("-50", np.nan, OUTSIDE),
        ("1066", np.nan, OUTSIDE),
        ("2027", np.nan, OUTSIDE),
        ("9999-12-31", np.nan, OUTSIDE),
        ("42156", np.nan, OUTSIDE),  # a day as a spreadsheet counts it
        ("2015-13-01", np.nan, UNREADABLE),
        ("01.06.15", np.nan, UNREADABLE),
        ("1990/..", np.nan, UNREADABLE),
        ("before 1990", np.nan, UNREADABLE),
        ("2015.5", np.nan, UNREADABLE),
        ("", np.nan, None),
        (None, np.nan, None),
    ],
)
def test_a_year_is_read_by_one_rule(value: object, year: float, reason: str | None) -> None:
    report = Report("t")
    got = years(pd.Series([value], dtype=object), pd.Series(["row"]), report, LATEST)
    np.testing.assert_array_equal(got, [year])
    assert list(report.remarks) == ([] if reason is None else [reason])


def test_columns_of_numbers_and_of_dates_are_read_alike() -> None:
    rows = pd.Series(["a", "b", "c"], index=[5, 6, 7])
    number = pd.Series([2015, np.nan, 15], index=rows.index)
    day = pd.Series(np.array(["2015-06-01", "NaT", "1066-01-01"], "datetime64[s]"), index=rows.index)
    for column, count in ((number, 1), (day, 1)):
        report = Report("t")
        got = years(column, rows, report, LATEST)
        assert list(got.index) == [5, 6, 7]
        np.testing.assert_array_equal(got, [2015, np.nan, np.nan])
        assert sum(n for n, _ in report.remarks.values()) == count


@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of(st.integers(-10, 3000).map(str), st.text(max_size=12), st.none()), min_size=1, max_size=30))
def test_every_value_gives_a_plausible_year_or_is_counted(values: list[str | None]) -> None:
    report = Report("t")
    got = years(pd.Series(values, dtype=object), pd.Series(range(len(values))), report, LATEST)
    assert got.dropna().between(1700, LATEST).all()
    lost = sum(n for reason, (n, _) in report.remarks.items() if reason != SEVERAL)
    missing = sum(1 for v in values if v is None or not v.strip())
    assert got.notna().sum() + lost + missing == len(values)
