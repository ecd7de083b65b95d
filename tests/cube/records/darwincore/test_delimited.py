"""No quotation mark, closed or not, takes a row away."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cube.records.darwincore.table import split_lines

CELLS = st.text(alphabet="ab\"'; é", max_size=6)


def read(text: str, quote: str = '"', delimiter: str = "\t") -> list[list[str]]:
    return list(split_lines(iter(io.StringIO(text, newline="")), delimiter, quote))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=20))
def test_without_quotes_a_line_is_a_row(rows: list[list[str]]) -> None:
    rows = [["x", *row[1:]] for row in rows]
    assert read("\n".join("\t".join(row) for row in rows) + "\n", quote="") == rows


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.text(alphabet='ab"\n\t,', max_size=6), min_size=3, max_size=3), min_size=1, max_size=20))
def test_balanced_quotes_are_read_as_the_library_does(rows: list[list[str]]) -> None:
    rows = [["x", "y", "z"], *(["x", row[1].replace("\t", " "), row[2].replace("\t", " ")] for row in rows)]
    out = io.StringIO()
    csv.writer(out, delimiter="\t", quoting=csv.QUOTE_ALL).writerows(rows)
    assert read(out.getvalue()) == rows


@settings(max_examples=60, deadline=None)
@given(st.lists(st.booleans(), min_size=2, max_size=40))
def test_a_lone_quote_in_any_rows_loses_none(damaged: list[bool]) -> None:
    lines = ["a\tb\tc", *('1\t"big" rock\tx' if not bad else '1\t"big rock\tx' for bad in damaged)]
    rows = read("\n".join(lines) + "\n")
    assert len(rows) == len(lines)
    assert all(len(row) == 3 for row in rows)


@pytest.mark.parametrize("column", [0, 1, 2])
def test_two_lone_quotes_in_one_column_lose_no_row_between(column: int) -> None:
    rows = [["a", "b", "c"]] + [[str(i), "b", "c"] for i in range(10)]
    rows[3][column], rows[7][column] = '"x', '"y'
    got = read("\n".join("\t".join(row) for row in rows) + "\n")
    assert [row[0].strip('"') for row in got] == [row[0].strip('"') for row in rows]


def test_a_cell_beyond_the_limit_of_the_library_ends_at_its_line() -> None:
    lines = ["a\tb", '1\t"open', *(f"{i}\t{'x' * 1000}" for i in range(2, 300))]
    assert len(read("\n".join(lines) + "\n")) == len(lines)
