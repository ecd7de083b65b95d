"""A report adds up: rows read are rows used and rows left out, each for one reason."""

from __future__ import annotations

import json

import pytest

from cube.records.report import Report


def test_rows_read_are_rows_used_and_each_reason() -> None:
    report = Report("surveys")
    report.count("rows of plots.csv", 5)
    report.leave_out("rows of plots.csv", "outside the region", ["a", "b"])
    report.note("decimal commas", ["c"], 40)
    with pytest.raises(ArithmeticError, match=r"rows of plots\.csv do not add up: 5 read = 0 used \+ 2 outside"):
        report.check()
    report.use("rows of plots.csv", 3)
    report.check()
    assert "  rows of plots.csv: 5 read = 3 used + 2 outside the region" in report.lines()
    assert "  2 outside the region, skipped (a, b)" in report.lines()
    assert "  40 decimal commas (c, ...)" in report.lines()
    rows = json.loads(json.dumps(report.document()))["rows"]
    assert rows == {"rows of plots.csv": {"read": 5, "used": 3, "left_out": {"outside the region": 2}}}


def test_rows_withdrawn_later_are_left_out_for_their_reason() -> None:
    report = Report("surveys")
    report.count("surveys", 3)
    report.use("surveys", 3)
    report.withdraw("surveys", "surveys on permanent water", ["a"])
    report.check()
    assert report.tallies["surveys"].line() == "3 read = 2 used + 1 surveys on permanent water"
